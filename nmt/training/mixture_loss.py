"""The loss of a model whose probabilities are an average over a mixture of predictions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

LOGITS_AT_ONCE = 1 << 22  # of all predictions together; those of other tokens are computed again for the gradient


def mixture_loss(
    hidden: Tensor,
    mixture: Tensor,
    projection: nn.Linear,
    targets: Tensor,
    label_smoothing: float = 0.0,
    alpha: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the sum that training minimises and the negative log-likelihood of each of targets [tokens].

    p(y) = sum_k exp(mixture_k) softmax(W hidden_k)_y for hidden [tokens, k, dim] and log-weights mixture [tokens, k].
    Label smoothing and R-Drop (with `alpha`, rows 2i and 2i + 1 are one token's) are those of `nmt.training.loss`, of
    these probabilities. R-Drop's sum is of both passes.
    """
    rows = max(1, LOGITS_AT_ONCE // (mixture.size(1) * projection.out_features * 2)) * 2  # even: no pair is split
    smoothed, nll = [], []
    for part in zip(hidden.split(rows), mixture.split(rows), targets.split(rows), strict=True):
        given = (*part, projection.weight, projection.bias, label_smoothing, alpha)
        of_part = checkpoint(_loss, *given, use_reentrant=False) if torch.is_grad_enabled() else _loss(*given)
        smoothed.append(of_part[0])
        nll.append(of_part[1].detach())
    return torch.stack(smoothed).sum(), torch.cat(nll)


def mixture_log_probs(hidden: Tensor, mixture: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return log p [tokens, vocab]; see `mixture_loss`."""
    log_probs = linear(hidden, weight, bias).to(mixture.dtype).log_softmax(-1)  # [tokens, k, vocab]
    return (log_probs + mixture.unsqueeze(2)).logsumexp(1)


def _loss(
    hidden: Tensor,
    mixture: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    label_smoothing: float,
    alpha: float | None,
) -> tuple[Tensor, Tensor]:
    log_probs = mixture_log_probs(hidden, mixture, weight, bias)
    nll = -log_probs.gather(1, targets.unsqueeze(1)).squeeze(1)
    smoothed = (1 - label_smoothing) * nll.sum() - label_smoothing * log_probs.mean(1).sum()
    if alpha is not None:
        one, other = log_probs.unflatten(0, (-1, 2)).unbind(1)
        # KL(p || q) + KL(q || p) = sum (p - q) (log p - log q) (Liang et al. 2021, eq. 2)
        smoothed = smoothed + alpha * ((one.exp() - other.exp()) * (one - other)).sum() / 2
    return smoothed, nll
