"""Evaluate completion models in many languages, and gate the models that may be served."""
