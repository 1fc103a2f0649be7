"""The interfaces of attention: the output of an encoder, and what every attention mechanism has to implement.

Mechanisms are stateless modules. Whatever a mechanism has to remember between two steps of a search is a tree of
tensors with one row per hypothesis. The caller passes this state in, and the mechanism returns the next one. What a
mechanism learns from one update of the training for the next is in its buffers (`LearnsFromUpdates`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

Memory = Any  # a NamedTuple of tensors with one row per sentence
MechanismState = Any  # a NamedTuple of tensors with one row per hypothesis; None if there is nothing to remember

Tree = TypeVar("Tree")


class Encoded(NamedTuple):
    """The output of an encoder, from which a decoder computes its memory."""

    states: Tensor  # [batch, src_len, dim]
    mask: Tensor  # [batch, src_len] bool, True = may attend
    # the last state, from which a decoder may start; RNN: h (and c), [batch, layers, dim] each; Transformer: ()
    final: tuple[Tensor, ...]
    # [batch, layers, src_len, dim], the embeddings and then each layer's output, normalised; only with need_layers
    layers: Tensor | None = None
    # [batch, layers, heads, src_len, src_len] of self-attention, only with need_weights; zeros for layers without it
    weights: Tensor | None = None
    losses: tuple[NamedLoss, ...] = ()  # with the names in `Encoder.loss_names`
    depth: Tensor | None = None  # [batch, src_len], the number of layers that each position used; None: all layers


class NamedLoss(NamedTuple):
    """A term that a part of the model adds to the training loss."""

    name: str
    weight: float  # the factor of this term in the training loss, from the configuration
    # (log_probs of the targets, target mask) -> the loss summed over the batch. Both arguments are [rows, tgt_len]. The
    # mask is True at tokens; log_probs are 0 at padding and have no gradient.
    value: Callable[[Tensor, Tensor], Tensor]


class Attended(NamedTuple):
    """The output of attention to the source. Read its fields by name, since mechanisms may add further fields."""

    # [rows, tgt_len, dim]; in a mixture [rows, tgt_len, k, dim], one context for each of the k predictions
    context: Tensor
    weights: Tensor | None  # [rows, heads, tgt_len, src_len]; None if neither requested nor needed
    state: MechanismState = None  # the next state
    mixture: Tensor | None = None  # [rows, tgt_len, k] log-weights of the k predictions
    losses: tuple[NamedLoss, ...] = ()  # with the names in `SourceAttention.loss_names`


# (x [rows, tgt_len, dim], positions [rows or 1, tgt_len], state) -> contexts. The hypotheses of a sentence are
# neighbouring rows, so the number of rows is a multiple of the number of sentences in the memory.
Attend = Callable[[Tensor, Tensor, MechanismState], Attended]


class Mixer(nn.Module, ABC):
    """A sublayer that exchanges information between the positions of a sequence: self-attention or its replacement.

    A mixer is made causal, for a decoder, or not, for an encoder. A causal mixer gives the same outputs whether it is
    called once on a whole sequence or, with a state, on its parts one after another.
    """

    attends: ClassVar[bool] = True  # whether it has weights to show
    sums_to_one: ClassVar[bool] = True  # whether the weights of a position sum to one; otherwise to any number
    # whether its weights are implied: nothing is attended to, and each channel, or group of channels, of the output is
    # a matrix times the values; the mean of the matrices' absolute values is shown as weights
    implied: ClassVar[bool] = False
    # whether its state does not know past positions one by one: if a state is given, there are no weights to return
    forgets: ClassVar[bool] = False

    @abstractmethod
    def init_state(self, rows: int, like: Tensor) -> MechanismState:
        """Return the state of `rows` sequences before their first position; `like` has the device and dtype to use."""

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
        """Return x after mixing, the next state (None if none is given) and the weights (None unless requested).

        x is [rows, length, dim] at positions [rows or 1, length]; mask [rows, length] is False at padding. If a state
        is given, x continues the sequence that the state has seen, and no mask is allowed. Weights are
        [rows, heads, length, all positions so far]. With a state, a mixer that `forgets` returns none.
        """

    @abstractmethod
    def state_bytes(self, length: int) -> int:
        """Return the size of one row's state after `length` positions, in bytes of fp32."""


