"""What a model is asked: problems, and the sets that hold them."""
