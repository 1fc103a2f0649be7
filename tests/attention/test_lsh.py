"""LSH attention is the paper's, in values, gradients and weights, over each sentence's own length."""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import pytest
import torch

from nmt.attention.mixers import make_mixer
from nmt.attention.mixers.lsh import LshAttention
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HeadsConfig, LshConfig
from nmt.errors import ConfigError
from tests.attention.against_paper import mixer_of
from tests.attention.papers.lsh import lsh
from tests.models.variants import TRANSFORMER

LENGTHS = [9, 6, 5, 1]
MASK = torch.arange(9) < torch.tensor(LENGTHS).unsqueeze(1)
POSITIONS = torch.arange(9).unsqueeze(0)


def mixer(options: LshConfig, **others: Any) -> LshAttention:
    config = TransformerConfig(model_dim=8, num_heads=2, encoder_self="lsh", lsh=options, **others)
    return cast(LshAttention, mixer_of(config, causal=False))


@pytest.mark.parametrize(
    "options",
    [
        LshConfig(rounds=1, buckets=2, chunk=2),
        LshConfig(rounds=3, buckets=2, chunk=2),
        LshConfig(rounds=3, buckets=4, chunk=4),
        LshConfig(rounds=2, buckets=8, chunk=20),
        LshConfig(rounds=2, buckets=2, chunk=1),
    ],
    ids=str,
)
def test_values_and_gradients_match_the_paper(options: LshConfig) -> None:
    made = mixer(options)
    x = torch.randn(4, 9, 8, dtype=torch.float64, requires_grad=True)
    ours, _, weights = made(x, POSITIONS, MASK, need_weights=True)
    given = (
        *(made.qv_projection.weight, made.qv_projection.bias),
        *(made.output_projection.weight, made.output_projection.bias),
    )
    theirs = [lsh(row[:n], *given, made.rotations, options.chunk) for row, n in zip(x, LENGTHS, strict=True)]
    totals = [torch.zeros((), dtype=x.dtype), torch.zeros((), dtype=x.dtype)]
    for one, shown, (other, matrices), n in zip(ours, weights, theirs, LENGTHS, strict=True):
        torch.testing.assert_close(one[:n], other)
        torch.testing.assert_close(shown[:, :n, :n], matrices)
        assert not shown[:, :, n:].any()
        of = torch.randn_like(other)
        totals[0], totals[1] = totals[0] + (of * one[:n]).sum(), totals[1] + (of * other).sum()
    assert any((matrices == 0).sum() > n for (_, matrices), n in zip(theirs, LENGTHS, strict=True)), "some are not seen"
    found = [torch.autograd.grad(total, (x, *given), retain_graph=True) for total in totals]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_with_one_bucket_and_one_chunk_it_is_full_attention_with_shared_queries_and_keys() -> None:
    made = mixer(LshConfig(rounds=3, buckets=2, chunk=9))
    made.rotations.zero_()  # all hashes are 0
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    query, value = (each.unflatten(2, (2, 4)).transpose(1, 2) for each in made.qv_projection(x).chunk(2, dim=-1))
    scores = query @ (query / query.norm(dim=-1, keepdim=True)).mT / math.sqrt(4)
    weights = scores.masked_fill(torch.eye(9, dtype=torch.bool), -math.inf).softmax(dim=-1)
    ours, _, shown = made(x, POSITIONS, need_weights=True)
    torch.testing.assert_close(shown, weights)
    torch.testing.assert_close(ours, made.output_projection((weights @ value).transpose(1, 2).flatten(2)))


def test_more_rounds_find_more_of_the_nearest_words() -> None:
    """The share of words whose nearest neighbour gets any weight rises with the rounds."""
    torch.manual_seed(3)
    x = torch.randn(8, 40, 8, dtype=torch.float64)
    recalls = []
    for rounds in (1, 2, 4, 8):
        made = mixer(LshConfig(rounds=rounds, buckets=8, chunk=10))
        query = made.qv_projection(x)[..., :8].unflatten(2, (2, 4)).transpose(1, 2)
        cosines = torch.nn.functional.cosine_similarity(query.unsqueeze(3), query.unsqueeze(2), dim=-1)
        nearest = cosines.masked_fill(torch.eye(40, dtype=torch.bool), -1).argmax(dim=-1, keepdim=True)
        weights = made(x, torch.arange(40).unsqueeze(0), need_weights=True)[2]
        recalls.append(float((weights.gather(-1, nearest) > 0).double().mean()))
    assert all(more > fewer + 0.02 for fewer, more in itertools.pairwise(recalls)), recalls
    assert recalls[0] > 2 / 8, "chance would find one in eight"


def test_hashes_are_the_same_in_every_model_and_differ_between_layers() -> None:
    config = TransformerConfig(**TRANSFORMER, encoder_self="lsh")  # type: ignore[arg-type]
    first, again, second = (cast(LshAttention, make_mixer(config, Place("encoder_self", n))) for n in (0, 0, 1))
    assert torch.equal(first.rotations, again.rotations)
    assert not torch.equal(first.rotations, second.rotations)
    assert not any(weight is first.rotations for weight in first.parameters())


def test_dropout_is_of_weights_and_leaves_those_shown_alone() -> None:
    made = mixer(LshConfig(rounds=2, buckets=2, chunk=9), attention_dropout=0.5).train()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    dropped, _, shown = made(x, POSITIONS, need_weights=True)
    torch.testing.assert_close(shown.sum(dim=-1), torch.ones_like(shown[..., 0]))
    assert (dropped - made.eval()(x, POSITIONS)[0]).abs().max() > 1e-3


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (
        {"encoder_self": "lsh", "positions": "shaw"},
        "model.encoder_self=lsh does not compute the scores of all pairs of words, which model.positions=shaw changes: "
        "use model.positions=rotary or sinusoidal",
    ),
    (
        {"encoder_self": "lsh", "lsh": LshConfig(buckets=5)},
        "model.encoder_self=lsh needs an even model.lsh.buckets, and 5 is odd",
    ),
    (
        {"encoder_self": ["softmax", "lsh"], "heads": HeadsConfig(qk_norm="rms")},
        "model.encoder_self[1]=lsh has one vector for a word as query and as key, so that model.heads.num_kv_heads and "
        "model.heads.qk_norm do not apply: leave encoder_self out of model.heads.places",
    ),
    (
        {"decoder_self": "lsh"},
        "model.decoder_self=lsh sorts the words of a whole sentence, so that which words a target word sees would "
        "depend on the words after it; it can stand in model.encoder_self",
    ),
]


@pytest.mark.parametrize(("keys", "reason"), REFUSALS, ids=lambda value: str(value)[:20])
def test_what_does_not_fit_is_refused(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(**TRANSFORMER, **keys).check()
    assert str(caught.value) == reason


def test_heads_elsewhere_are_allowed() -> None:
    heads = HeadsConfig(num_kv_heads=1, talking=True, places=["decoder_cross"])
    TransformerConfig(**TRANSFORMER, encoder_self="lsh", heads=heads).check()  # type: ignore[arg-type]
