"""The common part of cells whose recurrence is elementwise."""

from __future__ import annotations

from torch import Tensor, nn

from nmt.models.cells.base import Cell


class LightCell(Cell):
    """A cell without recurrent matrices: all its products are with inputs, and do not wait for the step before.

    Only if an input is fed at each step, such as a context, its part of the product is computed in the time loop.
    """

    def __init__(self, input_dim: int, fed_dim: int, hidden_dim: int, gates: int) -> None:
        super().__init__(input_dim, fed_dim, hidden_dim, gates, bias=False)
        self.fed_projection = nn.Linear(fed_dim, gates * hidden_dim, bias=False) if fed_dim else None

    def products(self, projected: Tensor, fed: Tensor | None) -> Tensor:
        """Return the products with the whole input of a step, given projected [rows, *] and fed [rows, fed_dim]."""
        return projected if fed is None or self.fed_projection is None else projected + self.fed_projection(fed)
