"""Heads: how the projections of a Transformer's attention are divided among heads, and what is done to each of them."""

from nmt.attention.heads.base import Heads, make_head_normaliser, make_heads

__all__ = ["Heads", "make_head_normaliser", "make_heads"]
