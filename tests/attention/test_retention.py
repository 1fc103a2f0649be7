"""Retention and its paper agree in all forms: parallel, recurrent, in chunks, and in both directions."""

from __future__ import annotations

import pytest
import torch

from nmt.attention import mixers, running
from nmt.attention.mixers.retention import Retention
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError
from tests.attention.mixing import (
    LENGTHS,
    assert_decodes_like,
    assert_encodes_like,
    at,
    in_parts,
    inputs,
    mixer_of,
    saved_numbers,
)
from tests.attention.papers.retention import Matrices, retention

DIM, HEADS = 8, 2
CONFIG = TransformerConfig(model_dim=DIM, num_heads=HEADS)


def made(causal: bool) -> Retention:
    mixer = mixer_of("retention", CONFIG, causal)
    assert isinstance(mixer, Retention)
    return mixer


def matrices(mixer: Retention) -> Matrices:
    return Matrices(*mixer.qkv_projection.weight.chunk(3), mixer.gate_projection.weight, mixer.output_projection.weight)


@pytest.mark.parametrize("form", ["parallel", "recurrent"])
@pytest.mark.parametrize("chunk", [64, 2], ids=["in one chunk", "in chunks of two"])
def test_a_decoder_matches_the_paper(monkeypatch: pytest.MonkeyPatch, chunk: int, form: str) -> None:
    monkeypatch.setattr(running, "CHUNK", chunk)
    mixer = made(causal=True)
    assert_decodes_like(mixer, lambda x: retention(x, matrices(mixer), HEADS, form)[0], DIM)


@pytest.mark.parametrize("long", [512, 1], ids=["pair by pair", "by running sums"])
def test_an_encoder_decays_in_both_directions(monkeypatch: pytest.MonkeyPatch, long: int) -> None:
    monkeypatch.setattr(mixers.retention, "LONG", long)
    monkeypatch.setattr(running, "CHUNK", 2)
    mixer = made(causal=False)
    assert_encodes_like(mixer, lambda x: retention(x, matrices(mixer), HEADS, "bidirectional")[0], DIM)


@pytest.mark.parametrize("form", ["parallel", "bidirectional"])
def test_weights_are_the_absolute_values_of_the_products(form: str) -> None:
    causal = form == "parallel"
    mixer, x = made(causal), inputs(DIM)
    lengths = [6, 6, 6] if causal else LENGTHS
    mask = None if causal else torch.arange(6) < torch.tensor(lengths).unsqueeze(1)
    weights = mixer(x, at(x), mask, need_weights=True)[2]
    for row, length, found in zip(x, lengths, weights, strict=True):
        expected = retention(row[:length], matrices(mixer), HEADS, form)[1]
        assert (expected < 0).any()
        torch.testing.assert_close(found[:, :length, :length], expected.abs())
        assert not found[:, :, length:].any()


def test_weights_of_the_past_are_not_known_with_a_state() -> None:
    mixer, x = made(causal=True), inputs(DIM)
    assert mixer.forgets and mixer(x, at(x), None, mixer.init_state(3, x), need_weights=True)[2] is None


def test_only_distances_matter() -> None:
    mixer, x = made(causal=True), inputs(DIM)
    torch.testing.assert_close(mixer(x, at(x))[0], mixer(x, 100 + at(x))[0])


def test_a_long_sentence_is_the_same_in_chunks_and_step_by_step_in_float32() -> None:
    mixer = made(causal=True).float()
    x = torch.randn(1, 300, DIM)
    torch.testing.assert_close(mixer(x, at(x))[0], in_parts(mixer, x, [1] * 300), atol=1e-4, rtol=1e-4)


def test_the_state_does_not_grow_and_is_kept_in_float32() -> None:
    mixer = made(causal=True).float()
    x = torch.randn(2, 5, DIM)
    assert mixer.state_bytes(1) == mixer.state_bytes(1000) == 4 * HEADS * (DIM // HEADS) ** 2
    with torch.autocast("cpu", torch.bfloat16):
        state = mixer(x, at(x), None, mixer.init_state(2, x.bfloat16()))[1]
    assert state.s.dtype == torch.float32


@pytest.mark.parametrize("causal", [True, False])
def test_memory_grows_with_the_length_and_not_with_its_square(causal: bool) -> None:
    mixer = made(causal)
    assert saved_numbers(mixer, DIM, 1024) < 2.1 * saved_numbers(mixer, DIM, 512)


def test_an_odd_head_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(model_dim=10, num_heads=2, decoder_self="retention").check()
    assert str(caught.value) == (
        "model.decoder_self=retention needs heads of even size, and model.model_dim / model.num_heads = 5 is odd"
    )
