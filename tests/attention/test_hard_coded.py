"""Hard-coded attention is the paper's, in values and gradients, whole and in steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers import make_mixer
from nmt.attention.mixers.hard_coded import HardCodedAttention
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HardCodedConfig
from nmt.errors import ConfigError
from tests.attention.against_paper import LENGTHS, POSITIONS
from tests.attention.papers.hard_coded import Weights, hard_coded

DIM, HEADS, LENGTH = 6, 3, 6
OPTIONS = {
    "the paper's": HardCodedConfig(),
    "narrow": HardCodedConfig(encoder_offsets=[-1, 0, 2], decoder_offsets=[0, -2, 1], sigma=0.6),
}


def mixer_of(options: HardCodedConfig, causal: bool) -> HardCodedAttention:
    """Return the mixer of one layer with random weights."""
    torch.manual_seed(1)
    config = TransformerConfig(model_dim=DIM, num_heads=HEADS, hard_coded=options, encoder_self="hard_coded",
                               decoder_self="hard_coded")  # fmt: skip
    mixer = make_mixer(config, Place("decoder_self" if causal else "encoder_self", 0)).double()
    assert isinstance(mixer, HardCodedAttention)
    for weight in mixer.parameters():
        torch.nn.init.normal_(weight)
    return mixer


def weights_of(mixer: HardCodedAttention) -> Weights:
    value, output = mixer.value_projection, mixer.output_projection
    return Weights(value.weight, value.bias, output.weight, output.bias)


def assert_same(mixer: HardCodedAttention, x: Tensor, ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Compare outputs, and the gradients of the inputs and of all weights."""
    given = (x, *mixer.parameters())
    towards = [torch.randn_like(row) for row in ours]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)
    gradients = [
        torch.autograd.grad(sum((row * to).sum() for row, to in zip(rows, towards, strict=True)), given)
        for rows in (ours, theirs)
    ]
    for one, other in zip(*gradients, strict=True):
        assert other.abs().max() > 0.1
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("case", OPTIONS)
def test_outputs_gradients_and_weights_match_the_paper(case: str, causal: bool) -> None:
    options, mixer = OPTIONS[case], mixer_of(OPTIONS[case], causal)
    offsets = options.decoder_offsets if causal else options.encoder_offsets
    x = torch.randn(3, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    lengths = [LENGTH] * 3 if causal else LENGTHS
    mask = None if causal else torch.arange(LENGTH) < torch.tensor(lengths).unsqueeze(1)
    outputs, _, weights = mixer(x, torch.tensor(POSITIONS), mask, need_weights=True)
    expected = [
        hard_coded(row[:length], at[:length], weights_of(mixer), HEADS, offsets, options.sigma, causal)
        for row, at, length in zip(x, POSITIONS, lengths, strict=True)
    ]
    ours = [row[:length] for row, length in zip(outputs, lengths, strict=True)]
    assert_same(mixer, x, ours, [output for output, _ in expected])
    for row, length, (_, attention) in zip(weights, lengths, expected, strict=True):
        torch.testing.assert_close(row[:, :length, :length], attention, atol=1e-15, rtol=1e-12)
        assert not row[:, :, length:].any()


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("parts", [[1] * 9, [3, 1, 5]], ids=["step by step", "in parts"])
def test_steps_match_the_paper_though_the_past_is_forgotten(case: str, parts: list[int]) -> None:
    options, mixer = OPTIONS[case], mixer_of(OPTIONS[case], True)
    mixer.reach = min(mixer.reach, 8)
    x = torch.randn(2, 9, DIM, dtype=torch.float64, requires_grad=True)
    positions = torch.arange(9).unsqueeze(0)
    state, outputs = mixer.init_state(2, x), []
    for part, at in zip(x.split(parts, dim=1), positions.split(parts, dim=1), strict=True):
        output, state, weights = mixer(part, at, None, state, need_weights=True)
        assert weights.shape[-1] == at[0, -1] + 1
        outputs.append(output)
    expected = [
        hard_coded(row, positions[0].tolist(), weights_of(mixer), HEADS, options.decoder_offsets, options.sigma, True)
        for row in x
    ]
    assert_same(mixer, x, list(torch.cat(outputs, dim=1)), [output for output, _ in expected])
    torch.testing.assert_close(weights[:, :, -1], torch.stack([attention[:, -1] for _, attention in expected]))
    assert state.values.size(2) == min(9, mixer.reach)


def test_the_state_does_not_grow_beyond_the_reach() -> None:
    mixer = mixer_of(HardCodedConfig(sigma=0.5), True)
    assert mixer.reach == 1 + 5
    assert mixer.state_bytes(5) < mixer.state_bytes(6) == mixer.state_bytes(100) == 4 * 6 * DIM


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_heads_need_an_offset(stack: str) -> None:
    config = TransformerConfig(
        **{f"{stack}_self": "hard_coded"}, hard_coded=HardCodedConfig(**{f"{stack}_offsets": []})
    )
    with pytest.raises(ConfigError) as caught:
        config.check()
    assert str(caught.value) == (
        f"model.{stack}_self=hard_coded has heads that look at fixed places, and "
        f"model.hard_coded.{stack}_offsets names none: give it at least one number, such as [0]"
    )
