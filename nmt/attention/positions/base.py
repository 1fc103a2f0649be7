"""The interface of positions in a Transformer.

Positions can enter at four places: as a term added to the embeddings, as a rotation of queries and keys, as a term
added to the scores, and as a term added to the contexts. Each kind of positions uses one or two of these places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from torch import Tensor, nn

from nmt.attention.naming import has_maker, make_by_name
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class Positions(nn.Module):
    """The base class of all kinds of positions, which by itself changes nothing: each method is one place to override.

    Each stack has one instance for its embeddings and one for each layer of self-attention, so that every layer has its
    own weights. The file of each kind has a function that makes an instance for the embeddings (`in_embeddings`), one
    that makes an instance for self-attention (`in_attention`), or both. Query and key positions are
    [rows or 1, queries] and [rows or 1, keys].
    """

    enters_scores: ClassVar[bool] = False  # whether `bias` adds a term to the scores
    changes_values: ClassVar[bool] = False  # whether `of_values` adds a term to the contexts; it needs the weights

    def keep_heads(self, numbers: Sequence[int]) -> None:
        """Keep only what belongs to the heads with these numbers; most positions are the same for all heads."""

    def embed(self, positions: Tensor) -> Tensor | None:
        """Return the term [rows or 1, length, model_dim] to add to the embeddings at positions [rows or 1, length]."""
        return None

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        """Rotate queries or keys x [rows, heads, length, head_dim] by their positions, before they are compared."""
        return x

    def bias(
        self,
        query: Tensor,
        key: Tensor,
        query_positions: Tensor,
        key_positions: Tensor,
        src_lengths: Tensor | None = None,
    ) -> Tensor | None:
        """Return the term to add to the scores, which broadcasts to [rows, heads, queries, keys].

        query and key are [rows, heads, queries, head_dim] and [rows, heads, keys, head_dim]. src_lengths [rows], given
        in an encoder, are the lengths of the sentences without padding.
        """
        return None

    def of_values(self, weights: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Return the term to add to the contexts [rows, heads, queries, head_dim].

        weights are [rows, heads, queries, keys].
        """
        return weights.new_zeros(())


def make_positions(config: TransformerConfig, place: Place) -> Positions:
    """Return the positions for one layer of self-attention, using `in_attention` of the file of their kind."""
    return _make("in_attention", config, place)


def make_embedded_positions(config: TransformerConfig) -> Positions:
    """Return the positions for the embeddings of one stack, using `in_embeddings` of the file of their kind."""
    return _make("in_embeddings", config)


def _make(maker: str, config: TransformerConfig, *given: Place) -> Positions:
    """Return what the `maker` of the configured positions makes; without one, the base class, which adds nothing."""
    if config.positions == "none" or not has_maker("positions", config.positions, maker):
        return Positions()
    return cast(Positions, make_by_name("positions", config.positions, config, *given, by=maker))
