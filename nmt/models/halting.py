"""Adaptive computation time: each position of a stack of layers halts at a layer of its own (Graves 2016).

This is the dynamic halting of the Universal Transformer (Dehghani et al. 2019, section "Dynamic halting"), here for
layers with or without weights of their own.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.precision import wide
from nmt.config.models import TransformerConfig
from nmt.device import is_waited_for
from nmt.models.contract import NamedLoss

Stack = Literal["encoder", "decoder"]


class Progress(NamedTuple):
    """The state of a stack between two layers. Without halting, all but `x` and `output` are None."""

    x: Tensor  # [rows, length, dim], the state of each position: what the next layer reads
    output: Tensor  # [rows, length, dim], the output of the stack if all positions halted now
    depth: Tensor | None = None  # [rows, length], N: the number of layers that a position has gone through so far
    cost: Tensor | None = None  # [rows, length], N, plus R at positions that have halted
    total: Tensor | None = None  # [rows, length], the sum of the halting probabilities so far
    running: Tensor | None = None  # [rows, length] bool, whether a position has not halted


class AllLayers(nn.Module):
    """No halting: all positions go through all layers, and the last one's output is that of the stack."""

    loss_names: tuple[str, ...] = ()

    def begin(self, x: Tensor, mask: Tensor | None = None) -> Progress:
        """Return the progress before the first layer, which reads x [rows, length, dim]; `mask` is False at padding."""
        return Progress(x, x)

    def after(self, progress: Progress, y: Tensor, last: bool) -> Progress:
        """Return the progress after a layer with the outputs y [rows, length, dim]; `last`: it is the last one."""
        return Progress(y, y)

    def stopped(self, progress: Progress) -> bool:
        """Return True if no position needs a further layer; False if one does, or if it is not known."""
        return False

    def losses(self, progress: Progress) -> tuple[NamedLoss, ...]:
        """Return what is added to the training loss, with the names in `loss_names`; call it after the last layer."""
        return ()


class Halting(AllLayers):
    """A halting unit decides after each layer n, for each position, with which probability it halts there.

    With s_n, the state after layer n, h_n = sigmoid(w . s_n + b) (Graves 2016, eq. 5), and with L layers

    N = min {n: h_1 + ... + h_n >= 1 - epsilon}, or L if there is none (eq. 7),
    R = 1 - (h_1 + ... + h_{N-1}) (eq. 8),
    p_n = h_n for n < N, and p_N = R (eq. 6).

    The output is p_1 s_1 + ... + p_N s_N (eq. 13), and the ponder cost N + R is added to the loss (eqs. 10 to 12). The
    derivative of N is taken as zero. Above layer N the state of a position stays s_N (Dehghani et al. 2019): other
    positions can attend to it there. Padding has halted before the first layer.
    """

    def __init__(self, stack: Stack, dim: int, epsilon: float, initial: float, penalty: float) -> None:
        """Create the halting unit for states of size dim, whose h_n at the start are near `initial`.

        `penalty` is the weight of the ponder cost in the loss.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim).normal_(std=dim**-0.5))  # w
        self.bias = nn.Parameter(torch.tensor(math.log(initial / (1 - initial))))  # b
        self.epsilon = epsilon
        self.penalty = penalty
        self.stack = stack
        self.loss_names = (f"{stack}_ponder",)

    def begin(self, x: Tensor, mask: Tensor | None = None) -> Progress:
        running = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        none = wide(x.new_zeros(x.shape[:2]))  # because of the threshold, and of the sums over layers
        return Progress(x, wide(torch.zeros_like(x)), none, none, none, running)

    def after(self, progress: Progress, y: Tensor, last: bool) -> Progress:
        x, output, depth, cost, total, running = progress
        assert depth is not None and cost is not None and total is not None and running is not None
        # halting probabilities h_n, and the positions with N = n
        h = torch.sigmoid((y.to(total.dtype) * self.weight).sum(dim=-1) + self.bias)
        halts = running if last else running & (total + h >= 1 - self.epsilon)
        # weights p_n of this layer's states
        remainder = 1 - total
        p = torch.where(halts, remainder, torch.where(running, h, 0.0))
        # weighted sum of the states, and the states for the next layer
        depth = depth + running
        return Progress(
            x=torch.where(running.unsqueeze(-1), y, x),
            output=output + p.unsqueeze(-1) * y,
            depth=depth,
            cost=cost + running + torch.where(halts, remainder, 0.0),
            total=total + p,
            running=running & ~halts,
        )

    def stopped(self, progress: Progress) -> bool:
        # in training every weight needs a gradient, and to read `running` from a GPU would hold it up in each layer
        assert progress.running is not None
        asks = torch.is_inference_mode_enabled() and not is_waited_for(progress.running.device)
        return asks and not bool(progress.running.any())

    def losses(self, progress: Progress) -> tuple[NamedLoss, ...]:
        def value(log_probs: Tensor, mask: Tensor) -> Tensor:
            assert progress.cost is not None
            # mask is that of the target; the padding of a source costs nothing, as it has halted from the start
            return progress.cost.sum() if self.stack == "encoder" else (progress.cost * mask).sum()

        return tuple(NamedLoss(name, self.penalty, value) for name in self.loss_names)


def make_halting(config: TransformerConfig, stack: Stack) -> AllLayers:
    """Return the way in which positions leave the encoder or decoder that `model.halting` describes."""
    options = config.halting
    if not getattr(options, stack):
        return AllLayers()
    return Halting(stack, config.model_dim, options.epsilon, options.initial, options.penalty)
