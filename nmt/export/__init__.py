"""Trained systems in the formats of other programs."""
