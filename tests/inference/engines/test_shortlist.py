"""Test that search over a shortlist equals search with all other tokens made impossible, in any batch."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from nmt.config.data import TokenizerConfig
from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import EOS
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import NmtError
from nmt.inference.engines.native import NativeEngine
from nmt.inference.engines.shortlist import SPECIALS, Shortlist
from nmt.models.ensemble import Ensemble
from nmt.models.seq2seq import Seq2Seq
from nmt.search.hypothesis import Hypothesis
from tests.models.variants import REPRESENTATIVES, attends, random_batch, tiny_model
from tests.toy_run import made_up_lines, toy_tokenizer

SIZE = 90  # of the vocabulary: larger than a block of search
OPTIONS = SearchConfig(
    beam_size=3,
    length_penalty=0.6,
    min_length_ratio=0.6,
    max_length_ratio=1.0,
    max_length_offset=3,
    precision="fp32",
    shortlist=True,
)
LENGTHS = [5, 3, 7, 2, 9, 4, 1, 6]
PREFIXES = [[], [70, 71], [], [72], [], [], [73, 4, 74], []]  # 70 to 79 are in a list only as part of a prefix


def sources() -> list[list[int]]:
    src, _ = random_batch([length - 1 or 1 for length in LENGTHS], 40)
    return [[*(token for token in row if token), EOS] for row in src.tolist()]


def some() -> Shortlist:
    """Return a shortlist of up to two random target tokens for each source token, and two tokens for all sentences."""
    generator = torch.Generator().manual_seed(4)
    likely = torch.randint(4, 70, (SIZE, 2), generator=generator)
    likely[::3, 1] = 0  # every third source token has only one
    likely[0] = 0
    return Shortlist(likely, torch.tensor([85, 80]), SIZE)


def everything() -> Shortlist:
    return Shortlist(torch.zeros(SIZE, 1, dtype=torch.long), torch.arange(4, SIZE), SIZE)


def listed(shortlist: Shortlist, source: Sequence[int], prefix: Sequence[int]) -> list[int]:
    """Return the list of a sentence, computed in plain Python."""
    likely = (target for token in source for target in shortlist.likely[token].tolist())
    return sorted({*SPECIALS, *shortlist.frequent.tolist(), *likely, *prefix})


def muted(model: Seq2Seq, tokens: Sequence[int]) -> Seq2Seq:
    """Return a copy of the model in which all other tokens have probability zero."""
    model = copy.deepcopy(model)
    bias = torch.full((SIZE,), -math.inf)
    bias[list(tokens)] = 0.0 if model.projection.bias is None else model.projection.bias.detach()[list(tokens)]
    model.projection.bias = nn.Parameter(bias)
    return model


def find(
    model: Seq2Seq | Ensemble,
    shortlist: Shortlist | None,
    options: SearchConfig,
    rows: Sequence[int] = range(len(LENGTHS)),
    prefixes: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    engine = NativeEngine(model, 1, None if shortlist is None else lambda: shortlist)
    options = dataclasses.replace(options, shortlist=shortlist is not None)
    every = sources()
    given = None if prefixes is None else [prefixes[row] for row in rows]
    return engine.search([every[row] for row in rows], options, options.beam_size, given)


def check_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for one, two in zip(found, expected, strict=True):
        assert [(a.tokens, a.finished) for a in one] == [(b.tokens, b.finished) for b in two]
        for value in ("score", "log_prob"):
            ours, theirs = ([getattr(each, value) for each in either] for either in (one, two))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def variants_with_coverage() -> list[tuple[str, float]]:
    attending = [name for name in REPRESENTATIVES if attends(name)]
    return [(name, 0.0) for name in REPRESENTATIVES] + [(name, 0.2) for name in attending]


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(("variant", "beta"), variants_with_coverage())
def test_the_answers_are_those_without_all_other_tokens(variant: str, beta: float, beam_size: int) -> None:
    model, shortlist = tiny_model(variant, SIZE, seed=7), some()
    options = dataclasses.replace(OPTIONS, beam_size=beam_size, coverage_penalty=beta)
    for prefixes in (None, PREFIXES):
        found = find(model, shortlist, options, prefixes=prefixes)
        expected = []
        for row, source in enumerate(sources()):
            own = listed(shortlist, source, prefixes[row] if prefixes else [])
            assert len(own) < 30
            expected += find(muted(model, own), None, options, [row], prefixes)
        check_same(found, expected)
        assert len({tuple(one[0].tokens) for one in found}) > 2


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(("variant", "beta"), variants_with_coverage())
def test_a_list_of_everything_changes_nothing(variant: str, beta: float, beam_size: int) -> None:
    model = tiny_model(variant, SIZE, seed=8)
    options = dataclasses.replace(OPTIONS, beam_size=beam_size, coverage_penalty=beta)
    check_same(find(model, everything(), options, prefixes=PREFIXES), find(model, None, options, prefixes=PREFIXES))


@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_each_model_of_an_ensemble_has_the_list(beta: float) -> None:
    models = [tiny_model(name, SIZE, seed=9) for name in ("rnnsearch", "luong-marginal", "transformer-post")]
    shortlist, options = some(), dataclasses.replace(OPTIONS, coverage_penalty=beta)
    found = find(Ensemble(models), shortlist, options, prefixes=PREFIXES)
    for row, source in enumerate(sources()):
        own = listed(shortlist, source, PREFIXES[row])
        expected = find(Ensemble([muted(model, own) for model in models]), None, options, [row], PREFIXES)
        check_same([found[row]], expected)
    check_same(find(Ensemble(models), everything(), options), find(Ensemble(models), None, options))


def test_in_bf16_a_list_of_everything_changes_nothing() -> None:
    model, options = tiny_model("transformer-post", SIZE), dataclasses.replace(OPTIONS, precision="bf16")
    check_same(find(model, everything(), options), find(model, None, options))


def test_the_model_and_random_numbers_are_left_alone() -> None:
    model = tiny_model("luong-general", SIZE).train()
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    find(model, some(), OPTIONS)
    assert model.training and torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_list_is_loaded_once_and_only_when_asked_for() -> None:
    loads = []
    engine = NativeEngine(tiny_model("cho", SIZE), 1, lambda: loads.append(1) or some())
    without = dataclasses.replace(OPTIONS, shortlist=False)
    engine.check(without)
    assert not loads
    for _ in range(2):
        engine.check(OPTIONS)
        engine.search(sources(), OPTIONS, 1)
    assert loads == [1]
    with pytest.raises(NmtError, match=r"search\.shortlist=true needs a run directory"):
        NativeEngine(tiny_model("cho", SIZE)).check(OPTIONS)


def saved(folder: Path) -> Shortlist:
    tokenizer = toy_tokenizer()
    generator = torch.Generator().manual_seed(2)
    likely = torch.randint(0, tokenizer.target_size, (tokenizer.source_size, 3), generator=generator)
    shortlist = Shortlist(likely, torch.arange(4, 11), tokenizer.target_size)
    assert shortlist.save(folder, tokenizer) == folder / "shortlist.safetensors"
    return shortlist


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    shortlist = saved(tmp_path)
    loaded = Shortlist.load(tmp_path, toy_tokenizer())
    for ours, theirs in zip(loaded, shortlist, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["shortlist.safetensors"]


def test_what_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    again = f"run nmt-shortlist {tmp_path}$"
    path = tmp_path / "shortlist.safetensors"
    with pytest.raises(NmtError, match=f"search.shortlist=true needs {path}, which is not there yet: {again}"):
        Shortlist.load(tmp_path, toy_tokenizer())
    saved(tmp_path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-9] ^= 1
    for damaged in (whole[:-5], bytes(flipped), b"", b"no tensors"):
        path.write_bytes(damaged)
        with pytest.raises(NmtError, match=f"{path} is truncated or corrupted .*: {again}"):
            Shortlist.load(tmp_path, toy_tokenizer())
    path.write_bytes(whole)
    lines = made_up_lines(200, seed=31)
    other = train_tokenizer(TokenizerConfig(algorithm="bpe", vocab_size=50), lines, lines)
    with pytest.raises(NmtError, match=f"{path} was made for another vocabulary .*: {again}"):
        Shortlist.load(tmp_path, other)
