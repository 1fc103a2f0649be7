"""Faster implementations of two computations: attention and the loss over the vocabulary.

The same function is called on CPU and GPU.
"""
