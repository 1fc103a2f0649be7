"""The additive score over a time loop, whose gradients of keys and v are added up in place.

Autograd would make a gradient of the keys' full size at each step and add them up. `nmt.attention.scores.additive` has
the equation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def additive_over(keys: Tensor, v: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the comparison of queries with keys [batch, src_len, dim], for one time loop.

    It takes queries [batch, queries, dim] to scores v . tanh(query + key) [batch, queries, src_len].
    """
    sums = _GradientSums()
    if torch.is_grad_enabled():
        keys, v = _Summed.apply(keys, v, sums)  # type: ignore[no-untyped-call]

    def compare(query: Tensor) -> Tensor:
        scores: Tensor = _Additive.apply(query, keys, v, sums)  # type: ignore[no-untyped-call]
        return scores

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
