"""The contracts of models: what a decoder answers, and how search and training drive it.

One `Decoder.forward` serves training (the whole target), search (one token and a state) and forced prefixes (several
tokens and a state). State is handed on by value and never kept on a module.
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
    "SearchState",
    "State",
    "Step",
    "first_position",
    "merged",
    "positions_after",
    "select",
    "tree_map",
]

# Who attends to whom: target to source; source to source (encoder); target to target (decoder).
AttentionKind = Literal["cross", "encoder", "decoder"]


class State(NamedTuple):
    """What a decoder remembers between two steps: every leaf is a tensor with one row for each hypothesis."""

    position: Tensor  # [rows] int64, how many tokens have been decoded
    own: Any  # what the decoder carries itself
    layers: tuple[Any, ...]  # one state for each layer


SearchState = Any  # what a search carries: a State, those of several models, or one with something beside it
# token ids [rows] -> log-probs [rows, vocab], a tensor of the caller's own, and the next state
Step = Callable[[Tensor, Memory, SearchState], tuple[Tensor, SearchState]]


class Decoded(NamedTuple):
    """What a decoder answers for each target position."""

    hidden: Tensor  # [rows, tgt_len, dim] before the vocabulary projection; with a mixture [rows, tgt_len, k, dim]
    weights: Tensor | None = None  # [rows, layers, heads, tgt_len, src_len] (RNN: 1, 1), only when asked for
    mixture: Tensor | None = None  # [rows, tgt_len, k] log-weights of k predictions whose probabilities are averaged
    losses: tuple[NamedLoss, ...] = ()  # those that `Decoder.loss_names` names, in that order
    # [rows, layers, heads, tgt_len, all target positions so far]: beside `weights`, of a decoder that `self_attends`;
    # zeros of a layer without weights
    self_weights: Tensor | None = None


@runtime_checkable
class Encoder(Protocol):
    """Source ids to states."""

    attends: bool  # whether it has self-attention, whose weights can be asked for

    def __call__(
        self,
        src: Tensor,
        mask: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: bool = False,
        need_layers: bool = False,
    ) -> Encoded:
        """Encode src [batch, src_len] where mask [batch, src_len] is True.

        `lengths` [batch], on the CPU wherever the rest is, spares an encoder that needs them there a wait for the
        device.
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """Target prefixes to hidden states."""

    attends: bool  # whether it attends to the source, with weights that can be asked for
    self_attends: bool  # whether it has self-attention, whose weights then come with them
    reads_layers: bool  # whether `read` needs Encoded.layers
    loss_names: tuple[str, ...]  # of the losses that it adds to training

    def read(self, encoded: Encoded) -> Memory:
        """Compute what every step needs, once for each sentence: projected keys, keys and values."""
        ...

    def init_state(self, memory: Memory, max_len: int) -> State:
        """Return the state before the first token, one row for each sentence, for at most max_len tokens."""
        ...

    def __call__(
        self, tokens: Tensor, memory: Memory, state: State | None = None, *, need_weights: bool = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state` (None: from the start, and no state is returned).

        rows is a multiple of the memory's rows: hypotheses of one sentence are neighbours. All rows advance by the
        same number of tokens.
        """
        ...


def first_position(like: Tensor) -> Tensor:
    """Return the position of each row of `like` before the first token: zeros [rows]."""
    return torch.zeros(like.size(0), dtype=torch.long, device=like.device)


def positions_after(state: State | None, tokens: Tensor) -> Tensor:
    """Return the positions [1, length] of tokens [rows, length] after a state, or from the start.

    All rows are at the same one, since all advance by the same number of tokens.
    """
    steps = torch.arange(tokens.size(1), device=tokens.device).unsqueeze(0)
    return steps if state is None else state.position[:1].unsqueeze(1) + steps
