"""Search with every model family: exact on a tiny vocabulary, independent of the batch, with the scores of forcing.

All variants are searched exhaustively. Everything else follows from the contract, so the representatives suffice.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nmt.models.contract import Memory, State
from nmt.models.seq2seq import Seq2Seq
from nmt.search.beam import beam_search
from nmt.search.constraints import Constraints
from nmt.search.greedy import greedy_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty
from tests.models.variants import REPRESENTATIVES, VARIANTS, log_probs_of, tiny_model

PAD, UNK, BOS, EOS = range(4)
TINY, SMALL = 6, 11  # vocabulary sizes


@pytest.fixture(params=REPRESENTATIVES, scope="module")
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return tiny_model(request.param, SMALL, seed=7)


def sources(count: int, vocabulary: int = SMALL) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    lengths = [1 + index * 5 % 11 for index in range(count)]
    return [[*torch.randint(4, vocabulary, (length,), generator=generator).tolist(), EOS] for length in lengths]


def pad(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    src = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    return src, torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])


@torch.inference_mode()
def search(
    model: Seq2Seq,
    rows: list[list[int]],
    beam_size: int,
    *,
    max_length: int | None = None,
    alpha: float = 0.8,
    ending: float = 0.0,
) -> list[list[Hypothesis]]:
    """Search with a beam, or greedily if beam_size is 0; add `ending` to the log-probability of the end of sentence."""

    def step(tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        log_probs, state = model.step(tokens, memory, state)
        log_probs[:, EOS] += ending
        return log_probs, state

    memory = model.read(*pad(rows))
    lengths = torch.tensor([max_length or len(row) + 4 for row in rows])
    state = model.init_state(memory, int(lengths.max()))
    options = {
        "bos": BOS,
        "max_lengths": lengths,
        "constraints": Constraints(EOS, (PAD, BOS)),
        "length_penalty": LengthPenalty(alpha, "gnmt"),
    }
    if not beam_size:
        return greedy_search(step, memory, state, **options)
    return beam_search(step, memory, state, beam_size=beam_size, n_best=beam_size, **options)


@torch.inference_mode()
def forced(model: Seq2Seq, source: list[int], targets: list[list[int]]) -> list[float]:
    """Return the log-probability of each whole target, by teacher forcing."""
    src, mask = pad([source] * len(targets))
    tgt_out, tgt_mask = pad(targets)
    tgt_in, _ = pad([[BOS, *target[:-1]] for target in targets])
    log_probs = log_probs_of(model, model(src, mask, tgt_in))
    picked: Tensor = log_probs.gather(2, tgt_out.unsqueeze(2)).squeeze(2).masked_fill(~tgt_mask, 0.0)
    return picked.sum(1).tolist()


def whole(hypothesis: Hypothesis) -> list[int]:
    return [*hypothesis.tokens, EOS] if hypothesis.finished else hypothesis.tokens


def check_same(found: list[list[Hypothesis]], other: list[list[Hypothesis]]) -> None:
    for one, two in zip(found, other, strict=True):
        assert [(a.tokens, a.finished) for a in one] == [(b.tokens, b.finished) for b in two]
        torch.testing.assert_close([a.score for a in one], [b.score for b in two], rtol=0, atol=1e-4)
        torch.testing.assert_close([a.log_prob for a in one], [b.log_prob for b in two], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("variant", "alpha"), [*((name, 0.0) for name in VARIANTS), *((name, 1.0) for name in REPRESENTATIVES)]
)
def test_a_beam_that_holds_everything_is_exhaustive_search(variant: str, alpha: float) -> None:
    model = tiny_model(variant, TINY, seed=7)
    targets = [[*tokens, EOS] for n in range(4) for tokens in itertools.product((UNK, 4, 5), repeat=n)]
    rows = sources(3, TINY)
    for source, hypotheses in zip(rows, search(model, rows, 4 * 27, max_length=4, alpha=alpha), strict=True):
        scores = [
            log_prob / ((5 + len(target)) / 6) ** alpha
            for target, log_prob in zip(targets, forced(model, source, targets), strict=True)
        ]
        best = max(range(len(targets)), key=scores.__getitem__)
        assert whole(hypotheses[0]) == targets[best]
        assert len(hypotheses) == len(targets)
        torch.testing.assert_close(
            [one.score for one in hypotheses], sorted(scores, reverse=True), rtol=0, atol=1e-4
        )  # fmt: skip


@pytest.mark.parametrize("beam_size", [0, 4])
@pytest.mark.parametrize("variant", REPRESENTATIVES)
def test_company_and_order_change_nothing(variant: str, beam_size: int) -> None:
    model = tiny_model(variant, SMALL, seed=7)
    rows = sources(12)
    together = search(model, rows, beam_size, ending=-2.0)
    assert len({str([hypothesis.tokens for hypothesis in one]) for one in together}) > 1
    check_same(together, search(model, rows[::-1], beam_size, ending=-2.0)[::-1])
    check_same(together, [search(model, [row], beam_size, ending=-2.0)[0] for row in rows])


@pytest.mark.parametrize("beam_size", [0, 3])
def test_the_reported_score_is_the_forced_score(model: Seq2Seq, beam_size: int) -> None:
    rows = sources(8)
    for source, hypotheses in zip(rows, search(model, rows, beam_size), strict=True):
        expected = forced(model, source, [whole(one) for one in hypotheses])
        torch.testing.assert_close([one.log_prob for one in hypotheses], expected, rtol=0, atol=1e-4)
        for one in hypotheses:
            assert one.score == pytest.approx(one.log_prob / ((5 + len(whole(one))) / 6) ** 0.8, abs=1e-6)


def test_beam_of_one_is_greedy(model: Seq2Seq) -> None:
    rows = sources(12)
    check_same(search(model, rows, 1, alpha=0.0), search(model, rows, 0, alpha=0.0))
