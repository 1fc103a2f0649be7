"""FNet: the Fourier transform of a sentence in place of self-attention (Lee-Thorp et al. 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nmt.attention.mixers.whole_sequence import WholeSequence, lengths
from nmt.attention.precision import wide
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig


class FNet(WholeSequence):
    """The real part of a discrete Fourier transform over features and positions (Lee-Thorp et al. 2022, section 3.2).

    y_k = Re(sum_j exp(-2 pi i j k / n) X_j), where X_j is the Fourier transform of the features of x_j, and n is the
    sentence's own length. It is not scaled, and nothing is learned. There are no weights to show: output feature e
    reads each input feature f through a matrix of its own, cos(2 pi (j k / n + e f / dim)), and the mean of the
    absolute values of these matrices is near 2 / pi at all pairs of positions, whatever the sentence says.
    """

    attends = False

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, None, None]:
        # Fourier transform of the features
        features = torch.fft.fft(wide(x), dim=-1)  # complex [rows, length, dim]
        # Fourier transform of the positions, whose real part is taken: Re((cos - i sin) (a + i b)) = cos a + sin b
        cos, sin = waves(x.size(1), lengths(x, mask), features.real.dtype)
        with torch.autocast(x.device.type, enabled=False):
            mixed = cos @ features.real + sin @ features.imag
        return mixed.to(x.dtype), None, None


def waves(length: int, own: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cos(2 pi j k / n) and sin(2 pi j k / n) [rows, length, length] for sentences of lengths n [rows].

    They are 0 at padding, that is, where j or k is not below n.
    """
    at = torch.arange(length, device=own.device)
    n = own[:, None, None]
    inside = (at < n) & (at.unsqueeze(1) < n)
    angles = 2 * math.pi * (torch.outer(at, at) % n).to(dtype) / n
    return torch.where(inside, angles.cos(), 0.0), torch.where(inside, angles.sin(), 0.0)


def make(config: TransformerConfig, place: Place) -> FNet:
    """Return the Fourier transform of one layer."""
    assert not place.causal, "the configuration check refuses model.decoder_self=fnet"
    return FNet()
