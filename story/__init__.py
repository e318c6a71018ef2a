"""The story, replayed by the product's own commands: `python -m story`. steps.py lists the steps."""
