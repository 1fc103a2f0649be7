"""Loss terms that attention mechanisms add to training; see `nmt.models.contract.NamedLoss`."""

from __future__ import annotations

from torch import Tensor


def doubly_stochastic(weights: Tensor, src_mask: Tensor, tgt_mask: Tensor) -> Tensor:
    """Return the sum over source positions i of (1 - sum_t alpha_ti)^2 (Xu et al. 2015, eq. 14), over the batch.

    The loss is smallest when every source position receives the same total attention, 1. weights are
    [rows, tgt_len, src_len]; src_mask [rows, src_len] and tgt_mask [rows, tgt_len] are False at padding.
    """
    received = (weights * tgt_mask.unsqueeze(2)).sum(1)  # [rows, src_len]
    return ((1 - received).square() * src_mask).sum()
