"""Cross-entropy with label smoothing over the vocabulary, without the logits of all tokens in memory at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.data.batching import Batch
from nmt.data.tokenizer import PAD
from nmt.models.seq2seq import Seq2Seq

CHUNK_CPU, CHUNK_GPU = 1 << 22, 1 << 27  # logits held at once: 16 MiB of fp32 stay near the CPU's caches


class Loss(NamedTuple):
    """Sums over target tokens, in nats."""

    smoothed: Tensor  # what training minimises; carries the gradient
    nll: Tensor  # negative log-likelihood, no smoothing


def batch_loss(model: Seq2Seq, batch: Batch, device: torch.device, label_smoothing: float = 0.0) -> Loss:
    """The summed losses of a batch; only positions that hold a target token are projected."""
    rows = target_positions(batch).to(device, non_blocking=True)
    batch = batch.to(device)
    hidden = model(batch.src, batch.src_mask, batch.tgt_in).flatten(0, 1)  # [batch * tgt_len, dim]
    projection = model.projection
    return cross_entropy(
        hidden.index_select(0, rows),
        projection.weight,
        projection.bias,
        batch.tgt_out.flatten().index_select(0, rows),
        label_smoothing,
    )


def target_positions(batch: Batch) -> Tensor:
    """Indices [tokens] of target tokens among a batch's batch * tgt_len positions.

    Found on the CPU, before the batch leaves it: on a GPU the trainer would have to wait for their count.
    """
    return torch.nonzero(batch.tgt_out.flatten() != PAD).squeeze(1)


def perplexity(loss: float) -> float:
    """exp(loss) of a loss per token in nats; infinite where that is beyond a float."""
    return math.exp(loss) if loss < 700 else math.inf


def cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, label_smoothing: float = 0.0
) -> Loss:
    """Project hidden [tokens, dim] with weight [vocab, dim] and bias [vocab], and sum the losses of targets [tokens].

    Label smoothing spreads its share evenly over the whole vocabulary (Szegedy et al. 2016, section 7), so the sum is
    that of `F.cross_entropy(..., label_smoothing=..., reduction="sum")`. Rows go through in chunks; a chunk's gradients
    are taken while its logits are there, so they are neither kept nor computed twice (as Hsu et al. 2024 do).
    Under autocast the products are in its precision, softmax and sums in fp32.
    """
    smoothed, nll = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, label_smoothing, torch.is_grad_enabled()
    )
    return Loss(smoothed, nll)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        label_smoothing: float,
        need_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        with torch.autocast(device, enabled=False):
            sums, gradients = _sum_chunks(
                hidden.to(dtype), weight.to(dtype), bias, targets, label_smoothing, need_grad, weight.dtype
            )
        if need_grad:
            ctx.hidden_dtype = hidden.dtype
            ctx.save_for_backward(*gradients)
        smoothed, nll = sums.unbind()
        ctx.mark_non_differentiable(nll)
        return smoothed.clone(), nll.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_smoothed: Tensor, grad_nll: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        return (
            (hidden * grad_smoothed).to(ctx.hidden_dtype),
            weight * grad_smoothed,
            None if bias is None else bias * grad_smoothed,
            None,
            None,
            None,
        )


def _sum_chunks(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    label_smoothing: float,
    need_grad: bool,
    sum_dtype: torch.dtype,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor | None]]:
    """The sums [2] (smoothed, nll) and the gradients of the smoothed one for hidden, weight and bias."""
    vocab = weight.shape[0]
    sums = hidden.new_zeros(2, dtype=sum_dtype)
    hidden_grad = torch.empty_like(hidden)
    weight_grad = torch.zeros_like(weight, dtype=sum_dtype)
    bias_grad = None if bias is None else torch.zeros_like(bias, dtype=sum_dtype)
    rows = max(1, (CHUNK_GPU if hidden.is_cuda else CHUNK_CPU) // vocab)
    for start in range(0, hidden.shape[0], rows):
        chunk, answers = hidden[start : start + rows], targets[start : start + rows].unsqueeze(1)
        logits = (chunk @ weight.T).to(sum_dtype)
        if bias is not None:
            logits += bias
        log_probs = torch.log_softmax(logits, dim=-1)
        nll = -log_probs.gather(1, answers).sum()
        sums[1] += nll
        sums[0] += (1 - label_smoothing) * nll
        if label_smoothing:
            sums[0] -= label_smoothing / vocab * log_probs.sum()
        if not need_grad:
            continue
        logits_grad = log_probs.exp_()  # softmax - smoothed target, in the memory of log_probs
        if label_smoothing:
            logits_grad -= label_smoothing / vocab
        logits_grad.scatter_add_(1, answers, logits_grad.new_full((1, 1), label_smoothing - 1).expand_as(answers))
        if bias_grad is not None:
            bias_grad += logits_grad.sum(0)
        logits_grad = logits_grad.to(weight.dtype)
        torch.mm(logits_grad, weight, out=hidden_grad[start : start + rows])
        weight_grad += logits_grad.T @ chunk
    return sums, (hidden_grad, weight_grad, bias_grad)
