"""The interface of patterns, and the biases that every self-attention has: for padding and for causality.

A bias is added to scores. It is 0 where a query may attend and minus infinity elsewhere, and it broadcasts to
[rows, heads, queries, keys].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Pattern(nn.Module):
    """The base class of patterns, which by itself lets every query attend to every key.

    Most patterns only override `allows`. A pattern that prefers some keys, or that learns, overrides `bias`.
    Padding and causality are not its concern.
    """

    restricts = True  # whether attention has to apply it; False only in `Everything`
    # the largest distance to a key that a query reads, on either side, if there is one; search can forget what is
    # further back
    reach: int | None = None
    first = 0  # the number of positions at the start that see all others

    @property
    def name(self) -> str:
        """The kind of pattern and its options: if they are equal, so is `allows`."""
        return repr((type(self), {key: each for key, each in vars(self).items() if not key.startswith("_")}))

    @property
    def only_allows(self) -> bool:
        """True if `allows` is all there is: it hides some keys, and the scores of the others stay as they are."""
        return type(self).bias is Pattern.bias

    @property
    def near(self) -> int | None:
        """The largest distance at which a query sees a key, leaving aside the keys in `far` and the `first` queries.

        It is None if there is no limit. With a limit, and if `only_allows`, long sequences are computed in blocks
        (kernels/windowed.py).
        """
        return self.reach

    def far(self, i: Tensor, length: Tensor | None) -> Tensor | None:
        """Return further keys of each block of queries, [rows or 1, blocks, keys], or None if there never are any.

        i [rows or 1, blocks, size] are positions, each one more than the one before; length broadcasts to it. The keys
        are at least those that `allows` accepts for some query of the block; their positions need not exist.
        """
        return None

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        """Return whether a query at position i may attend to a key at position j, for each element (bool).

        i and j are integers that broadcast to each other. length, which broadcasts to both, is the length of the
        sentence; None in a decoder, where it is not known.
        """
        return torch.ones_like(i + j, dtype=torch.bool)

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the term to add to the scores; the arguments are those of `Positions.bias`."""
        length = None if src_lengths is None else src_lengths[:, None, None, None]
        allowed = self.allows(query_positions[:, None, :, None], key_positions[:, None, None, :], length)
        return bias_of(allowed)


class Everything(Pattern):
    """The pattern of full attention."""

    restricts = False


def bias_of(mask: Tensor) -> Tensor:
    """Convert a bool mask (True = may attend) to a bias of the same shape."""
    return torch.where(mask, 0.0, -math.inf)


def padding(mask: Tensor) -> Tensor:
    """Return the bias [rows, 1, 1, keys] that hides keys where mask [rows, keys] is False."""
    return bias_of(mask)[:, None, None]


def causal(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """Return the bias [rows, 1, queries, keys] that lets a query attend to its own position and earlier ones.

    Positions are [rows, queries] and [rows, keys].
    """
    return bias_of(key_positions.unsqueeze(1) <= query_positions.unsqueeze(2)).unsqueeze(1)
