"""The short way of a single hypothesis through a decoder's layers leads where the long one does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from nmt.engines.fp16 import has_fbgemm
from nmt.engines.layout import lay_out
from nmt.engines.rounded import round_weights
from nmt.engines.single_layer import SingleLayer
from nmt.models.transformer import DecoderLayer
from tests.models.variants import random_batch, tiny_model

TOKENS = [[2], [5, 7, 6], [9]]  # one step, several in one, and one after them


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("variant", ["transformer-post", "transformer-pre"])
def test_a_single_hypothesis_takes_the_short_way_to_the_same_place(
    variant: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(variant).requires_grad_(False)
    if precision == "fp16":
        if not has_fbgemm():
            pytest.skip("torch has no FBGEMM here")
        round_weights(model, "fp16")
        plain = tiny_model(variant)
        round_weights(plain, "fp16")
    else:
        plain = copy.deepcopy(model)
    lay_out(model)
    src, mask = random_batch([4])
    found, expected = [], []
    with torch.inference_mode():
        for each, log_probs in ((plain, expected), (model, found)):
            if each is model:
                monkeypatch.setattr(DecoderLayer, "forward", refuse)
            memory = each.read(src, mask)
            state = each.init_state(memory, 10)
            for tokens in TOKENS:
                answer, state = each.steps(torch.tensor([tokens]), memory, state)
                log_probs.append(answer)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rows", "lengths"), [(1, [8]), (1, [9]), (3, [4]), (2, [4, 3]), (6, [8, 2, 1, 5, 7, 6])])
def test_everything_else_is_left_to_the_layer(rows: int, lengths: list[int]) -> None:
    """Several hypotheses or sentences, attention weights that are asked for, sources that are not absorbed."""
    model = tiny_model("transformer-pre").requires_grad_(False)
    plain = copy.deepcopy(model)
    lay_out(model)
    assert all(isinstance(layer, SingleLayer) for layer in model.decoder.layers)  # type: ignore[union-attr]
    src, mask = random_batch(lengths)
    with torch.inference_mode():
        answers = []
        for each in (plain, model):
            memory = each.read(src, mask)
            state = each.init_state(memory, 10)
            first, state = each.step(torch.full((len(lengths),), 2), memory, state)
            parents = torch.arange(len(lengths)).view(-1, 1).expand(-1, max(rows // len(lengths), 1))
            state = type(state)(state.cache.reorder(parents))
            second, weights, _ = each.weighted_step(torch.arange(4, 4 + parents.numel()), memory, state)
            third, _ = each.step(torch.arange(4, 4 + parents.numel()), memory, state)
            answers.append((first, second, weights, third))
    for ours, theirs in zip(answers[1], answers[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def refuse(*_: Any) -> None:
    raise AssertionError("the long way")
