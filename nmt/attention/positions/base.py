"""The contract of positions: the places at which they may enter, of which each way uses one or two."""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor, nn

from nmt.attention.naming import has_maker, make_by_name
from nmt.config.models import TransformerConfig


class Positions(nn.Module):
    """Positions that enter nowhere. A subclass overrides the places where its positions enter.

    A stack has one to embed its tokens and one for each layer of self-attention, so that layers have weights of their
    own. A file has a function for each place where its positions enter: `in_embeddings`, `in_attention`. Query and key
    positions are [rows or 1, queries] and [rows or 1, keys].
    """

    enters_scores: ClassVar[bool] = False  # whether `bias` adds something
    changes_values: ClassVar[bool] = False  # whether `of_values` adds something, for which weights have to be there

    def embed(self, positions: Tensor) -> Tensor | None:
        """Return what is added to the embeddings at positions [rows or 1, length]: [rows or 1, length, model_dim]."""
        return None

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return queries or keys x [rows, heads, length, head_dim] as they enter scores."""
        return x

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor | None:
        """Return what is added to scores, broadcasting to [rows, heads, queries, keys].

        query and key are [rows, heads, queries, head_dim] and [rows, heads, keys, head_dim]. In an encoder src_lengths
        [rows] are the lengths of the sentences without padding.
        """
        return None

    def of_values(self, weights: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Return what is added to contexts [rows, heads, queries, head_dim].

        weights are [rows, heads, queries, keys].
        """
        return weights.new_zeros(())


def make_positions(config: TransformerConfig) -> Positions:
    """Return the positions in one layer of self-attention: what `in_attention` of the file of that name makes."""
    return _make(config, "in_attention")


def make_embedded_positions(config: TransformerConfig) -> Positions:
    """Return the positions in the embeddings of one stack: what `in_embeddings` of the file of that name makes."""
    return _make(config, "in_embeddings")


def _make(config: TransformerConfig, place: str) -> Positions:
    if config.positions == "none" or not has_maker("positions", config.positions, place):
        return Positions()
    return cast(Positions, make_by_name("positions", config.positions, config, by=place))
