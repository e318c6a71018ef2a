"""What a corpus says of itself: its manifest, its report and its card."""
