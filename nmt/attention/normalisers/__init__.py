"""Normalisers: the functions that turn scores into weights, one per file; `model.normaliser` names the one to use."""

from nmt.attention.normalisers.base import Normaliser, make_normaliser
from nmt.attention.normalisers.softmax import Softmax, log_softmax, softmax

__all__ = ["Normaliser", "Softmax", "log_softmax", "make_normaliser", "softmax"]
