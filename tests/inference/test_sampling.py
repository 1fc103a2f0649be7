"""Tests of sampling and of minimum Bayes risk decoding: seeds, segments, other lines in the batch, brute force."""

from __future__ import annotations

import random
import sys

import pytest
import torch
from sacrebleu.metrics.chrf import CHRF

from nmt.errors import NmtError, UsageError
from nmt.inference import mbr
from nmt.inference.segment import join_translations
from nmt.search.distribution import Sampling
from tests.inference.test_scoring import LONG, make_ensemble
from tests.inference.test_translator import LINES, make
from tests.models.variants import REPRESENTATIVES


@pytest.mark.parametrize("variant", [*REPRESENTATIVES, "ensemble"])
def test_samples_depend_on_the_line_its_number_and_the_seed_alone(variant: str) -> None:
    def made(**search: float):
        return make_ensemble(**search) if variant == "ensemble" else make(variant, **search)

    together = made().sample(LINES, 3)
    assert [len(one.hypotheses) for one in together] == [3 if line.strip() else 1 for line in LINES]
    texts = [[one.text for one in each.hypotheses] for each in together]
    assert any(len(set(each)) > 1 for each in texts)
    small = made(tokens_per_batch=60, beam_size=1).sample(LINES, 3)
    assert [[one.text for one in each.hypotheses] for each in small] == texts
    alone = [made().sample([line], 3, first_line=number)[0] for number, line in enumerate(LINES, start=1)]
    assert [[one.text for one in each.hypotheses] for each in alone] == texts
    fewer = made().sample(LINES, 2)
    assert [[one.text for one in each.hypotheses] for each in fewer] == [each[:2] for each in texts]
    other = made().sample(LINES, 3, Sampling(seed=2))
    assert [[one.text for one in each.hypotheses] for each in other] != texts


def test_towards_no_temperature_samples_are_greedy() -> None:
    translator = make("rnnsearch")
    expected = translator.translate(LINES, beam_size=1)
    for text, one in zip(expected, translator.sample(LINES, 2, Sampling(temperature=1e-6)), strict=True):
        assert {each.text for each in one.hypotheses} == {text}


def test_the_random_numbers_of_torch_are_left_alone() -> None:
    state = torch.get_rng_state()
    make("rnnsearch").sample(LINES, 2)
    assert torch.equal(state, torch.get_rng_state())


def test_a_line_in_segments_has_the_samples_of_its_segments_joined() -> None:
    (found,) = make("transformer-pre").sample([LONG], 4, first_line=3)
    assert len(found.hypotheses) == 4
    for one in found.hypotheses:
        assert len(one.segments) > 2
        texts = [segment.text for segment in one.segments]
        assert one.text == join_translations([segment.source for segment in one.segments], texts)
        assert one.tokens == [id for segment in one.segments for id in segment.target_ids if id != 3]
    assert len({one.text for one in found.hypotheses}) == 4
    repeated = make("transformer-pre").sample(["ba de. " * 40], 1)[0].hypotheses[0]
    assert len({segment.source for segment in repeated.segments[:-1]}) == 1
    assert len({segment.text for segment in repeated.segments[:-1]}) > 1, "each segment has random numbers of its own"


def test_no_samples_are_no_request() -> None:
    with pytest.raises(UsageError, match="0 samples"):
        make().sample(["ba."], 0)


def test_the_choice_has_the_highest_mean_chrf() -> None:
    metric = CHRF()
    source = random.Random(3)
    words = ["the", "a", "cat", "cats", "sat", "on", "mat", "big", ",", "red.", "Hund", "läuft", "日本"]
    for _ in range(12):
        samples = [" ".join(source.choices(words, k=source.randint(0, 7))) for _ in range(9)]
        samples += source.choices(samples, k=4)
        utilities = [sum(metric.sentence_score(one, [other]).score for other in samples) for one in samples]
        chosen = mbr.choose(samples, mbr.pairwise_chrf())
        assert utilities[chosen] == pytest.approx(max(utilities))
        assert chosen == samples.index(samples[chosen]), "on a tie, the first sample"
    assert mbr.choose(["only"], mbr.pairwise_chrf()) == 0


def test_minimum_bayes_risk_decoding_takes_one_of_the_samples() -> None:
    metric = CHRF()
    translator = make("transformer-pre")
    sampling = Sampling(temperature=0.8, seed=4)
    found = translator.translate_mbr(LINES, 7, sampling)
    for sampled, one in zip(translator.sample(LINES, 7, sampling), found, strict=True):
        texts = [each.text for each in sampled.hypotheses]
        utilities = [sum(metric.sentence_score(text, [other]).score for other in texts) for text in texts]
        assert len(one.hypotheses) == 1
        assert utilities[texts.index(one.text)] == pytest.approx(max(utilities))
        assert one.log_prob in [pytest.approx(each.log_prob, abs=1e-4) for each in sampled.hypotheses]
    first = translator.sample(LINES, 1, sampling)
    assert sum(one.text != two.text for one, two in zip(found, first, strict=True)) > 1
    (long,) = translator.translate_mbr([LONG], 5)
    assert len(long.hypotheses[0].segments) > 2


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastchrf", None)
    with pytest.raises(NmtError, match=r"pip install -e '\.\[mbr\]'"):
        make().translate_mbr(["ba."], 2)
