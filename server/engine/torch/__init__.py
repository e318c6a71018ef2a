"""The engine for CUDA, and for models on a CPU that OpenVINO cannot read.

torch and transformers are only partly typed, so these modules turn off pyright's reports of unknown types.
"""
