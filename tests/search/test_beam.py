"""Beam search and exhaustive search over a random table, in which the last two tokens and a key decide the next."""

from __future__ import annotations

import itertools
import math
from typing import Literal, NamedTuple

import pytest
import torch
from torch import Tensor

from nmt.errors import NmtError
from nmt.search.beam import beam_search
from nmt.search.constraints import Constraints
from nmt.search.greedy import greedy_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty

PAD, UNK, BOS, EOS = range(4)
VOCAB = 6


class TableMemory(NamedTuple):
    key: Tensor  # [batch]


class TableState(NamedTuple):
    previous: Tensor  # [rows]


class Table:
    """A model with a random table of P(next | key, the two tokens before). It counts the rows of each step."""

    def __init__(self, sentences: int, seed: int, temperature: float = 1.5) -> None:
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(sentences, VOCAB, VOCAB, VOCAB, generator=generator) * temperature
        self.log_probs = logits.log_softmax(-1)
        self.rows: list[int] = []

    def start(self, sentences: list[int]) -> tuple[TableMemory, TableState]:
        return TableMemory(torch.tensor(sentences)), TableState(torch.full((len(sentences),), PAD))

    def step(self, tokens: Tensor, memory: TableMemory, state: TableState) -> tuple[Tensor, TableState]:
        self.rows.append(len(tokens))
        keys = memory.key.repeat_interleave(len(tokens) // len(memory.key))
        return self.log_probs[keys, state.previous, tokens], TableState(tokens)

    def forced(self, sentence: int, tokens: list[int]) -> float:
        previous, last, total = PAD, BOS, 0.0
        for token in tokens:
            total += self.log_probs[sentence, previous, last, token].item()
            previous, last = last, token
        return total

    def exhaustive(self, sentence: int, max_length: int, alpha: float) -> list[Hypothesis]:
        """Return all finished hypotheses of at most max_length tokens, including the end of sentence, best first."""
        found = []
        for length in range(max_length):
            for tokens in itertools.product((UNK, 4, 5), repeat=length):
                log_prob = self.forced(sentence, [*tokens, EOS])
                found.append(Hypothesis(list(tokens), log_prob, log_prob / ((5 + length + 1) / 6) ** alpha))
        return sorted(found, key=lambda one: -one.score)


def search(
    table: Table, sentences: list[int], max_lengths: list[int], beam_size: int, alpha: float, n_best: int = 1,
    stop: Literal["exact", "full"] = "exact",
):  # fmt: skip
    memory, state = table.start(sentences)
    return beam_search(
        table.step, memory, state, bos=BOS, beam_size=beam_size, max_lengths=torch.tensor(max_lengths),
        constraints=Constraints(EOS, (PAD, BOS)), length_penalty=LengthPenalty(alpha, "gnmt"), n_best=n_best, stop=stop,
    )  # fmt: skip


def greedy(table: Table, sentences: list[int], max_lengths: list[int], alpha: float = 0.0) -> list[Hypothesis]:
    memory, state = table.start(sentences)
    found = greedy_search(
        table.step, memory, state, bos=BOS, max_lengths=torch.tensor(max_lengths),
        constraints=Constraints(EOS, (PAD, BOS)), length_penalty=LengthPenalty(alpha, "gnmt"),
    )  # fmt: skip
    return [hypothesis for (hypothesis,) in found]


def check_equal(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.finished for one in found] == [one.finished for one in expected]
    torch.testing.assert_close([one.log_prob for one in found], [one.log_prob for one in expected], rtol=0, atol=1e-5)
    torch.testing.assert_close([one.score for one in found], [one.score for one in expected], rtol=0, atol=1e-5)


def test_length_penalty_is_gnmts() -> None:
    assert LengthPenalty(0.6, "gnmt")(1) == 1
    assert LengthPenalty(1.0, "gnmt")(7) == 2
    assert LengthPenalty(0.5, "gnmt")(31) == pytest.approx(math.sqrt(6))
    torch.testing.assert_close(LengthPenalty(2.0, "gnmt")(torch.tensor([1, 7, 13])), torch.tensor([1.0, 4.0, 9.0]))


def test_or_a_power_of_the_length() -> None:
    assert LengthPenalty(1.0, "power")(7) == 7
    assert LengthPenalty(0.0, "power")(7) == 1
    torch.testing.assert_close(LengthPenalty(0.5, "power")(torch.tensor([1, 4, 9])), torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("n_best", [1, 4, 121])
def test_a_beam_that_holds_everything_is_exhaustive_search(alpha: float, n_best: int) -> None:
    table = Table(sentences=12, seed=3)
    max_lengths = [1 + sentence % 5 for sentence in range(12)]
    found = search(table, list(range(12)), max_lengths, beam_size=4 * 81, alpha=alpha, n_best=n_best)
    for sentence, hypotheses in enumerate(found):
        check_equal(hypotheses, table.exhaustive(sentence, max_lengths[sentence], alpha)[:n_best])


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_narrow_beam_never_beats_exhaustive_search_and_scores_what_it_returns(alpha: float) -> None:
    table = Table(sentences=40, seed=5)
    found = search(table, list(range(40)), [5] * 40, beam_size=3, alpha=alpha, n_best=3)
    for sentence, hypotheses in enumerate(found):
        assert 1 <= len(hypotheses) <= 3
        assert len({tuple(one.tokens) for one in hypotheses}) == len(hypotheses)
        assert hypotheses == sorted(hypotheses, key=lambda one: -one.score)
        assert hypotheses[0].score <= table.exhaustive(sentence, 5, alpha)[0].score + 1e-5
        for one in hypotheses:
            assert one.log_prob == pytest.approx(table.forced(sentence, [*one.tokens, EOS]), abs=1e-5)
            assert one.score == pytest.approx(one.log_prob / ((5 + len(one.tokens) + 1) / 6) ** alpha)


def plain_beam_search(
    table: Table, sentence: int, max_length: int, beam_size: int, penalty: LengthPenalty, full: bool = False
) -> list[Hypothesis]:
    """Search one sentence with plain lists; never stop early or, if `full`, once that many hypotheses have finished."""
    open_: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[Hypothesis] = []
    for length in range(1, max_length + 1):
        candidates = [
            (table.forced(sentence, [*tokens, token]), [*tokens, token])
            for _, tokens in open_
            for token in (UNK, EOS, 4, 5)
        ]
        candidates.sort(key=lambda one: -one[0])
        for log_prob, tokens in candidates[:beam_size]:
            if tokens[-1] == EOS:
                finished.append(Hypothesis(tokens[:-1], log_prob, log_prob / penalty(length)))
        if full and len(finished) >= beam_size:
            break
        open_ = [one for one in candidates if one[1][-1] != EOS][:beam_size]
    return sorted(finished, key=lambda one: -one.score)[:beam_size]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("beam_size", [1, 2, 3, 5])
def test_narrow_beams_keep_what_a_plain_beam_search_keeps(alpha: float, beam_size: int) -> None:
    table = Table(sentences=40, seed=37)
    found = search(table, list(range(40)), [9] * 40, beam_size, alpha, n_best=beam_size)
    ended = [sentence for sentence, hypotheses in enumerate(found) if hypotheses[0].finished]
    assert len(ended) >= 20
    for sentence in ended:
        expected = plain_beam_search(table, sentence, 9, beam_size, LengthPenalty(alpha, "gnmt"))
        check_equal(found[sentence], expected)


@pytest.mark.parametrize("n_best", [1, 3])
def test_stopping_early_changes_nothing(monkeypatch: pytest.MonkeyPatch, n_best: int) -> None:
    stopped, full = Table(sentences=40, seed=7), Table(sentences=40, seed=7)
    early = search(stopped, list(range(40)), [12] * 40, beam_size=3, alpha=1.0, n_best=n_best)
    monkeypatch.setattr("nmt.search.beam.settled", lambda open_, pool, max_lengths, *_: max_lengths < 0)
    for one, other in zip(early, search(full, list(range(40)), [12] * 40, 3, 1.0, n_best), strict=True):
        check_equal(one, other)
    assert full.rows == [40] + [120] * 11
    assert sum(stopped.rows) < sum(full.rows)


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_company_and_order_change_nothing(beam_size: int) -> None:
    table = Table(sentences=30, seed=11)
    max_lengths = [2 + sentence % 9 for sentence in range(30)]
    together = search(table, list(range(30)), max_lengths, beam_size, 0.6)
    backwards = search(table, list(range(30))[::-1], max_lengths[::-1], beam_size, 0.6)[::-1]
    alone = [search(table, [sentence], [max_lengths[sentence]], beam_size, 0.6)[0] for sentence in range(30)]
    assert together == backwards == alone


@pytest.mark.parametrize("stop", ["exact", "full"])
def test_looking_seldom_changes_nothing(monkeypatch: pytest.MonkeyPatch, stop: Literal["exact", "full"]) -> None:
    table = Table(sentences=30, seed=13)
    max_lengths = [2 + sentence % 9 for sentence in range(30)]

    def both() -> tuple[list[list[Hypothesis]], list[Hypothesis]]:
        beams = search(table, list(range(30)), max_lengths, 3, 1.0, 2, stop)
        return beams, greedy(table, list(range(30)), max_lengths)

    often = both()
    monkeypatch.setattr("nmt.search.steps.LOOK_EVERY", 7)
    monkeypatch.setattr("nmt.search.steps.is_waited_for", lambda device: True)
    assert both() == often


def test_beam_of_one_is_greedy() -> None:
    table = Table(sentences=50, seed=17)
    max_lengths = [1 + sentence % 8 for sentence in range(50)]
    beams = search(table, list(range(50)), max_lengths, beam_size=1, alpha=0.0)
    for one, other in zip(beams, greedy(table, list(range(50)), max_lengths), strict=True):
        check_equal(one, [other])


def test_greedy_takes_the_best_token_at_every_step() -> None:
    table = Table(sentences=50, seed=19)
    for sentence, found in enumerate(greedy(table, list(range(50)), [8] * 50, alpha=0.6)):
        tokens: list[int] = []
        while len(tokens) < 8 and EOS not in tokens:
            choices = {token: table.forced(sentence, [*tokens, token]) for token in (UNK, EOS, 4, 5)}
            tokens.append(max(choices, key=choices.__getitem__))
        finished = tokens[-1] == EOS
        log_prob = table.forced(sentence, tokens)
        expected = Hypothesis(tokens[:-1] if finished else tokens, log_prob, log_prob / ((5 + len(tokens)) / 6) ** 0.6)
        check_equal([found], [expected._replace(finished=finished)])


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_longest_length_answers_with_open_hypotheses_that_say_so(beam_size: int) -> None:
    table = Table(sentences=4, seed=23)
    table.log_probs[:, :, :, EOS] = -30.0
    for sentence, hypotheses in enumerate(search(table, [0, 1, 2, 3], [3, 4, 5, 6], beam_size, 1.0, beam_size)):
        assert len(hypotheses) == beam_size
        for one in hypotheses:
            assert not one.finished
            assert len(one.tokens) == 3 + sentence
            assert one.log_prob == pytest.approx(table.forced(sentence, one.tokens), abs=1e-5)
    assert [(len(one.tokens), one.finished) for one in greedy(table, [0, 1], [3, 6])] == [(3, False), (6, False)]


def test_finished_sentences_leave_the_batch() -> None:
    table = Table(sentences=3, seed=29)
    table.log_probs[0, :, :, EOS] = 0.0  # sentence 0 ends at once
    table.log_probs[1:, :, :, EOS] = -30.0
    search(table, [0, 1, 2], [9, 4, 6], 2, 0.0)
    assert table.rows == [3, 4, 4, 4, 2, 2]
    table.rows.clear()
    greedy(table, [0, 1, 2], [9, 4, 6])
    assert table.rows == [3, 2, 2, 2, 1, 1]


def test_banned_tokens_never_appear() -> None:
    table = Table(sentences=20, seed=31)
    table.log_probs[:, :, :, [PAD, BOS]] = -1e-3
    for hypotheses in search(table, list(range(20)), [6] * 20, 4, 0.0, 4):
        assert not {PAD, BOS} & {token for one in hypotheses for token in one.tokens}
    for one in greedy(table, list(range(20)), [6] * 20):
        assert not {PAD, BOS} & set(one.tokens)


def test_equals_go_to_the_lower_token() -> None:
    table = Table(sentences=1, seed=0)
    table.log_probs[:] = math.log(1 / 4)
    (hypotheses,) = search(table, [0], [3], beam_size=2, alpha=0.0, n_best=2)
    assert [one.tokens for one in hypotheses] == [[], [UNK]]  # the order in the first step is UNK, EOS, 4, 5
    table.log_probs[..., EOS] = -9.0
    (hypotheses,) = search(table, [0], [2], beam_size=3, alpha=0.0, n_best=3)
    assert [one.tokens for one in hypotheses] == [[UNK, UNK], [UNK, 4], [UNK, 5]]
    assert greedy(table, [0], [3])[0].tokens == [UNK] * 3


def test_nan_is_an_error_not_a_translation() -> None:
    table = Table(sentences=1, seed=0)
    table.log_probs[:] = math.nan
    with pytest.raises(NmtError, match="NaN"):
        search(table, [0], [3], 2, 1.0)
    with pytest.raises(NmtError, match="NaN"):
        greedy(table, [0], [3])


def test_an_empty_batch_and_a_list_longer_than_the_beam() -> None:
    table = Table(sentences=1, seed=0)
    assert search(table, [], [], 2, 1.0) == []
    assert greedy(table, [], []) == []
    with pytest.raises(ValueError, match="n_best=3"):
        search(table, [0], [3], 2, 1.0, n_best=3)
