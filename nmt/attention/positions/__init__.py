"""Positions: how a Transformer knows the order of tokens. One file for each way; `model.positions` names one."""

from nmt.attention.positions.base import Positions, make_embedded_positions, make_positions

__all__ = ["Positions", "make_embedded_positions", "make_positions"]
