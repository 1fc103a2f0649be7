"""Attention within a window agrees with attention to all keys under a mask, in values and gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.attention import patterns
from nmt.attention.mixers import make_mixer, softmax
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.multihead import attention_weights
from nmt.attention.patterns.bigbird import BigBird
from nmt.attention.patterns.blocks import Blocks
from nmt.attention.patterns.dilated import DilatedWindow
from nmt.attention.patterns.sliding import SlidingWindow
from nmt.attention.patterns.window_global import WindowAndGlobal
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import BigBirdConfig, HeadsConfig, SlidingConfig, WindowGlobalConfig
from nmt.kernels.windowed import pays, windowed_attention

PATTERNS: dict[str, patterns.Pattern] = {
    "narrow": SlidingWindow(1),
    "wide": SlidingWindow(40),
    "dilated": DilatedWindow(3, 5),
    "blocks": Blocks(7),
    "global": WindowAndGlobal(2, 3),
    "global, a short window": WindowAndGlobal(1, 40),
    "random": BigBird(BigBirdConfig(block=4, random_blocks=2)),
    "random, no window": BigBird(BigBirdConfig(block=3, window=0, global_blocks=0, random_blocks=3, seed=5)),
}


def dense(inputs: list[Tensor], positions: Tensor, pattern: patterns.Pattern, mask: Tensor | None) -> Tensor:
    """Return the contexts by the equation, with a bias for each query and key; without a mask, causal."""
    query, key, value = inputs
    bias = pattern.bias(query, key, positions, positions, None if mask is None else mask.sum(dim=1))
    bias = bias + (patterns.causal(positions, positions) if mask is None else patterns.padding(mask))
    if mask is not None:
        bias = torch.where(mask[:, None, :, None], bias, 0.0)  # queries that are padding, whose contexts do not matter
    return attention_weights(query, key, bias) @ value


@pytest.mark.parametrize("length", [1, 31, 32, 33, 97])
@pytest.mark.parametrize("causal", [False, True], ids=["padded", "causal"])
@pytest.mark.parametrize("name", PATTERNS)
def test_contexts_and_gradients_are_those_of_all_keys(name: str, causal: bool, length: int) -> None:
    torch.manual_seed(length)
    pattern = PATTERNS[name]
    inputs = [torch.randn(3, 2, length, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    lengths = torch.tensor([length, (length + 1) // 2, 1]).unsqueeze(1)
    mask = None if causal else torch.arange(length) < lengths
    # the positions of one row have gaps, if the keys of a pattern are all near
    gap = 2 if pattern.reach is not None else 1
    positions = torch.arange(length) * torch.tensor([[1], [1], [gap]]) + torch.tensor([[0], [5], [1]])
    near, each = pattern.near, None if mask is None else mask.sum(dim=1)[:, None, None]
    assert near is not None
    ours = windowed_attention(
        *inputs,
        positions,
        lambda i, j: pattern.allows(i, j, None if each is None else each.unsqueeze(3)),
        reach=near,
        far=lambda i: pattern.far(i, each),
        first=pattern.first,
        mask=mask,
        causal=causal,
    )
    assert ours.isfinite().all() and (ours != 0).all(), "every query sees something"
    real = torch.ones(3, length, dtype=torch.bool) if mask is None else mask
    towards = torch.randn_like(ours) * real[:, None, :, None]
    theirs = dense(inputs, positions, pattern, mask)
    torch.testing.assert_close(ours * real[:, None, :, None], theirs * real[:, None, :, None])
    for one, other in zip(
        torch.autograd.grad((ours * towards).sum(), inputs),
        torch.autograd.grad((theirs * towards).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_weights_are_dropped_in_training_alone() -> None:
    x = torch.ones(1, 1, 300, 4)
    given: tuple[Any, ...] = (x, x, x, torch.arange(300).unsqueeze(0), lambda i, j: (i - j).abs() <= 2)
    torch.testing.assert_close(windowed_attention(*given, reach=2, dropout=0.5), x)
    assert (windowed_attention(*given, reach=2, dropout=0.5, training=True) == 0).any()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each call of the kernel by self-attention adds the length."""
    made: list[int] = []

    def counted(query: Tensor, *given: Any, **options: Any) -> Tensor:
        made.append(query.size(2))
        return windowed_attention(query, *given, **options)

    monkeypatch.setattr(softmax, "windowed_attention", counted)
    return made


def mixer_of(causal: bool, kind: Any = "sliding", **options: Any) -> SelfAttention:
    torch.manual_seed(1)
    config = TransformerConfig(
        model_dim=8, num_heads=2, encoder_self=kind, decoder_self=kind, **options,
        sliding=SlidingConfig(window=3), window_global=WindowGlobalConfig(window=3, tokens=2),
        bigbird=BigBirdConfig(block=2),
    )  # fmt: skip
    mixer = make_mixer(config, Place("decoder_self" if causal else "encoder_self", 0)).double()
    assert isinstance(mixer, SelfAttention)
    return mixer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"positions": "rotary", "heads": HeadsConfig(num_kv_heads=1, qk_norm="rms")},
        {"kind": "window_global"},
        {"kind": "bigbird", "heads": HeadsConfig(num_kv_heads=1)},
    ],
)
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_self_attention_in_long_sequences_is_that_with_weights(
    options: dict[str, Any], causal: bool, calls: list[int]
) -> None:
    mixer = mixer_of(causal, **options)
    length = next(length for length in range(1, 10_000) if pays(length, 3)) + 5
    x = torch.randn(2, length, 8, dtype=torch.float64)
    real = torch.arange(length) < torch.tensor([[length], [length - 40]])
    positions = torch.arange(length).unsqueeze(0)
    fast, _, none = mixer(x, positions, None if causal else real)
    assert calls == [length] and none is None
    plain, _, weights = mixer(x, positions, None if causal else real, need_weights=True)
    assert calls == [length] and weights is not None
    real = real | causal
    torch.testing.assert_close(fast[real], plain[real])


def test_blocks_with_many_far_keys_do_not_pay() -> None:
    few, many = (BigBird(BigBirdConfig(random_blocks=number)) for number in (1, 16))
    for pattern, expected in ((few, True), (many, False), (WindowAndGlobal(16, 512), False)):
        assert pays(1024, pattern.near, partial(pattern.far, length=None), pattern.first) == expected


@pytest.mark.parametrize(
    ("options", "length"),
    [({}, 20), ({"positions": "alibi"}, 600), ({"positions": "shaw"}, 600), ({"normaliser": "sparsemax"}, 600)],
    ids=["short", "biases", "values", "normaliser"],
)
def test_self_attention_compares_all_keys_where_it_has_to(
    options: dict[str, Any], length: int, calls: list[int]
) -> None:
    mixer_of(False, **options)(torch.randn(1, length, 8, dtype=torch.float64), torch.arange(length).unsqueeze(0))
    assert not calls
