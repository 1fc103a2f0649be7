"""The feed-forward networks of a Transformer, which `model.activation` names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.config.models import TransformerConfig


def squared_relu(x: Tensor) -> Tensor:
    """Return max(x, 0)^2 (So et al. 2021, Primer)."""
    return functional.relu(x).square()


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_, "gelu": functional.gelu, "relu2": squared_relu
}  # fmt: skip
_OF_GATES: dict[str, Callable[[Tensor], Tensor]] = {"swiglu": functional.silu, "geglu": functional.gelu}


class FeedForward(nn.Module):
    """The feed-forward network FFN(x) = W_2 activation(W_1 x) (Vaswani et al. 2017, eq. 2)."""

    def __init__(self, config: TransformerConfig, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = nn.Linear(config.model_dim, config.ffn_dim)
        self.outer = nn.Linear(config.ffn_dim, config.model_dim)
        self.activation = activation
        self.dropout = nn.Dropout(config.ffn_dropout)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.outer(self.dropout(self.hidden(x)))
        return output

    def hidden(self, x: Tensor) -> Tensor:
        """Return the hidden layer [..., ffn_dim]."""
        return self.activation(self.inner(x))


class GatedFeedForward(FeedForward):
    """A feed-forward network with a gate, FFN(x) = W_2 (activation(W x) * V x) (Shazeer 2020, eq. 6).

    The activation of SwiGLU is Swish(x) = x sigmoid(x), that of GEGLU is GELU. Unlike in the paper, the three matrices
    have biases, like all others of the model. W is called inner, and W_2 outer, as in other feed-forward networks.
    """

    def __init__(self, config: TransformerConfig, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__(config, activation)
        self.gated = nn.Linear(config.model_dim, config.ffn_dim)  # V

    def hidden(self, x: Tensor) -> Tensor:
        gated: Tensor = self.gated(x)
        return self.activation(self.inner(x)) * gated


def make_feed_forward(config: TransformerConfig) -> FeedForward:
    """Return the feed-forward network of one layer, with ffn_dim hidden numbers."""
    if (activation := _OF_GATES.get(config.activation)) is not None:
        return GatedFeedForward(config, activation)
    return FeedForward(config, _PLAIN[config.activation])
