"""Multilingual evaluation of completion models, and the gate that a candidate passes before it is served."""
