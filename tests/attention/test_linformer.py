"""Linformer's attention is the paper's, in values, gradients and weights, over each sentence's own length."""

from __future__ import annotations

from typing import Literal, cast

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers.linformer import Linformer
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HeadsConfig, LinformerConfig
from nmt.errors import ConfigError
from tests.attention.against_paper import mixer_of, weights_of
from tests.attention.papers.linformer import linformer
from tests.models.variants import TRANSFORMER

LENGTHS = [6, 4, 1]
MASK = torch.arange(6) < torch.tensor(LENGTHS).unsqueeze(1)
POSITIONS = torch.arange(6).unsqueeze(0)
HEADS = 2
Sharing = Literal["none", "headwise", "key_value"]


def mixer(sharing: Sharing, max_length: int, **options: object) -> Linformer:
    config = TransformerConfig(
        model_dim=8, num_heads=HEADS, encoder_self="linformer",
        linformer=LinformerConfig(k=3, max_length=max_length, sharing=sharing), **options,  # type: ignore[arg-type]
    )  # fmt: skip
    return cast(Linformer, mixer_of(config, causal=False))


def per_head(mixtures: Tensor) -> list[Tensor]:
    """Return the matrix of each head."""
    return list(mixtures.expand(HEADS, -1, -1))


@pytest.mark.parametrize("max_length", [9, 6, 5, 3])
@pytest.mark.parametrize("sharing", ["none", "headwise", "key_value"])
def test_values_and_gradients_match_the_paper(sharing: Sharing, max_length: int) -> None:
    made = mixer(sharing, max_length)
    x = torch.randn(3, 6, 8, dtype=torch.float64, requires_grad=True)
    ours, _, weights = made(x, POSITIONS, MASK, need_weights=True)
    e, f = per_head(made.mix_keys), per_head(made.mix_values)
    theirs = [linformer(row[:n], weights_of(made), e, f) for row, n in zip(x, LENGTHS, strict=True)]
    totals = [torch.zeros((), dtype=x.dtype), torch.zeros((), dtype=x.dtype)]
    for one, shown, (other, matrices), n in zip(ours, weights, theirs, LENGTHS, strict=True):
        torch.testing.assert_close(one[:n], other)
        torch.testing.assert_close(shown[:, :n, :n], matrices.abs())
        assert not shown[:, :, n:].any() and (n <= max_length or not shown[:, :, max_length:].any())
        of = torch.randn_like(other)
        totals[0], totals[1] = totals[0] + (of * one[:n]).sum(), totals[1] + (of * other).sum()
    names, given = zip(*made.named_parameters(), strict=True)
    found = [torch.autograd.grad(total, (x, *given), retain_graph=True) for total in totals]
    for name, one, other in zip(("x", *names), *found, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")
    assert len(names) == (5 if sharing == "key_value" else 6)
    assert e[0].equal(e[1]) != (sharing == "none")


def test_the_weights_are_the_matrices_that_multiply_values() -> None:
    """Shared values, three heads of queries: the output is the signed matrix times the values, channel by channel."""
    made = mixer("none", 5, heads=HeadsConfig(num_kv_heads=1, qk_norm="l2"), normaliser="sparsemax")
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    made.output_projection.weight.data = torch.eye(8, dtype=x.dtype)
    made.output_projection.bias.data.zero_()
    made.mix_values.data.abs_()  # so that all implied weights are positive, and their own absolute values
    mask = torch.ones(2, 6, dtype=torch.bool)
    output, _, weights = made(x, POSITIONS, mask, need_weights=True)
    value = (x @ made.qkv_projection.weight[-4:].T + made.qkv_projection.bias[-4:]).unsqueeze(1)
    torch.testing.assert_close(output, (weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(made(x, POSITIONS)[0], output)
    for normalised in (made.qkv_projection.weight, made.qkv_projection.bias):
        normalised.data[:-4] *= 7  # the length of queries and keys does not matter
    torch.testing.assert_close(made(x, POSITIONS)[0], output)


@pytest.mark.parametrize("positions", ["rotary", "alibi", "shaw"])
def test_positions_of_keys_are_refused(positions: str) -> None:
    config = TransformerConfig(**TRANSFORMER, encoder_self=["softmax", "linformer"], positions=positions)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        config.check()
    assert str(caught.value) == (
        "model.encoder_self[1]=linformer attends to mixtures of all words, which have no position of their own, and "
        f"model.positions={positions} needs the position of each key: use model.positions=sinusoidal"
    )


def test_a_decoder_refuses_it() -> None:
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(**TRANSFORMER, decoder_self="linformer").check()  # type: ignore[arg-type]
    assert str(caught.value) == (
        "model.decoder_self=linformer mixes the keys of a whole sentence, so a target word would see the words after "
        "it; it can stand in model.encoder_self"
    )
