"""Test scripts/probes.py: what the tasks ask for, and that a fixed state cannot copy what attention can."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import probes


def drawn(task: str, key: str, length: int = 8) -> list[tuple[list[int], list[int]]]:
    """Return examples of a task as lists of tokens and targets."""
    examples = probes.TASKS[key][task](key == "decoder_self", torch.Generator().manual_seed(1), length)
    return list(zip(examples.tokens.tolist(), examples.targets.tolist(), strict=True))


@pytest.mark.parametrize("task", ["copy", "reverse"])
def test_after_the_separator_the_sequence_comes_again(task: str) -> None:
    for tokens, targets in drawn(task, "decoder_self"):
        x = tokens[:8]
        y = x if task == "copy" else x[::-1]
        assert tokens == [*x, probes.SEPARATOR, *y[:-1]]
        assert targets == [probes.IGNORED] * 8 + y


def test_an_encoder_moves_tokens() -> None:
    for tokens, targets in drawn("reverse", "encoder_self"):
        assert targets == tokens[::-1]
    for tokens, targets in drawn("reorder", "encoder_self"):
        assert targets == [tokens[(i + 7) % 8] for i in range(8)]


@pytest.mark.parametrize("key", ["decoder_self", "encoder_self"])
def test_values_are_recalled_by_their_keys(key: str) -> None:
    for tokens, targets in drawn("recall", key):
        value_of = dict(zip(tokens[0:8:2], tokens[1:8:2], strict=True))
        assert len(value_of) == 4 and sorted(tokens[8:]) == sorted(value_of)
        assert targets == [probes.IGNORED] * 8 + [value_of[asked] for asked in tokens[8:]]


@pytest.mark.parametrize("key", ["decoder_self", "encoder_self"])
def test_counts_are_of_the_token_itself(key: str) -> None:
    for tokens, targets in drawn("count", key, 12):
        seen = [tokens[: i + 1] if key == "decoder_self" else tokens for i in range(12)]
        assert targets == [min(7, part.count(token)) for part, token in zip(seen, tokens, strict=True)]


@pytest.mark.parametrize("key", ["decoder_self", "encoder_self"])
def test_the_nearest_number_is_not_the_number_itself(key: str) -> None:
    for tokens, targets in drawn("nearest", key, 12):
        for i, (token, target) in enumerate(zip(tokens, targets, strict=True)):
            others = [other for other in (tokens[:i] if key == "decoder_self" else tokens) if other != token]
            expected = min(others, key=lambda other: (abs(other - token), other)) if others else probes.IGNORED
            assert target == expected


def test_attention_copies_and_a_state_of_fixed_size_does_not() -> None:
    found = {}
    for name in ("softmax", "ssru"):
        config = probes.config_of(name, "decoder_self", dim=32)
        assert config is not None
        found[name] = probes.accuracy(config, "decoder_self", probes.draw_copy, updates=200, length=8)
    assert found["softmax"] > 0.9
    assert found["ssru"] < 0.5


def test_a_window_is_smaller_than_the_tasks_are_long() -> None:
    config = probes.config_of("sliding", "encoder_self")
    assert config is not None and config.sliding.window == 3 < probes.LENGTH
    config = probes.config_of("bigbird", "decoder_self")
    assert config is not None and (config.bigbird.block, config.bigbird.window) == (2, 0)
    assert probes.options_of("softmax") == {}


def test_the_page_has_a_row_for_each_mixer() -> None:
    page = probes.page({"decoder_self": {"softmax": {"copy": 1.0, "count": 0.5}}}, 400)
    assert "| `softmax` | 100 |  |  | 50 |  |" in page
