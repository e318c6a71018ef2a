"""From a model's files to an engine that runs them: what the server's start and `eval_humaneval` call.

Each engine's library is imported only when that engine is asked for: it takes seconds, and others may not be
installed.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from acepilot.models.registry import ModelFolder
from server.engine.base import Engine, EngineOptions

NVIDIA_DRIVERS = ("/proc/driver/nvidia", "/dev/dxg")  # Linux; Windows' Linux
EngineName = Literal["auto", "openvino", "torch", "upstream"]


def open_engine(model: ModelFolder, name: EngineName, options: EngineOptions) -> Engine:
    """Takes seconds: call it in a thread where others wait. `auto` is what suits this machine and model.

    Raises ModelBroken when the model cannot be opened, ConfigError when what the engine needs is missing.
    """
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
    """`torch` where CUDA is, or where OpenVINO has no reader for the model's files; else `openvino`."""
    return "torch" if model.is_safetensors or _has_cuda() else "openvino"


def _has_cuda() -> bool:
    """Asks torch only where a driver is: importing it takes seconds."""
    if not any(Path(driver).exists() for driver in NVIDIA_DRIVERS) or find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
