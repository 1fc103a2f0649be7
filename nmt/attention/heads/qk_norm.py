"""Normalisation of queries and keys, which bounds the scores (Henry et al. 2020, QKNorm; Dehghani et al. 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, rms_norm

from nmt.attention.precision import wide
from nmt.config.models import TransformerConfig


class QkNorm(nn.Module):
    """The base class, which changes nothing.

    Queries and keys are [rows, heads, length, head_dim]. They are normalised before positions turn them. Attention
    divides the products of what is returned by sqrt(head_dim).
    """

    def query(self, query: Tensor) -> Tensor:
        """Return the normalised queries."""
        return query

    def key(self, key: Tensor) -> Tensor:
        """Return the normalised keys."""
        return key


class L2Norm(QkNorm):
    """Scores g q / ||q|| . k / ||k||, the cosines of queries and keys times a learned number g (Henry et al. 2020).

    At the start g = log2(L^2 - L), where L is the length of long sequences in the training text.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.log2(length**2 - length)))  # g

    def query(self, query: Tensor) -> Tensor:
        # sqrt(head_dim), by which attention divides, cancels
        return (self.scale * math.sqrt(query.size(-1)) * normalize(wide(query), dim=-1)).to(query.dtype)

    def key(self, key: Tensor) -> Tensor:
        return normalize(wide(key), dim=-1).to(key.dtype)


class RmsNorm(QkNorm):
    """Queries and keys divided by the root of the mean of their squares, times a learned gain for each component.

    Dehghani et al. 2023 do this with layer normalisation, to keep the training of large models stable; RMSNorm (Zhang
    and Sennrich 2019), without a mean, became usual. All heads of a layer share the gains.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.query_gain = nn.Parameter(torch.ones(head_dim))
        self.key_gain = nn.Parameter(torch.ones(head_dim))

    def query(self, query: Tensor) -> Tensor:
        return rms_norm(wide(query), self.query_gain.shape, self.query_gain, eps=1e-6).to(query.dtype)

    def key(self, key: Tensor) -> Tensor:
        return rms_norm(wide(key), self.key_gain.shape, self.key_gain, eps=1e-6).to(key.dtype)


def make_qk_norm(config: TransformerConfig) -> QkNorm:
    """Return the normalisation that `model.heads.qk_norm` names, for one place of attention."""
    match config.heads.qk_norm:
        case "l2":
            return L2Norm(config.heads.qk_length)
        case "rms":
            return RmsNorm(config.model_dim // config.num_heads)
        case "none":
            return QkNorm()
