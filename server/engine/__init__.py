"""What runs a model: one file an engine, behind the protocol of base.py."""
