"""nmt: neural machine translation from the RNN encoder-decoder to the Transformer, end to end."""

__version__ = "0.1.0"
