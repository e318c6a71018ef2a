"""Used by train.py alone: the recipe, the processes, the rows, the losses, the checkpoints, what is reported."""
