"""Loss terms that attention mechanisms add to training; see `nmt.models.contract.NamedLoss`."""

from __future__ import annotations

from torch import Tensor

from nmt.attention.precision import wide

_LEAST = 1e-30  # the least weight whose logarithm is taken; its gradient, 1e30, is finite in float32


def doubly_stochastic(weights: Tensor, src_mask: Tensor, tgt_mask: Tensor) -> Tensor:
    """Return the sum over source positions i of (1 - sum_t alpha_ti)^2 (Xu et al. 2015, eq. 14), over the batch.

    The loss is smallest when every source position receives the same total attention, 1. weights are
    [rows, tgt_len, src_len]; src_mask [rows, src_len] and tgt_mask [rows, tgt_len] are False at padding.
    """
    received = (weights * tgt_mask.unsqueeze(2)).sum(1)  # [rows, src_len]
    return ((1 - received).square() * src_mask).sum()


def guided(weights: Tensor, links: Tensor) -> Tensor:
    """Return the sum over linked target positions i of -1/|links_i| sum_{j in links_i} log alpha_ij, over the batch.

    This is the cross-entropy between attention and given word alignments (Chen et al. 2016; Garg et al. 2019).
    weights [rows, heads, tgt_len, src_len] are those of heads that are all guided: the loss is their mean. links
    [rows, tgt_len, src_len] are bool. A weight below 1e-30, such as the zeros of sparsemax or of a window, counts as
    1e-30 and has no gradient.
    """
    # targets: the links of a target position have equal shares
    shares = links / links.sum(2, keepdim=True).clamp(min=1)  # [rows, tgt_len, src_len]
    # cross-entropy
    log_weights = wide(weights).clamp(min=_LEAST).log().mean(1)  # [rows, tgt_len, src_len]
    return -(shares * log_weights).sum()
