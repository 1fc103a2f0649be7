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
from nmt.config.options.transformer import SlidingConfig

PAIRS = 7  # measurements of each of the two, in turn
TOKENS = 1024  # in a batch, at least


def seconds(mixer: torch.nn.Module, length: int, in_blocks: bool) -> float:
    """Return the time of self-attention and its gradients, with its projections."""
    rows = max(1, TOKENS // length)
    x = torch.randn(rows, length, 512, requires_grad=True)
    positions = torch.arange(length).unsqueeze(0)
    mask = None if mixer.causal else torch.ones(rows, length, dtype=torch.bool)
    with patch("nmt.attention.mixers.softmax.pays", lambda length, reach: in_blocks):
        start = time.perf_counter()
        mixer(x, positions, mask)[0].sum().backward()
        return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    print("| window | place | length | all keys, ms | in blocks, ms | all keys / in blocks |")
    print("|---:|---|---:|---:|---:|---:|")
    places: tuple[PlaceName, ...] = ("encoder_self", "decoder_self")
    for window in (16, 64):
        for place in places:
            config = TransformerConfig(
                encoder_self="sliding", decoder_self="sliding", sliding=SlidingConfig(window=window)
            )
            mixer = make_mixer(config, Place(place, 0))
            for length in (256, 512, 1024, 4096):
                for in_blocks in (False, True):
                    seconds(mixer, length, in_blocks)
                pairs = [(seconds(mixer, length, False), seconds(mixer, length, True)) for _ in range(PAIRS)]
                ratios = sorted(dense / blocks for dense, blocks in pairs)
                dense, blocks = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
                spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} - {ratios[-1]:.2f})"
                name = place.removesuffix("_self")
                print(f"| {window} | {name} | {length:,} | {dense:,.0f} | {blocks:,.0f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
