"""An ensemble: several models with the same vocabulary, whose probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nmt.models.contract import Memory, State
from nmt.models.seq2seq import Seq2Seq

States = tuple[State, ...]  # one state per model


class Ensemble(nn.Module):
    """An ensemble of models of any kind, with the methods of `Seq2Seq` that search calls.

    Memories and states are tuples with one element per model. The probability of a token is the arithmetic mean of the
    models' probabilities (first used for neural translation by Sutskever et al. 2014).
    """

    def __init__(self, models: Sequence[Seq2Seq]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    @property
    def attends(self) -> bool:
        """True if every model can return attention weights."""
        return all(model.attends for model in self._models())

    def read(self, src: Tensor, src_mask: Tensor, lengths: Tensor | None = None) -> Memory:
        """Return each model's memory of src, with one row per sentence."""
        return tuple(model.read(src, src_mask, lengths) for model in self._models())

    def init_state(self, memory: Memory, max_len: int) -> States:
        """Return each model's state before the first token, with one row per sentence."""
        return tuple(model.init_state(part, max_len) for model, part in zip(self._models(), memory, strict=True))

    def step(self, tokens: Tensor, memory: Memory, state: States) -> tuple[Tensor, States]:
        """Take one search step: the last tokens [rows] -> log mean probabilities [rows, vocab] and the new states."""
        parts = zip(self._models(), memory, state, strict=True)
        log_probs, states = zip(*(model.step(tokens, *part) for model, *part in parts), strict=True)
        return log_mean(log_probs), states

    def weighted_step(self, tokens: Tensor, memory: Memory, state: States) -> tuple[Tensor, Tensor, States]:
        """Take one search step like `step`, and return log-probabilities, attention weights and the new states.

        The weights [rows, src_len] are the mean of the models' weights.
        """
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
        """Score a given target as `Seq2Seq.force` does, averaging the models' probabilities and attention weights.

        As in `step`, the result is the logarithm of the mean probability, not the mean of the log-probabilities.
        """
        given = (src, src_mask, tgt_in, tgt_out, lengths)
        forced = [model.force(*given, need_weights=need_weights) for model in self._models()]
        weights = [part for _, part in forced if part is not None]
        return log_mean([log_probs for log_probs, _ in forced]), torch.stack(weights).mean(0) if weights else None

    def _models(self) -> list[Seq2Seq]:
        return cast(list[Seq2Seq], list(self.models))


def log_mean(log_probs: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean probability, given tensors of log-probabilities with the same shape."""
    return torch.stack(tuple(log_probs)).logsumexp(0) - math.log(len(log_probs))
