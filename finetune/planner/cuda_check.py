"""Whether the installed torch has code for the cards that are here, Volta above all; told by `--dry-run`.

PyTorch's support matrix: builds for CUDA 12.8 dropped Volta (sm_70) with torch 2.11, those for CUDA 13 never
had it; builds for CUDA 12.6 keep it, and 2.15 is planned to be the first release without them.
"""

import torch

VOLTA = "sm_70"
VOLTA_INDEX = "https://download.pytorch.org/whl/cu126"
BUILDS_WITH_VOLTA = "torch up to 2.10 for CUDA 12.6 or 12.8; torch 2.11 to 2.14 for CUDA 12.6 only"


def cuda_notes() -> list[str]:
    """Sentences about this machine's torch and cards, worst first."""
    build = f"torch {torch.__version__}, built for CUDA {torch.version.cuda}"
    volta = (
        f"V100 cards (Volta, {VOLTA}) need {BUILDS_WITH_VOLTA}: pip install torch --index-url {VOLTA_INDEX}"
    )
    if torch.version.cuda is None:
        return [f"torch {torch.__version__} has no CUDA: this machine trains on its CPU. {volta}."]
    codes = torch.cuda.get_arch_list()
    notes = [missing for index in range(torch.cuda.device_count()) if (missing := _missing(index, codes))]
    has_volta = VOLTA in codes
    return [
        *notes,
        f"{build}, {'has' if has_volta else 'lacks'} code for Volta.",
        *([] if has_volta else [volta + "."]),
    ]


def _missing(index: int, codes: list[str]) -> str | None:
    """A sentence when torch cannot run on card `index`: no code of its major version up to its minor one."""
    major, minor = torch.cuda.get_device_capability(index)
    for code in codes:
        number = code.removeprefix("sm_").removeprefix("compute_").rstrip("af")
        if number.isdigit() and int(number) // 10 == major and int(number) % 10 <= minor:
            return None
    name = torch.cuda.get_device_name(index)
    return f"{name} (sm_{major}{minor}) cannot run with this torch, which has {', '.join(codes)}."
