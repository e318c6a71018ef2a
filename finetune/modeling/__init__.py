"""The model that is trained: its weights, packed attention and loss."""
