"""The average attention network and its paper agree; its implied weights are the matrices it computes with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers.average import AverageAttention
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import AverageConfig
from nmt.errors import ConfigError
from tests.attention.mixing import assert_decodes_like, at, inputs, mixer_of
from tests.attention.papers.average import average_attention, ffn
from tests.models.variants import TRANSFORMER

DIM, HEADS = 6, 3


def made(feed_forward: bool, **keys: object) -> AverageAttention:
    config = TransformerConfig(
        model_dim=DIM, num_heads=HEADS, ffn_dim=5, average=AverageConfig(feed_forward=feed_forward), **keys
    )  # type: ignore[arg-type]
    mixer = mixer_of("average", config, causal=True)
    assert isinstance(mixer, AverageAttention)
    return mixer


def paper(mixer: AverageAttention, y: Tensor) -> tuple[Tensor, Tensor]:
    def network(x: Tensor) -> Tensor:
        weights = list(mixer.feed_forward.parameters())
        return ffn(x, *weights) if weights else x

    return average_attention(y, mixer.gate_projection.weight, mixer.gate_projection.bias, network)


@pytest.mark.parametrize("feed_forward", [True, False])
def test_it_matches_the_paper(feed_forward: bool) -> None:
    mixer = made(feed_forward)
    assert_decodes_like(mixer, lambda y: paper(mixer, y)[0], DIM)


def test_implied_weights_are_means_over_the_matrices_of_a_group_of_channels() -> None:
    mixer, x = made(feed_forward=False), inputs(DIM)
    outputs, _, weights = mixer(x, at(x), need_weights=True)
    for y, output, found in zip(x, outputs, weights, strict=True):
        i, f = paper(mixer, y)[1]
        matrices = torch.zeros(DIM, 6, 6, dtype=torch.float64)
        for channel in range(DIM):
            for t in range(6):
                matrices[channel, t, : t + 1] = f[t, channel] / (t + 1)
                matrices[channel, t, t] += i[t, channel]
        torch.testing.assert_close(torch.stack([matrix @ y[:, c] for c, matrix in enumerate(matrices)], 1), output)
        torch.testing.assert_close(
            found, torch.stack([matrices[2 * h : 2 * h + 2].abs().mean(0) for h in range(HEADS)])
        )


def test_there_are_no_weights_with_a_network_or_a_state() -> None:
    x = inputs(DIM)
    with_network, without = made(feed_forward=True), made(feed_forward=False)
    assert not with_network.attends and with_network(x, at(x), need_weights=True)[2] is None
    assert without.forgets and without(x, at(x), None, without.init_state(3, x), need_weights=True)[2] is None


def test_the_state_does_not_grow_and_is_kept_in_float32() -> None:
    mixer = made(feed_forward=True).float()
    x = torch.randn(2, 5, DIM)
    assert mixer.state_bytes(1) == mixer.state_bytes(1000) == 4 * (DIM + 1)
    with torch.autocast("cpu", torch.bfloat16):
        output, state, _ = mixer(x, at(x), None, mixer.init_state(2, x.bfloat16()))
    assert {leaf.dtype for leaf in state} == {torch.float32}
    torch.testing.assert_close(output, mixer(x, at(x))[0], atol=0.1, rtol=0.1)


def test_inputs_in_bf16_add_up_in_float32() -> None:
    x = torch.ones(1, 1001, DIM, dtype=torch.bfloat16)  # bf16 has no 1001
    mixer = made(feed_forward=False).bfloat16()
    state = mixer(x, at(x), None, mixer.init_state(1, x))[1]
    assert (state.total == 1001).all() and (state.number == 1001).all()


def test_its_network_has_the_activation_and_dropout_of_the_model_s() -> None:
    mixer = made(True, activation="gelu", ffn_dropout=0.25)
    assert [str(part) for part in mixer.feed_forward][1:3] == [
        "GELU(approximate='none')",
        "Dropout(p=0.25, inplace=False)",
    ]


@pytest.mark.parametrize(("names", "place"), [("average", ""), (["softmax", "average"], "[1]")])
def test_an_encoder_refuses_it(names: str | list[str], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(**TRANSFORMER, encoder_self=names).check()  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"model.encoder_self{place}=average: average attention reads from left to right, so a source word would not "
        "see the words after it; it can stand in model.decoder_self"
    )
