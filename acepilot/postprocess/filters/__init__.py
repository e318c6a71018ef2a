"""Rules for the finished text. chain.py has their order."""
