"""Compare attention patterns by FlexAttention (nmt/kernels/flex.py) with their dense form: values, gradients, time.

On a CPU, where torch computes FlexAttention without gradients, only values are compared and only they are timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch
from torch import Tensor

from nmt.attention import patterns
from nmt.attention.multihead import attention_weights
from nmt.attention.patterns.bigbird import BigBird
from nmt.attention.patterns.blocks import Blocks
from nmt.attention.patterns.dilated import DilatedWindow
from nmt.attention.patterns.sliding import SlidingWindow
from nmt.attention.patterns.strided import Strided
from nmt.attention.patterns.window_global import WindowAndGlobal
from nmt.config.options.transformer import BigBirdConfig
from nmt.device import autocast
from nmt.errors import NmtError
from nmt.kernels import flex
from nmt.kernels.scaled_dot_product import attention
from nmt.kernels.windowed import windowed_attention

PATTERNS: dict[str, patterns.Pattern] = {
    "sliding": SlidingWindow(64),
    "dilated": DilatedWindow(32, 4),
    "blocks": Blocks(100),
    "strided": Strided(50),
    "window_global": WindowAndGlobal(64, 2),
    "bigbird": BigBird(BigBirdConfig(block=32)),
}
ROWS, HEADS, KV_HEADS, HEAD_DIM = 3, 8, 4, 64
LENGTH = 1100  # of the comparisons: no multiple of a block's 128
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)  # of the measurements
CHECKS = [
    *(f"{name}-{side}" for name in PATTERNS for side in ("encoder", "decoder")),
    *(f"{name}-{length}" for name in ("sliding", "window_global") for length in LENGTHS),
]
# the largest norms of differences over norms of what is right, of contexts and of gradients
LIMITS = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (0.02, 0.05)}


def check(name: str, device: torch.device) -> str:
    """Do one of CHECKS and return what was found; raise NmtError if the two forms differ by too much."""
    pattern, what = name.split("-")
    if what.isdecimal():
        return measured(PATTERNS[pattern], int(what), device)
    return compared(PATTERNS[pattern], what == "decoder", device)


def compared(pattern: patterns.Pattern, causal: bool, device: torch.device) -> str:
    """Return the largest differences, as fractions of what is allowed, from the dense form in float64."""
    positions = torch.arange(LENGTH, device=device).unsqueeze(0)
    lengths = torch.tensor([[LENGTH], [LENGTH // 2], [1]], device=device)
    mask = None if causal else positions < lengths
    found = []
    for dtype, limits in LIMITS.items():
        inputs = inputs_of(ROWS, LENGTH, dtype, device)
        exact = [each.detach().double().requires_grad_(each.requires_grad) for each in inputs]
        towards = torch.randn(ROWS, HEADS, LENGTH, HEAD_DIM, device=device).to(dtype)
        ours = flex.pattern_attention(*inputs, positions, pattern.allows, pattern.name, mask=mask, causal=causal)
        theirs = attention_weights(exact[0], shared(exact[1]), bias_of(pattern, positions, mask)) @ shared(exact[2])
        differences = [("contexts", ours, theirs, limits[0])]
        if ours.requires_grad:
            gradients = torch.autograd.grad(ours, inputs, towards), torch.autograd.grad(theirs, exact, towards.double())
            for of, our, their in zip(("queries", "keys", "values"), *gradients, strict=True):
                differences.append((f"gradients of {of}", our, their, limits[1]))
        for of, our, their, limit in differences:
            size = float((our.double() - their).norm() / their.norm())
            if not size <= limit:  # also if it is not a number
                raise NmtError(f"{dtype} {of} differ by {size:.2g} (at most {limit:g})")
            found.append(size / limit)
    return f"{max(found):.2g}"


def measured(pattern: patterns.Pattern, length: int, device: torch.device) -> str:
    """Return times and memory of forward and backward in bf16, of the encoder's attention on two full sequences."""
    inputs = inputs_of(2, length, torch.bfloat16, device)
    positions = torch.arange(length, device=device).unsqueeze(0)
    mask = torch.ones(2, length, dtype=torch.bool, device=device)

    def by_flex() -> Tensor:
        return flex.pattern_attention(*inputs, positions, pattern.allows, pattern.name, mask=mask)

    def densely() -> Tensor:
        query, key, value = inputs
        return attention(query, shared(key), shared(value), bias=bias_of(pattern, positions, mask))

    def by_windows() -> Tensor:
        assert pattern.reach is not None
        query, key, value = inputs
        allows = partial(pattern.allows, length=None)
        return windowed_attention(query, shared(key), shared(value), positions, allows, reach=pattern.reach, mask=mask)

    def block_mask() -> None:
        flex.block_mask(positions.clone(), pattern.allows, pattern.name, mask=mask)

    def update(contexts: Callable[[], Tensor]) -> None:
        with autocast(device, "bf16"):
            context = contexts()
        if context.requires_grad:
            torch.autograd.grad(context, inputs, torch.ones_like(context))

    parts = [
        f"flex {time_and_memory(partial(update, by_flex), device)}",
        f"its mask, once for all layers, {time_and_memory(block_mask, device)}",
        f"dense {time_and_memory(partial(update, densely), device)}",
    ]
    if pattern.reach is not None:
        parts.append(f"windowed {time_and_memory(partial(update, by_windows), device)}")
    return ", ".join(parts)


def inputs_of(rows: int, length: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Return random queries, keys and values, laid out like projections; they have gradients except on a CPU."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(rows, length, heads, HEAD_DIM) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    drawn = (torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes)
    return [each.transpose(1, 2).requires_grad_(device.type != "cpu") for each in drawn]


def shared(x: Tensor) -> Tensor:
    """Return the keys or values that each head of queries reads."""
    return x.repeat_interleave(HEADS // KV_HEADS, dim=1)


def bias_of(pattern: patterns.Pattern, positions: Tensor, mask: Tensor | None) -> Tensor:
    """Return the bias of the dense form, as in `SelfAttention`; without a mask, causal."""
    if mask is None:
        return pattern.bias(positions, positions, positions, positions) + patterns.causal(positions, positions)
    bias = pattern.bias(positions, positions, positions, positions, mask.sum(dim=1))
    return torch.where(mask[:, None, :, None], bias, 0.0) + patterns.padding(mask)


def time_and_memory(call: Callable[[], object], device: torch.device) -> str:
    """Return the median time of a call and, on a GPU, the memory that it adds; a second call must not wait for it."""
    try:
        call()  # compiles
        if device.type != "cuda":
            return f"{median(times(call, device)):.2f} ms"
        torch.cuda.set_sync_debug_mode("error")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        took = median(times(call, device))
        return f"{took:.2f} ms {(torch.cuda.max_memory_allocated(device) - before) / 2**20:,.0f} MiB"
    except torch.OutOfMemoryError:
        return "out of memory"


def times(call: Callable[[], object], device: torch.device, calls: int = 7) -> Iterator[float]:
    """Yield how many milliseconds each call takes."""
    for _ in range(calls):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield 1000 * (time.perf_counter() - start)
