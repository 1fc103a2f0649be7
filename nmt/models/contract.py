"""The interfaces of models: what encoders and decoders return, and how training and search call them.

The same call of a `Decoder` serves training (the whole target), search (one token and a state) and forced prefixes
(several tokens and a state). The state is passed in and returned; no module stores it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from nmt.attention.contract import Encoded, Memory, NamedLoss, merged, select, tree_map

__all__ = [
    "AttentionKind",
    "Decoded",
    "Decoder",
    "Encoded",
    "Encoder",
    "Memory",
    "NamedLoss",
    "NeedWeights",
    "OneLayer",
    "SearchState",
    "State",
    "Step",
    "first_position",
    "merged",
    "positions_after",
    "select",
    "tree_map",
]

# Attention from target to source (cross), within the source (encoder) or within the target (decoder).
AttentionKind = Literal["cross", "encoder", "decoder"]


class OneLayer(NamedTuple):
    """A request for the weights of attention to the source in one layer alone, so that others can do without theirs."""

    layer: int | None  # counted from 0; None: the last but one, or the only one

    def of(self, layers: int) -> int:
        """Return the index, from 0, of the requested layer in a decoder with this number of `layers`."""
        return max(layers - 2, 0) if self.layer is None else self.layer


NeedWeights = bool | OneLayer  # whether attention weights are requested: no, all, or those of one layer


class State(NamedTuple):
    """The state of a decoder between two steps. Every leaf is a tensor with one row per hypothesis."""

    position: Tensor  # [rows] int64, the number of tokens decoded so far
    own: Any  # state that belongs to no layer, such as that of a recurrent decoder's attention
    layers: tuple[Any, ...]  # one state per layer


SearchState = Any  # the state of a search: a State, a tuple of the States of several models, or a State with additions
# (token ids [rows], memory, state) -> log_probs [rows, vocab], which the caller may overwrite, and the next state
Step = Callable[[Tensor, Memory, SearchState], tuple[Tensor, SearchState]]


class Decoded(NamedTuple):
    """The output of a decoder for each target position."""

    hidden: Tensor  # [rows, tgt_len, dim] before the vocabulary projection; in a mixture [rows, tgt_len, k, dim]
    # [rows, layers, heads, tgt_len, src_len] (RNN: 1, 1), only if requested; with `OneLayer` there is one layer
    weights: Tensor | None = None
    mixture: Tensor | None = None  # [rows, tgt_len, k] log-weights of k predictions whose probabilities are averaged
    losses: tuple[NamedLoss, ...] = ()  # with the names in `Decoder.loss_names`, in that order
    # [rows, layers, heads, tgt_len, all target positions so far], returned together with `weights` by a decoder that
    # `self_attends`, unless `OneLayer` was requested; zeros for layers without weights, None if all are.
    # With a state, layers that forget past positions have no weights, either
    self_weights: Tensor | None = None
    depth: Tensor | None = None  # [rows, tgt_len], the number of layers that each position used; None: all layers


@runtime_checkable
class Encoder(Protocol):
    """A module that turns source ids into states."""

    attends: bool  # whether it has self-attention, whose weights can be requested
    loss_names: tuple[str, ...]  # the names of the losses that it adds to training

    def __call__(
        self,
        src: Tensor,
        mask: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: bool = False,
        need_layers: bool = False,
    ) -> Encoded:
        """Encode src [batch, src_len]; mask [batch, src_len] is False at padding.

        `lengths` [batch] are on the CPU even if all else is on a GPU: an encoder that needs lengths on the CPU then
        does not have to wait for the GPU.
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """A module that turns target prefixes into hidden states."""

    attends: bool  # whether it attends to the source, with weights that can be requested
    self_attends: bool  # whether it has self-attention, whose weights are then returned, too
    reads_layers: bool  # whether `read` needs Encoded.layers
    loss_names: tuple[str, ...]  # the names of the losses that it adds to training

    def read(self, encoded: Encoded) -> Memory:
        """Compute the memory, once per sentence: everything that depends on the source alone, such as keys."""
        ...

    def init_state(self, memory: Memory, max_len: int) -> State:
        """Return the state before the first token, with one row per sentence.

        No more than max_len tokens will be decoded, so a decoder can allocate its state in advance. The decoders of
        this project do not use max_len.
        """
        ...

    def __call__(
        self, tokens: Tensor, memory: Memory, state: State | None = None, *, need_weights: NeedWeights = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] that follow `state`, and return the outputs and the next state.

        Without a state, decoding starts at the beginning of the target, and the returned state is None. The hypotheses
        of a sentence are neighbouring rows, so the number of rows is a multiple of the number of sentences in the
        memory. All rows advance by the same number of tokens.
        """
        ...


def first_position(like: Tensor) -> Tensor:
    """Return `State.position` before any token has been decoded: zeros [rows], one for each row of `like`."""
    return torch.zeros(like.size(0), dtype=torch.long, device=like.device)


def positions_after(state: State | None, tokens: Tensor) -> Tensor:
    """Return the positions [1, length] of tokens [rows, length] that follow `state` (None: from the start).

    The positions are the same for all rows, since all rows advance by the same number of tokens.
    """
    steps = torch.arange(tokens.size(1), device=tokens.device).unsqueeze(0)
    return steps if state is None else state.position[:1].unsqueeze(1) + steps
