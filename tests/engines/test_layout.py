"""Weights laid out for searching: the numbers stay, and an embedding keeps its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from nmt.config.schema import SearchConfig
from nmt.engines.layout import Product, lay_out
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


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("size", "out"), [(192, 768), (768, 192), (128, 1024), (4, 6)])
def test_few_rows_are_what_they_are_in_company(size: int, out: int, bias: bool, three_threads: None) -> None:
    """Made of parts of the outputs where there is enough to do: three, or two where three do not divide them."""
    torch.manual_seed(1)
    holder = nn.ModuleDict({"map": nn.Linear(size, out, bias=bias)})
    linear = holder["map"]
    rows = torch.randn(2, 40, size)
    wanted = linear(rows).detach()
    lay_out(holder)
    product = holder.__dict__["map"]
    assert isinstance(product, Product)
    torch.testing.assert_close(product(rows), wanted, atol=1e-5, rtol=1e-5)
    for shape in ((size,), (1, size), (1, 1, size)):
        one = product(rows[1, 2].view(shape))
        torch.testing.assert_close(one, wanted[1, 2].view(*shape[:-1], out), atol=1e-5, rtol=1e-5)
    for count in (0, 1, 2, 5, 16):
        torch.testing.assert_close(product(rows[:, :count]), wanted[:, :count], atol=1e-5, rtol=1e-5)

    def in_parts(count: int) -> bool:
        return "aten::baddbmm" in [event.name for event in _operations(lambda: product(rows[:1, :count]))]

    assert in_parts(1) == in_parts(32) == (size > 4) and not in_parts(33)
    torch.set_num_threads(1)
    assert not in_parts(1)


def _operations(function: Callable[[], object]) -> list[Any]:
    with torch.profiler.profile() as profile:
        function()
    return list(profile.events())


def test_parts_are_found_and_called_without_torch_s_functions() -> None:
    model = tiny_model("transformer-pre", 40)
    hidden = torch.randn(2, 3, model.projection.in_features)
    names = [name for name, _ in model.named_parameters()]
    norm = model.encoder.norm(hidden)
    lay_out(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "__getattr__", lambda module, name: pytest.fail(f"{name} is looked up by torch"))
        torch.testing.assert_close(model.encoder.norm(hidden), norm)
        assert model.projection(hidden).shape == (2, 3, 40)
    assert set(names) <= {name for name, _ in model.named_parameters()}


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
