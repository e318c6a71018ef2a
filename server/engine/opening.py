"""Opens the engine that runs a model, for the server's start and for `eval_humaneval`.

An engine's library is imported only when that engine is chosen: the import takes seconds, and the libraries
of the other engines may not be installed.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from acepilot.errors import ModelBroken
from acepilot.models.manifest import check_context
from acepilot.models.registry import ModelFolder
from server.engine.base import Engine, EngineOptions

NVIDIA_DRIVERS = ("/proc/driver/nvidia", "/dev/dxg")
"""Paths that exist where an NVIDIA driver is loaded: on Linux, and on Linux under Windows (WSL)."""

EngineName = Literal["auto", "openvino", "torch", "upstream"]


def open_engine(model: ModelFolder, name: EngineName, options: EngineOptions) -> Engine:
    """Open `model`. With `auto`, `suiting` chooses the engine.

    Blocks for seconds: call it in a thread if an event loop is running. Raises ModelBroken if the model
    cannot be opened, ConfigError if something that the engine needs is missing.
    """
    engine = _engine(model, name, options)
    try:
        check_context(engine.info.context_tokens, model.path)
    except ModelBroken:
        engine.close()
        raise
    return engine


def _engine(model: ModelFolder, name: EngineName, options: EngineOptions) -> Engine:
    match suiting(model) if name == "auto" else name:
        case "openvino":
            from server.engine.openvino.engine import OpenVinoEngine

            return OpenVinoEngine(model, options)
        case "torch":
            from server.engine.torch.engine import TorchEngine

            return TorchEngine(model, options)
        case "upstream":
            from server.engine.upstream.engine import UpstreamEngine

            return UpstreamEngine(model, options)


def suiting(model: ModelFolder) -> Literal["openvino", "torch"]:
    """Return `torch` if this machine has CUDA or OpenVINO cannot read the model's files, else `openvino`."""
    return "torch" if model.is_safetensors or _has_cuda() else "openvino"


def _has_cuda() -> bool:
    """Import torch, which takes seconds, only where an NVIDIA driver is loaded."""
    if not any(Path(driver).exists() for driver in NVIDIA_DRIVERS) or find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
