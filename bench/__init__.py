"""Measurements and hardening runs, from a clone only: `python -m bench`."""
