"""Hole filling: cut pieces out of a user's code, and measure how well a model restores them.

sources (files of a repository or corpus) -> regions (one language each) -> candidates (possible holes) ->
cut (the chosen holes) -> a model's completion -> score (where the answer ends, and how good it is).
"""
