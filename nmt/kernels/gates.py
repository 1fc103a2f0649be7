"""What recurrent units do with their gates, as single functions of autograd: fewer passes over memory than by parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_sigmoid_backward = torch.ops.aten.sigmoid_backward
_tanh_backward = torch.ops.aten.tanh_backward


class LstmGates(torch.autograd.Function):
    """c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c') from gates i, f, g, o side by side.

    gates [..., 4 * hidden], c [..., hidden] -> h', c' (Hochreiter & Schmidhuber 1997; order of `nn.LSTM`).
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = gates.to(c.dtype)
        activated = torch.sigmoid(gates)
        i, f, g, o = activated.chunk(4, dim=-1)
        torch.tanh(gates.chunk(4, dim=-1)[2], out=g)
        now = torch.addcmul(f * c, i, g)
        squashed = torch.tanh(now)
        ctx.save_for_backward(activated, c, squashed)
        return o * squashed, now

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, h_gradient: Tensor, now_gradient: Tensor) -> tuple[Tensor, Tensor]:
        activated, c, squashed = ctx.saved_tensors
        i, f, g, o = activated.chunk(4, dim=-1)
        now_gradient = now_gradient + _tanh_backward(h_gradient * o, squashed)
        gradient = torch.empty_like(activated)
        to_i, to_f, to_g, to_o = gradient.chunk(4, dim=-1)
        _sigmoid_backward.grad_input(now_gradient * g, i, grad_input=to_i)
        _sigmoid_backward.grad_input(now_gradient * c, f, grad_input=to_f)
        _tanh_backward.grad_input(now_gradient * i, g, grad_input=to_g)
        _sigmoid_backward.grad_input(h_gradient * squashed, o, grad_input=to_o)
        return gradient, now_gradient.mul_(f)


class GruGates(torch.autograd.Function):
    """r, z = sigmoid(x + u), n = tanh(x_n + r u_n), h' = (1 - z) n + z h: the unit of `nn.GRU`.

    x and u [..., 3 * hidden] are what input and state contribute to r, z, n side by side; h [..., hidden] -> h'.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor, h: Tensor) -> Tensor:
        x, u = x.to(h.dtype), u.to(h.dtype)
        n = h.size(-1)
        gates = torch.sigmoid(x[..., : 2 * n] + u[..., : 2 * n])
        reset, update = gates.chunk(2, dim=-1)
        recurrent = u[..., 2 * n :]
        new = torch.addcmul(x[..., 2 * n :], reset, recurrent).tanh_()
        ctx.save_for_backward(gates, recurrent, new, h)
        return torch.lerp(new, h, update)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, recurrent, new, h = ctx.saved_tensors
        reset, update = gates.chunk(2, dim=-1)
        n = h.size(-1)
        to_h = gradient * update
        to_x = gradient.new_empty(*gradient.shape[:-1], 3 * n)
        to_reset, to_update, to_new = to_x.chunk(3, dim=-1)
        _tanh_backward.grad_input(gradient - to_h, new, grad_input=to_new)
        _sigmoid_backward.grad_input(to_new * recurrent, reset, grad_input=to_reset)
        _sigmoid_backward.grad_input(gradient * (h - new), update, grad_input=to_update)
        to_u = to_x.clone()
        torch.mul(to_new, reset, out=to_u[..., 2 * n :])
        return to_x, to_u, to_h
