"""The losses of a batch: cross-entropy with label smoothing, R-Drop, guided attention, and losses of the model."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from nmt.data.batch import Batch
from nmt.data.tokenizer import PAD
from nmt.kernels.chunked import in_chunks
from nmt.models.seq2seq import Seq2Seq
from nmt.training.guided import NAME, Guidance


class Loss(NamedTuple):
    """The losses of a batch, in nats, each summed over its target tokens."""

    smoothed: Tensor  # the objective, with gradient: label-smoothed loss, R-Drop's divergence, weighted terms
    nll: Tensor  # negative log-likelihood, without label smoothing
    terms: tuple[Tensor, ...] = ()  # additional losses (`additional_losses`), unweighted


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
    """Return the training loss summed over all tokens, and the negative log-likelihood of each target [tokens].

    For hidden [tokens, dim], the probabilities are softmax(W h + b). With `mixture` [tokens, k], which are log-weights,
    they are sum_k exp(mixture_k) softmax(W h_k + b) for hidden [tokens, k, dim]. Label smoothing spreads its share
    evenly over the whole vocabulary (Szegedy et al. 2016, section 7). If `rdrop` (the alpha of R-Drop) is given, rows
    2i and 2i + 1 are two passes over the same token, and the loss is
    CE1 + CE2 + alpha / 2 * (KL(p || q) + KL(q || p)), summed over tokens (Liang et al. 2021, eq. 4). Under autocast,
    matrix products use its precision, softmax and sums fp32.
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
    model: Seq2Seq,
    batch: Batch,
    device: torch.device,
    label_smoothing: float = 0.0,
    rdrop: float | None = None,
    guidance: Guidance | None = None,
) -> Loss:
    """Return the summed losses of a batch; only non-padding target positions are projected to the vocabulary.

    With guided attention (`guidance`), the batch must have links, and the last term is its loss. If `rdrop` (the alpha
    of R-Drop) is given, every sentence goes through the model twice, as two rows of one batch, so that the two passes
    have different dropout masks.
    """
    # batch on the device, with R-Drop each sentence twice
    rows = target_positions(batch).to(device, non_blocking=True)
    batch = batch.to(device)
    if rdrop is not None:
        rows = torch.stack((rows, rows + batch.tgt_out.numel()), dim=1).flatten()  # [2 * tokens], interleaved
        batch = batch.twice()
    # hidden states of the target tokens
    need_weights = False if guidance is None else guidance.need
    decoded = model(batch.src, batch.src_mask, batch.tgt_in, batch.src_lengths, need_weights=need_weights)
    hidden = decoded.hidden.flatten(0, 1).index_select(0, rows)  # [tokens, dim]; with a mixture [tokens, k, dim]
    targets = batch.tgt_out.flatten().index_select(0, rows)
    mixture = () if decoded.mixture is None else (decoded.mixture.flatten(0, 1).index_select(0, rows),)
    # vocabulary projection and losses, in chunks to save memory
    losses = partial(token_losses, label_smoothing=label_smoothing, rdrop=rdrop)
    loss, nll = in_chunks(losses, model.projection.weight, model.projection.bias, hidden, targets, *mixture)
    # additional losses of the model, and of guided attention
    terms, additional = [], list(decoded.losses)
    if guidance is not None:
        assert batch.links is not None, "Updates were asked for links"
        additional.append(guidance.loss(decoded, batch.links))
    if additional:
        said = batch.tgt_out != PAD
        log_probs = torch.zeros_like(batch.tgt_out, dtype=nll.dtype).flatten().index_copy(0, rows, -nll)
        terms = [term.value(log_probs.view_as(said), said) for term in additional]
        loss = loss + sum(term.weight * value for term, value in zip(additional, terms, strict=True))
    passes = 1 if rdrop is None else 2  # the loss of a token is the mean over its passes
    return Loss(loss / passes, nll.sum() / passes, tuple(value.detach() / passes for value in terms))


def additional_losses(model: Seq2Seq, guidance: Guidance | None) -> tuple[str, ...]:
    """Return the names of a Loss's terms: those of the model, and of guided attention."""
    return model.loss_names if guidance is None else (*model.loss_names, NAME)


def target_positions(batch: Batch) -> Tensor:
    """Return the indices [tokens] of non-padding target tokens in the flattened [batch * tgt_len] positions.

    They are computed on the CPU, before the batch is moved to the device: on a GPU, `nonzero` would force the trainer
    to wait for the number of tokens.
    """
    return torch.nonzero(batch.tgt_out.flatten() != PAD).squeeze(1)


def perplexity(loss: float) -> float:
    """Return exp(loss) for a loss per token in nats, or infinity if that is too large for a float."""
    return math.exp(loss) if loss < 700 else math.inf
