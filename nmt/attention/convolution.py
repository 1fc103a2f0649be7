"""Convolutions whose kernels are shared by the channels of a head, in the place of self-attention (Wu et al. 2019)."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.contract import Mixer
from nmt.attention.normalisers import softmax


class LastValues(NamedTuple):
    """The state of a convolution, whose size does not grow with the number of positions."""

    values: Tensor  # [rows, kernel_size - 1, dim]


class Convolution(Mixer):
    """A gated linear unit, a depthwise convolution with normalised kernels and a projection (Wu et al. 2019, figure 2).

    The output for channel c of position i is the sum over j = 1, ..., k of softmax(scores)_j X_{i + j - p, c}, where X
    are the values that the gated linear unit gives and the scores are those of the channel's head. In an encoder
    p = ceil((k + 1) / 2), so that the kernel is centred (eq. of DepthwiseConv in section 2); in a decoder p = k, so
    that it ends at position i. Values outside the sentence are zero. So the weights shown, which are exact for each
    channel of a head, sum to less than one where the kernel reaches beyond the sentence. With a state they are None.
    """

    sums_to_one = False
    implied = True
    forgets = True

    def __init__(self, model_dim: int, num_heads: int, kernel_size: int, dropout: float, causal: bool) -> None:
        """Create the layer; `dropout` is the rate at which DropConnect drops normalised weights of kernels.

        The dropped weights differ from sentence to sentence; a kernel that is the same at all positions loses the same
        weights at all of them.
        """
        super().__init__()
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.before = kernel_size - 1 if causal else kernel_size // 2  # positions of the kernel before its own, p - 1
        self.dropout = nn.Dropout(dropout)
        self.input_projection = nn.Linear(model_dim, 2 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    @abstractmethod
    def scores(self, values: Tensor) -> Tensor:
        """Return the kernels [rows or 1, length or 1, heads, kernel_size] before their softmax.

        `values` [rows, length, dim] are those at the positions whose outputs the kernels compute.
        """

    def init_state(self, rows: int, like: Tensor) -> LastValues:
        return LastValues(like.new_zeros(rows, self.kernel_size - 1, self.output_projection.in_features))

    def state_bytes(self, length: int) -> int:
        return 4 * (self.kernel_size - 1) * self.output_projection.in_features

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: LastValues | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, LastValues | None, Tensor | None]:
        length = x.size(1)
        # gated linear unit
        values = functional.glu(self.input_projection(x), dim=2)
        if mask is not None:
            values = values.masked_fill(~mask.unsqueeze(2), 0.0)
        # normalised kernels
        kernels = softmax(self.scores(values))
        weights = self._weights(kernels, values, mask) if need_weights and state is None else None
        # values of all positions that the kernels read
        if state is None:
            seen = functional.pad(values, (0, 0, self.before, self.kernel_size - 1 - self.before))
        else:
            seen = torch.cat((state.values.to(values.dtype), values), dim=1)
            state = LastValues(seen[:, length:])
        # convolution: the same position of all kernels at a time
        heads = seen.unflatten(2, (self.num_heads, -1))  # [rows, kernel_size - 1 + length, heads, head_dim]
        kernels = self.dropout(kernels.expand(x.size(0), -1, -1, -1)).unsqueeze(4)
        mixed = kernels[..., 0, :] * heads[:, :length]
        for j in range(1, self.kernel_size):
            mixed = mixed + kernels[..., j, :] * heads[:, j : j + length]
        return self.output_projection(mixed.flatten(2)), state, weights

    def _weights(self, kernels: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return the kernels as weights [rows, heads, length, length] of all positions."""
        rows, length, _ = values.shape
        at = torch.arange(length, device=values.device)
        j = at - at.unsqueeze(1) + self.before  # [queries, keys], the position in the kernel
        expanded = kernels.transpose(1, 2).expand(rows, -1, length, -1)  # [rows, heads, length, kernel_size]
        index = j.clamp(0, self.kernel_size - 1).expand(rows, self.num_heads, -1, -1)
        weights = expanded.gather(3, index).masked_fill((j < 0) | (j >= self.kernel_size), 0.0)
        return weights if mask is None else weights.masked_fill(~mask[:, None, None], 0.0)
