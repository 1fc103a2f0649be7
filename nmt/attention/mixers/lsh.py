"""LSH attention: self-attention among words with the same hash (Kitaev et al. 2020, Reformer)."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nmt.attention.heads import Heads, make_heads
from nmt.attention.mixers.whole_sequence import WholeSequence, lengths
from nmt.attention.positions import Positions, make_positions
from nmt.attention.precision import wide
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import LshConfig

_SELF = 1e5  # what is subtracted from the score that a word gives itself (appendix A)


class Sorted(NamedTuple):
    """The positions in each round's order, each tensor [rows, heads, rounds, length]."""

    bucket: Tensor  # the bucket of each position
    order: Tensor  # the position at each place
    place: Tensor  # the place of each position


class LshAttention(WholeSequence):
    """Attention among words that locality-sensitive hashing puts into one bucket (Kitaev et al. 2020, section 2).

    A word has one vector q_j as query and key, k_j = q_j / ||q_j||. Its bucket is argmax([q R; -q R]) with a random
    matrix R, which is not learned: it is the same in every model of this shape. In each round, with an R of its own,
    the words are sorted by bucket and position and cut into chunks; a word attends to those of its bucket in its own
    chunk and the one before, and to itself only if there is no other. The result is attention to the union of all
    rounds (appendix A).
    """

    rotations: Tensor  # R, [heads, head_dim, rounds, buckets / 2]

    def __init__(
        self, model_dim: int, heads: Heads, positions: Positions, options: LshConfig, dropout: float, layer: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.positions = positions
        self.chunk = options.chunk
        self.dropout = nn.Dropout(dropout)
        self.qv_projection = nn.Linear(model_dim, 2 * model_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)
        shape = (heads.num_heads, heads.head_dim, options.rounds, options.buckets // 2)
        generator = random.Random(layer)
        drawn = [generator.gauss(0.0, 1.0) for _ in range(math.prod(shape))]
        self.register_buffer("rotations", torch.tensor(drawn).view(shape))

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, None, Tensor | None]:
        # queries, which are keys too, and values
        heads = self.heads
        query, value = heads.split(self.qv_projection(x), (heads.num_heads, heads.num_heads))
        query, value = wide(self.positions.turn(query, positions)), wide(value)
        # whole chunks, which repeat the last word where there is padding
        length, own = x.size(1), lengths(x, mask).unsqueeze(1)
        at = torch.arange(-(-length // self.chunk) * self.chunk, device=x.device)
        source = torch.minimum(at, own - 1)[:, None, None]  # [rows, 1, 1, length of whole chunks]
        query, value = (_take(each.unsqueeze(2), source.expand(-1, each.size(1), -1, -1)) for each in (query, value))
        with torch.autocast(x.device.type, enabled=False):
            # the chunks of each round, in which each word sees its own and the one before
            words = self._sort(query, at < own)
            of_chunk = words.order.unflatten(3, (-1, self.chunk))  # [rows, heads, rounds, chunks, chunk]
            several = of_chunk.size(3) > 1
            seen = torch.cat((of_chunk.roll(1, dims=3), of_chunk), dim=4) if several else of_chunk
            # weights within each round, and the share of each round, by its normaliser
            scores = self._scores(query, words, of_chunk, seen)  # [rows, heads, rounds, chunks, chunk, seen]
            weights = scores.softmax(dim=-1)
            shares = scores.logsumexp(dim=-1).flatten(3).gather(3, words.place).softmax(dim=2)

            def mix(values: Tensor, weights: Tensor) -> Tensor:  # [rows, heads, 1, whole chunks, channels] -> contexts
                mixed = _take((weights @ _take(values, seen)).flatten(3, 4), words.place)
                return (shares.unsqueeze(-1) * mixed).sum(dim=2)[:, :, :length]

            context = mix(value, self.dropout(weights))
            shown = None
            if need_weights:  # if the values are one-hot vectors, output channel j is the weight of position j
                unit = torch.eye(length, dtype=value.dtype, device=x.device)[source]
                shown = mix(unit.expand(-1, heads.num_heads, -1, -1, -1), weights)
        return self.output_projection(heads.merge(context.to(x.dtype))), None, shown

    def _sort(self, query: Tensor, inside: Tensor) -> Sorted:
        """Sort the positions of query [rows, heads, 1, length, head_dim] by bucket, then by position, in each round.

        What is not inside [rows, length] the sentence comes last, in a bucket of its own.
        """
        projected = torch.einsum("rhld,hdnb->rhnlb", query.squeeze(2), self.rotations.to(query.dtype))
        bucket = torch.cat((projected, -projected), dim=-1).argmax(dim=-1)
        bucket = torch.where(inside[:, None, None], bucket, 2 * projected.size(-1))
        length = bucket.size(3)
        order = (bucket * length + torch.arange(length, device=bucket.device)).argsort(dim=-1)
        return Sorted(bucket, order, order.argsort(dim=-1))

    def _scores(self, query: Tensor, words: Sorted, of_chunk: Tensor, seen: Tensor) -> Tensor:
        """Return q_i . k_j / sqrt(head_dim) - m_ij for i in each chunk and the j seen from there (appendix A).

        m_ij is infinite for other buckets and chunks too far away, 10^5 for i = j, and otherwise log N_ij, where N_ij
        is the number of rounds in which i sees j, so that no round counts twice.
        """
        scores = _take(query, of_chunk) @ _take(normalize(query, dim=-1), seen).mT / math.sqrt(query.size(-1))
        # whether i sees j in each of the rounds, the last axis
        bucket, chunk = (each.transpose(2, 3).unsqueeze(2) for each in (words.bucket, words.place // self.chunk))
        same = _take(bucket, of_chunk).unsqueeze(-2) == _take(bucket, seen).unsqueeze(-3)
        back = _take(chunk, of_chunk).unsqueeze(-2) - _take(chunk, seen).unsqueeze(-3)
        sees = same & (back >= 0) & (back <= 1)  # [rows, heads, rounds, chunks, chunk, seen, rounds]
        sees_now = sees.diagonal(dim1=2, dim2=-1).movedim(-1, 2)
        often = sees.sum(dim=-1).clamp(min=1).to(scores.dtype).log()  # log N_ij
        itself = of_chunk.unsqueeze(-1) == seen.unsqueeze(-2)
        return (scores - torch.where(itself, _SELF, often)).masked_fill(~sees_now, -math.inf)


def _take(x: Tensor, at: Tensor) -> Tensor:
    """Return x [rows, heads, rounds or 1, length, channels] at the positions at [rows, heads, rounds, ...].

    The result is [rows, heads, rounds, ..., channels].
    """
    index = at.flatten(3).unsqueeze(-1).expand(-1, -1, -1, -1, x.size(-1))
    taken: Tensor = x.expand(-1, -1, at.size(2), -1, -1).gather(3, index).unflatten(3, at.shape[3:])
    return taken


def make(config: TransformerConfig, place: Place) -> LshAttention:
    """Return the attention of one layer that `model.lsh` describes."""
    assert not place.causal, "the configuration check refuses model.decoder_self=lsh"
    heads, positions = make_heads(config, place), make_positions(config, place)
    return LshAttention(config.model_dim, heads, positions, config.lsh, config.attention_dropout, place.layer)
