"""The parts that train.py puts together: recipe, processes, rows, losses, checkpoints and progress."""
