"""Models of the Llama and Qwen families as GGUF, for llama.cpp, Ollama and the `openvino` engine."""
