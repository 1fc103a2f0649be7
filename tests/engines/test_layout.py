"""Weights laid out for searching: the numbers stay, and an embedding keeps its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nmt.config.schema import SearchConfig
from nmt.engines.layout import lay_out
from nmt.engines.native import NativeEngine
from tests.models.variants import VARIANTS, random_batch, tiny_model


def test_the_longer_side_lies_consecutively() -> None:
    wide, square, long = nn.Linear(8, 20), nn.Linear(8, 8), nn.Linear(20, 8)
    before = [one.weight.detach().clone() for one in (wide, square, long)]
    lay_out(nn.ModuleList([wide, square, long]))
    assert [one.weight.stride() for one in (wide, square, long)] == [(1, 20), (1, 8), (20, 1)]
    assert all(torch.equal(one.weight, old) for one, old in zip((wide, square, long), before, strict=True))


def test_a_tied_embedding_keeps_its_rows() -> None:
    embedding, projection = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
    projection.weight = embedding.weight
    lay_out(nn.ModuleList([embedding, projection]))
    assert embedding.weight.is_contiguous() and not projection.weight.is_contiguous()
    assert torch.equal(embedding.weight, projection.weight)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_model_finds_the_same(variant: str) -> None:
    model = tiny_model(variant, 40)
    src, _ = random_batch([5, 3, 7, 2], 40)
    sources = [[token for token in row if token] for row in src.tolist()]
    options = SearchConfig(beam_size=3, max_length_ratio=1.0, max_length_offset=3)
    before = NativeEngine(copy.deepcopy(model)).search(sources, options, 2)
    after = NativeEngine.alone(model, torch.device("cpu")).search(sources, options, 2)
    assert any(not one.weight.is_contiguous() for one in model.modules() if isinstance(one, nn.Linear))
    for old, new in zip(before, after, strict=True):
        assert [one.tokens for one in old] == [one.tokens for one in new]
        assert [one.score for one in old] == pytest.approx([one.score for one in new], abs=1e-5)
