"""The engine for CPUs: GGUF files and OpenVINO folders, without torch."""
