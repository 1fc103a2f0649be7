"""Cross-entropy with label smoothing, and R-Drop, without the logits of all tokens in memory at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.data.batching import Batch
from nmt.data.tokenizer import PAD
from nmt.models.seq2seq import Seq2Seq
from nmt.training.mixture_loss import mixture_loss

CHUNK_CPU, CHUNK_GPU = 1 << 20, 1 << 27  # logits held at once: 4 MiB of fp32 stay in a CPU's caches


class Loss(NamedTuple):
    """Sums over target tokens, in nats."""

    smoothed: Tensor  # what training minimises, R-Drop's divergence and other terms included; carries the gradient
    nll: Tensor  # negative log-likelihood, no smoothing
    terms: tuple[Tensor, ...] = ()  # of `Seq2Seq.loss_names`, without their weights


def batch_loss(
    model: Seq2Seq, batch: Batch, device: torch.device, label_smoothing: float = 0.0, rdrop: float | None = None
) -> Loss:
    """The summed losses of a batch; only positions that hold a target token are projected.

    With `rdrop`, the alpha of `rdrop_loss`, every sentence goes through the model twice, as two rows of one batch, so
    that each pass has a dropout of its own.
    """
    rows = target_positions(batch).to(device, non_blocking=True)
    batch = batch.to(device)
    if rdrop is not None:
        rows = torch.stack((rows, rows + batch.tgt_out.numel()), dim=1).flatten()  # a token's passes, side by side
        batch = Batch(*(torch.cat((tensor, tensor)) for tensor in batch))
    decoded = model(batch.src, batch.src_mask, batch.tgt_in, batch.src_lengths)
    hidden = decoded.hidden.flatten(0, 1).index_select(0, rows)  # [tokens, dim]; with a mixture [tokens, k, dim]
    targets = batch.tgt_out.flatten().index_select(0, rows)
    projection = model.projection
    if decoded.mixture is not None:
        mixture = decoded.mixture.flatten(0, 1).index_select(0, rows)
        loss, nll = mixture_loss(hidden, mixture, projection, targets, label_smoothing, rdrop)
    elif rdrop is None:
        loss, nll = cross_entropy(hidden, projection.weight, projection.bias, targets, label_smoothing)
    else:
        loss, nll = rdrop_loss(hidden, projection.weight, projection.bias, targets, label_smoothing, rdrop)
    terms = []
    if decoded.losses:
        said = batch.tgt_out != PAD
        log_probs = torch.zeros_like(batch.tgt_out, dtype=nll.dtype).flatten().index_copy(0, rows, -nll)
        terms = [term.value(log_probs.view_as(said), said) for term in decoded.losses]
        loss = loss + sum(term.weight * value for term, value in zip(decoded.losses, terms, strict=True))
    passes = 1 if rdrop is None else 2  # a token costs the mean of its passes
    return Loss(loss / passes, nll.sum() / passes, tuple(value.detach() / passes for value in terms))


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
) -> tuple[Tensor, Tensor]:
    """Return the sum of the losses of targets [tokens], and the negative log-likelihood of each, without gradient.

    hidden [tokens, dim] is projected with weight [vocab, dim] and bias [vocab]. Label smoothing spreads its share over
    the whole vocabulary evenly (Szegedy et al. 2016, section 7), so the sum is that of `F.cross_entropy(...,
    label_smoothing=..., reduction="sum")`. Rows go through in chunks; a chunk's gradients are taken while its logits
    are there, so they are neither kept nor computed twice (as Hsu et al. 2024 do). Under autocast the products are in
    its precision, softmax and sums in fp32.
    """
    losses: tuple[Tensor, Tensor] = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, label_smoothing, None, torch.is_grad_enabled()
    )
    return losses


def rdrop_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, label_smoothing: float, alpha: float
) -> tuple[Tensor, Tensor]:
    """Return R-Drop's loss (Liang et al. 2021, eq. 4), and the negative log-likelihood of each target in each pass.

    Rows 2i and 2i + 1 of hidden [2 * tokens, dim] are two passes' for one token, whose id is in both places of targets.
    P1 and P2 being their distributions, the loss is the sum of CE1 + CE2 + alpha / 2 * (KL(P1 || P2) + KL(P2 || P1)),
    CE with label smoothing. The gradient flows through both distributions. Chunks and precision are those of
    `cross_entropy`.
    """
    losses: tuple[Tensor, Tensor] = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, label_smoothing, alpha, torch.is_grad_enabled()
    )
    return losses


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        label_smoothing: float,
        alpha: float | None,
        need_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        with torch.autocast(device, enabled=False):
            work = _Chunks(hidden.to(dtype), weight.to(dtype), bias, targets, label_smoothing, need_grad, weight.dtype)
            smoothed = work.cross_entropy() if alpha is None else work.rdrop(alpha)
        if need_grad:
            ctx.hidden_dtype = hidden.dtype
            ctx.save_for_backward(work.hidden_grad, work.weight_grad, work.bias_grad)
        ctx.mark_non_differentiable(work.nll)
        return smoothed, work.nll

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
            None,
        )


class _Chunks:
    """The sum of a loss over chunks of rows, its gradients for hidden, weight and bias, and each row's likelihood."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        label_smoothing: float,
        need_grad: bool,
        dtype: torch.dtype,  # of sums and of what is added up; hidden and weight may be in a lower precision
    ) -> None:
        self.hidden, self.weight, self.bias, self.targets = hidden, weight, bias, targets
        self.smoothing, self.dtype = label_smoothing, dtype
        self.vocab = weight.size(0)
        self.nll = hidden.new_empty(hidden.size(0), dtype=dtype)
        self.hidden_grad = torch.empty_like(hidden, dtype=dtype)
        self.weight_grad = weight.new_zeros(weight.shape if need_grad else (0,), dtype=dtype)
        self.bias_grad = None if bias is None else torch.zeros_like(bias, dtype=dtype)
        self.need_grad = need_grad

    def cross_entropy(self) -> Tensor:
        """exp(logits) of a chunk is made in the memory of its logits; what else a gradient takes is of one column.

        With z the sum of a row's exp(logits), the gradient for its logits is exp(logits) / z - smoothed target. What
        the target takes goes into the row, times z; the division is made on the narrow side of the products, and what
        label smoothing takes evenly is taken from the products.
        """
        total = self.hidden.new_zeros((), dtype=self.dtype)
        rows = max(1, (CHUNK_GPU if self.hidden.is_cuda else CHUNK_CPU) // self.vocab)
        buffer = self.hidden.new_empty(min(rows, self.hidden.size(0)), self.vocab)
        even, smoothing = self.smoothing / self.vocab, self.smoothing
        for chunk, targets, hidden_grad, nll in self._parts(rows):
            logits = torch.mm(chunk, self.weight.T, out=buffer[: chunk.size(0)]).to(self.dtype)
            if self.bias is not None:
                logits += self.bias
            answers = logits.gather(1, targets.unsqueeze(1))
            mean = logits.mean(1, keepdim=True) if smoothing else None
            highest = logits.amax(1, keepdim=True)
            exps = logits.sub_(highest).exp_()
            z = exps.sum(1, keepdim=True)
            log_z = highest + z.log()
            nll.copy_((log_z - answers).squeeze(1))
            total += nll.sum() if mean is None else (1 - smoothing) * nll.sum() + smoothing * (log_z - mean).sum()
            if self.need_grad:
                self._add_gradients(exps, z, chunk, targets, hidden_grad)
        if self.need_grad and smoothing:
            self.hidden_grad -= even * self.weight.sum(0, dtype=self.dtype)
            self.weight_grad -= even * self.hidden.sum(0, dtype=self.dtype)
            if self.bias_grad is not None:
                self.bias_grad -= even * self.hidden.size(0)
        return total

    def _parts(self, rows: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield hidden, targets and what there is room for, so many rows at a time."""
        return zip(*(each.split(rows) for each in (self.hidden, self.targets, self.hidden_grad, self.nll)), strict=True)

    def _add_gradients(self, exps: Tensor, z: Tensor, chunk: Tensor, targets: Tensor, hidden_grad: Tensor) -> None:
        """Those of a chunk, but for the evenly spread part of the smoothed target."""
        exps.scatter_add_(1, targets.unsqueeze(1), (self.smoothing - 1) * z)
        factors = exps.to(self.weight.dtype)
        torch.div(factors @ self.weight, z, out=hidden_grad)
        if self.bias_grad is not None:
            self.bias_grad += exps.T.mv(1 / z.squeeze(1))
        self._add_weight_gradient(factors, (chunk / z).to(chunk.dtype))

    def _add_weight_gradient(self, factors: Tensor, chunk: Tensor) -> None:
        """factors [rows, vocab], chunk [rows, dim]."""
        if factors.dtype == self.dtype:
            self.weight_grad.addmm_(factors.T, chunk)
        else:
            self.weight_grad += factors.T @ chunk

    def rdrop(self, alpha: float) -> Tensor:
        """Neighbouring rows are pairs, and alpha times their divergence is part of the smoothed sum."""
        total = self.hidden.new_zeros((), dtype=self.dtype)
        rows = 2 * max(1, (CHUNK_GPU if self.hidden.is_cuda else CHUNK_CPU) // (2 * self.vocab))
        for chunk, targets, hidden_grad, nll in self._parts(rows):
            logits = (chunk @ self.weight.T).to(self.dtype)
            if self.bias is not None:
                logits += self.bias
            log_probs = torch.log_softmax(logits, dim=-1)
            answers = targets.unsqueeze(1)
            nll.copy_(-log_probs.gather(1, answers).squeeze(1))
            divergence, logits_grad = _divergence(log_probs)
            total += (1 - self.smoothing) * nll.sum() - self.smoothing * log_probs.mean(1).sum() + alpha * divergence
            if not self.need_grad:
                continue
            logits_grad.mul_(alpha).add_(log_probs.exp_()).sub_(self.smoothing / self.vocab)
            least = logits_grad.new_full((1, 1), self.smoothing - 1).expand_as(answers)
            logits_grad.scatter_add_(1, answers, least)
            if self.bias_grad is not None:
                self.bias_grad += logits_grad.sum(0)
            factors = logits_grad.to(self.weight.dtype)
            hidden_grad.copy_(factors @ self.weight)
            self._add_weight_gradient(factors, chunk)
        return total


def _divergence(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """(KL(p || q) + KL(q || p)) / 2 (Liang et al. 2021, eq. 2), summed over pairs p, q of rows, and its gradient.

    log_probs and the gradient, which is for the logits, are [2 * tokens, vocab]. The gradient for p's logits is half of
    p * (log(p / q) - KL(p || q)) + p - q, and the same with p and q exchanged for q's.
    """
    pairs = log_probs.unflatten(0, (-1, 2))  # [tokens, 2, vocab]
    probs = pairs.exp()
    log_ratio = pairs - pairs.flip(1)
    kl = (probs * log_ratio).sum(-1, keepdim=True)  # [tokens, 2, 1]: KL(p || q), KL(q || p)
    gradient = log_ratio.sub_(kl).add_(1).mul_(probs).sub_(probs.flip(1)).div_(2)
    return kl.sum() / 2, gradient.flatten(0, 1)
