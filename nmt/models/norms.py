"""Normalisation in a Transformer, and the residual connections that it is part of."""

from __future__ import annotations

from torch import Tensor, nn

from nmt.config.models import TransformerConfig
from nmt.config.ranges import settled

_EPSILON = 1e-5  # added to the mean square, or to the variance, before the root


def make_norm(config: TransformerConfig) -> nn.LayerNorm | nn.RMSNorm:
    """Return a normalisation of vectors of size model_dim.

    layer: the mean is subtracted, and the result divided by the standard deviation (Ba et al. 2016). rms: nothing is
    subtracted, and vectors are divided by the root of their mean square (Zhang and Sennrich 2019, eq. 4). Both then
    multiply by a learned gain; only the first adds a learned bias.
    """
    kind = nn.RMSNorm if config.normalisation == "rms" else nn.LayerNorm
    return kind(config.model_dim, eps=_EPSILON)


def final_norm(config: TransformerConfig) -> nn.Module:
    """Return the normalisation after the last layer: none for post-norm layers, which normalise their own output."""
    return make_norm(config) if config.norm == "pre" else nn.Identity()


class Residual(nn.Module):
    """A residual connection around a sublayer, with normalisation (Vaswani et al. 2017, section 5.4).

    post: norm(x + sublayer(x)), as in the paper; pre: x + sublayer(norm(x)).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = make_norm(config)
        self.pre = config.norm == "pre"
        self.dropout = nn.Dropout(settled(config.dropout))

    def enter(self, x: Tensor) -> Tensor:
        """Return the input of the sublayer."""
        return self.norm(x) if self.pre else x

    def add(self, x: Tensor, output: Tensor) -> Tensor:
        """Add the sublayer's output to x, which went into `enter`."""
        x = x + self.dropout(output)
        return x if self.pre else self.norm(x)
