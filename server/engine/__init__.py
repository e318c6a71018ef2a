"""The engines, which run a model: one folder each. base.py is their interface, opening.py chooses one."""

import sys

# `import openvino` reports its use over the network through this package, unless the package is missing:
# nothing may leave the machine from here.
sys.modules["openvino_telemetry"] = None  # pyright: ignore[reportArgumentType]
