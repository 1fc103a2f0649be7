"""Mixers: self-attention and what stands in its place.

One file each; `model.encoder_self` and `model.decoder_self` name them.
"""
