"""Positions: the ways in which a Transformer learns the order of tokens, one per file; `model.positions` names one."""

from nmt.attention.positions.base import Positions, make_embedded_positions, make_positions

__all__ = ["Positions", "make_embedded_positions", "make_positions"]
