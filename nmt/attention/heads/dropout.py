"""Head dropout: in training, some heads are left out (Zhou et al. 2020, DropHead)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HeadDropout(nn.Module):
    """Dropout of whole heads, so that no head can dominate and others have to learn, too (Zhou et al. 2020).

    In training, each head of each sequence is left out with this rate, for all of its positions. The heads that are
    left are scaled by num_heads / (number of heads left), so that together they are as large as all of them. A
    sequence that would lose all of its heads keeps them all.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, contexts: Tensor) -> Tensor:
        """Return contexts [rows, heads, length, head_dim] without the heads that are left out."""
        if not self.training or not self.rate:
            return contexts
        kept = (torch.rand(contexts.shape[:2], device=contexts.device) >= self.rate).to(contexts.dtype)
        left = kept.sum(dim=1, keepdim=True)
        kept = torch.where(left > 0, kept * kept.size(1) / left.clamp(min=1), 1.0)
        return contexts * kept[:, :, None, None]
