"""What scripts/fuzz.py and scripts/soak.py are made of."""
