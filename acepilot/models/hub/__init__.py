"""Models of a model hub, named OWNER/NAME: asked for, fetched once, and made safetensors."""
