"""What runs a model: one file an engine, behind the protocol of base.py."""

import sys

# `import openvino` reports itself to its maker over the network through this package, unless it is missing:
# nothing leaves the machine here.
sys.modules["openvino_telemetry"] = None  # pyright: ignore[reportArgumentType]
