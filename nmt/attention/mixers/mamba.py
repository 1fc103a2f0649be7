"""Mamba: a state space model that selects what it remembers, in the place of self-attention (Gu and Dao 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nmt.attention.contract import Mixer
from nmt.attention.precision import wide
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import MambaConfig

# From this length on, h and what it is made of are not kept at each position, but computed again for the gradient: that
# takes about twice the time. With 512 channels of 16 states, a layer would keep 0.25 GB for 2,048 positions.
LONG = 2048
CHUNK = 64  # positions of a long text that are read at once
BLOCK = 16  # positions, of all rows together, whose A-bar and B-bar are made at once: a processor's cache holds them


class MambaState(NamedTuple):
    """The state of a Mamba layer, whose size does not grow with the number of positions."""

    inputs: Tensor  # [rows, kernel_size - 1, channels], the last inputs of the convolution
    h: Tensor  # [rows, channels, state_dim]


class Terms(NamedTuple):
    """The inputs of the recurrence at each position; all are float32, or float64 in a model of float64."""

    u: Tensor  # [rows, length, channels], the input of the state space model (x in the paper)
    delta: Tensor  # [rows, length, channels], the size of a step
    b: Tensor  # [rows, length, state_dim]
    c: Tensor  # [rows, length, state_dim]


class SelectiveSsm(nn.Module):
    """A short convolution and a selective state space model, which read from left to right (Gu and Dao 2023).

    For each channel, h_t = A-bar_t h_{t-1} + B-bar_t u_t and y_t = C_t h_t + D u_t (eqs. 2a, 2b), where the diagonal of
    A-bar_t is exp(Delta_t A) and B-bar_t = (Delta_t A)^-1 (exp(Delta_t A) - I) Delta_t B_t (eq. 4). Delta, B and C are
    functions of u_t, so the model selects what it keeps (algorithm 2). Channels share B and C. The term D u_t is not in
    the equations of the paper, but in the authors' program.
    """

    not_decayed = ("log_a",)  # weight decay would pull A towards -1; the authors' program spares it, too

    def __init__(self, channels: int, rank: int, options: MambaConfig) -> None:
        super().__init__()
        self.sizes = (rank, options.state_dim, options.state_dim)
        self.convolution = nn.Conv1d(channels, channels, options.kernel_size, groups=channels)
        self.selection = nn.Linear(channels, sum(self.sizes), bias=False)
        self.delta_projection = nn.Linear(rank, channels, bias=False)
        # section 3.6: softplus(bias of Delta) is uniform in [0.001, 0.1], and A = -1, ..., -N in each channel
        delta = torch.empty(channels).uniform_(0.001, 0.1)
        self.delta_bias = nn.Parameter(delta + torch.log(-torch.expm1(-delta)))  # the inverse of softplus
        self.log_a = nn.Parameter(torch.arange(1.0, options.state_dim + 1).log().repeat(channels, 1))  # A = -exp(log_a)
        self.d = nn.Parameter(torch.ones(channels))

    def init_state(self, rows: int, like: Tensor) -> MambaState:
        channels, state_dim = self.log_a.shape
        inputs = like.new_zeros(rows, self.convolution.kernel_size[0] - 1, channels)
        return MambaState(inputs, wide(like.new_zeros(rows, channels, state_dim)))  # h is a sum over all positions

    @property
    def a(self) -> Tensor:
        """The diagonal of A [channels, state_dim]."""
        return -wide(self.log_a).exp()

    def terms(self, seen: Tensor) -> Terms:
        """Return the terms for all but the first kernel_size - 1 positions of seen [rows, positions, channels]."""
        u = functional.silu(self.convolution(seen.mT).mT)
        # selection (algorithm 2, section 3.6)
        low_rank, b, c = self.selection(u).split(self.sizes, dim=2)
        delta = functional.softplus(wide(self.delta_projection(low_rank)) + self.delta_bias)
        return Terms(wide(u), delta, wide(b), wide(c))

    def scan(self, terms: Terms, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return y [rows, length, channels] and the last h, from the h before the first position (eqs. 2a, 2b).

        Since B-bar_t = A^-1 (A-bar_t - I) B_t, h_t is h_{t-1} + (A-bar_t - I) (h_{t-1} + A^-1 B_t u_t). A-bar_t and
        B-bar_t are state_dim times as large as u_t, so they are made for a few positions at a time.
        """
        a, read = self.a, []
        inverse = 1 / a
        positions = max(1, BLOCK // terms.u.size(0))
        for u, delta, b, c in zip(*(term.split(positions, dim=1) for term in terms), strict=True):
            growth = torch.expm1(delta.unsqueeze(3) * a)  # A-bar - I [rows, positions, channels, state_dim]
            entering = inverse * (u.unsqueeze(3) * b.unsqueeze(2))  # A^-1 B u
            states = []
            for growth_t, entering_t in zip(growth.unbind(1), entering.unbind(1), strict=True):
                h = torch.addcmul(h, growth_t, h + entering_t)
                states.append(h)
            read.append((torch.stack(states, dim=1) * c.unsqueeze(2)).sum(dim=3))
        return torch.cat(read, dim=1) + self.d * terms.u, h

    def matrix_rows(self, terms: Terms) -> Iterator[Tensor]:
        """Yield for each position t row t [rows, channels, length] of the matrices that turn u into y.

        There is one matrix for each channel: C_t A-bar_t ... A-bar_{s+1} B-bar_s for s <= t (Ali et al. 2024), and in
        addition D for s = t.
        """
        a = self.a
        kept = terms.u.new_zeros(*terms.u.shape, a.size(1))  # at s: what is left of B-bar_s
        for t, (delta_t, b_t, c_t) in enumerate(
            zip(terms.delta.unbind(1), terms.b.unbind(1), terms.c.unbind(1), strict=True)
        ):
            growth = torch.expm1(delta_t.unsqueeze(2) * a)
            kept = (1 + growth).unsqueeze(1) * kept
            kept[:, t] = growth / a * b_t.unsqueeze(1)
            row = (kept * c_t[:, None, None]).sum(dim=3)
            row[:, t] += self.d
            yield row.mT

    def forward(
        self, x: Tensor, state: MambaState | None, heads: int, need_weights: bool
    ) -> tuple[Tensor, MambaState, Tensor | None]:
        """Return y for x [rows, length, channels], the next state and, if requested, the implied weights.

        The weights [rows, heads, length, length] are means over the channels of each of `heads` groups.
        """
        before = self.init_state(x.size(0), x) if state is None else state
        if not need_weights and x.size(1) >= LONG:
            read = []
            for part in x.split(CHUNK, dim=1):
                y, before = checkpoint(self._read_chunk, part, before, use_reentrant=False, preserve_rng_state=False)
                read.append(y)
            return torch.cat(read, dim=1), before, None
        y, after, terms = self._read(x, before)
        weights = None
        if need_weights:
            rows = [row.unflatten(1, (heads, -1)).abs().mean(dim=2) for row in self.matrix_rows(terms)]
            weights = torch.stack(rows, dim=2)
        return y, after, weights

    def _read(self, x: Tensor, before: MambaState) -> tuple[Tensor, MambaState, Terms]:
        """Return y for x [rows, length, channels], the next state, and the terms."""
        seen = torch.cat((before.inputs.to(x.dtype), x), dim=1)
        terms = self.terms(seen)
        y, h = self.scan(terms, before.h)
        return y, MambaState(seen[:, x.size(1) :], h), terms

    def _read_chunk(self, x: Tensor, before: MambaState) -> tuple[Tensor, MambaState]:
        """Return y for a chunk, and the next state."""
        return self._read(x, before)[:2]


class Mamba(Mixer):
    """The Mamba block (Gu and Dao 2023, figure 3): W_out (y * SiLU(z)) with [x, z] = W_in of the input.

    A decoder's y is that of one selective state space model over x. In an encoder there are two, and y is the sum of
    their outputs: one reads the sentence from left to right, the other from right to left (Zhu et al. 2024, algorithm
    1). The weights shown are implied: the matrices of the channels (of both directions, added) that turn the outputs of
    the convolution into y. With a state they are None, since the state does not know the positions one by one.
    """

    sums_to_one = False
    implied = True
    forgets = True

    def __init__(self, model_dim: int, num_heads: int, options: MambaConfig, causal: bool) -> None:
        """Create the block; it has no heads: `num_heads` is the number of groups of channels whose weights it shows."""
        super().__init__()
        self.num_heads = num_heads
        channels = options.expansion * model_dim
        rank = options.delta_rank or math.ceil(model_dim / 16)
        self.input_projection = nn.Linear(model_dim, 2 * channels, bias=False)
        self.forwards = SelectiveSsm(channels, rank, options)
        self.backwards = None if causal else SelectiveSsm(channels, rank, options)
        self.output_projection = nn.Linear(channels, model_dim, bias=False)

    def init_state(self, rows: int, like: Tensor) -> MambaState:
        return self.forwards.init_state(rows, like)

    def state_bytes(self, length: int) -> int:
        channels, state_dim = self.forwards.log_a.shape
        return 4 * channels * (self.forwards.convolution.kernel_size[0] - 1 + state_dim)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: MambaState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, MambaState | None, Tensor | None]:
        need_weights = need_weights and state is None
        x, z = self.input_projection(x).chunk(2, dim=2)
        # from left to right: no word sees the padding after it
        y, after, weights = self.forwards(x, state, self.num_heads, need_weights)
        # from right to left, in an encoder: each sentence is turned around, and what comes out is turned back
        if self.backwards is not None:
            order = _last_to_first(x, mask)
            turned, _, turned_weights = self.backwards(_in_order(x, order, 1), None, self.num_heads, need_weights)
            y = y + _in_order(turned, order, 1)
            if weights is not None and turned_weights is not None:
                weights = weights + _in_order(_in_order(turned_weights, order, 2), order, 3)
        if weights is not None and mask is not None:
            weights = weights.masked_fill(~mask[:, None, None], 0.0)  # those of padding for padding
        # gate
        return self.output_projection(y * functional.silu(z)), None if state is None else after, weights


def make(config: TransformerConfig, place: Place) -> Mamba:
    """Return the Mamba block of one layer."""
    return Mamba(config.model_dim, config.num_heads, config.mamba, place.causal)


def _last_to_first(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the positions [rows, length] in which x is read from the last word to the first, and then the padding."""
    positions = torch.arange(x.size(1), device=x.device).expand(x.size(0), -1)
    lengths = x.size(1) if mask is None else mask.sum(dim=1, keepdim=True)
    return torch.where(positions < lengths, lengths - 1 - positions, positions)


def _in_order(x: Tensor, order: Tensor, dim: int) -> Tensor:
    """Return x [rows, ...] with the positions along `dim` in the given order [rows, length]."""
    shape = [1] * x.dim()
    shape[0], shape[dim] = order.shape
    return torch.take_along_dim(x, order.view(shape), dim)
