"""A model without some of its heads computes what the whole model computes without the contexts of these heads."""

from __future__ import annotations

import copy
import dataclasses
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.config.heads import Head, inseparable
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError
from nmt.models.attention_heads import heads_of, module_of, without_heads
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from tests.models.variants import TRANSFORMER, VARIANTS

VOCABULARY = 20
TRANSFORMERS = {name: config for name, config in VARIANTS.items() if isinstance(config, TransformerConfig)}


def model_of(config: TransformerConfig) -> Seq2Seq:
    torch.manual_seed(2)
    model = build_model(config, VOCABULARY, VOCABULARY).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def one_of_each(config: TransformerConfig) -> list[Head]:
    """Return one head of every attention that can be without one: in turn the first one and the last one."""
    there = heads_of(build_model(config, VOCABULARY, VOCABULARY))
    return [
        Head(place, heads.numbers[-(number % 2)])
        for number, (place, heads) in enumerate(there.items())
        if heads.num_heads > 1 and inseparable(config, place) is None
    ]


def pruned(model: Seq2Seq, config: TransformerConfig, heads: list[Head]) -> Seq2Seq:
    removed = [*config.heads.removed, *map(str, heads)]
    smaller = dataclasses.replace(config, heads=dataclasses.replace(config.heads, removed=removed))
    smaller.check()
    other = build_model(smaller, VOCABULARY, VOCABULARY).double().eval()
    other.load_state_dict(without_heads(model, model.state_dict(), heads))
    return other


def silence(model: Seq2Seq, heads: list[Head]) -> None:
    """Make the contexts of some heads zero."""
    for place, there in heads_of(model).items():
        factors = torch.tensor([0.0 if Head(place, number) in heads else 1.0 for number in there.numbers])
        there.dropout.register_forward_hook(lambda module, given, x, by=factors: x * by.to(x)[:, None, None])


def answers(model: Seq2Seq) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of a forced target, in one go and step by step, for two sources of unequal lengths."""
    src = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
    tgt = torch.tensor([[1, 4, 13, 14, 15, 16], [1, 17, 18, 19, 4, 5]])
    at_once, _ = model.force(src, src != 0, tgt[:, :-1], tgt[:, 1:])
    memory = model.read(src, src != 0)
    state, steps = model.init_state(memory, 6), []
    for tokens, following in zip(tgt.T[:-1], tgt.T[1:], strict=True):
        log_probs, state = model.step(tokens, memory, state)
        steps.append(log_probs.gather(1, following[:, None]))
    return at_once, torch.cat(steps, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_removed_heads_are_heads_whose_contexts_are_zero(name: str) -> None:
    config = TRANSFORMERS[name]
    model = model_of(config)
    heads = one_of_each(config)
    if not heads:
        pytest.skip("no head can be removed")
    smaller = pruned(model, config, heads)
    whole = answers(model)
    silence(model, heads)
    for ours, theirs in zip(answers(smaller), answers(model), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(whole[0], answers(model)[0])


def test_what_cannot_be_removed_is_refused() -> None:
    refused = 0
    for config in TRANSFORMERS.values():
        with torch.device("meta"):
            places = heads_of(build_model(config, VOCABULARY, VOCABULARY))
        for place in places:
            reason = inseparable(config, place)
            if reason is None:
                continue
            removed = dataclasses.replace(config.heads, removed=[f"{place.key}.{place.layer}.1"])
            with pytest.raises(ConfigError, match=re.escape(reason)):
                dataclasses.replace(config, heads=removed).check()
            refused += 1
    assert refused > 20


def rows_of(head: int, parts: int, head_dim: int, num_heads: int) -> list[int]:
    return [(part * num_heads + head) * head_dim + i for part in range(parts) for i in range(head_dim)]


def test_only_rows_and_columns_of_removed_heads_are_gone() -> None:
    config = TransformerConfig(**TRANSFORMER | {"model_dim": 12, "num_heads": 3}, positions="shaw")
    model = model_of(config)
    heads = [Head(Place("encoder_self", 1), 0), Head(Place("decoder_cross", 0), 1), Head(Place("decoder_self", 1), 2)]
    before = model.state_dict()
    after = without_heads(model, before, heads)
    expected: dict[str, Any] = dict(before)
    for head in heads:
        module, size = module_of(head.place), 4
        for projection, parts in (("qkv", 3), ("query", 1), ("kv", 2)):
            for kind in ("weight", "bias"):
                if (name := f"{module}.{projection}_projection.{kind}") in before:
                    gone = rows_of(head.number, parts, size, 3)
                    expected[name] = before[name][[row for row in range(len(before[name])) if row not in gone]]
        name = f"{module}.output_projection.weight"
        gone = rows_of(head.number, 1, size, 3)
        expected[name] = before[name][:, [column for column in range(12) if column not in gone]]
    assert after.keys() == expected.keys()
    assert sum(after[name].shape != before[name].shape for name in before) == 3 + 5 + 3
    for name, tensor in expected.items():
        assert torch.equal(after[name], tensor), name
        assert after[name] is tensor or after[name].shape != before[name].shape, name


@torch.no_grad()
def test_weights_keep_their_numbers_and_means() -> None:
    config = TransformerConfig(**TRANSFORMER | {"model_dim": 12, "num_heads": 3}, positions="rotary")
    model = model_of(config)
    first, second = Head(Place("encoder_self", 0), 0), Head(Place("encoder_self", 0), 1)
    src = torch.tensor([[5, 6, 7, 8]])
    whole = model.attention(src, src != 0, src, "encoder")[0, 0]
    once = pruned(model, config, [first])
    weights = once.attention(src, src != 0, src, "encoder")[0, 0]
    torch.testing.assert_close(weights[1:], whole[1:])
    torch.testing.assert_close(weights[0], whole[1:].mean(0))
    removed = dataclasses.replace(config, heads=dataclasses.replace(config.heads, removed=[str(first)]))
    twice = pruned(copy.deepcopy(once), removed, [second])
    assert heads_of(twice)[first.place].numbers == [2]
    torch.testing.assert_close(twice.attention(src, src != 0, src, "encoder")[0, 0], whole[2].expand(3, -1, -1))


def test_a_smaller_model_has_fewer_parameters_and_a_smaller_state() -> None:
    config = TransformerConfig(**TRANSFORMER)
    model = model_of(config)
    smaller = pruned(model, config, [Head(Place("decoder_self", 0), 1)])
    count, fewer = (sum(weight.numel() for weight in each.parameters()) for each in (model, smaller))
    assert count - fewer == 3 * 8 * 17 + 8 * 16  # of queries, keys and values with their biases, and of the output
    assert smaller.decoder.layers[0].mixer.state_bytes(5) * 2 == model.decoder.layers[0].mixer.state_bytes(5)
