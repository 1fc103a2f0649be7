"""The Fourier transform of FNet is the paper's and torch's, over each sentence's own length."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.mixers.fnet import FNet
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError
from nmt.models.build import build_model
from tests.attention.papers.fnet import fnet
from tests.models.variants import TRANSFORMER

LENGTHS = [7, 4, 1, 6]
MASK = torch.arange(7) < torch.tensor(LENGTHS).unsqueeze(1)
POSITIONS = torch.arange(7).unsqueeze(0)


def test_values_and_gradients_match_the_paper() -> None:
    torch.manual_seed(1)
    x = torch.randn(4, 7, 6, dtype=torch.float64, requires_grad=True)
    ours, state, weights = FNet()(x, POSITIONS, MASK, need_weights=True)
    assert state is None and weights is None
    theirs = [fnet(row[:length]) for row, length in zip(x, LENGTHS, strict=True)]
    of = torch.randn_like(ours)
    for row, one, other, length in zip(x, ours, theirs, LENGTHS, strict=True):
        torch.testing.assert_close(one[:length], other)
        torch.testing.assert_close(one[:length], torch.fft.fft2(row[:length]).real)
    total = sum((row[:length] * at[:length]).sum() for row, at, length in zip(ours, of, LENGTHS, strict=True))
    their_total = sum((row * at[:length]).sum() for row, at, length in zip(theirs, of, LENGTHS, strict=True))
    (one,), (other,) = torch.autograd.grad(total, x), torch.autograd.grad(their_total, x)
    torch.testing.assert_close(one, other)
    assert other.abs().max() > 0.1


def test_without_a_mask_there_is_no_padding() -> None:
    x = torch.randn(2, 7, 6)
    torch.testing.assert_close(FNet()(x, POSITIONS)[0], torch.fft.fft2(x).real)


def test_long_sentences_are_exact_in_float32_even_under_autocast() -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 1000, 8)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _, _ = FNet()(x, torch.arange(1000).unsqueeze(0))
    torch.testing.assert_close(mixed, torch.fft.fft2(x.double()).real.float(), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize(("names", "attends"), [("fnet", False), (["fnet", "softmax"], True)])
def test_an_encoder_has_self_attention_where_a_layer_attends(names: str | list[str], attends: bool) -> None:
    model = build_model(TransformerConfig(**TRANSFORMER, encoder_self=names), 11, 11)  # type: ignore[arg-type]
    assert model.has_attention("encoder") == attends


@pytest.mark.parametrize(("names", "place"), [("fnet", ""), (["softmax", "fnet"], "[1]")])
def test_a_decoder_refuses_it(names: str | list[str], place: str) -> None:
    config = TransformerConfig(**TRANSFORMER, decoder_self=names)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        config.check()
    assert str(caught.value) == (
        f"model.decoder_self{place}=fnet: a Fourier transform is of a whole sentence, so a target word would see the "
        "words after it; it can stand in model.encoder_self"
    )
