"""Ask a model for completions, through an engine in this process or over HTTP: Problem -> ModelAnswer."""
