"""Convert a model into another form: CodeGen to GPT-J, Llama and Qwen to GGUF, all of them to OpenVINO.

A conversion goes from a model folder to a model folder. From a run to a model folder: finetune/export.py.
"""
