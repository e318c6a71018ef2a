"""Rules that end generation, and cut the finished text in the same way. chain.py has their order."""
