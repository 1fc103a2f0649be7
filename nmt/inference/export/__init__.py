"""What is made of a trained system for other programs, or for faster search."""
