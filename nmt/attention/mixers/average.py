"""The average attention network, a replacement for a decoder's self-attention (Zhang, Xiong and Su 2018)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.attention.contract import Mixer
from nmt.attention.precision import wide
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class AverageState(NamedTuple):
    """The state of an average attention network, whose size does not grow with the number of positions."""

    total: Tensor  # [rows, dim], the sum of all inputs so far
    number: Tensor  # [rows, 1], how many they are


class AverageAttention(Mixer):
    """An average over all positions so far, and gates, without the feed-forward network of the paper.

    For inputs y, the average layer computes g_t = (y_1 + ... + y_t) / t, and the gating layer
    [i_t, f_t] = sigmoid(W [y_t; g_t] + b) and i_t * y_t + f_t * g_t (Zhang, Xiong and Su 2018).

    In each channel, the output is a matrix times the inputs: f_t / t for the positions up to t, and in addition i_t for
    t itself. These weights are implied; they are shown for groups of channels. With a state no weights are returned,
    since their size is the number of positions so far, which is known on the device only.
    """

    sums_to_one = False
    implied = True
    forgets = True

    def __init__(self, model_dim: int, num_heads: int) -> None:
        """Create the network; it has no heads: `num_heads` is the number of groups of channels whose weights it shows.

        `feed_forward` is the identity here; the subclass puts the paper's network in its place.
        """
        super().__init__()
        self.num_heads = num_heads
        self.feed_forward: nn.Module = nn.Identity()
        self.gate_projection = nn.Linear(2 * model_dim, 2 * model_dim)

    def init_state(self, rows: int, like: Tensor) -> AverageState:
        total = wide(like.new_zeros(rows, self.gate_projection.in_features // 2))  # a sum over all positions so far
        return AverageState(total, total.new_zeros(rows, 1))

    def state_bytes(self, length: int) -> int:
        return 4 * (self.gate_projection.in_features // 2 + 1)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: AverageState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, AverageState | None, Tensor | None]:
        # averages g_t
        before = self.init_state(x.size(0), x) if state is None else state
        totals = before.total.unsqueeze(1) + wide(x).cumsum(dim=1)
        counts = before.number.unsqueeze(1) + torch.arange(1, x.size(1) + 1, device=x.device).unsqueeze(1)
        average = self.feed_forward((totals / counts).to(x.dtype))
        # gates
        own, past = torch.sigmoid(self.gate_projection(torch.cat((x, average), dim=2))).chunk(2, dim=2)  # i_t, f_t
        weights = None
        if need_weights and self.attends and state is None:
            weights = self._implied(own, past / counts)
        after = None if state is None else AverageState(totals[:, -1], counts[:, -1])
        return own * x + past * average, after, weights

    def _implied(self, own: Tensor, each: Tensor) -> Tensor:
        """Return the weights [rows, heads, length, length] from the gates i_t and f_t / t [rows, length, dim]."""
        own, each = (gate.unflatten(2, (self.num_heads, -1)).mean(dim=3).mT for gate in (own, each))
        return each.unsqueeze(3).expand(-1, -1, -1, each.size(2)).tril() + torch.diag_embed(own)


class AverageAttentionWithNetwork(AverageAttention):
    """The average attention network as in the paper: g_t = FFN((y_1 + ... + y_t) / t).

    Because of the network, the output is not a sum over inputs, and there are no weights to show.
    """

    attends = False
    implied = False

    def __init__(self, model_dim: int, num_heads: int, ffn_dim: int, activation: nn.Module, dropout: float) -> None:
        super().__init__(model_dim, num_heads)
        self.feed_forward = nn.Sequential(
            nn.Linear(model_dim, ffn_dim), activation, nn.Dropout(dropout), nn.Linear(ffn_dim, model_dim)
        )


def make(config: TransformerConfig, place: Place) -> AverageAttention:
    """Return the average attention network of one layer."""
    assert place.causal, "the configuration check refuses model.encoder_self=average"
    if not config.average.feed_forward:
        return AverageAttention(config.model_dim, config.num_heads)
    activation = nn.ReLU() if config.activation == "relu" else nn.GELU()
    return AverageAttentionWithNetwork(
        config.model_dim, config.num_heads, config.ffn_dim, activation, config.ffn_dropout
    )
