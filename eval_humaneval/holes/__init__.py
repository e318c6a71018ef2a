"""Repository hole-filling: own code with pieces cut out, and how near a model comes to what stood there.

sources (repository or corpus) -> regions (Vue's blocks) -> spots (where a hole may be) -> cut (which are
taken) -> Hole -> a model's completion -> ends (where it is over) -> score.
"""
