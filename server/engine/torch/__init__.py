"""The engine for CUDA, and for models on a CPU that OpenVINO cannot read."""
