"""Running `nn.GRU` and `nn.LSTM` over whole sentences of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CellState = tuple[Tensor, ...]  # the state of one layer: h (GRU) or h and c (LSTM), [rows, dim] each
Layered = tuple[CellState, ...]  # the states of all layers
Rnn = nn.GRU | nn.LSTM  # batch-first, with biases


def run_rnn(rnn: Rnn, x: Tensor, state: Layered | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
    """Run the layers over x [rows, length, input], starting from `state` or from zeros.

    Return the outputs [rows, length, directions * hidden] and the state after each row's last position, with the
    directions side by side. `lengths` [rows] are the numbers of positions in each row (by default all rows are full);
    outputs beyond them are zero.

    cuDNN needs the rows in order of length, longest first. Rows are sorted and restored here with lengths on the CPU,
    because torch would do it with lengths on the device and wait for the device twice. `lengths` should therefore be on
    the CPU.
    """
    if lengths is None:
        return _call(rnn, x, state)
    lengths, order = lengths.cpu().sort(descending=True)
    order, back = (rows.to(x.device, non_blocking=True) for rows in (order, order.argsort()))
    output, last = _call(rnn, x.index_select(0, order), None if state is None else _rows(state, order), lengths)
    return output.index_select(0, back), _rows(last, back)


def _call(rnn: Rnn, x: Tensor, state: Layered | None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
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
