"""Linear attention and its paper agree, in values, gradients and weights; its numbers and its memory stay bounded."""

from __future__ import annotations

import pytest
import torch

from nmt.attention import running
from nmt.attention.mixers.linear import LinearAttention
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError
from tests.attention.against_paper import weights_of
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
from tests.attention.papers.linear import kernel_attention
from tests.models.variants import TRANSFORMER

CONFIG = TransformerConfig(model_dim=6, num_heads=2)
BOTH = pytest.mark.parametrize("causal", [False, True])


def made(causal: bool) -> LinearAttention:
    mixer = mixer_of("linear", CONFIG, causal)
    assert isinstance(mixer, LinearAttention)
    return mixer


@pytest.mark.parametrize("chunk", [64, 2], ids=["in one chunk", "in chunks of two"])
def test_a_decoder_matches_the_paper(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(running, "CHUNK", chunk)
    mixer = made(causal=True)
    assert_decodes_like(mixer, lambda x: kernel_attention(x, weights_of(mixer), 2, True)[0], 6)


def test_an_encoder_matches_the_paper() -> None:
    mixer = made(causal=False)
    assert_encodes_like(mixer, lambda x: kernel_attention(x, weights_of(mixer), 2, False)[0], 6)


@BOTH
def test_weights_match_the_paper(causal: bool) -> None:
    mixer, x = made(causal), inputs(6)
    lengths = [6, 6, 6] if causal else LENGTHS
    mask = None if causal else torch.arange(6) < torch.tensor(lengths).unsqueeze(1)
    weights = mixer(x, at(x), mask, need_weights=True)[2]
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    for row, length, found in zip(x, lengths, weights, strict=True):
        expected = kernel_attention(row[:length], weights_of(mixer), 2, causal)[1]
        torch.testing.assert_close(found[:, :length, :length], expected)
        assert not found[:, :, length:].any()


def test_weights_of_the_past_are_not_known_with_a_state() -> None:
    mixer, x = made(causal=True), inputs(6)
    assert mixer.forgets and mixer(x, at(x), None, mixer.init_state(3, x), need_weights=True)[2] is None


def test_the_state_does_not_grow_and_is_kept_in_float32() -> None:
    mixer = made(causal=True).float()
    x = torch.randn(2, 5, 6)
    assert mixer.state_bytes(1) == mixer.state_bytes(1000) == 4 * 2 * (3 * 4 + 1)
    with torch.autocast("cpu", torch.bfloat16):
        output, state, _ = mixer(x, at(x), None, mixer.init_state(2, x.bfloat16()))
    assert {leaf.dtype for leaf in state} == {torch.float32}
    torch.testing.assert_close(output.float(), mixer(x, at(x))[0], atol=0.1, rtol=0.1)


@BOTH
@pytest.mark.parametrize(("scale", "offset"), [(1000, 0), (1, -200)], ids=["large", "all negative"])
def test_features_that_float32_cannot_hold_do_no_harm(causal: bool, scale: float, offset: float) -> None:
    mixer = made(causal).float()
    with torch.no_grad():
        mixer.qkv_projection.weight[:12] *= scale
        mixer.qkv_projection.bias[:12] += offset
    x = torch.randn(3, 6, 6, requires_grad=True)
    outputs = [mixer(x, at(x))[0]] + ([in_parts(mixer, x, [1] * 6)] if causal else [])
    expected = kernel_attention(
        x[0].double(), weights_of(mixer.double()), 2, causal, lambda x: torch.where(x > 0, x + 1, x.exp())
    )[0]
    for output in outputs:
        (gradient,) = torch.autograd.grad(output.sum(), x)
        assert output.isfinite().all() and gradient.isfinite().all()
    torch.testing.assert_close(outputs[-1][0].double(), expected, atol=1e-3, rtol=1e-3)


def test_memory_grows_with_the_length_and_not_with_its_square() -> None:
    mixer = made(causal=True)
    assert saved_numbers(mixer, 6, 1024) < 2.1 * saved_numbers(mixer, 6, 512)


@pytest.mark.parametrize("positions", ["rotary", "alibi", "shaw"])
def test_positions_that_no_layer_would_use_are_refused(positions: str) -> None:
    def refusal(**keys: object) -> str:
        with pytest.raises(ConfigError) as caught:
            TransformerConfig(**TRANSFORMER, positions=positions, **keys).check()  # type: ignore[arg-type]
        return str(caught.value)

    instead = "use model.positions=sinusoidal, which is added to the embeddings, or softmax in one of the layers"
    start = f"model.positions={positions} acts on the scores of self-attention, and no layer"
    assert refusal(encoder_self="linear", decoder_self=["linear", "ssru"]) == f"{start} has such scores: {instead}"
    assert refusal(encoder_self="linear") == (
        f"{start} of the encoder has such scores, so that it would not know the order of the source words: {instead}"
    )
    for keys in ({"decoder_self": "linear"}, {"encoder_self": ["linear", "softmax"], "decoder_self": "linear"}):
        TransformerConfig(**TRANSFORMER, positions=positions, **keys).check()  # type: ignore[arg-type]
