"""Count the arithmetic that a sentence pair takes, in floating-point operations (FLOP).

Only matrix products are counted, with two operations for each multiplication and its addition: every weight matrix
times the tokens it is applied to, the products of attention, and the projection of every target token onto the
vocabulary. Embedding look-ups, softmax, normalisation and the optimizer are not counted. A training step costs three
times its forward pass, because in the backward pass every product becomes two of the same size, one for each factor.

A pair of S source and T target tokens (with EOS) is counted without padding. So padding in a batch does not count as
work and lowers the utilisation. Causal attention is counted in full, T x T, as is usual. Weights are applied to S or T
tokens or once per pair, and attention compares S x S, T x T or T x S, so

    FLOP(S, T) = c . [1, S, T, S^2, S T, T^2],

and the six coefficients c are computed from six counts with PyTorch's `FlopCounterMode`. Mixers that read long
sequences in chunks or blocks are not quadratic there: for them this is the cost of their plain form (of `linear`,
`performer` and `retention` up to 1.6 times the real one at 200 tokens; of `lsh`, which pads chunks, 0.85 times).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nmt.data.batch import collate
from nmt.data.tokenizer import EOS
from nmt.models.seq2seq import Seq2Seq

UNCOUNTED = {  # operators that FlopCounterMode does not know
    torch.ops.aten.mv: lambda matrix, vector, **_: 2 * matrix[0] * matrix[1],
    torch.ops.aten.addmm_: lambda total, left, right, **_: 2 * left[0] * left[1] * right[1],
}
POINTS = (
    (2, 2),
    (3, 2),
    (2, 3),
    (4, 2),
    (3, 3),
    (2, 4),
)  # lengths (S, T) from which the six coefficients can be computed


def terms(source: ArrayLike, target: ArrayLike) -> NDArray[Any]:
    """Return 1, S, T, S^2, S T, T^2 for lengths [pairs] as [6, pairs], or for one pair as [6]."""
    s, t = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    return np.stack((np.ones_like(s), s, t, s * s, s * t, t * t))


def training_flops(model: Seq2Seq) -> NDArray[Any]:
    """Return the FLOP of a training step as coefficients [6] of `terms`. The model has to be on the CPU."""
    counts = [forward_flops(model, source, target) for source, target in POINTS]
    coefficients: NDArray[Any] = 3 * np.linalg.solve([terms(*point) for point in POINTS], counts)
    return coefficients


def forward_flops(model: Seq2Seq, source: int, target: int, pairs: int = 2) -> float:
    """Count the FLOP per pair of a forward pass with vocabulary projection, run on `pairs` equal pairs."""
    batch = collate([[EOS] * source] * pairs, [[EOS] * target] * pairs)
    with counted() as counter:
        model.projection(model(batch.src, batch.src_mask, batch.tgt_in).hidden)
    return counter.get_total_flops() / pairs


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Count the matrix products that run on the CPU within the block.

    Fused kernels that the counter does not know (oneDNN's LSTM, attention on a CPU) are switched off. The code that
    runs instead multiplies the same matrices.
    """
    fused = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with (
            torch.enable_grad(),  # torch's counter needs the graph to tell modules apart
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter,
        ):
            yield counter
    finally:
        torch.backends.mkldnn.enabled = fused