class SourceAttention(nn.Module, ABC):
    """Attention from a decoder, recurrent or Transformer, to the states of the encoder."""

    reads_layers: ClassVar[bool] = False  # whether `read` needs Encoded.layers
    sums_to_one: ClassVar[bool] = True  # False: the weights of a target position need not sum to one
    loss_names: tuple[str, ...] = ()  # the names of the losses that it adds to training

    @abstractmethod
    def read(self, encoded: Encoded) -> Memory:
        """Compute the memory, once per sentence: everything that depends on the source alone, such as keys."""

    def init_state(self, memory: Memory) -> MechanismState:
        """Return the state before the first step, with one row per sentence; None if this attention has no state."""
        return None

    @abstractmethod
    def over(self, memory: Memory, *, need_weights: bool = False) -> Attend:
        """Return a function that attends to `memory`, to be called at each step of a decoder's time loop.

        Work that is the same for all steps is done here, once. With `need_weights` the function returns weights;
        without `need_weights` it may return them or None.
        """


class LearnsFromUpdates(ABC):
    """A part of a model that learns from the losses of whole updates, or limits its weights, after each update.

    What it learns is in its buffers, which are part of the model's `state_dict`: checkpoints store them as they are,
    and an average of checkpoints has their mean. They change between updates only, so that all micro-batches of an
    update find the same values.
    """

    @abstractmethod
    def after_update(self, losses: Mapping[str, Tensor]) -> None:
        """Change buffers or weights, in place, after an update with these losses, scalars on the model's device.

        They are `nll`, the negative log-likelihood, and the losses in the model's `loss_names`: the mean over all
        target tokens of the update, and therefore the same in all processes.
        """


class Penalised(ABC):
    """A part of a model that adds a penalty on its parameters to the training loss, such as on long spans."""

    penalty_name: ClassVar[str]  # the name of the loss in logs
    penalty_weight: float  # the factor of the penalty in the training loss, from the configuration

    @abstractmethod
    def penalty(self) -> Tensor:
        """Return the penalty, a scalar. Those of all parts with the same name are added."""


def penalties(model: nn.Module) -> tuple[NamedLoss, ...]:
    """Return the losses of all parts of a model that are `Penalised`.

    A loss is a sum over target tokens, which training divides by the number of target tokens. A penalty is multiplied
    by this number first, so that the division leaves it as it is.
    """

    def loss(part: Penalised) -> NamedLoss:
        return NamedLoss(part.penalty_name, part.penalty_weight, lambda log_probs, mask: part.penalty() * mask.sum())

    return merged(loss(part) for part in model.modules() if isinstance(part, Penalised))


def merged(losses: Iterable[NamedLoss]) -> tuple[NamedLoss, ...]:
    """Return one loss per name, the sum of all losses with that name, in the order in which the names first appear.

    Thus each layer, or each step of a time loop, can return its own part of a loss.
    """
    by_name: dict[str, list[NamedLoss]] = {}
    for loss in losses:
        by_name.setdefault(loss.name, []).append(loss)
    return tuple(_summed(same) for same in by_name.values())


def _summed(losses: list[NamedLoss]) -> NamedLoss:
    """Return one loss whose value is the sum of the values of the given losses."""

    def value(log_probs: Tensor, mask: Tensor) -> Tensor:
        return torch.stack([loss.value(log_probs, mask) for loss in losses]).sum()

    return losses[0] if len(losses) == 1 else losses[0]._replace(value=value)


def tree_map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Apply `function` to every tensor in a tree of (named) tuples, and keep leaves that are not tensors."""
    if isinstance(tree, Tensor):
        return cast(Tree, function(tree))
    if isinstance(tree, tuple):
        leaves = [tree_map(function, leaf) for leaf in tree]
        return cast(Tree, type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves))
    return tree


def select(tree: Tree, rows: Tensor) -> Tree:
    """Return a memory or state with only the given rows [n] of each tensor, in the order of `rows`."""
    return tree_map(lambda leaf: leaf.index_select(0, rows), tree)
