"""Whole sequences through `nn.GRU` and `nn.LSTM`, of sentences of different lengths.

On a CPU torch adds up the gradient of a weight's full size at every step, and packed sequences cost twice as much as
padded ones. There the time loop is written out here: both directions side by side, the gradients of the weights in one
product. Elsewhere the module itself is called, for the fused kernels that cuDNN has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nmt.kernels.dropout import dropout
from nmt.kernels.gates import GruGates, LstmGates
from nmt.kernels.shared import Shared

CellState = tuple[Tensor, ...]  # of one layer: h (GRU) or h and c (LSTM), [rows, dim] each
Layered = tuple[CellState, ...]  # of each layer
Rnn = nn.GRU | nn.LSTM  # batch-first, with biases


def run_rnn(rnn: Rnn, x: Tensor, state: Layered | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
    """Run x [rows, length, input] through the layers, from `state` or zeros.

    Returns outputs [rows, length, directions * hidden] and the state after each row's last position, the directions
    side by side. Rows have `lengths` [rows] positions, all of them by default; outputs beyond are zero. cuDNN is
    told lengths on the CPU: those that lie on a device are waited for.
    """
    run = _unrolled if x.device.type == "cpu" else call_rnn
    return run(rnn, x, state, lengths)


def call_rnn(rnn: Rnn, x: Tensor, state: Layered | None, lengths: Tensor | None) -> tuple[Tensor, Layered]:
    """Do what `run_rnn` does by calling the module.

    cuDNN takes the longest row first. Were it left to torch to put rows in that order and back, it would wait for the
    device both times.
    """
    if lengths is None:
        return _call(rnn, x, state)
    lengths, order = lengths.cpu().sort(descending=True)
    order, back = (rows.to(x.device, non_blocking=True) for rows in (order, order.argsort()))
    output, last = _call(rnn, x.index_select(0, order), None if state is None else _rows(state, order), lengths)
    return output.index_select(0, back), _rows(last, back)


def _call(rnn: Rnn, x: Tensor, state: Layered | None, lengths: Tensor | None = None) -> tuple[Tensor, Layered]:
    """Call the module on rows of which none is longer than the one before."""
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
    """The given rows of the state of each layer."""
    return tuple(tuple(leaf.index_select(0, rows) for leaf in layer) for layer in layers)


def _unrolled(rnn: Rnn, x: Tensor, state: Layered | None, lengths: Tensor | None) -> tuple[Tensor, Layered]:
    ragged = lengths if lengths is not None and bool((lengths < x.size(1)).any()) else None
    finals = []
    for layer in range(rnn.num_layers):
        x, final = _run_layer(rnn, layer, x, None if state is None else state[layer], ragged)
        finals.append(final)
        if layer + 1 < rnn.num_layers:
            x = dropout(x, rnn.dropout, rnn.training)
    if ragged is not None:
        x = x * (torch.arange(x.size(1)) < ragged.unsqueeze(1)).unsqueeze(2)
    return x, tuple(finals)


def _run_layer(
    rnn: Rnn, layer: int, x: Tensor, state: CellState | None, lengths: Tensor | None
) -> tuple[Tensor, CellState]:
    """One layer in all its directions: outputs, and final state leaves [rows, directions * hidden]."""
    names = [f"l{layer}", f"l{layer}_reverse"][: 2 if rnn.bidirectional else 1]
    inputs = [x, *([reverse(x, lengths)] if rnn.bidirectional else [])]
    weight = torch.stack([getattr(rnn, f"weight_hh_{name}") for name in names])  # [directions, gates * hidden, hidden]
    bias = torch.stack([getattr(rnn, f"bias_hh_{name}") for name in names]).unsqueeze(1)
    projected = torch.stack([
        nn.functional.linear(given, getattr(rnn, f"weight_ih_{name}"), getattr(rnn, f"bias_ih_{name}"))
        for given, name in zip(inputs, names, strict=True)
    ])  # [directions, rows, length, gates * hidden]  # fmt: skip
    if state is None:
        zeros = x.new_zeros(len(names), x.size(0), rnn.hidden_size)
        state = (zeros, zeros) if isinstance(rnn, nn.LSTM) else (zeros,)
    else:
        state = tuple(torch.stack(leaf.chunk(len(names), dim=-1)) for leaf in state)
    states = _steps(isinstance(rnn, nn.LSTM), projected, weight, bias, state)
    finals = [torch.cat(_last(leaf, lengths).unbind(), dim=-1) for leaf in states]
    forward, *backward = states[0].unbind()
    return torch.cat([forward, *(reverse(each, lengths) for each in backward)], dim=-1), tuple(finals)


def _steps(lstm: bool, projected: Tensor, weight: Tensor, bias: Tensor, state: CellState) -> list[Tensor]:
    """The time loop: the states after every step, [directions, rows, length, hidden] for each leaf."""
    states: list[CellState] = []
    if lstm:
        recur = Shared(weight)
        for gates in (projected + bias.unsqueeze(2)).unbind(dim=2):
            state = LstmGates.apply(recur(state[0], plus=gates), state[1])  # type: ignore[no-untyped-call]
            states.append(state)
    else:  # the reset gate acts on the recurrent product with its bias
        recur = Shared(weight, bias)
        for x in projected.unbind(dim=2):
            state = (GruGates.apply(x, recur(state[0]), state[0]),)  # type: ignore[no-untyped-call]
            states.append(state)
    return [torch.stack(leaf, dim=2) for leaf in zip(*states, strict=True)]


def _last(states: Tensor, lengths: Tensor | None) -> Tensor:
    """The states [directions, rows, hidden] after each row's last position."""
    if lengths is None:
        return states[:, :, -1]
    return states[:, torch.arange(len(lengths)), lengths - 1]


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turn the first lengths[i] positions of x[i] [length, dim] round (None: all); padding stays behind."""
    if lengths is None:
        return x.flip(1)
    position = torch.arange(x.size(1), device=x.device).unsqueeze(0)
    mirrored = lengths.unsqueeze(1) - 1 - position
    return x.gather(1, torch.where(mirrored >= 0, mirrored, position).unsqueeze(2).expand_as(x))
