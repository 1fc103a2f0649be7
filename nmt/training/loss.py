"""The losses of a batch: cross-entropy with label smoothing, R-Drop, and what a model adds to them."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from nmt.data.batching import Batch
from nmt.data.tokenizer import PAD
from nmt.kernels.chunked import in_chunks
from nmt.models.seq2seq import Seq2Seq


class Loss(NamedTuple):
    """Sums over target tokens, in nats."""

    smoothed: Tensor  # what training minimises, R-Drop's divergence and other terms included; carries the gradient
    nll: Tensor  # negative log-likelihood, no smoothing
    terms: tuple[Tensor, ...] = ()  # of `Seq2Seq.loss_names`, without their weights


def token_losses(
    weight: Tensor,
    bias: Tensor | None,
    hidden: Tensor,
    targets: Tensor,
    mixture: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    rdrop: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the sum that training minimises, and the negative log-likelihood of each of targets [tokens].

    Probabilities are softmax(W h + b) for hidden [tokens, dim]. With log-weights mixture [tokens, k] they are
    sum_k exp(mixture_k) softmax(W h_k + b) for hidden [tokens, k, dim]. Label smoothing spreads its share evenly over
    the whole vocabulary (Szegedy et al. 2016, section 7). With `rdrop`, its alpha, rows 2i and 2i + 1 are two passes of
    one token, and the sum is CE1 + CE2 + alpha / 2 * (KL(p || q) + KL(q || p)) over tokens (Liang et al. 2021, eq. 4).
    Under autocast the products are in its precision, softmax and sums in fp32.
    """
    log_probs = linear(hidden, weight, bias).to(weight.dtype).log_softmax(-1)
    if mixture is not None:
        log_probs = (log_probs + mixture.unsqueeze(2)).logsumexp(1)
    nll = -log_probs.gather(1, targets.unsqueeze(1)).squeeze(1)
    loss = (1 - label_smoothing) * nll.sum() - label_smoothing * log_probs.mean(1).sum()
    if rdrop is not None:
        log_p, log_q = log_probs.unflatten(0, (-1, 2)).unbind(1)
        # KL(p || q) + KL(q || p) = sum (p - q) (log p - log q)
        loss = loss + rdrop / 2 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum()
    return loss, nll.detach()


def batch_loss(
    model: Seq2Seq, batch: Batch, device: torch.device, label_smoothing: float = 0.0, rdrop: float | None = None
) -> Loss:
    """The summed losses of a batch; only positions that hold a target token are projected.

    With `rdrop`, the alpha of `token_losses`, every sentence goes through the model twice, as two rows of one batch, so
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
    mixture = () if decoded.mixture is None else (decoded.mixture.flatten(0, 1).index_select(0, rows),)
    losses = partial(token_losses, label_smoothing=label_smoothing, rdrop=rdrop)
    loss, nll = in_chunks(losses, model.projection.weight, model.projection.bias, hidden, targets, *mixture)
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
