"""Products whose right operand is the same at every step of a time loop.

Autograd would make a gradient of the operand's full size at each step and add them up. Here a step only keeps what its
share of that gradient is made of, and one product over all steps makes the sum when the last share is there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_Shares = list[tuple[Tensor, Tensor]]  # of each step: the product's gradient, and its left operand


class Shared:
    """x @ operand.mT + bias for many x, one after another.

    operand is a weight [out, in], for x [rows, in], or one matrix a sentence [batch, out, in], for x [batch, n, in];
    bias, if any, is [out] or [batch, 1, out]. To be made anew for each time loop; its gradients are those of the plain
    products. Under autocast the operand is brought to its precision once.
    """

    def __init__(self, operand: Tensor, bias: Tensor | None = None) -> None:
        device = operand.device.type
        if torch.is_autocast_enabled(device):
            operand = operand.to(torch.get_autocast_dtype(device))
        self._shares: _Shares | None = None
        if torch.is_grad_enabled() and operand.requires_grad:
            self._shares = []
            operand = _Collected.apply(operand, bias, self._shares)  # type: ignore[no-untyped-call]
        self._operand = operand
        self._bias = bias if bias is None or self._shares is None else bias.detach()

    def __call__(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """The product. In the place of a bias: `plus`, of its shape, or one that broadcasts and needs no gradient."""
        assert plus is None or self._bias is None, "the bias's gradient is summed over all steps"
        plus = self._bias if plus is None else plus
        x = x.to(self._operand.dtype)
        plus = None if plus is None else plus.to(self._operand.dtype)
        if self._shares is None:
            return _product(x, self._operand, plus)
        product: Tensor = _Step.apply(x, self._operand, plus, self._shares)  # type: ignore[no-untyped-call]
        return product


def _product(x: Tensor, operand: Tensor, plus: Tensor | None) -> Tensor:
    device = x.device.type
    with torch.autocast(device, enabled=False):
        if plus is None:
            return x @ operand.mT
        return (torch.addmm if operand.dim() == 2 else torch.baddbmm)(plus, x, operand.mT)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, operand: Tensor, plus: Tensor | None, shares: _Shares) -> Tensor:
        ctx.save_for_backward(x, operand)
        ctx.shares = shares
        return _product(x, operand, plus)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, operand = ctx.saved_tensors
        ctx.shares.append((gradient, x))
        x_gradient = gradient @ operand if ctx.needs_input_grad[0] else None
        return x_gradient, None, gradient if ctx.needs_input_grad[2] else None, None


class _Collected(torch.autograd.Function):
    """The operand itself; its gradient and the bias's are asked for when every step has left its share."""

    @staticmethod
    def forward(ctx: Any, operand: Tensor, bias: Tensor | None, shares: _Shares) -> Tensor:
        ctx.shares = shares
        return operand.view_as(operand)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _nothing: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if not ctx.shares:  # no product entered the loss
            return None, None, None
        steps = ctx.shares[0][0].dim() - 2  # weights: steps become further rows; matrices: further queries to each
        gradient, left = (torch.cat(parts, dim=steps) for parts in zip(*ctx.shares, strict=True))
        ctx.shares.clear()
        bias_gradient = gradient.sum(steps, keepdim=steps > 0) if ctx.needs_input_grad[1] else None
        return gradient.mT @ left, bias_gradient, None
