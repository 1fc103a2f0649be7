"""Test that given translations get the scores that search reports, for models and ensembles and in any batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS
from nmt.errors import NmtError, UsageError
from nmt.inference.engines.native import NativeEngine
from nmt.inference.hypotheses import TextHypothesis, Translation
from nmt.inference.scoring import force
from nmt.inference.translator import Translator
from nmt.models.ensemble import Ensemble
from nmt.search.penalties import LengthPenalty
from tests.inference.test_translator import LINES, make
from tests.models.variants import REPRESENTATIVES, log_probs_of
from tests.toy_run import MAX_TOKENS, made_up_lines, toy_config, toy_model, toy_tokenizer

LONG = " ".join(made_up_lines(8, seed=4))


def make_ensemble(**search: float) -> Translator:
    model = Ensemble([toy_model("luong-dot"), toy_model("transformer-pre")])
    config = dataclasses.replace(toy_config("rnnsearch").search, **search)
    return Translator(NativeEngine(model), toy_tokenizer(), config, MAX_TOKENS, lambda _: None)


def check_tokens(hypothesis: TextHypothesis) -> None:
    assert sum(one.log_prob for one in hypothesis.token_scores) == pytest.approx(hypothesis.log_prob, abs=1e-4)
    ends = sum(segment.target_ids[-1:] == [EOS] for segment in hypothesis.segments)
    pieces = [one.piece for one in hypothesis.token_scores]
    assert pieces.count("</s>") == ends
    assert [piece for piece in pieces if piece != "</s>"] == toy_tokenizer().target_pieces(hypothesis.tokens)


@pytest.mark.parametrize("variant", [*REPRESENTATIVES, "ensemble"])
def test_a_target_is_worth_what_search_says_it_is(variant: str) -> None:
    translator = make_ensemble(beam_size=4) if variant == "ensemble" else make(variant, beam_size=4)
    found = translator.nbest(LINES, n_best=4)
    pairs = [(segment, one) for each in found for one in each.hypotheses for segment in one.segments]
    forced = force(
        translator.engine,
        [segment.source_ids for segment, _ in pairs],
        [segment.target_ids for segment, _ in pairs],
        translator.search,
    )
    assert len(forced) > 20
    for (_, hypothesis), worth in zip(pairs, forced, strict=True):
        assert worth.log_prob == pytest.approx(hypothesis.log_prob, abs=2e-4, rel=1e-4)
        assert len(worth.token_log_probs) == len(hypothesis.tokens) + hypothesis.finished


@pytest.mark.parametrize(
    "search",
    [{"length_penalty": 0.6}, {"length_penalty": 0.6, "length_normalisation": "power"}, {"coverage_penalty": 0.3}],
    ids=str,
)
def test_the_score_is_normalised_and_penalised_as_search_does_it(search: dict[str, float]) -> None:
    for translator in (make("transformer-pre", **search), make_ensemble(**search)):
        options = translator.search
        found = [one for each in translator.nbest(LINES[:9], 2) for one in each.hypotheses]
        segments = [one.segments[0] for one in found]
        forced = translator.engine.score(
            [one.source_ids for one in segments], [one.target_ids for one in segments], options
        )
        penalty = LengthPenalty(options.length_penalty, options.length_normalisation)
        scores = [worth.score(penalty) for worth in forced]
        torch.testing.assert_close(scores, [one.score for one in found], rtol=0, atol=1e-4)
        assert any(worth.coverage < 0 for worth in forced) == ("coverage_penalty" in search)


def test_the_coverage_penalty_needs_attention_here_as_in_search() -> None:
    translator = make("cho", coverage_penalty=0.3)
    for ask in (lambda: translator.translate(["ba."]), lambda: translator.score(["ba."], ["de."])):
        with pytest.raises(NmtError, match="attention"):
            ask()


def test_given_translations_are_scored_in_their_order_by_teacher_forcing() -> None:
    translator = make("luong-dot", tokens_per_batch=60)
    targets = [*made_up_lines(9, seed=77), "", "ba.", "deki  ba ", "Ω ba"]
    done: list[int] = []
    found = translator.score(LINES, targets, length_penalty=0.0, progress=done.append)
    pairs = list(zip(LINES, targets, strict=True))
    assert len(done) > 1 and sum(done) == sum(any(map(str.strip, pair)) for pair in pairs)
    for (line, target), one in zip(pairs, found, strict=True):
        assert (one.source, one.text) == (line, target)
        if not line.strip() and not target:
            assert (one.log_prob, one.score, one.hypotheses[0].token_scores) == (0.0, 0.0, [])
            continue
        src = torch.tensor(translator.tokenizer.encode_source([line]))
        ids = translator.tokenizer.encode_target([target])[0]
        model = translator.engine.model
        with torch.no_grad():
            decoded = model(src, torch.ones_like(src, dtype=torch.bool), torch.tensor([[BOS, *ids[:-1]]]))
            expected = log_probs_of(model, decoded)[0][range(len(ids)), ids]
        scores = one.hypotheses[0].token_scores
        torch.testing.assert_close(torch.tensor([each.log_prob for each in scores]), expected, rtol=0, atol=1e-4)
        assert one.score == one.log_prob == pytest.approx(expected.sum().item(), abs=1e-3)
        check_tokens(one.hypotheses[0])


def test_a_long_line_is_scored_as_a_whole_and_said_so() -> None:
    told: list[str] = []
    translator = make("rnnsearch", told.append)
    tokens = len(translator.tokenizer.encode_source([LONG])[0])
    _, long = translator.score(["ba.", LONG], ["de.", LONG], first_line=10)
    assert told == [
        f"line 11 has {tokens} tokens, more than the {MAX_TOKENS} the model was trained for: it is scored as a whole"
    ]
    assert len(long.hypotheses[0].token_scores) == len(translator.tokenizer.encode_target([LONG])[0])


@pytest.mark.parametrize("variant", ["cho", "transformer-post"])
def test_hypotheses_have_scores_for_their_tokens_when_asked_for(variant: str) -> None:
    translator = make(variant, beam_size=3)
    lines = [*LINES, LONG]
    plain = translator.nbest(lines, n_best=3)
    assert not any(one.token_scores for each in plain for one in each.hypotheses)
    found = translator.nbest(lines, n_best=3, token_scores=True)
    assert len(found[-1].hypotheses[0].segments) > 2
    stripped = [
        Translation(each.source, [dataclasses.replace(one, token_scores=[]) for one in each.hypotheses])
        for each in found
    ]
    assert stripped == plain
    for each in (*found, *translator.sample(lines, 2, token_scores=True)):
        for one in each.hypotheses:
            check_tokens(one)


def test_an_engine_that_only_searches_says_so() -> None:
    class Searches:
        def check(self, options: SearchConfig) -> None:
            return

    translator = Translator(Searches(), toy_tokenizer(), toy_config("rnnsearch").search, MAX_TOKENS)
    with pytest.raises(UsageError, match="native"):
        translator.score(["ba."], ["de."])
    with pytest.raises(UsageError, match="native"):
        translator.sample(["ba."], 2)
