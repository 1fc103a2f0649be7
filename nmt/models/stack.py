"""Stacks of recurrent layers, and what connects a layer with the one below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from nmt.config.mechanisms import CellName
from nmt.config.models import RecurrentConfig
from nmt.models.cells import Layered, make_cell
from nmt.models.dropout import make_dropout
from nmt.models.sequences import Rnn, Scan, WholeSequence, run_rnn


class Connection(nn.Module):
    """The connection of a layer with the one below: layer normalisation and a residual connection, if configured.

    A layer reads LN(x) instead of x, the output of the layer below (Ba et al. 2016, eqs. 3-4), and the output of both
    is x + layer(LN(x)) instead of layer(LN(x)) (Wu et al. 2016, section 3.1). The output of the last layer is not
    normalised, since products of normalised states would saturate attention.
    """

    def __init__(self, config: RecurrentConfig, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if config.layer_norm else nn.Identity()
        self.residual = config.residual

    def enter(self, x: Tensor) -> Tensor:
        """Return what the layer reads, apart from dropout."""
        read: Tensor = self.norm(x)
        return read

    def leave(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the output of the layer together with x, which went into `enter`."""
        return x + output if self.residual else output


class Stack(WholeSequence):
    """Connected layers that run over whole sentences one after another, with dropout between them."""

    def __init__(self, config: RecurrentConfig, dim: int, layers: Iterable[Rnn]) -> None:
        """Create the stack from layers whose outputs are of size dim."""
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.connections = nn.ModuleList(Connection(config, dim) for _ in self.layers[1:])
        self.dropout = make_dropout(config)

    def forward(self, x: Tensor, state: Layered | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
        layers = cast(list[Rnn], self.layers)
        firsts = [None] * len(layers) if state is None else [(first,) for first in state]
        # the first layer
        x, lasts = run_rnn(layers[0], x, firsts[0], lengths)
        # the layers above
        connections = cast(list[Connection], self.connections)
        for layer, connection, first in zip(layers[1:], connections, firsts[1:], strict=True):
            output, last = run_rnn(layer, self.dropout(connection.enter(x)), first, lengths)
            x = connection.leave(x, output)
            lasts += last
        return x, lasts


def make_stack(config: RecurrentConfig, input_dim: int, dim: int, directions: Sequence[int]) -> Rnn:
    """Return layers of the configured cell that read inputs of size input_dim, and whose outputs are of size dim.

    `directions` has one number for each layer; 2: it reads in both directions, and each gives half of the output. If
    nothing but dropout is between GRU or LSTM layers, they are one module of torch.
    """
    layers = len(directions)
    between = config.residual or config.layer_norm or config.dropout_mask == "sentence"
    if config.cell in ("gru", "lstm") and (layers == 1 or (not between and len({*directions}) == 1)):
        return _of_torch(config.cell, input_dim, dim, directions[0], layers, config.dropout if layers > 1 else 0.0)
    sizes = [input_dim] + [dim] * (layers - 1)
    return Stack(
        config, dim, [_layer(config.cell, *each) for each in zip(sizes, [dim] * layers, directions, strict=True)]
    )


def _layer(cell: CellName, input_dim: int, dim: int, directions: int) -> Rnn:
    """Return one layer. GRUs and LSTMs are torch's, which have fused kernels."""
    if cell in ("gru", "lstm"):
        return _of_torch(cell, input_dim, dim, directions)
    return Scan(make_cell(cell, input_dim, 0, dim // directions) for _ in range(directions))


def _of_torch(
    cell: CellName, input_dim: int, dim: int, directions: int, layers: int = 1, dropout: float = 0.0
) -> nn.GRU | nn.LSTM:
    kind = nn.GRU if cell == "gru" else nn.LSTM
    hidden_dim = dim // directions
    return kind(input_dim, hidden_dim, layers, batch_first=True, dropout=dropout, bidirectional=directions == 2)
