"""The contracts of attention: what an encoder hands on, and what every mechanism promises to a model.

A mechanism keeps no state on its module. What it has to remember from one step of a search to the next is a tree of
tensors with one row for each hypothesis, which it is given and returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

Memory = Any  # a NamedTuple of tensors, one row for each sentence
MechanismState = Any  # a NamedTuple of tensors, one row for each hypothesis; None where there is nothing to remember

Tree = TypeVar("Tree")


class Encoded(NamedTuple):
    """The output of an encoder, from which a decoder makes its memory."""

    states: Tensor  # [batch, src_len, dim]
    mask: Tensor  # [batch, src_len] bool, True = may attend
    final: tuple[Tensor, ...]  # what a decoder may start from; RNN: h (and c), [batch, layers, dim]; Transformer: ()
    layers: Tensor | None = None  # [batch, layers, src_len, dim], normalised, embeddings first; where asked for
    # [batch, layers, heads, src_len, src_len] of self-attention, only when asked for; zeros of a layer without weights
    weights: Tensor | None = None


class NamedLoss(NamedTuple):
    """A term that a mechanism adds to training."""

    name: str
    weight: float  # a key of the configuration
    # log-probabilities of the targets and their mask, both [rows, tgt_len], the mask True at tokens and the
    # log-probabilities 0 elsewhere and without gradient -> the sum over the batch
    value: Callable[[Tensor, Tensor], Tensor]


class Attended(NamedTuple):
    """The output of attention to the source. Read its fields by name: mechanisms may add further ones."""

    # [rows, tgt_len, dim]; with a mixture [rows, tgt_len, k, dim], a context for each of k predictions
    context: Tensor
    weights: Tensor | None  # [rows, heads, tgt_len, src_len]; None where nobody asked and nothing needed them
    state: MechanismState = None
    mixture: Tensor | None = None  # [rows, tgt_len, k] log-weights of the k predictions
    losses: tuple[NamedLoss, ...] = ()  # those that `SourceAttention.loss_names` names


# x [rows, tgt_len, dim], positions [rows or 1, tgt_len] and the state -> contexts. rows is a multiple of the memory's
# rows: the hypotheses of a sentence are neighbours.
Attend = Callable[[Tensor, Tensor, MechanismState], Attended]


class Mixer(nn.Module, ABC):
    """One sublayer in which positions of a sequence exchange what they hold: self-attention, or what stands there.

    Whether it is causal, as in a decoder, is fixed when it is made. A causal one gives the same answers whether it is
    called on a whole sequence or, with a state, on parts of it one after another.
    """

    attends: ClassVar[bool] = True  # whether it has weights to show

    @abstractmethod
    def init_state(self, rows: int, like: Tensor) -> MechanismState:
        """Return the state before the first position of each row; `like` has its device and type."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: MechanismState = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, MechanismState, Tensor | None]:
        """Return mixed x, the next state (None without a state) and weights where they are asked for.

        x is [rows, length, dim] at positions [rows or 1, length]; mask [rows, length] is False at padding. With a
        state, which goes without a mask, x follows what the state has seen. Weights are [rows, heads, length, all
        positions so far].
        """

    @abstractmethod
    def state_bytes(self, length: int) -> int:
        """Return how many bytes of fp32 the state of one row has after `length` positions."""


class SourceAttention(nn.Module, ABC):
    """Attention of a decoder, recurrent or not, to the states of the encoder."""

    reads_layers: ClassVar[bool] = False  # whether `read` needs Encoded.layers
    loss_names: tuple[str, ...] = ()  # of the losses that it adds to training

    @abstractmethod
    def read(self, encoded: Encoded) -> Memory:
        """Compute what attention needs of each sentence once, such as projected keys."""

    def init_state(self, memory: Memory) -> MechanismState:
        """Return the state before the first step, one row for each sentence; None for attention without one."""
        return None

    @abstractmethod
    def over(self, memory: Memory, *, need_weights: bool = False) -> Attend:
        """Open a time loop over this memory: what no step changes is bound once.

        Answers have weights with `need_weights`, and may have them without.
        """


def merged(losses: Iterable[NamedLoss]) -> tuple[NamedLoss, ...]:
    """Return one loss for each name, in the order in which names come: the sum of those of that name.

    So a loss may come from each layer, or from each step of a time loop.
    """
    of_name: dict[str, list[NamedLoss]] = {}
    for loss in losses:
        of_name.setdefault(loss.name, []).append(loss)
    return tuple(_summed(same) for same in of_name.values())


def _summed(losses: list[NamedLoss]) -> NamedLoss:
    def value(log_probs: Tensor, mask: Tensor) -> Tensor:
        return torch.stack([loss.value(log_probs, mask) for loss in losses]).sum()

    return losses[0] if len(losses) == 1 else losses[0]._replace(value=value)


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
