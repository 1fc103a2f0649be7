"""Mixers: self-attention and its replacements, one per file.

`model.encoder_self` and `model.decoder_self` name the mixers to use.
"""
