"""The embedded engine on CPU: GGUF files and OpenVINO folders, without torch."""
