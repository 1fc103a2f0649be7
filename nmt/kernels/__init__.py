"""Faster implementations: attention, attention within a window or a pattern, and the loss over the vocabulary.

The same function is called on CPU and GPU, except for `flex`, which is used on CUDA only.
"""
