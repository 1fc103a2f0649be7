"""Alignments: how a recurrent decoder attends to the source. One file each; `model.alignment` names one."""

from nmt.attention.alignments.base import make_alignment

__all__ = ["make_alignment"]
