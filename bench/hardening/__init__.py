"""Fuzzing, and hours of work with a server that is killed."""
