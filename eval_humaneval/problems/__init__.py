"""The problems that models are asked, and the sets that hold them."""
