"""The engine on CUDA, and on CPU for models that OpenVINO has no reader for."""
