"""Options of search: minimum lengths, prefixes, length normalisation, when to stop, and coverage."""

from __future__ import annotations

import itertools
import math
from functools import cache

import pytest
import torch

from nmt.config.load import load_config
from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS, PAD, UNK
from nmt.errors import ConfigError, NmtError
from nmt.inference.engines.native import NativeEngine
from nmt.models.seq2seq import Seq2Seq
from nmt.search.beam import beam_search
from nmt.search.constraints import Constraints
from nmt.search.greedy import greedy_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty, Normalisation, coverage_penalty
from tests.models.variants import REPRESENTATIVES, attends, log_probs_of, tiny_model
from tests.search.test_beam import Table, check_equal, plain_beam_search

TINY = 6  # PAD, UNK, BOS, EOS and two words
SOURCES = [[4, EOS], [5, 4, 5, EOS], [5, 5, 4, 4, 5, EOS]]


def search(
    table: Table, beam_size: int, max_length: int, constraints: Constraints, penalty: LengthPenalty, **options: object
) -> list[list[Hypothesis]]:
    count = len(table.log_probs)
    memory, state = table.start(list(range(count)))
    common = {"bos": BOS, "max_lengths": torch.full((count,), max_length), "constraints": constraints}
    if not beam_size:
        return greedy_search(table.step, memory, state, length_penalty=penalty, **common)
    return beam_search(
        table.step, memory, state, beam_size=beam_size, n_best=beam_size, length_penalty=penalty, **common, **options
    )


def all_of(table: Table, sentence: int, max_length: int, penalty: LengthPenalty) -> list[Hypothesis]:
    """Return all finished hypotheses, best first."""
    found = table.exhaustive(sentence, max_length, 0.0)
    scored = [one._replace(score=one.log_prob / penalty(len(one.tokens) + 1)) for one in found]
    return sorted(scored, key=lambda one: -one.score)


@pytest.mark.parametrize(
    "penalty", [LengthPenalty(1.0, "gnmt"), LengthPenalty(1.0, "power"), LengthPenalty(0.4, "power")]
)
def test_constraints_take_out_of_exhaustive_search_what_breaks_them(penalty: LengthPenalty) -> None:
    table = Table(sentences=9, seed=41)
    least = torch.tensor([0, 1, 2, 3, 4, 2, 0, 3, 4])
    prefixes = [[], [4], [5, 5], [UNK], [], [4, 5, 4], [4, UNK], [5], []]
    padded = torch.tensor([prefix + [-1] * (3 - len(prefix)) for prefix in prefixes])
    constraints = Constraints(EOS, (PAD, BOS), least, padded)
    found = search(table, 4 * 27, 4, constraints, penalty)
    for sentence, hypotheses in enumerate(found):
        prefix = prefixes[sentence]
        expected = [
            one
            for one in all_of(table, sentence, 4, penalty)
            if len(one.tokens) + 1 >= least[sentence] and one.tokens[: len(prefix)] == prefix
        ]
        assert 0 < len(expected) <= 40
        check_equal(hypotheses, expected)


@pytest.mark.parametrize("beam_size", [0, 1, 3])
def test_narrow_searches_keep_the_constraints_too(beam_size: int) -> None:
    table = Table(sentences=30, seed=43)
    table.log_probs[..., EOS] = -0.1  # without constraints, hypotheses would end at once
    prefixes = torch.tensor([[4, 5, -1], [-1, -1, -1], [5, 5, 4]] * 10)
    constraints = Constraints(EOS, (PAD, BOS), torch.tensor([1, 5, 2] * 10), prefixes)
    for sentence, hypotheses in enumerate(search(table, beam_size, 8, constraints, LengthPenalty(0.6, "gnmt"))):
        assert hypotheses
        for one in hypotheses:
            wanted = [token for token in prefixes[sentence].tolist() if token >= 0]
            assert one.tokens[: len(wanted)] == wanted
            assert len(one.tokens) + one.finished >= (1, 5, 2)[sentence % 3]
            said = [*one.tokens, EOS] if one.finished else one.tokens
            assert one.log_prob == pytest.approx(table.forced(sentence, said), abs=1e-5)


@pytest.mark.parametrize("beam_size", [2, 3, 5])
def test_a_full_beam_ends_the_search(beam_size: int) -> None:
    table, exact = Table(sentences=40, seed=47), Table(sentences=40, seed=47)
    penalty, constraints = LengthPenalty(1.0, "power"), Constraints(EOS, (PAD, BOS))
    found = search(table, beam_size, 12, constraints, penalty, stop="full")
    ended = [sentence for sentence, hypotheses in enumerate(found) if hypotheses[0].finished]
    assert len(ended) >= 20
    for sentence in ended:
        check_equal(found[sentence], plain_beam_search(table, sentence, 12, beam_size, penalty, full=True))
    search(exact, beam_size, 12, constraints, penalty, stop="exact")
    assert sum(table.rows) < sum(exact.rows)


