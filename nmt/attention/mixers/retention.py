"""Multi-scale retention, the mixer of RetNet (Sun et al. 2023)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from nmt.attention.contract import Mixer
from nmt.attention.multihead import merge_heads, split_heads
from nmt.attention.positions.rotary import rotate
from nmt.attention.positions.sinusoidal import frequencies
from nmt.attention.precision import wide
from nmt.attention.running import running_sums
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig

LONG = 512  # from this length on, an encoder is faster by running sums than by a product for each pair of positions


class RetentionState(NamedTuple):
    """The state of retention, whose size does not grow with the number of positions."""

    s: Tensor  # [rows, heads, head_dim, head_dim]


class Retention(Mixer):
    """Multi-scale retention: (swish(X W_G) * GroupNorm(heads)) W_O (Sun et al. 2023, eq. 8).

    A head of a decoder is (Q K^T * D) V, where Q and K are rotated by their positions, and D_nm = gamma^(n - m) for
    n >= m lets the past fade (eq. 5). Head h = 0, 1, ... has gamma = 1 - 2^(-5 - h). The same numbers come from the
    recurrence S_n = gamma S_{n-1} + K_n^T V_n with the outputs Q_n S_n (eq. 6), which decodes, and from chunks (eq. 7),
    in which whole sentences are computed. The paper has no encoder. Here an encoder has D_nm = gamma^|n - m|, the
    bidirectional decay of Fan et al. 2024.

    The group normalisation gives each head's output the mean 0 and the variance 1. It undoes any scale of a row of
    (Q K^T * D). The two normalisations of these rows in the paper, which only keep numbers small, are left out.

    The products Q K^T * D can be negative. The weights to show are their absolute values: they are implied. With a
    state, those of past positions are not known, and none are returned.
    """

    sums_to_one = False
    implied = True
    forgets = True
    frequencies: Tensor  # [head_dim / 2]
    log_gamma: Tensor  # [heads, 1]

    def __init__(self, model_dim: int, num_heads: int, causal: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.causal = causal
        self.qkv_projection = nn.Linear(model_dim, 3 * model_dim, bias=False)
        self.gate_projection = nn.Linear(model_dim, model_dim, bias=False)
        self.output_projection = nn.Linear(model_dim, model_dim, bias=False)
        log_gamma = torch.tensor([[math.log1p(-(2.0 ** (-5 - head)))] for head in range(num_heads)])
        self.register_buffer("frequencies", frequencies(model_dim // num_heads), persistent=False)
        self.register_buffer("log_gamma", log_gamma, persistent=False)

    def init_state(self, rows: int, like: Tensor) -> RetentionState:
        head_dim = self.output_projection.in_features // self.num_heads
        return RetentionState(wide(like.new_zeros(rows, self.num_heads, head_dim, head_dim)))  # a sum over positions

    def state_bytes(self, length: int) -> int:
        return 4 * self.output_projection.in_features**2 // self.num_heads

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: RetentionState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, RetentionState | None, Tensor | None]:
        assert mask is None or state is None, "a mask cannot be combined with a state"
        query, key, value = (wide(part) for part in split_heads(self.qkv_projection(x), 3, self.num_heads))
        with torch.autocast(x.device.type, enabled=False):  # because of the sums over positions
            # rotations
            angles = (positions.unsqueeze(-1) * self.frequencies).unsqueeze(1)  # [rows or 1, 1, length, head_dim / 2]
            query, key = rotate(query, angles) / math.sqrt(query.size(-1)), rotate(key, angles)
            # heads (Q K^T * D) V
            weights = self._products(query, key, mask).abs() if need_weights and state is None else None
            if self.causal:
                before = self.init_state(x.size(0), x) if state is None else state
                heads, s = self._over_earlier(query, key, value, before.s)
                state = None if state is None else RetentionState(s)
            elif x.size(1) < LONG:
                heads = self._products(query, key, mask) @ value
            else:
                heads = self._over_all(query, key, value, mask)
            # group normalisation, with a group for each head
            heads = layer_norm(heads, heads.shape[-1:])
        return self.output_projection(silu(self.gate_projection(x)) * merge_heads(heads)), state, weights

    def _over_earlier(self, query: Tensor, key: Tensor, value: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return sums over all positions so far [rows, heads, length, head_dim], and S after the last one."""
        # level n is -n log gamma, so that gamma^(n - m) = exp(level m - level n); level 0 is that of the given S
        levels = -self.log_gamma * torch.arange(query.size(2) + 1, device=query.device)
        return running_sums(query, key, value, s, levels[None, :, 1:], levels[None])

    def _over_all(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Return (Q K^T * D) V of an encoder, by sums from both ends."""
        if mask is not None:
            key = key.masked_fill(~mask[:, None, :, None], 0.0)
        nothing = self.init_state(query.size(0), query).s
        forwards, _ = self._over_earlier(query, key, value, nothing)
        backwards, _ = self._over_earlier(query.flip(2), key.flip(2), value.flip(2), nothing)
        own = (query * key).sum(-1, keepdim=True) * value  # which is in both
        return forwards + backwards.flip(2) - own

    def _products(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        """Return Q K^T * D [rows, heads, queries, keys] for whole sentences."""
        places = torch.arange(query.size(2), device=query.device)
        distances = (places.unsqueeze(1) - places).abs()
        products: Tensor = (self.log_gamma.unsqueeze(-1) * distances).exp() * (query @ key.mT)
        if mask is not None:
            products = products.masked_fill(~mask[:, None, None], 0.0)
        return products.tril() if self.causal else products


def make(config: TransformerConfig, place: Place) -> Retention:
    """Return the retention of one layer."""
    return Retention(config.model_dim, config.num_heads, place.causal)
