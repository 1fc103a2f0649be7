"""Nystroemformer: self-attention approximated with landmarks (Xiong et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from nmt.attention.heads import Heads, make_heads
from nmt.attention.mixers.whole_sequence import WholeSequence, lengths
from nmt.attention.multihead import attention_weights
from nmt.attention.patterns import padding
from nmt.attention.positions import Positions, make_positions
from nmt.attention.precision import wide
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import NystroemConfig


class Nystroem(WholeSequence):
    """The Nystroem approximation of the matrix of attention weights (Xiong et al. 2021, algorithm 1).

    A head is F A^+ B V with F = softmax(Q K'^T), A = softmax(Q' K'^T) and B = softmax(Q' K^T), all scores divided by
    sqrt(head_dim). Q' and K' are landmarks, the means of queries and keys over consecutive segments of the sentence,
    and A^+ is the pseudo-inverse of A, found by iteration. A convolution of V along the sentence can be added. The
    matrix that multiplies V can be negative: the weights are its absolute values.
    """

    sums_to_one = False
    implied = True

    def __init__(self, model_dim: int, heads: Heads, positions: Positions, options: NystroemConfig) -> None:
        super().__init__()
        self.heads = heads
        self.positions = positions
        self.landmarks = options.landmarks
        self.iterations = options.iterations
        self.qkv_projection = nn.Linear(model_dim, model_dim + 2 * heads.kv_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)
        self.skip: nn.Parameter | None = None  # one filter for each head, [heads, 1, 2 * radius + 1, 1]
        if options.skip_radius is not None:
            size = 2 * options.skip_radius + 1
            self.skip = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(heads.num_heads, 1, size, 1), a=5**0.5))

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, None, Tensor | None]:
        # queries, keys and values
        heads = self.heads
        query, key, value = heads.queries_keys_values(self.qkv_projection(x))
        query, key = self.positions.turn(query, positions), self.positions.turn(key, positions)
        query, key, value = wide(query), wide(heads.shared(key)), wide(heads.shared(value))
        own = lengths(x, mask)
        inside = torch.arange(x.size(1), device=x.device) < own.unsqueeze(1)  # [rows, length]
        with torch.autocast(x.device.type, enabled=False):
            # landmarks
            segments = segment_means(x.size(1), own, self.landmarks, query.dtype)  # [rows, landmarks, length]
            exists = segments.any(dim=-1)  # [rows, landmarks]; a short sentence has fewer landmarks
            landmark_query, landmark_key = segments.unsqueeze(1) @ query, segments.unsqueeze(1) @ key
            # the three matrices
            f = attention_weights(query, landmark_key, padding(exists))
            a = attention_weights(landmark_query, landmark_key, padding(exists)) * exists[:, None, :, None]
            b = attention_weights(landmark_query, key, padding(inside))
            inverse = pseudo_inverse(a, self.iterations)

            def mix(values: Tensor) -> Tensor:  # [rows, heads, length, channels], of the same shape as the result
                values = values * inside[:, None, :, None]
                mixed = f @ (inverse @ (b @ values))
                if self.skip is None:
                    return mixed
                radius = self.skip.size(2) // 2
                skip: Tensor = conv2d(values, self.skip.to(values.dtype), padding=(radius, 0), groups=values.size(1))
                return mixed + skip

            context = mix(value)
            weights = None
            if need_weights:  # if the values are one-hot vectors, output channel j is the factor of position j
                unit = torch.eye(x.size(1), dtype=value.dtype, device=x.device)
                weights = mix(unit.expand(*value.shape[:2], -1, -1)).abs()
        return self.output_projection(heads.merge(context.to(x.dtype))), None, weights


def segment_means(length: int, own: Tensor, landmarks: int, dtype: torch.dtype) -> Tensor:
    """Return the matrices [rows, landmarks, length] that average each segment of sentences of lengths own [rows].

    Position i of n is in segment floor(i m / n), where m is the number of landmarks, or n if the sentence is shorter.
    Segments have equal lengths if m divides n, as in the paper, and otherwise differ by one position. The rows of
    landmarks that do not exist are 0.
    """
    at = torch.arange(length, device=own.device)
    n = own.unsqueeze(1)
    segment = torch.where(at < n, at * n.clamp(max=landmarks) // n, landmarks)  # [rows, length]
    member = (segment.unsqueeze(1) == torch.arange(landmarks, device=own.device).unsqueeze(1)).to(dtype)
    return member / member.sum(dim=-1, keepdim=True).clamp(min=1)


def pseudo_inverse(a: Tensor, iterations: int) -> Tensor:
    """Return the Moore-Penrose inverse of a [..., m, m], by the iteration of Xiong et al. 2021.

    Z_0 = A^T / (||A||_1 ||A||_inf), Z_{j+1} = 1/4 Z_j (13 I - A Z_j (15 I - A Z_j (7 I - A Z_j))). The norms are those
    of each matrix by itself. Rows and columns of zeros stay zero.
    """
    one = torch.eye(a.size(-1), dtype=a.dtype, device=a.device)
    largest_column, largest_row = a.sum(dim=-2).amax(dim=-1), a.sum(dim=-1).amax(dim=-1)
    z = a.mT / (largest_column * largest_row)[..., None, None]
    for _ in range(iterations):
        az = a @ z
        z = z @ (13 * one - az @ (15 * one - az @ (7 * one - az))) / 4
    return z


def make(config: TransformerConfig, place: Place) -> Nystroem:
    """Return the attention of one layer that `model.nystroem` describes."""
    assert not place.causal, "the configuration check refuses model.decoder_self=nystroem"
    return Nystroem(config.model_dim, make_heads(config, place), make_positions(config, place), config.nystroem)
