"""A local engine without a model; files in its folder make the worker process hang, grow or fail.

    python -m tests.attacks.worker_program FOLDER PORT

serves it. `opened` in the folder has the process id of each worker, a line each.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.local import LocalEngine
from server.engine.scheduler.messages import Opened
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.step import RowSlice
from server.engine.scheduler.worker import ServedModel, WorkerProgram

END = 0
TOKEN = 1
HANG = 2
VOCABULARY = 4
STEP_TOKENS = 256
OPTIONS = EngineOptions(max_streams=64)
FOREVER_S = 1000


class Runner:
    """Computes the same token again and again. A step that gets `HANG` hangs, as one in a driver does.

    In a step, each token after the first takes half of `token_s`.
    """

    slots = 64
    slot_tokens = 8192
    vocabulary = VOCABULARY

    def __init__(self, token_s: float) -> None:
        self._token_s = token_s

    def step(self, row_slices: Sequence[RowSlice]) -> NDArray[np.float32]:
        tokens = [token for row_slice in row_slices for token in row_slice.token_ids]
        time.sleep(FOREVER_S if HANG in tokens else self._token_s * (len(tokens) + 1) / 2)
        logits = np.zeros((sum(row_slice.logits for row_slice in row_slices), VOCABULARY), np.float32)
        logits[:, TOKEN] = 1
        return logits

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        pass


def open_model(model: ModelFolder, options: EngineOptions) -> ServedModel:
    with (model.path / "opened").open("a") as opened:
        opened.write(f"{os.getpid()}\n")
    if (model.path / "hangs").exists():
        ctypes.PyDLL(None).sleep(FOREVER_S)  # it keeps the GIL: no thread of this process can do anything
    if (model.path / "grows").exists():
        kept: list[bytes] = []
        while True:
            kept.append(b"x" * 20_000_000)
            time.sleep(0.01)
    if (model.path / "fails").exists():
        raise RuntimeError("the weights are gone.")
    token_s = model.path / "token_s"
    return ServedModel(
        runner=Runner(float(token_s.read_text()) if token_s.exists() else 0.0),
        decode=lambda tokens: "a" * len(tokens),
        ends=frozenset({END}),
        limits=StepLimits(STEP_TOKENS, 0),
        opened=Opened("", Runner.slot_tokens, frozenset()),
    )


PROGRAM = WorkerProgram("fake", open_model, "folders of this test")


def encode(text: str, *, begin: bool) -> list[int]:
    """One token a character; `!` hangs."""
    return [HANG if character == "!" else TOKEN for character in text]


def encoder(tokenizer: str) -> Callable[..., list[int]]:
    return encode


def open_engine(folder: Path, **more: Any) -> LocalEngine:
    return LocalEngine(PROGRAM, ModelFolder("fake", folder, None), OPTIONS, encoder, **more)


def worker_ids(folder: Path) -> list[int]:
    """The process ids of all workers so far."""
    opened = folder / "opened"
    return [int(line) for line in opened.read_text().split()] if opened.exists() else []


def is_running(process: int) -> bool:
    """Return whether the process is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    from server.__main__ import serve
    from server.settings import ServerSettings

    folder, port = sys.argv[1:]
    settings = ServerSettings.load({"model": folder, "port": port})
    sys.exit(serve(settings, open_engine=lambda model, *_: open_engine(model.path)))
