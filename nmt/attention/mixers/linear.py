"""Linear attention, whose time is linear in the length and whose state is constant (Katharopoulos et al. 2020)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.attention.contract import Mixer
from nmt.attention.multihead import merge_heads, split_heads
from nmt.attention.precision import wide
from nmt.attention.running import pairs, running_sums
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig

LEAST = 1e-30  # the least sum to divide by; a sum is below it only if all its terms underflow


class LinearState(NamedTuple):
    """The sums of linear attention over all positions so far; their size does not grow with the number of positions."""

    sums: Tensor  # [rows, heads, features, head_dim + 1], s_i and, as last column, z_i, both divided by exp(level)
    level: Tensor  # [rows, heads, 1], the largest log phi(k_j) of all positions and features


class LinearAttention(Mixer):
    """Attention with the weights phi(q_i) . phi(k_j) / sum_l phi(q_i) . phi(k_l), where phi(x) = elu(x) + 1.

    As phi(q_i) can be taken out of the sums over keys, an encoder computes these sums once for all queries
    (Katharopoulos et al. 2020, section 3.2). In a decoder they run over the positions so far (section 3.4):

        s_i = s_{i-1} + phi(k_i) v_i^T, z_i = z_{i-1} + phi(k_i), output phi(q_i)^T s_i / phi(q_i)^T z_i.

    One factor for all features of a query, or one for all keys together, changes no weight. Features are therefore
    handled as logarithms, and scaled so that they neither overflow nor all vanish. With a state, the weights
    of past positions are not known, and none are returned.
    """

    forgets = True

    def __init__(self, model_dim: int, num_heads: int, features: int, causal: bool) -> None:
        """Create the attention; `features` is the size of phi(x)."""
        super().__init__()
        self.num_heads = num_heads
        self.features = features
        self.causal = causal
        self.qkv_projection = nn.Linear(model_dim, 3 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)

    def log_features(self, x: Tensor) -> Tensor:
        """Return log phi(x) [..., features] of queries or keys x [..., head_dim]."""
        return torch.where(x > 0, torch.log1p(x.relu()), x)  # elu(x) + 1 is x + 1 above zero, and exp(x) below

    def init_state(self, rows: int, like: Tensor) -> LinearState:
        columns = self.output_projection.in_features // self.num_heads + 1
        sums = wide(like.new_zeros(rows, self.num_heads, self.features, columns))  # over all positions so far
        return LinearState(sums, torch.full_like(sums[:, :, 0, :1], -math.inf))

    def state_bytes(self, length: int) -> int:
        return 4 * (self.features * (self.output_projection.in_features + self.num_heads) + self.num_heads)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: LinearState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, LinearState | None, Tensor | None]:
        assert mask is None or state is None, "a mask cannot be combined with a state"
        query, key, value = split_heads(self.qkv_projection(x), 3, self.num_heads)
        with torch.autocast(x.device.type, enabled=False):  # because of the exponentials and sums
            log_query, log_key = self.log_features(wide(query)), self.log_features(wide(key))
            value = pad(wide(value), (0, 1), value=1.0)  # so that the last component of a sum is the sum of weights
            if self.causal:
                before = self.init_state(x.size(0), x) if state is None else state
                sums, products, after = _over_earlier(log_query, log_key, value, before, need_weights)
            else:
                sums, products = _over_all(log_query, log_key, value, mask, need_weights)
            context = sums[..., :-1] / sums[..., -1:].clamp_min(LEAST)
            weights = None if products is None else products / products.sum(-1, keepdim=True).clamp_min(LEAST)
        output = self.output_projection(merge_heads(context))
        return (output, None, weights) if state is None else (output, after, None)


def _over_all(
    log_query: Tensor, log_key: Tensor, value: Tensor, mask: Tensor | None, need_products: bool
) -> tuple[Tensor, Tensor | None]:
    """Return sum_j phi(q_i) . phi(k_j) v_j for each i and, if requested, the products phi(q_i) . phi(k_j).

    The sums [rows, heads, queries, value_dim] run over all positions that are not padding; the products are
    [rows, heads, queries, keys]. Those of query i are all multiplied by one number, which cancels out in quotients.
    """
    if mask is not None:
        log_key = log_key.masked_fill(~mask[:, None, :, None], -math.inf)
    largest = log_key.detach().amax(2, keepdim=True)  # of each feature
    key, query = (log_key - largest).exp(), _scaled(log_query + largest)[0]
    return query @ (key.mT @ value), query @ key.mT if need_products else None


def _over_earlier(
    log_query: Tensor, log_key: Tensor, value: Tensor, state: LinearState, need_products: bool
) -> tuple[Tensor, Tensor | None, LinearState]:
    """Return what `_over_all` does, with sums up to j = i that begin with those of the state, and the next state."""
    query, (key, a) = _scaled(log_query)[0], _scaled(log_key)
    m = torch.cat((state.level, a), dim=-1).cummax(-1).values
    sums, s = running_sums(query, key, value, state.sums, a, m)
    return sums, pairs(query, key, a, m[..., 1:]) if need_products else None, LinearState(s, m[..., -1:])


def _scaled(log_features: Tensor) -> tuple[Tensor, Tensor]:
    """Return features [..., features], divided so that the largest is 1, and the logarithm [...] of the divisor.

    Scales cancel out, so they need no gradient.
    """
    largest = log_features.detach().amax(-1)
    return (log_features - largest.unsqueeze(-1)).exp(), largest


def make(config: TransformerConfig, place: Place) -> LinearAttention:
    """Return the linear attention of one layer."""
    return LinearAttention(config.model_dim, config.num_heads, config.model_dim // config.num_heads, place.causal)
