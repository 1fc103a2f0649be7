"""The attention of Nystroemformer is the paper's, in values, gradients and weights, over each sentence's own length."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from nmt.attention.mixers.nystroem import Nystroem, pseudo_inverse
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HeadsConfig, NystroemConfig
from nmt.errors import ConfigError
from tests.attention.against_paper import mixer_of, weights_of
from tests.attention.papers.nystroem import nystroem
from tests.attention.papers.self_attention import self_attention
from tests.models.variants import TRANSFORMER

LENGTHS = [6, 5, 4, 3, 1]
MASK = torch.arange(6) < torch.tensor(LENGTHS).unsqueeze(1)
POSITIONS = torch.arange(6).unsqueeze(0)
HEADS = 2


def mixer(options: NystroemConfig, **others: Any) -> Nystroem:
    config = TransformerConfig(model_dim=8, num_heads=HEADS, encoder_self="nystroem", nystroem=options, **others)
    return cast(Nystroem, mixer_of(config, causal=False))


@pytest.mark.parametrize("radius", [None, 0, 2])
@pytest.mark.parametrize(("landmarks", "iterations"), [(3, 6), (4, 2)])
def test_values_and_gradients_match_the_paper(landmarks: int, iterations: int, radius: int | None) -> None:
    made = mixer(NystroemConfig(landmarks=landmarks, iterations=iterations, skip_radius=radius))
    x = torch.randn(5, 6, 8, dtype=torch.float64, requires_grad=True)
    ours, _, weights = made(x, POSITIONS, MASK, need_weights=True)
    skip = None if made.skip is None else made.skip[:, 0, :, 0]
    theirs = [
        nystroem(row[:n], weights_of(made), HEADS, landmarks, iterations, skip)
        for row, n in zip(x, LENGTHS, strict=True)
    ]
    totals = [torch.zeros((), dtype=x.dtype), torch.zeros((), dtype=x.dtype)]
    for one, shown, (other, matrices), n in zip(ours, weights, theirs, LENGTHS, strict=True):
        torch.testing.assert_close(one[:n], other)
        torch.testing.assert_close(shown[:, :n, :n], matrices.abs())
        assert not shown[:, :, n:].any()
        of = torch.randn_like(other)
        totals[0], totals[1] = totals[0] + (of * one[:n]).sum(), totals[1] + (of * other).sum()
    names, given = zip(*made.named_parameters(), strict=True)
    assert ("skip" in names) == (radius is not None)
    found = [torch.autograd.grad(total, (x, *given), retain_graph=True) for total in totals]
    for name, one, other in zip(("x", *names), *found, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")


def test_a_short_sentence_gets_full_attention() -> None:
    """Each word is its own landmark; with enough iterations, S S^+ S = S."""
    made = mixer(NystroemConfig(landmarks=8, iterations=40))
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    full = self_attention(x[0], list(range(6)), weights_of(made), HEADS, causal=False)
    torch.testing.assert_close(made(x, POSITIONS)[0][0], full, atol=1e-5, rtol=1e-5)


def test_the_iteration_finds_the_pseudo_inverse_of_each_matrix() -> None:
    torch.manual_seed(1)
    a = torch.randn(3, 4, 4, dtype=torch.float64).softmax(dim=-1)
    a[1, 2:] = a[1, :, 2:] = 0  # as in a sentence with two landmarks
    torch.testing.assert_close(pseudo_inverse(a, 30), torch.linalg.pinv(a), atol=1e-7, rtol=1e-7)


def test_rotary_positions_turn_queries_and_keys() -> None:
    """Distances between words count, but not where the sentence begins."""
    made = mixer(NystroemConfig(landmarks=6, iterations=3), positions="rotary")
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    output, _, _ = made(x, POSITIONS)
    torch.testing.assert_close(made(x, POSITIONS + 5)[0], output)
    assert (made(x, 2 * POSITIONS)[0] - output).abs().max() > 1e-3


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (
        {"encoder_self": "nystroem", "positions": "alibi"},
        "model.encoder_self=nystroem does not compute the scores of all pairs of words, which model.positions=alibi "
        "changes: use model.positions=rotary or sinusoidal",
    ),
    (
        {"encoder_self": ["softmax", "nystroem"], "normaliser": "rela"},
        "model.encoder_self[1]=nystroem is defined for a softmax, so that model.normaliser=rela would have no effect: "
        "use model.normaliser=softmax, or another model.encoder_self",
    ),
    (
        {"encoder_self": "nystroem", "heads": HeadsConfig(talking=True)},
        "model.encoder_self=nystroem does not compute the scores and weights of all pairs of words, which "
        "model.heads.talking mixes: leave encoder_self out of model.heads.places",
    ),
    (
        {"decoder_self": "nystroem"},
        "model.decoder_self=nystroem compares words with the means of segments of a whole sentence, so a target word "
        "would see the words after it; it can stand in model.encoder_self",
    ),
]


@pytest.mark.parametrize(("keys", "reason"), REFUSALS, ids=lambda value: str(value)[:20])
def test_what_does_not_fit_is_refused(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(**TRANSFORMER, **keys).check()
    assert str(caught.value) == reason


def test_talking_heads_elsewhere_are_allowed() -> None:
    heads = HeadsConfig(talking=True, places=["decoder_self"])
    TransformerConfig(**TRANSFORMER, encoder_self="nystroem", heads=heads).check()  # type: ignore[arg-type]
