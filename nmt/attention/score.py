"""Scores: how well a decoder's query matches each source state, before the softmax.

A score projects the source states once a sentence (`keys`) and then compares queries with them, so that nothing
that depends on the source alone is computed at every step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmt.attention.shared import Shared

Compare = Callable[[Tensor], Tensor]  # queries [batch, queries, query_dim] -> scores [batch, queries, src_len]


class Score(nn.Module, ABC):
    """Compares queries [batch, queries, query_dim] with source states [batch, src_len, states_dim]."""

    @abstractmethod
    def keys(self, states: Tensor) -> Tensor:
        """What queries are compared with, of the states [batch, src_len, states_dim]: [batch, src_len, key_dim]."""

    @abstractmethod
    def against(self, keys: Tensor, penalty: Tensor) -> Compare:
        """The comparison with these keys for one time loop; penalty [batch, 1, src_len] is added to every score."""


class DotScore(Score):
    """score(h_t, h_s) = h_t . h_s (Luong et al. 2015, eq. 8, dot)."""

    def keys(self, states: Tensor) -> Tensor:
        return states

    def against(self, keys: Tensor, penalty: Tensor) -> Compare:
        product = Shared(keys)
        return lambda query: product(query, plus=penalty)


class GeneralScore(DotScore):
    """score(h_t, h_s) = h_t . W_a h_s (Luong et al. 2015, eq. 8, general)."""

    def __init__(self, query_dim: int, states_dim: int) -> None:
        super().__init__()
        self.states_projection = nn.Linear(states_dim, query_dim, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        projected: Tensor = self.states_projection(states)
        return projected


class AdditiveScore(Score):
    """score(s, h) = v . tanh(W_a s + U_a h) (Bahdanau et al. 2015, A.1.2).

    With [W_a U_a] read as one matrix over [h_t; h_s] it is the concat score of Luong et al. 2015, eq. 8.
    """

    def __init__(self, query_dim: int, states_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.query_projection = nn.Linear(query_dim, attention_dim, bias=False)
        self.states_projection = nn.Linear(states_dim, attention_dim)
        self.v = nn.Linear(attention_dim, 1, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        projected: Tensor = self.states_projection(states)
        return projected

    def against(self, keys: Tensor, penalty: Tensor) -> Compare:
        project = Shared(self.query_projection.weight)
        sums = _GradientSums()
        if torch.is_grad_enabled():
            keys, v = _Summed.apply(keys, self.v.weight[0], sums)  # type: ignore[no-untyped-call]
        else:
            v = self.v.weight[0]

        def compare(query: Tensor) -> Tensor:
            projected = project(query.flatten(0, 1)).unflatten(0, query.shape[:2])
            scores: Tensor = _Additive.apply(projected, keys, v, sums)  # type: ignore[no-untyped-call]
            return scores + penalty

        return compare


class _GradientSums:
    """What the steps of a time loop have added up for keys and v."""

    keys: Tensor | None = None
    v: Tensor | None = None


class _Additive(torch.autograd.Function):
    """v . tanh(query + key) for each pair; the gradients of keys and v are added up in place, step after step."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, v: Tensor, sums: _GradientSums) -> Tensor:
        # [batch, queries, 1, attention] + [batch, 1, src_len, attention]
        energy = (query.unsqueeze(2) + keys.unsqueeze(1)).tanh_()
        ctx.save_for_backward(energy, v)
        ctx.sums = sums
        return energy @ v.to(energy.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        energy, v = ctx.saved_tensors
        sums: _GradientSums = ctx.sums
        v_gradient = energy.flatten(0, 2).mT @ gradient.to(energy.dtype).flatten()
        inner = gradient.unsqueeze(3) * v.to(gradient.dtype)
        inner = torch.ops.aten.tanh_backward.grad_input(inner, energy, grad_input=inner)
        keys_gradient = inner.squeeze(1) if inner.size(1) == 1 else inner.sum(1)
        if sums.keys is None or sums.v is None:
            sums.keys, sums.v = keys_gradient, v_gradient
        else:
            sums.keys += keys_gradient
            sums.v += v_gradient
        return inner.sum(2), None, None, None


class _Summed(torch.autograd.Function):
    """keys and v themselves; their gradients are asked for when every step has added its share."""

    @staticmethod
    def forward(ctx: Any, keys: Tensor, v: Tensor, sums: _GradientSums) -> tuple[Tensor, Tensor]:
        ctx.sums = sums
        return keys.view_as(keys), v.view_as(v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _keys: Tensor, _v: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        sums: _GradientSums = ctx.sums
        keys, v, sums.keys, sums.v = sums.keys, sums.v, None, None
        return keys, v, None
