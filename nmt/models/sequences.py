"""Running recurrent layers over whole sentences of different lengths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nmt.models.cells import Cell, CellState, Layered


class WholeSequence(nn.Module, ABC):
    """One or more recurrent layers that run over whole sentences."""

    @abstractmethod
    def forward(self, x: Tensor, state: Layered | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
        """Run the layers over x; the arguments and results are those of `run_rnn`."""


Rnn = nn.GRU | nn.LSTM | WholeSequence  # those of torch are batch-first and have biases


def run_rnn(rnn: Rnn, x: Tensor, state: Layered | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
    """Run the layers over x [rows, length, input], starting from `state` or from zeros.

    Return the outputs [rows, length, directions * hidden] and the state after each row's last position, with the
    directions side by side. `lengths` [rows] are the numbers of positions in each row (by default all rows are full);
    outputs beyond them are zero.

    cuDNN needs the rows in order of length, longest first. Rows are sorted and restored here with lengths on the CPU,
    because torch would do it with lengths on the device and wait for the device twice. `lengths` should therefore be on
    the CPU.
    """
    if isinstance(rnn, WholeSequence):
        found: tuple[Tensor, Layered] = rnn(x, state, lengths)
        return found
    if lengths is None:
        return _call(rnn, x, state)
    lengths, order = lengths.cpu().sort(descending=True)
    order, back = (rows.to(x.device, non_blocking=True) for rows in (order, order.argsort()))
    output, last = _call(rnn, x.index_select(0, order), None if state is None else _rows(state, order), lengths)
    return output.index_select(0, back), _rows(last, back)


def _call(
    rnn: nn.GRU | nn.LSTM, x: Tensor, state: Layered | None, lengths: Tensor | None = None
) -> tuple[Tensor, Layered]:
    """Call the module on rows that are sorted by length, longest first."""
    directions = 2 if rnn.bidirectional else 1
    first: Tensor | tuple[Tensor, ...] | None = None
    if state is not None:
        stacked = (torch.stack(leaf) for leaf in zip(*state, strict=True))  # [layers, rows, directions * hidden]
        parts = (leaf.unflatten(2, (directions, -1)).transpose(1, 2) for leaf in stacked)
        leaves = tuple(part.flatten(0, 1).contiguous() for part in parts)  # [layers * directions, rows, hidden]
        first = leaves if isinstance(rnn, nn.LSTM) else leaves[0]
    if lengths is None:
        output, last = rnn(x, first)
    else:
        output, last = rnn(pack_padded_sequence(x, lengths, batch_first=True), first)
        output, _ = pad_packed_sequence(output, batch_first=True, total_length=x.size(1))
    leaves = last if isinstance(last, tuple) else (last,)
    # [layers, rows, directions * hidden]
    by_layer = (leaf.unflatten(0, (-1, directions)).transpose(1, 2).flatten(2) for leaf in leaves)
    return output, tuple(zip(*(leaf.unbind() for leaf in by_layer), strict=True))


def _rows(layers: Layered, rows: Tensor) -> Layered:
    """Return the given rows of the state of each layer."""
    return tuple(tuple(leaf.index_select(0, rows) for leaf in layer) for layer in layers)


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse the first lengths[i] positions of each x[i] [length, dim] (None: all); padding stays at the end."""
    if lengths is None:
        return x.flip(1)
    position = torch.arange(x.size(1), device=x.device).unsqueeze(0)
    mirrored = lengths.unsqueeze(1) - 1 - position
    return x.gather(1, torch.where(mirrored >= 0, mirrored, position).unsqueeze(2).expand_as(x))


class Scan(WholeSequence):
    """One layer of cells that runs over whole sentences, in one direction or both.

    All products with the inputs are computed at once, before the time loop (`Cell.project`).
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        """Create the layer from one cell for each direction; the second reads sentences backwards."""
        super().__init__()
        self.cells = nn.ModuleList(cells)

    def forward(self, x: Tensor, state: Layered | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
        lengths = None if lengths is None else lengths.to(x.device, non_blocking=True)
        firsts: list[CellState | None] = [None] * len(self.cells)
        if state is not None:
            firsts = list(zip(*(leaf.chunk(len(self.cells), dim=-1) for leaf in state[0]), strict=True))
        outputs, lasts = [], []
        for backward, (cell, first) in enumerate(zip(self.cells, firsts, strict=True)):
            read = reverse(x, lengths) if backward else x
            output, last = _scan(cast(Cell, cell), read, first, lengths)
            outputs.append(reverse(output, lengths) if backward else output)
            lasts.append(last)
        return torch.cat(outputs, dim=-1), (tuple(torch.cat(leaf, dim=-1) for leaf in zip(*lasts, strict=True)),)


def _scan(cell: Cell, x: Tensor, state: CellState | None, lengths: Tensor | None) -> tuple[Tensor, CellState]:
    """Run a cell over x [rows, length, input] from left to right; the results are those of `run_rnn` for one layer."""
    # products with all inputs
    projected = cell.project(x)
    # time loop
    if state is None:
        state = cell.start(projected.new_zeros(x.size(0), cell.hidden_dim))
    states = []
    for projected_t in projected.unbind(dim=1):
        state = cell(projected_t, None, state)
        states.append(state)
    # outputs, and the state after the last position of each row
    if lengths is None:
        return torch.stack([each[0] for each in states], dim=1), state
    leaves = [torch.stack(leaf, dim=1) for leaf in zip(*states, strict=True)]  # [rows, length, hidden] each
    padding = torch.arange(x.size(1), device=x.device) >= lengths.unsqueeze(1)  # [rows, length]
    last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, cell.hidden_dim)
    output = leaves[0].masked_fill(padding.unsqueeze(2), 0.0)
    return output, tuple(leaf.gather(1, last).squeeze(1) for leaf in leaves)