def test_coverage_penalty_is_gnmts() -> None:
    coverage = torch.tensor([[0.5, 1.7, 0.1, 0.0], [1.0, 2.0, 1.0, 0.25]])
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    expected = [0.2 * (math.log(0.5) + math.log(0.1)), 0.2 * math.log(0.25)]
    torch.testing.assert_close(coverage_penalty(coverage, mask, 0.2), torch.tensor(expected))
    assert coverage_penalty(torch.zeros(1, 1), torch.tensor([[True]]), 1.0).item() == pytest.approx(-29.93, abs=0.01)


@torch.inference_mode()
def forced(model: Seq2Seq, source: list[int], target: list[int]) -> tuple[float, float]:
    """Return a target's log-probability, and the sum of the logs of its source tokens' attention, from 1e-13 to 1."""
    src, mask = torch.tensor([source]), torch.ones(1, len(source), dtype=torch.bool)
    tgt_in = torch.tensor([[BOS, *target[:-1]]])
    log_probs = log_probs_of(model, model(src, mask, tgt_in))[0]
    had = model.attention(src, mask, tgt_in)[0].mean((0, 1)).sum(0)
    return log_probs[range(len(target)), target].sum().item(), had.clamp(1e-13, 1).log().sum().item()


@cache
def forced_targets(variant: str) -> list[dict[tuple[int, ...], tuple[float, float]]]:
    """Return for each source what `forced` says of all targets of up to three words."""
    model = tiny_model(variant, TINY, seed=7)
    targets = [[*tokens, EOS] for n in range(4) for tokens in itertools.product((UNK, 4, 5), repeat=n)]
    return [{tuple(target): forced(model, source, target) for target in targets} for source in SOURCES]


@pytest.mark.parametrize(("beam_size", "form"), [(1, "power"), (4 * 27, "power"), (4 * 27, "gnmt")])
@pytest.mark.parametrize("variant", [name for name in REPRESENTATIVES if attends(name)])
def test_coverage_ranks_as_when_forced(variant: str, beam_size: int, form: Normalisation) -> None:
    model = tiny_model(variant, TINY, seed=7)
    options = SearchConfig(
        beam_size=beam_size, length_penalty=0.6, coverage_penalty=0.4, max_length_ratio=0.0, max_length_offset=4,
        length_normalisation=form,
    )  # fmt: skip
    answers = NativeEngine(model).search(SOURCES, options, n_best=beam_size)
    for hypotheses, everything in zip(answers, forced_targets(variant), strict=True):
        scores = {}
        for target, (log_prob, covered) in everything.items():
            length = (5 + len(target)) / 6 if form == "gnmt" else len(target)
            scores[target] = log_prob / length**0.6 + 0.4 * covered
        for one in hypotheses:
            if one.finished:
                assert one.score == pytest.approx(scores[(*one.tokens, EOS)], abs=1e-4)
        if beam_size > 1:
            assert len(hypotheses) == len(everything) == 1 + 3 + 9 + 27
            torch.testing.assert_close(
                [one.score for one in hypotheses], sorted(scores.values(), reverse=True), rtol=0, atol=1e-4
            )


def test_coverage_needs_attention() -> None:
    with pytest.raises(NmtError, match=r"search\.coverage_penalty needs attention"):
        NativeEngine(tiny_model("cho")).check(SearchConfig(coverage_penalty=0.2))
    with pytest.raises(
        ConfigError, match=r"search\.coverage_penalty=0\.2 needs attention, but model\.family=rnn_encdec"
    ):
        load_config("demo_rnn_encdec", ["search.coverage_penalty=0.2"])


@pytest.mark.parametrize(("ratio", "least"), [(0.0, [0, 0, 0]), (0.5, [1, 2, 5]), (0.7, [1, 3, 7]), (1.0, [1, 3, 10])])
def test_the_minimum_length_is_never_below_the_ratio(ratio: float, least: list[int]) -> None:
    assert [SearchConfig(min_length_ratio=ratio).shortest(length) for length in (1, 3, 10)] == least


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("variant", REPRESENTATIVES)
def test_every_model_goes_on_from_a_prefix(variant: str, beam_size: int) -> None:
    model = tiny_model(variant, TINY, seed=7)
    options = SearchConfig(beam_size=beam_size, length_penalty=0.0, max_length_ratio=0.0, max_length_offset=3)
    prefixes = [[], [4, 5, UNK, 4], [5]]
    answers = NativeEngine(model).search(SOURCES, options, n_best=beam_size, prefixes=prefixes)
    for source, prefix, hypotheses in zip(SOURCES, prefixes, answers, strict=True):
        for one in hypotheses:
            assert one.tokens[: len(prefix)] == prefix
            assert len(one.tokens) + one.finished <= max(3, len(prefix) + 3)
            target = [*one.tokens, EOS] if one.finished else one.tokens
            src, mask = torch.tensor([source]), torch.ones(1, len(source), dtype=torch.bool)
            with torch.inference_mode():
                log_probs = log_probs_of(model, model(src, mask, torch.tensor([[BOS, *target[:-1]]])))[0]
            assert one.log_prob == pytest.approx(log_probs[range(len(target)), target].sum().item(), abs=1e-4)
