"""The messages between the server's process (client.py) and an engine's worker process (worker.py).

The model has a process of its own, so that a step does not block the server's other requests and a crash does
not end the server. All of these objects are pickled and sent through a pipe.
"""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeAlias

from acepilot.errors import AcepilotError, ModelBroken
from server.engine.base import Delta, GenerationRequest, TokenCounts


@dataclass(frozen=True)
class Score:
    """A task that generates nothing: return the log probabilities of the last `tokens` tokens given."""

    tokens: int
    cache_salt: str = ""


@dataclass(frozen=True)
class StartSequence:
    """Generate after `token_ids`, or score them. `number` identifies the sequence in later messages."""

    number: int
    token_ids: list[int]
    task: GenerationRequest | Score


@dataclass(frozen=True)
class CancelSequence:
    number: int


@dataclass(frozen=True)
class Ping:
    """Ask whether the worker still computes steps, or waits for work. It answers with `Pong` before its next
    step."""


@dataclass(frozen=True)
class Opened:
    """The model is open. `tokenizer` is what the engine's encoder is made from: JSON or a folder's path.

    `longest_step_s` is a time in which this machine ends any step; worker.py measures it.
    """

    tokenizer: str
    row_tokens: int
    special_tokens: frozenset[str]
    longest_step_s: float = 0.0


@dataclass(frozen=True)
class OpeningFailed:
    """`raises` is the error's class: another than ModelBroken is not about the model's files."""

    reason: str
    raises: type[AcepilotError] = ModelBroken


@dataclass(frozen=True)
class Pong:
    """The worker is between two steps."""


@dataclass(frozen=True)
class Progress:
    """New text of one sequence, or for a `Score` the natural-log probabilities of its next tokens."""

    number: int
    delta: Delta
    log_probs: list[float]


@dataclass(frozen=True)
class StepDone:
    """One step: the progress of the sequences that have any, and the state of the whole worker."""

    progress: list[Progress]
    kv_used_ratio: float
    counts: TokenCounts


@dataclass(frozen=True)
class SequenceFailed:
    number: int
    reason: str


ToWorker: TypeAlias = StartSequence | CancelSequence | Ping
FromWorker: TypeAlias = Opened | OpeningFailed | Pong | StepDone | SequenceFailed

# Strings, because `Connection` takes no parameters at run time.
ServerEnd: TypeAlias = "Connection[ToWorker, FromWorker]"
WorkerEnd: TypeAlias = "Connection[FromWorker, ToWorker]"
