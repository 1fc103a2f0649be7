"""Losses behind a projection to the vocabulary, without the logits of all rows in memory at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# logits held at once: 8 MiB of fp32 on a CPU, 128 MiB on a GPU, which wants large products
LOGITS_AT_ONCE = {"cpu": 1 << 21, "cuda": 1 << 25}

RowsLoss = Callable[..., tuple[Tensor, Tensor]]
"""weight, bias, hidden, *rows -> a sum over rows, and a figure for each row, without gradient"""


def in_chunks(
    loss: RowsLoss, weight: Tensor, bias: Tensor | None, hidden: Tensor, *rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Return loss(weight, bias, hidden, *rows), computed for a chunk of rows at a time.

    hidden is [rows, ..., dim], weight [vocab, dim]; each of `rows` has as many rows as hidden. A chunk's gradients are
    taken while its logits are there, so these are neither kept nor computed twice (Hsu et al. 2024). Rows 2i and
    2i + 1 are always in one chunk.
    """
    logits_of_row = weight.size(0) * math.prod(hidden.shape[1:-1])
    at_once = LOGITS_AT_ONCE.get(hidden.device.type, LOGITS_AT_ONCE["cuda"])
    size = 2 * max(1, at_once // (2 * logits_of_row))
    sums: tuple[Tensor, Tensor] = _Chunked.apply(  # type: ignore[no-untyped-call]
        loss, size, torch.is_grad_enabled(), weight, bias, hidden, *rows
    )
    return sums


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: RowsLoss, size: int, grad_enabled: bool, *given: Tensor) -> tuple[Tensor, Tensor]:
        trained = [place for place, needed in enumerate(ctx.needs_input_grad[3:]) if needed and grad_enabled]
        inputs = [None if each is None else each.detach() for each in given]
        sums = [torch.zeros_like(each) if place in trained else None for place, each in enumerate(given)]
        totals, figures = [], []
        for start in range(0, max(1, len(given[2])), size):
            chunk, of_chunk = _chunk(inputs, start, size), _chunk(sums, start, size)
            leaves = [chunk[place].requires_grad_() for place in trained]
            with torch.set_grad_enabled(grad_enabled):
                total, figure = loss(*chunk)
            for place, gradient in zip(trained, torch.autograd.grad(total, leaves) if leaves else (), strict=True):
                of_chunk[place] += gradient
            totals.append(total.detach())
            figures.append(figure)
        ctx.save_for_backward(*sums)
        of_rows = torch.cat(figures)
        ctx.mark_non_differentiable(of_rows)
        return torch.stack(totals).sum(), of_rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if each is None else (each * factor).to(each.dtype) for each in ctx.saved_tensors)
        return None, None, None, *gradients


def _chunk(tensors: Sequence[Tensor | None], start: int, size: int) -> list[Any]:
    """Weight and bias whole, and a chunk of the rows of the others."""
    weight, bias, *others = tensors
    return [weight, bias, *(None if each is None else each[start : start + size] for each in others)]
