"""From a model's files to an engine that runs them: what the server's start and `eval_humaneval` call.

Each engine's library is imported only when that engine is asked for: it takes seconds, and others may not be
installed.
"""

from typing import Literal

from acepilot.registry import ModelFolder
from server.engine.base import Engine

EngineName = Literal["auto", "openvino"]


def open_engine(
    model: ModelFolder, name: EngineName, *, kv_cache_gb: int, max_streams: int, threads: int
) -> Engine:
    """Takes seconds: call it in a thread where others wait. `auto` is what suits this machine.

    `kv_cache_gb` bounds the KV cache, `max_streams` how many sequences share a step, `threads` the cores
    (0: all). Raises ModelBroken when the model cannot be opened.
    """
    match name:
        case "auto" | "openvino":
            from server.engine.openvino import OpenVinoEngine

            return OpenVinoEngine(model, kv_cache_gb=kv_cache_gb, max_streams=max_streams, threads=threads)
