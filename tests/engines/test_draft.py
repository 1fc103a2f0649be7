"""Drafts: what they guess, where searches use them, what is refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from nmt.config.schema import SearchConfig
from nmt.data.continuations import learn_continuations
from nmt.data.lexicon import learn_lexicon
from nmt.data.tokenizer import BOS, EOS, Tokenizer
from nmt.engines.draft import Draft
from nmt.engines.native import NativeEngine
from nmt.engines.shortlist import Listing, Shortlist
from nmt.errors import NmtError
from nmt.models.ensemble import Ensemble
from nmt.search.hypothesis import Hypothesis
from tests.models.variants import tiny_model
from tests.toy_run import made_up_lines, toy_tokenizer

OPTIONS = SearchConfig(beam_size=1, max_length_ratio=1.5, max_length_offset=4, precision="fp32", draft=True)
LINES = made_up_lines(40, seed=11)


def tokenizer() -> Tokenizer:
    return toy_tokenizer()


def draft(own: Tokenizer) -> Draft:
    sources, targets = own.encode_source(LINES), own.encode_target(LINES)
    pairs = [(np.array(source), np.array(target)) for source, target in zip(sources, targets, strict=True)]
    return Draft.of_data(
        learn_continuations([each for _, each in pairs], 16, BOS), learn_lexicon(pairs), own.source_size
    )


def test_guesses_follow_the_text_and_the_source() -> None:
    own = tokenizer()
    made, sources = draft(own), own.encode_source(LINES)
    right = total = 0
    for source, target in zip(sources, own.encode_target(LINES), strict=True):
        drafter = made.of(source)
        for place in range(len(target)):
            guessed = drafter.guess(target[:place], 3)
            assert 1 <= len(guessed) <= 3 and EOS not in guessed[:-1]
            right += guessed[0] == target[place]
            total += 1
    assert right / total > 0.5
    said = own.encode_target(LINES)[0][:2]
    assert len({tuple(made.of(source).guess([], 1)) for source in sources}) > 1, "the source has a say"
    assert made.of(sources[0]).guess([*said, EOS], 3) == []


def test_guesses_are_as_probable_as_is_asked() -> None:
    """Fewer where more certainty is asked, and of these a larger share is right."""
    own = tokenizer()
    made, guesses, shares = draft(own), [], []
    for least in (0.0, 0.3, 0.7):
        right = total = 0
        for source, target in zip(own.encode_source(LINES), own.encode_target(LINES), strict=True):
            drafter = made.of(source, least)
            for place in range(len(target)):
                guessed = drafter.guess(target[:place], 2)
                total += len(guessed)
                right += sum(guess == said for guess, said in zip(guessed, target[place:], strict=False))
        guesses.append(total)
        shares.append(right / total)
    assert guesses == sorted(guesses, reverse=True) and len(set(guesses)) == 3
    assert shares == sorted(shares) and shares[-1] > 0.7


def test_what_was_never_seen_ends_the_guesses() -> None:
    own = tokenizer()
    (source, *_), unseen = own.encode_source(LINES), own.target_size - 1
    made = Draft.of_data(learn_continuations([np.array([5, EOS])], 16, BOS), learn_lexicon([]), own.source_size)
    assert made.of(source).guess([], 3) == [5, EOS]
    assert made.of(source).guess([unseen], 3) == []


def search(engine: NativeEngine, sources: Sequence[list[int]], options: SearchConfig) -> list[Hypothesis]:
    return [engine.search([source], options, 1)[0][0] for source in sources]


@pytest.mark.parametrize("shortlist", [False, True])
@pytest.mark.parametrize("name", ["transformer-post", "transformer-pre", "ensemble"])
def test_the_answers_are_those_without(name: str, shortlist: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tokenizer()
    pair = [tiny_model(each, own.target_size, seed=4) for each in ("transformer-post", "transformer-pre")]
    model = Ensemble(pair) if name == "ensemble" else pair[name == "transformer-pre"]
    generator = torch.Generator().manual_seed(4)
    likely = torch.randint(4, own.target_size, (own.source_size, 3), generator=generator)
    likely[0] = 0
    lists = Shortlist(likely, torch.arange(4, 10), own.target_size)
    engine = NativeEngine(model, 1, lambda: lists, lambda: draft(own))
    options = dataclasses.replace(OPTIONS, shortlist=shortlist)
    sources = own.encode_source(LINES)[:12]
    asked: list[int] = []
    guess = Draft.of

    def counting(self: Draft, source: Sequence[int], least: float) -> object:
        asked.append(len(source))
        return guess(self, source, least)

    monkeypatch.setattr(Draft, "of", counting)
    assert engine.adopt(options) == options
    found = search(engine, sources, options)
    assert asked == list(map(len, sources))
    expected = search(engine, sources, dataclasses.replace(options, draft=False))
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    torch.testing.assert_close([one.score for one in found], [one.score for one in expected], rtol=0, atol=1e-4)
    together = engine.search(sources, options, 1)
    assert [one.tokens for (one,) in together] == [one.tokens for one in expected]
    assert len(asked) == len(sources), "sentences searched together take none"


def test_guesses_outside_a_list_are_none() -> None:
    class Fixed:
        def guess(self, said: Sequence[int], count: int) -> list[int]:
            assert said == [40, 10]
            return [20, 30, 40][:count]

    drafter = Listing(torch.tensor([10, 20, 40]), torch.zeros(1, 3)).drafter(Fixed())
    assert drafter.guess([2, 0], 3) == [1]


def test_what_cannot_be_had_is_one_sentence() -> None:
    own = tokenizer()
    engine = NativeEngine(tiny_model("transformer-pre", own.target_size), 1, None, lambda: draft(own))
    for changed, choose in (
        ({"beam_size": 2}, "search.beam_size=1"),
        ({"coverage_penalty": 0.2}, "search.coverage_penalty=0"),
        ({"cuda_graphs": True}, "search.cuda_graphs=false"),
    ):
        sentence = f"search.draft=true is for greedy search without more: choose {choose}, or search.draft=false"
        with pytest.raises(NmtError, match=f"^{re.escape(sentence)}$"):
            engine.adopt(dataclasses.replace(OPTIONS, **changed))
    with pytest.raises(NmtError, match=r"search\.draft=true needs a decoder that can take tokens back"):
        NativeEngine(tiny_model("luong-dot")).adopt(OPTIONS)
    with pytest.raises(NmtError, match=r"search\.draft=true needs a run directory, which nmt-draft has made"):
        NativeEngine(tiny_model("transformer-pre")).adopt(OPTIONS)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    own = tokenizer()
    made = draft(own)
    assert made.save(tmp_path, own) == tmp_path / "draft.safetensors"
    loaded = Draft.load(tmp_path, own)
    for source, target in zip(own.encode_source(LINES), own.encode_target(LINES), strict=True):
        assert loaded.of(source).guess(target[:2], 3) == made.of(source).guess(target[:2], 3)
    assert [path.name for path in tmp_path.iterdir()] == ["draft.safetensors"]
    content = bytearray((tmp_path / "draft.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "draft.safetensors").write_bytes(content)
    with pytest.raises(NmtError, match=f"is truncated or corrupted .*: run nmt-draft {tmp_path}$"):
        Draft.load(tmp_path, own)
    (tmp_path / "draft.safetensors").unlink()
    with pytest.raises(NmtError, match=f"search.draft=true needs .* not there yet: run nmt-draft {tmp_path}$"):
        Draft.load(tmp_path, own)
