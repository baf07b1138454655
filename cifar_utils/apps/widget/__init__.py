"""The classifier in a notebook cell."""
