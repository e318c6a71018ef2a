"""A model in another form: CodeGen as GPT-J, Llama and Qwen as GGUF, all of them for OpenVINO."""
