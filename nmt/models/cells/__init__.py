"""Recurrent cells, one per file; `model.cell` names the one to use."""

from __future__ import annotations

from torch import Tensor

from nmt.config.mechanisms import CellName
from nmt.models.cells.base import Cell, CellState, Layered
from nmt.models.cells.gru import GruCell
from nmt.models.cells.lrn import LrnCell
from nmt.models.cells.lstm import LstmCell
from nmt.models.cells.sru import SruCell

__all__ = ["Cell", "CellState", "Layered", "first_state", "make_cell"]

_CELLS: dict[CellName, type[GruCell | LstmCell | SruCell | LrnCell]] = {
    "gru": GruCell,
    "lstm": LstmCell,
    "sru": SruCell,
    "lrn": LrnCell,
}


def make_cell(cell: CellName, input_dim: int, fed_dim: int, hidden_dim: int) -> Cell:
    """Return a new cell of the kind that `cell` names."""
    return _CELLS[cell](input_dim, fed_dim, hidden_dim)


def first_state(cell: CellName, h: Tensor) -> CellState:
    """Return the state with which a decoder of such cells begins, given h [..., hidden]; see `Cell.start`."""
    return _CELLS[cell].start(h)
