"""Attention from a Transformer decoder to the source, one kind per file; `model.decoder_cross` names the one to use."""
