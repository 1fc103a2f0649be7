"""Attention of a Transformer's decoder to the source. One file each; `model.decoder_cross` names them."""
