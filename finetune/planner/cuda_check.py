"""Check whether the installed torch has code for this machine's cards, Volta above all; for `--dry-run`.

PyTorch's support matrix: builds for CUDA 12.8 have no Volta (sm_70) since torch 2.11, those for CUDA 13 never
had it. Builds for CUDA 12.6 have it; 2.15 is planned to be the first release without them.
"""

from dataclasses import dataclass

import torch

VOLTA = "sm_70"
VOLTA_INDEX = "https://download.pytorch.org/whl/cu126"
BUILDS_WITH_VOLTA = "torch up to 2.10 for CUDA 12.6 or 12.8; torch 2.11 to 2.14 for CUDA 12.6 only"


@dataclass(frozen=True)
class Card:
    """A CUDA card and its compute capability."""

    name: str
    major: int
    minor: int


@dataclass(frozen=True)
class CudaSupport:
    """The installed torch (`cuda` is None without CUDA), its code names such as sm_80, and the cards here."""

    torch: str
    cuda: str | None
    codes: tuple[str, ...]
    cards: tuple[Card, ...]


def cuda_support() -> CudaSupport:
    indices = range(torch.cuda.device_count())
    cards = [Card(torch.cuda.get_device_name(i), *torch.cuda.get_device_capability(i)) for i in indices]
    return CudaSupport(torch.__version__, torch.version.cuda, tuple(torch.cuda.get_arch_list()), tuple(cards))


def cuda_notes(support: CudaSupport) -> list[str]:
    """Return sentences about torch and the cards, the worst first."""
    volta = (
        f"V100 cards (Volta, {VOLTA}) need {BUILDS_WITH_VOLTA}: pip install torch --index-url {VOLTA_INDEX}"
    )
    if support.cuda is None:
        return [f"torch {support.torch} has no CUDA: this machine trains on its CPU. {volta}."]
    build = f"torch {support.torch}, built for CUDA {support.cuda}"
    notes = [
        f"{card.name} (sm_{card.major}{card.minor}) cannot run with this torch, which has code for "
        f"{', '.join(support.codes)}."
        for card in support.cards
        if not _can_run(card, support.codes)
    ]
    has_volta = VOLTA in support.codes
    notes.append(f"{build}, {'has' if has_volta else 'lacks'} code for Volta.")
    return notes if has_volta else [*notes, f"{volta}."]


def _can_run(card: Card, codes: tuple[str, ...]) -> bool:
    """Return whether there is code for the card's major version, up to its minor version."""
    numbers = (code.removeprefix("sm_").removeprefix("compute_").rstrip("af") for code in codes)
    versions = [divmod(int(number), 10) for number in numbers if number.isdigit()]
    return any(major == card.major and minor <= card.minor for major, minor in versions)
