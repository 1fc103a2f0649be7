"""The simpler simple recurrent unit and its paper agree, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers.ssru import Ssru, SsruState
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError
from nmt.models.build import build_model
from tests.attention.papers.ssru import ssru
from tests.models.variants import TRANSFORMER

DIM, LENGTH = 4, 6


def mixer() -> Ssru:
    """Return an SSRU whose weights and bias are not small."""
    torch.manual_seed(1)
    made = Ssru(DIM).double()
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    return made


def run(made: Ssru, x: Tensor, parts: list[int] | None) -> Tensor:
    """Return the outputs for all positions at once (None), or for parts of the given lengths one after another."""
    if parts is None:
        return made(x, torch.arange(LENGTH).unsqueeze(0))[0]
    state: SsruState | None = made.init_state(len(x), x)
    outputs, start = [], 0
    for part in x.split(parts, dim=1):
        positions = torch.arange(start, start + part.size(1)).unsqueeze(0)
        output, state, weights = made(part, positions, None, state, need_weights=True)
        assert weights is None
        outputs.append(output)
        start += part.size(1)
    return torch.cat(outputs, dim=1)


@pytest.mark.parametrize("parts", [None, [1] * LENGTH, [3, 1, 2]], ids=["at once", "step by step", "in parts"])
def test_values_and_gradients_match_the_paper(parts: list[int] | None) -> None:
    made = mixer()
    x = torch.randn(3, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    given = (made.forget_projection.weight, made.forget_projection.bias, made.input_projection.weight)
    ours = run(made, x, parts)
    theirs = torch.stack([ssru(row, *given) for row in x])
    assert (theirs > 0).any() and (theirs == 0).any(), "the ReLU acts"
    torch.testing.assert_close(ours, theirs)
    of = torch.randn_like(ours)  # the weights of the outputs in a sum
    for one, other in zip(
        torch.autograd.grad((of * ours).sum(), (x, *given)),
        torch.autograd.grad((of * theirs).sum(), (x, *given)),
        strict=True,
    ):
        assert other.abs().max() > 0.1
        torch.testing.assert_close(one, other)


def test_the_state_does_not_grow() -> None:
    made = mixer()
    assert made.state_bytes(1) == made.state_bytes(1000) == 4 * DIM
    (c,) = made.init_state(5, torch.empty(2, 0, DIM))
    assert c.shape == (5, DIM) and not c.any()


def test_sums_are_in_float32_under_autocast() -> None:
    made = mixer().float()
    x, positions = torch.randn(2, LENGTH, DIM), torch.arange(LENGTH).unsqueeze(0)
    with torch.autocast("cpu", torch.bfloat16):
        output, state, _ = made(x, positions, None, made.init_state(2, x.bfloat16()))
        assert state.c.dtype == torch.float32
    torch.testing.assert_close(output, made(x, positions)[0], atol=0.1, rtol=0.1)


@pytest.mark.parametrize(("names", "attends"), [("ssru", False), (["ssru", "softmax"], True), ("softmax", True)])
def test_a_decoder_has_self_attention_where_a_layer_attends(names: str | list[str], attends: bool) -> None:
    model = build_model(TransformerConfig(**TRANSFORMER, decoder_self=names), 11, 11)  # type: ignore[arg-type]
    assert model.has_attention("decoder") == attends
    assert model.has_attention("cross") and model.has_attention("encoder")


@pytest.mark.parametrize(("names", "place"), [("ssru", ""), (["softmax", "ssru"], "[1]")])
def test_an_encoder_refuses_it(names: str | list[str], place: str) -> None:
    config = TransformerConfig(**TRANSFORMER, encoder_self=names)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        config.check()
    assert str(caught.value) == (
        f"model.encoder_self{place}=ssru: an SSRU reads from left to right, so a source word would not see the words "
        "after it; it can stand in model.decoder_self"
    )
