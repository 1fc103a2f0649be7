"""An ensemble: several models over one vocabulary that answer with the mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nmt.models.contract import Memory, State
from nmt.models.seq2seq import Seq2Seq

States = tuple[State, ...]  # one of each model


class Ensemble(nn.Module):
    """What search needs of a `Seq2Seq`, over models of any kind; memories and states are tuples with one of each model.

    A token's probability is the arithmetic mean of the models' (in translation first in Sutskever et al. 2014).
    """

    def __init__(self, models: Sequence[Seq2Seq]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    @property
    def attends(self) -> bool:
        """Whether every model has attention weights to show."""
        return all(model.attends for model in self._models())

    def read(self, src: Tensor, src_mask: Tensor, lengths: Tensor | None = None) -> Memory:
        """Return each model's memory of src, one row for each sentence."""
        return tuple(model.read(src, src_mask, lengths) for model in self._models())

    def init_state(self, memory: Memory, max_len: int) -> States:
        """Each model's state before the first token, one row a sentence."""
        return tuple(model.init_state(part, max_len) for model, part in zip(self._models(), memory, strict=True))

    def step(self, tokens: Tensor, memory: Memory, state: States) -> tuple[Tensor, States]:
        """One search step of all models: [rows] -> the mean's log-probabilities [rows, vocab] and the new states."""
        parts = zip(self._models(), memory, state, strict=True)
        log_probs, states = zip(*(model.step(tokens, *part) for model, *part in parts), strict=True)
        return log_mean(log_probs), states

    def weighted_step(self, tokens: Tensor, memory: Memory, state: States) -> tuple[Tensor, Tensor, States]:
        """A step, with the models' mean attention weights [rows, src_len] in its middle."""
        parts = zip(self._models(), memory, state, strict=True)
        steps = (model.weighted_step(tokens, *part) for model, *part in parts)
        log_probs, weights, states = zip(*steps, strict=True)
        return log_mean(log_probs), torch.stack(weights).mean(0), states

    def force(
        self,
        src: Tensor,
        src_mask: Tensor,
        tgt_in: Tensor,
        tgt_out: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `Seq2Seq.force`; the weights are the models' mean."""
        given = (src, src_mask, tgt_in, tgt_out, lengths)
        forced = [model.force(*given, need_weights=need_weights) for model in self._models()]
        weights = [part for _, part in forced if part is not None]
        return log_mean([log_probs for log_probs, _ in forced]), torch.stack(weights).mean(0) if weights else None

    def _models(self) -> list[Seq2Seq]:
        return cast(list[Seq2Seq], list(self.models))


def log_mean(log_probs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities that are given as logarithms, all of one shape."""
    return torch.stack(tuple(log_probs)).logsumexp(0) - math.log(len(log_probs))
