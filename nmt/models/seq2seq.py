"""The contracts every model keeps: what an encoder hands on, what a decoder answers, how both become a model.

One `Decoder.forward` serves training (the whole target), search (one token and a state) and forced prefixes
(several tokens and a state). State is handed on by value and never kept on a module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nmt.data.tokenizer import BOS, PAD

TOKENS_AT_ONCE = 512  # forced targets whose logits are in memory together

Memory = Any  # a NamedTuple of tensors, one row a sentence
State = Any  # a NamedTuple of tensors, one row a hypothesis, batch-first
# token ids [rows] -> log-probs [rows, vocab], a tensor of the caller's own, and the next state
Step = Callable[[Tensor, Memory, State], tuple[Tensor, State]]

Tree = TypeVar("Tree")

# Who attends to whom: target to source; source to source (encoder); target to target (decoder).
AttentionKind = Literal["cross", "encoder", "decoder"]


class Encoded(NamedTuple):
    """What an encoder hands on."""

    states: Tensor  # [batch, src_len, dim]
    mask: Tensor  # [batch, src_len] bool, True = may attend
    final: tuple[Tensor, ...]  # what a decoder may start from; RNN: h (and c), [batch, layers, dim]; Transformer: ()
    weights: Tensor | None = None  # [batch, layers, heads, src_len, src_len] of self-attention, only when asked for


class Decoded(NamedTuple):
    """What a decoder answers for each target position."""

    hidden: Tensor  # [batch, tgt_len, dim], before the vocabulary projection
    weights: Tensor | None = None  # [batch, layers, heads, tgt_len, src_len] (RNN: 1, 1), only when asked for
    # [batch, layers, heads, tgt_len, all target positions so far]: beside `weights`, of a decoder that `self_attends`
    self_weights: Tensor | None = None


@runtime_checkable
class Encoder(Protocol):
    """Source ids to states."""

    attends: bool  # whether it has self-attention, whose weights can be asked for

    def __call__(self, src: Tensor, mask: Tensor, *, need_weights: bool = False) -> Encoded:
        """Encode src [batch, src_len] where mask [batch, src_len] is True."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Target prefixes to hidden states."""

    attends: bool  # whether it attends to the source, with weights that can be asked for
    self_attends: bool  # whether it has self-attention, whose weights then come with them

    def read(self, encoded: Encoded) -> Memory:
        """Compute once a sentence what every step needs: projected keys, cross-attention keys and values."""
        ...

    def init_state(self, memory: Memory, max_len: int) -> State:
        """The state before the first token, one row a sentence, for at most max_len tokens."""
        ...

    def __call__(
        self, tokens: Tensor, memory: Memory, state: State | None = None, *, need_weights: bool = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state` (None: from the start, and no state is returned).

        rows is a multiple of the memory's rows: hypotheses of one sentence are neighbours.
        """
        ...


class Seq2Seq(nn.Module):
    """An encoder, a decoder and the projection onto the target vocabulary."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, projection: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.projection = projection

    @property
    def attends(self) -> bool:
        """Whether the decoder has attention weights to show."""
        return cast(Decoder, self.decoder).attends

    def has_attention(self, kind: AttentionKind) -> bool:
        """Whether `attention` can give the weights of this kind."""
        if kind == "encoder":
            return cast(Encoder, self.encoder).attends
        return self.attends if kind == "cross" else cast(Decoder, self.decoder).self_attends

    def forward(self, src: Tensor, src_mask: Tensor, tgt_in: Tensor) -> Tensor:
        """Teacher forcing: src, src_mask [batch, src_len], tgt_in [batch, tgt_len] -> hidden [batch, tgt_len, dim]."""
        memory = self.read(src, src_mask)
        decoded, _ = self.decoder(tgt_in, memory)
        return cast(Decoded, decoded).hidden

    def read(self, src: Tensor, src_mask: Tensor) -> Memory:
        """Encode src and let the decoder prepare its memory, one row a sentence."""
        return cast(Decoder, self.decoder).read(self.encoder(src, src_mask))

    def init_state(self, memory: Memory, max_len: int) -> State:
        """The decoder's state before the first token, one row a sentence."""
        return cast(Decoder, self.decoder).init_state(memory, max_len)

    def step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """One search step: the last token of each row [rows] -> log-probabilities [rows, vocab] and the new state."""
        decoded, state = self._decode(tokens.unsqueeze(1), memory, state)
        return self._log_probs(decoded.hidden.squeeze(1), memory), state

    def weighted_step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, Tensor, State]:
        """A step, with the attention weights averaged over layers and heads [rows, src_len] in its middle."""
        decoded, state = self._decode(tokens.unsqueeze(1), memory, state, need_weights=True)
        return (
            self._log_probs(decoded.hidden.squeeze(1), memory),
            cast(Tensor, decoded.weights).flatten(1, 3).mean(1),
            state,
        )

    def _decode(
        self, tokens: Tensor, memory: Memory, state: State, need_weights: bool = False
    ) -> tuple[Decoded, State]:
        decoded, state = self.decoder(tokens, memory, state, need_weights=need_weights)
        return decoded, state

    def _log_probs(self, hidden: Tensor, memory: Memory) -> Tensor:
        """hidden [..., dim] -> [..., vocab]; `memory` is for a model whose sentences differ in what they may say."""
        return torch.log_softmax(sayable(self.projection(hidden)), dim=-1)

    def force(
        self, src: Tensor, src_mask: Tensor, tgt_in: Tensor, tgt_out: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """The log-probability of each token of tgt_out when tgt_in is forced, [batch, tgt_len] all three.

        Beside them, when asked for, the attention weights averaged over layers and heads [batch, tgt_len, src_len].
        """
        decoded, _ = self.decoder(tgt_in, self.read(src, src_mask), need_weights=need_weights)
        chunks = (rows.split(TOKENS_AT_ONCE) for rows in (decoded.hidden.flatten(0, 1), tgt_out.flatten()))
        log_probs = [
            -cross_entropy(sayable(self.projection(hidden)), targets, reduction="none")
            for hidden, targets in zip(*chunks, strict=True)
        ]
        weights = None if decoded.weights is None else decoded.weights.flatten(1, 2).mean(1)
        return torch.cat(log_probs).view_as(tgt_out), weights

    def attention(self, src: Tensor, src_mask: Tensor, tgt_in: Tensor, kind: AttentionKind = "cross") -> Tensor:
        """Return attention weights [batch, layers, heads, queries, keys], computed anew by forcing tgt_in.

        Queries are target positions and keys source positions; in self-attention both are of one side. Only for a model
        that `has_attention` of this kind.
        """
        if kind == "encoder":
            weights = cast(Encoder, self.encoder)(src, src_mask, need_weights=True).weights
        else:
            decoded, _ = cast(Decoder, self.decoder)(tgt_in, self.read(src, src_mask), need_weights=True)
            weights = decoded.weights if kind == "cross" else decoded.self_weights
        assert weights is not None, f"this model has no {kind} attention"
        return weights


def sayable(logits: Tensor) -> Tensor:
    """Return logits [..., vocab] in float32, with minus infinity for padding and begin of sentence.

    A translation never has these two, so probabilities are those among the other tokens, as CTranslate2's are. Logits
    in float32 are written into.
    """
    logits = logits.float()
    for token in (PAD, BOS):  # one after the other: an index of several would be brought to the device at every step
        logits[..., token] = -math.inf
    return logits


def tree_map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Apply `function` to every tensor of a tree of (named) tuples; what is no tensor stays."""
    if isinstance(tree, Tensor):
        return cast(Tree, function(tree))
    if isinstance(tree, tuple):
        leaves = [tree_map(function, leaf) for leaf in tree]
        return cast(Tree, type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves))
    return tree


def select(tree: Tree, rows: Tensor) -> Tree:
    """Return the given rows [n] of every tensor of a memory or a state, in that order."""
    return tree_map(lambda leaf: leaf.index_select(0, rows), tree)
