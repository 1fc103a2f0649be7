"""The heads of one place of attention (Vaswani et al. 2017, section 3.2.2), which may share their keys and values."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from nmt.attention.heads.dropout import HeadDropout
from nmt.attention.heads.qk_norm import QkNorm, make_qk_norm
from nmt.attention.normalisers import Normaliser, make_normaliser
from nmt.attention.normalisers.talking_heads import TalkingHeads
from nmt.config.heads import removed_from
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class Heads(nn.Module):
    """The division of projections among heads.

    Queries have num_heads heads, keys and values num_kv_heads. Each head of keys and values serves
    num_heads / num_kv_heads neighbouring heads of queries: one in multi-head attention, all of them with
    num_kv_heads = 1 (multi-query attention, Shazeer 2019), and a group of them in between (grouped-query attention,
    Ainslie et al. 2023). The keys and values that search has to remember shrink in this proportion.

    Heads can be removed (`model.heads.removed`): then num_heads, and all projections, are smaller. The heads that are
    left keep their size and the numbers that they had, in `numbers`.
    """

    def __init__(
        self,
        model_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        qk_norm: QkNorm | None = None,
        dropout: float = 0.0,
        removed: Collection[int] = (),
    ) -> None:
        """Create the heads, without those in `removed`; without num_kv_heads, all have their own keys and values."""
        super().__init__()
        self.numbers = [head for head in range(num_heads) if head not in removed]
        self.num_heads = len(self.numbers)
        self.num_kv_heads = num_kv_heads or self.num_heads
        self.removed = sorted(removed)
        self.head_dim = model_dim // num_heads
        self.qk_norm = qk_norm or QkNorm()
        self.dropout = HeadDropout(dropout)
        self.gates: nn.Module = nn.Identity()  # other than that only while `gated` measures the heads

    @property
    def dim(self) -> int:
        """The number of features of all queries of a position together, and of all contexts."""
        return self.num_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """The number of features of all keys of a position together; its values have as many."""
        return self.num_kv_heads * self.head_dim

    def split(self, projection: Tensor, parts: Sequence[int]) -> tuple[Tensor, ...]:
        """Split a projection [rows, length, heads of all parts * head_dim] into parts with these numbers of heads.

        Each part is [rows, heads, length, head_dim].
        """
        heads: Tensor = projection.unflatten(2, (-1, self.head_dim)).transpose(1, 2)
        return torch.split(heads, list(parts), dim=1)

    def queries_keys_values(self, projection: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split a projection for self-attention into queries, keys and values, and normalise queries and keys.

        projection is [rows, length, dim + 2 * kv_dim]. Queries are [rows, num_heads, length, head_dim], keys and values
        [rows, num_kv_heads, length, head_dim].
        """
        query, key, value = self.split(projection, (self.num_heads, self.num_kv_heads, self.num_kv_heads))
        return self.qk_norm.query(query), self.qk_norm.key(key), value

    def shared(self, x: Tensor) -> Tensor:
        """Return the keys or values that each head of queries reads.

        x [rows, num_kv_heads, length, head_dim] -> [rows, num_heads, length, head_dim].
        """
        return x if self.num_kv_heads == self.num_heads else x.repeat_interleave(self.num_heads // x.size(1), dim=1)

    def merge(self, contexts: Tensor) -> Tensor:
        """Concatenate the heads' contexts [rows, heads, length, head_dim] to [rows, length, dim]."""
        kept: Tensor = self.gates(self.dropout(contexts))
        return kept.transpose(1, 2).flatten(2)

    def numbered(self, weights: Tensor) -> Tensor:
        """Move the weights [rows, num_heads, queries, keys] of each head to the index that it had before removals.

        The result is [rows, num_heads + removed heads, queries, keys]. A head that has been removed gets the mean of
        the others, so that it does not change the mean over heads.
        """
        if not self.removed:
            return weights
        mean = weights.mean(dim=1, keepdim=True)
        rows = [self.numbers.index(head) if head in self.numbers else self.num_heads
                for head in range(self.num_heads + len(self.removed))]  # fmt: skip
        return torch.cat((weights, mean), dim=1)[:, rows]


def make_heads(config: TransformerConfig, place: Place) -> Heads:
    """Return the heads that `model.heads` describes for a place of attention."""
    options, removed = config.heads, removed_from(config, place)
    if place.key not in options.places:
        return Heads(config.model_dim, config.num_heads, removed=removed)
    shared = None if removed else options.num_kv_heads  # with heads removed, all others have their own
    qk_norm = make_qk_norm(config)
    return Heads(config.model_dim, config.num_heads, shared, qk_norm, options.dropout, removed)


def make_head_normaliser(config: TransformerConfig, place: Place) -> Normaliser:
    """Return the normaliser of a place of attention, within talking heads if it has them."""
    normaliser = make_normaliser(config, config.num_heads, config.model_dim)
    talking = config.heads.talking and place.key in config.heads.places
    return TalkingHeads(config.num_heads, normaliser) if talking else normaliser
