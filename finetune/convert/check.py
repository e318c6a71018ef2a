"""The check that every conversion must pass: its logits and its tokens on fixed text against the source's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from acepilot.errors import AcepilotError
from finetune.convert.probe import PROBE_TEXT

REPORT = "This is a fault of Acepilot: please report it."


class CheckFailed(AcepilotError):
    """The converted model differs from its source by more than the form's tolerance."""

    code = "export_check_failed"
    status = 500


@dataclass(frozen=True)
class Comparison:
    """How far the converted model is from its source on the fixed code.

    `source` and `written` are the mean natural-log probabilities of a token. `noise` is the root mean square
    of the logits' differences, as a share of that of the source's logits; the mean of each position is
    subtracted from both, because it changes no probability. `layers` counts the compared layers; None means
    all.
    """

    tokens: int
    source: float
    written: float
    noise: float
    layers: int | None = None

    @property
    def shift(self) -> float:
        """The change of the mean log probability, as a share of it."""
        return abs(self.written - self.source) / abs(self.source)

    def summary(self) -> str:
        text = (
            f"Mean log probability of {self.tokens} tokens: {self.source:.4f} before, "
            f"{self.written:.4f} after ({100 * self.shift:.2f} % off). "
        )
        if self.noise == 0:
            text += "All logits are equal to the last bit."
        else:
            text += f"The logits differ by {100 * self.noise:.2g} % of their spread."
        if self.layers is not None:
            text += f" Memory was enough to compare the first {self.layers} layers only."
        return text


@dataclass(frozen=True)
class Tolerance:
    """The largest `shift` and `noise` that a form may have.

    `noise` is needed too: a model with random weights has the same mean log probability after any mistake.
    """

    shift: float
    noise: float


def compare(source: Tensor, written: Tensor, ids: Tensor, layers: int | None = None) -> Comparison:
    """Compare the float32 [T, V] logits of source and converted model at int64 [T] token ids."""
    difference = source - written
    return Comparison(
        tokens=len(ids) - 1,
        source=_mean_log_probability(source, ids),
        written=_mean_log_probability(written, ids),
        noise=float(_spread(difference) / _spread(source)) if difference.any() else 0.0,
        layers=layers,
    )


def accept(comparison: Comparison, tolerance: Tolerance, form: str, advice: str = REPORT) -> Comparison:
    """Return `comparison`. Raises CheckFailed when it exceeds `tolerance` or is not a number."""
    if not (comparison.shift <= tolerance.shift and comparison.noise <= tolerance.noise):
        raise CheckFailed(f"The {form} model differs from its source. {comparison.summary()} {advice}")
    return comparison


def _spread(logits: Tensor) -> Tensor:
    return (logits - logits.mean(-1, keepdim=True)).square().mean().sqrt()


def _mean_log_probability(logits: Tensor, ids: Tensor) -> float:
    """float [T, V], int64 [T] -> natural log; each token is predicted from those before it."""
    return -float(functional.cross_entropy(logits[:-1].float(), ids[1:]))


def check_same_tokens(
    source: Any,
    encode: Callable[[str], list[int]],
    probe: str = PROBE_TEXT,
    *,
    add_special_tokens: bool = False,
) -> None:
    """Raise CheckFailed when `encode`, the written tokenizer, gives other ids than the source's tokenizer.

    Compared are `probe`, whole and line by line, and each special token within a text.
    """
    lines = probe.splitlines(keepends=True)
    for text in (probe, *lines, *(f"a{token} b" for token in source.get_added_vocab())):
        if encode(text) != source(text, add_special_tokens=add_special_tokens).input_ids:
            raise CheckFailed(
                f"The converted tokenizer splits {text[:60]!r} into other tokens than the source's: a model "
                "with this tokenizer cannot be converted to this form."
            )


def encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """Return the `encode` of a transformers tokenizer, without the special tokens around a text."""
    return lambda text: tokenizer(text, add_special_tokens=False).input_ids
