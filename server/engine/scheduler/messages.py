"""What the server and an engine's own process say to each other; StepLoop and the workers speak it.

Both `openvino` and `torch` run their model in a process of its own: a step must not stall the server's other
requests, and a crash must not take the server with it. Everything here is sent through a pipe, pickled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from acepilot.models.registry import ModelFolder
from server.engine.base import Delta


@dataclass(frozen=True)
class WorkerProgram:
    """One engine's process. `run(pipe, model, options)` is its whole life; `reads`: what it can open."""

    name: str
    run: Callable[[Connection, ModelFolder, Any], None]
    reads: str


@dataclass(frozen=True)
class Opened:
    """Worker to parent: the model is open; `about` is what the engine's own parent's end wants to know."""

    about: Any


@dataclass(frozen=True)
class Add:
    """Parent to worker: generate after `token_ids`; `settings` are the engine's own."""

    sequence: int
    token_ids: list[int]
    settings: Any


@dataclass(frozen=True)
class Close:
    """Parent to worker: nobody wants this sequence any more."""

    sequence: int


@dataclass(frozen=True)
class Progress:
    """Worker to parent: new text; `log_probs` (natural) belong to its tokens, where they were asked for."""

    sequence: int
    delta: Delta
    log_probs: list[float]
    kv_used_ratio: float


@dataclass(frozen=True)
class Failed:
    """Worker to parent: this sequence, or with None the whole worker, ended with an error."""

    sequence: int | None
    why: str
