"""Patterns by FlexAttention give what attention to all keys with a bias gives; here uncompiled, on a CPU.

On a GPU, scripts/check_device.py --patterns compares the compiled kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention as of_torch

from nmt.attention import patterns
from nmt.attention.mixers import make_mixer
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.multihead import attention_weights
from nmt.attention.patterns.bigbird import BigBird
from nmt.attention.patterns.blocks import Blocks
from nmt.attention.patterns.dilated import DilatedWindow
from nmt.attention.patterns.sliding import SlidingWindow
from nmt.attention.patterns.strided import Strided
from nmt.attention.patterns.window_global import WindowAndGlobal
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import BigBirdConfig, HeadsConfig
from nmt.kernels import flex
from nmt.kernels.scaled_dot_product import attention

HEADS = 4
PATTERNS: dict[str, patterns.Pattern] = {
    "sliding": SlidingWindow(3),
    "dilated": DilatedWindow(3, 5),
    "blocks": Blocks(7),
    "strided": Strided(6),
    "window_global": WindowAndGlobal(2, 3),
    "bigbird": BigBird(BigBirdConfig(block=4, window=0, random_blocks=2)),
}


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let torch compute FlexAttention by plain operations, which have gradients on a CPU, too; forget block masks."""
    monkeypatch.setattr(of_torch, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(of_torch, "_validate_device", lambda *given: None)
    flex._masks.clear()
    yield
    flex._masks.clear()


def inputs_of(length: int, kv_heads: int = HEADS) -> list[Tensor]:
    torch.manual_seed(length)
    return [
        torch.randn(3, heads, length, 8, dtype=torch.float64, requires_grad=True)
        for heads in (HEADS, kv_heads, kv_heads)
    ]


def padded(length: int) -> Tensor:
    return torch.arange(length) < torch.tensor([[length], [(length + 1) // 2], [1]])


def dense(inputs: list[Tensor], positions: Tensor, pattern: patterns.Pattern, mask: Tensor | None) -> Tensor:
    """Return the contexts by the equation, with a bias for each query and key; without a mask, causal."""
    query, key, value = (each.repeat_interleave(HEADS // each.size(1), dim=1) for each in inputs)
    return attention_weights(query, key, bias_of(query, positions, pattern, mask)) @ value


def bias_of(query: Tensor, positions: Tensor, pattern: patterns.Pattern, mask: Tensor | None) -> Tensor:
    if mask is None:
        return pattern.bias(query, query, positions, positions) + patterns.causal(positions, positions)
    bias = pattern.bias(query, query, positions, positions, mask.sum(dim=1))
    return torch.where(mask[:, None, :, None], bias, 0.0) + patterns.padding(mask)


@pytest.mark.parametrize(("length", "kv_heads"), [(1, 4), (127, 2), (128, 1), (129, 4), (200, 2)])
@pytest.mark.parametrize("causal", [False, True], ids=["padded", "causal"])
@pytest.mark.parametrize("name", PATTERNS)
def test_contexts_and_gradients_are_those_of_all_keys(name: str, causal: bool, length: int, kv_heads: int) -> None:
    pattern, inputs = PATTERNS[name], inputs_of(length, kv_heads)
    mask = None if causal else padded(length)
    shared = torch.arange(length).unsqueeze(0)
    # the same positions for all rows, and rows that start elsewhere or have gaps
    for positions in (shared, shared * torch.tensor([[1], [1], [2]]) + torch.tensor([[0], [5], [1]])):
        ours = flex.pattern_attention(*inputs, positions, pattern.allows, name, mask=mask, causal=causal)
        theirs = dense(inputs, positions, pattern, mask)
        torch.testing.assert_close(ours, theirs)
        towards = torch.randn_like(ours)
        for one, other in zip(
            torch.autograd.grad((ours * towards).sum(), inputs),
            torch.autograd.grad((theirs * towards).sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


MUTATED: dict[str, flex.Allows] = {
    "one further": lambda i, j, length: (i - j).abs() <= 4,
    "one side": lambda i, j, length: (i - j).abs() <= 3 * (j <= i),
    "one pair less": lambda i, j, length: ((i - j).abs() <= 3) & ~((i == 130) & (j == 127)),
    "one pair more": lambda i, j, length: ((i - j).abs() <= 3) | ((i == 0) & (j == 140)),
}


@pytest.mark.parametrize("name", MUTATED)
def test_another_mask_gives_other_contexts(name: str) -> None:
    inputs, positions = inputs_of(150), torch.arange(150).unsqueeze(0)
    mask = torch.ones(3, 150, dtype=torch.bool)
    ours = flex.pattern_attention(*inputs, positions, MUTATED[name], name, mask=mask)
    theirs = dense(inputs, positions, SlidingWindow(3), mask)
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(ours, theirs)


class Earlier(patterns.Pattern):
    """A pattern whose first query may attend nowhere in a decoder."""

    def allows(self, i: Tensor, j: Tensor, length: Tensor | None) -> Tensor:
        return j < i


def test_a_query_that_may_attend_nowhere_has_the_context_of_the_fused_kernel() -> None:
    inputs, positions = inputs_of(130), torch.arange(130).unsqueeze(0)
    ours = flex.pattern_attention(*inputs, positions, Earlier().allows, "earlier", causal=True)
    query, key, value = inputs
    theirs = attention(query, key, value, bias=bias_of(query, positions, Earlier(), None))
    torch.testing.assert_close(ours, theirs)
    assert not ours[:, :, 0].any()


def test_a_block_mask_is_made_once_for_the_layers_of_a_stack() -> None:
    mask, positions = padded(200), torch.arange(200).unsqueeze(0)

    def made(pattern: patterns.Pattern, positions: Tensor = positions, **given: Any) -> Any:
        return flex.block_mask(positions, pattern.allows, pattern.name, **given)

    first = made(SlidingWindow(3), mask=mask)
    assert made(SlidingWindow(3), mask=mask) is first
    others = [
        made(SlidingWindow(4), mask=mask),
        made(Blocks(4), mask=mask),
        made(BigBird(BigBirdConfig(seed=1)), mask=mask),
        made(BigBird(BigBirdConfig(seed=2)), mask=mask),
        made(SlidingWindow(3), mask=mask.clone()),
        made(SlidingWindow(3), positions.clone(), mask=mask),
        made(SlidingWindow(3), mask=mask, causal=True),
    ]
    assert len({id(each) for each in (first, *others)}) == 8
    made(SlidingWindow(3))
    assert len(flex._masks) == flex.KEPT and made(SlidingWindow(3), mask=mask) is not first


def test_keys_out_of_reach_are_in_no_block() -> None:
    """With a window of 3, each block of 128 sees itself and its neighbours: 10 of 16 blocks of 512 x 512."""
    blocks = flex.block_mask(torch.arange(512).unsqueeze(0), SlidingWindow(3).allows, "narrow")
    assert blocks.to_dense().sum() == 10


CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("given", "triton", "capability", "expected"),
    [
        ((CUDA, torch.bfloat16, flex.LONG, 64), True, (9, 0), True),
        ((CUDA, torch.float32, 5000, 16), True, (8, 0), True),
        ((CUDA, torch.bfloat16, flex.LONG - 1, 64), True, (9, 0), False),
        ((torch.device("cpu"), torch.float32, flex.LONG, 64), True, (9, 0), False),
        ((torch.device("mps"), torch.float32, flex.LONG, 64), True, (9, 0), False),
        ((CUDA, torch.float64, flex.LONG, 64), True, (9, 0), False),
        ((CUDA, torch.bfloat16, flex.LONG, 8), True, (9, 0), False),
        ((CUDA, torch.bfloat16, flex.LONG, 64), False, (9, 0), False),
        ((CUDA, torch.bfloat16, flex.LONG, 64), True, (7, 5), False),
    ],
)
def test_it_is_used_where_it_works(
    given: tuple[Any, ...], triton: bool, capability: tuple[int, int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flex, "_has_triton", lambda: triton)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert flex.pays(*given) == expected
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not flex.pays(*given)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pretend that FlexAttention pays for long sequences; return a list to which each call of it adds the length."""
    made: list[int] = []
    real = flex.pattern_attention

    def counted(query: Tensor, *given: Any, **options: Any) -> Tensor:
        made.append(query.size(2))
        return real(query, *given, **options)

    monkeypatch.setattr(flex, "pays", lambda device, dtype, length, head_dim: length > 100)
    monkeypatch.setattr(flex, "pattern_attention", counted)
    return made


def mixer_of(causal: bool, pattern: str = "window_global", **options: Any) -> SelfAttention:
    torch.manual_seed(1)
    config = TransformerConfig(model_dim=8, num_heads=2, encoder_self=pattern, decoder_self=pattern, **options)
    mixer = make_mixer(config, Place("decoder_self" if causal else "encoder_self", 0)).double()
    assert isinstance(mixer, SelfAttention)
    return mixer


@pytest.mark.parametrize("options", [{}, {"positions": "rotary", "heads": HeadsConfig(num_kv_heads=1, qk_norm="rms")}])
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("pattern", ["sliding", "window_global"])
def test_self_attention_is_that_with_weights(
    pattern: str, causal: bool, options: dict[str, Any], calls: list[int]
) -> None:
    mixer = mixer_of(causal, pattern, **options)
    x, positions = torch.randn(3, 130, 8, dtype=torch.float64), torch.arange(130).unsqueeze(0)
    mask = None if causal else padded(130)
    fast, _, none = mixer(x, positions, mask)
    assert calls == [130] and none is None
    plain, _, weights = mixer(x, positions, mask, need_weights=True)
    assert calls == [130] and weights is not None
    torch.testing.assert_close(fast, plain)


@pytest.mark.parametrize(
    ("options", "used"),
    [
        ({}, True),
        ({"pattern": "sliding"}, True),
        ({"pattern": "softmax"}, False),
        ({"pattern": "fixed_gaussian"}, False),
        ({"pattern": "learned_gaussian"}, False),
        ({"pattern": "adaptive_span"}, False),
        ({"positions": "rotary"}, True),
        ({"positions": "alibi"}, False),
        ({"positions": "t5"}, False),
        ({"positions": "shaw"}, False),
        ({"normaliser": "sparsemax"}, False),
        ({"heads": HeadsConfig(talking=True)}, False),
        ({"attention_dropout": 0.1}, False),
    ],
    ids=str,
)
def test_whatever_has_more_than_a_mask_compares_all_keys(options: dict[str, Any], used: bool, calls: list[int]) -> None:
    mixer, x = mixer_of(True, **options), torch.randn(1, 130, 8, dtype=torch.float64)
    positions = torch.arange(130).unsqueeze(0)
    mixer(x, positions)
    assert bool(calls) == used
    mixer.eval()(x, positions)
    assert bool(calls) == (used or "attention_dropout" in options), "weights are dropped in training alone"
    calls.clear()
    mixer(x, positions, None, mixer.init_state(1, x))
    mixer(x[:, :20], positions[:, :20])
    assert not calls, "not with a state, and not for short sequences"
