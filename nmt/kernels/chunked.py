"""Losses on the vocabulary logits, computed in chunks of rows so that only the logits of one chunk are in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# the number of logits in memory at once: 8 MiB of fp32 on a CPU; 128 MiB on a GPU, which needs large products for speed
LOGITS_AT_ONCE = {"cpu": 1 << 21, "cuda": 1 << 25}

RowsLoss = Callable[..., tuple[Tensor, Tensor]]
"""(weight, bias, hidden, *rows) -> the loss summed over rows, and one number per row [rows] that has no gradient"""


def in_chunks(
    loss: RowsLoss, weight: Tensor, bias: Tensor | None, hidden: Tensor, *rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Return loss(weight, bias, hidden, *rows), computed for one chunk of rows at a time.

    The result is the pair that `loss` returns: the loss summed over all rows, and one number per row, [rows]. hidden is
    [rows, ..., dim], weight [vocab, dim]; each tensor in `rows` has as many rows as hidden. The gradients of a chunk
    are computed in the forward pass, while its logits are in memory, so that logits are neither kept for the backward
    pass nor computed twice (Hsu et al. 2024). Rows 2i and 2i + 1 are always in the same chunk, because R-Drop compares
    such a pair (`nmt.training.loss`).
    """
    logits_of_row = weight.size(0) * math.prod(hidden.shape[1:-1])
    at_once = LOGITS_AT_ONCE.get(hidden.device.type, LOGITS_AT_ONCE["cuda"])
    size = 2 * max(1, at_once // (2 * logits_of_row))
    result: tuple[Tensor, Tensor] = _Chunked.apply(  # type: ignore[no-untyped-call]
        loss, size, torch.is_grad_enabled(), weight, bias, hidden, *rows
    )
    return result


class _Chunked(torch.autograd.Function):
    """The autograd function of `in_chunks`: forward already computes the gradients, and backward only scales them."""

    @staticmethod
    def forward(ctx: Any, loss: RowsLoss, size: int, grad_enabled: bool, *given: Tensor) -> tuple[Tensor, Tensor]:
        # positions in `given` of the tensors that need a gradient, and their gradients, summed up chunk by chunk
        trained = [place for place, needed in enumerate(ctx.needs_input_grad[3:]) if needed and grad_enabled]
        inputs = [None if each is None else each.detach() for each in given]
        gradients = [torch.zeros_like(each) if place in trained else None for place, each in enumerate(given)]
        totals, figures = [], []
        for start in range(0, max(1, len(given[2])), size):
            chunk, chunk_gradients = _chunk(inputs, start, size), _chunk(gradients, start, size)
            leaves = [chunk[place].requires_grad_() for place in trained]
            with torch.set_grad_enabled(grad_enabled):
                total, figure = loss(*chunk)
            for place, gradient in zip(trained, torch.autograd.grad(total, leaves) if leaves else (), strict=True):
                chunk_gradients[place] += gradient
            totals.append(total.detach())
            figures.append(figure)
        ctx.save_for_backward(*gradients)
        all_figures = torch.cat(figures)
        ctx.mark_non_differentiable(all_figures)
        return torch.stack(totals).sum(), all_figures

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if each is None else (each * factor).to(each.dtype) for each in ctx.saved_tensors)
        return None, None, None, *gradients


def _chunk(tensors: Sequence[Tensor | None], start: int, size: int) -> list[Any]:
    """Return the first two tensors (weight and bias) unchanged, and rows start to start + size of all other tensors."""
    weight, bias, *others = tensors
    return [weight, bias, *(None if each is None else each[start : start + size] for each in others)]
