"""Alignments: the kinds of attention of a recurrent decoder, one per file; `model.alignment` names the one to use."""

from nmt.attention.alignments.base import make_alignment

__all__ = ["make_alignment"]
