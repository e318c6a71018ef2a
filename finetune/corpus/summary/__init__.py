"""What a corpus says of itself: its manifest, its card and its report."""
