"""The engine for models that run elsewhere, behind OpenAI-style HTTP servers."""
