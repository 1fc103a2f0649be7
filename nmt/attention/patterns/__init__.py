"""Patterns: which keys a query may attend to, or how much, by their positions; one kind per file.

`model.encoder_self` and `model.decoder_self` name the patterns to use, like other mixers.
"""

from nmt.attention.patterns.base import Everything, Pattern, bias_of, causal, padding

__all__ = ["Everything", "Pattern", "bias_of", "causal", "padding"]
