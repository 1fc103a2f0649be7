"""Measure how much time attention in blocks of keys saves (nmt/kernels/windowed.py), and print the table of
docs/results/kernels.md:

    OMP_NUM_THREADS=1 python scripts/measure_windows.py
"""

from __future__ import annotations

import statistics
import time
from unittest.mock import patch

import torch

from nmt.attention.mixers import make_mixer
from nmt.config.mechanisms import Place, PlaceName
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import BigBirdConfig, SlidingConfig, WindowGlobalConfig

PAIRS = 7  # measurements of each of the two, in turn
TOKENS = 1024  # in a batch, at least
LENGTHS = (256, 512, 1024, 4096)
PLACES: tuple[PlaceName, ...] = ("encoder_self", "decoder_self")
SLIDING = {"encoder_self": "sliding", "decoder_self": "sliding"}
GLOBAL = {"encoder_self": "window_global", "decoder_self": "window_global"}
BIGBIRD = {"encoder_self": "bigbird", "decoder_self": "bigbird"}
PATTERNS = {
    "window of 16": TransformerConfig(**SLIDING, sliding=SlidingConfig(window=16)),
    "window of 64": TransformerConfig(**SLIDING, sliding=SlidingConfig(window=64)),
    "window of 16, 1 global position": TransformerConfig(**GLOBAL, window_global=WindowGlobalConfig(window=16)),
    "bigbird, blocks of 16": TransformerConfig(**BIGBIRD, bigbird=BigBirdConfig(block=16)),
}


def seconds(mixer: torch.nn.Module, length: int, in_blocks: bool) -> float:
    """Return the time of self-attention and its gradients, with its projections."""
    rows = max(1, TOKENS // length)
    x = torch.randn(rows, length, 512, requires_grad=True)
    positions = torch.arange(length).unsqueeze(0)
    mask = None if mixer.causal else torch.ones(rows, length, dtype=torch.bool)
    with patch("nmt.attention.mixers.softmax.pays", lambda *_: in_blocks):
        start = time.perf_counter()
        mixer(x, positions, mask)[0].sum().backward()
        return time.perf_counter() - start


def row(pattern: str, place: PlaceName, length: int) -> str:
    """Measure a pattern, and return the line of the table."""
    mixer = make_mixer(PATTERNS[pattern], Place(place, 0))
    for in_blocks in (False, True):
        seconds(mixer, length, in_blocks)
    pairs = [(seconds(mixer, length, False), seconds(mixer, length, True)) for _ in range(PAIRS)]
    ratios = sorted(dense / blocks for dense, blocks in pairs)
    dense, blocks = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} - {ratios[-1]:.2f})"
    return f"| {pattern} | {place.removesuffix('_self')} | {length:,} | {dense:,.0f} | {blocks:,.0f} | {spread} |"


def main() -> None:
    """Print the table."""
    print("| pattern | place | length | all keys, ms | in blocks, ms | all keys / in blocks |")
    print("|---|---|---:|---:|---:|---:|")
    for pattern in PATTERNS:
        for place in PLACES:
            for length in LENGTHS:
                print(row(pattern, place, length), flush=True)


if __name__ == "__main__":
    main()
