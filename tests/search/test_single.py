"""Greedy search by guesses: what greedy search finds, whatever is guessed, in fewer steps where guesses are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from nmt.models.ensemble import Ensemble
from nmt.models.seq2seq import Memory, Seq2Seq, State, rewind
from nmt.search.constraints import Constraints
from nmt.search.greedy import greedy_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty
from nmt.search.single import GUESSES, single_search
from tests.models.variants import VARIANTS, tiny_model

PAD, UNK, BOS, EOS = range(4)
SIZE = 40
REWINDING = [name for name in VARIANTS if tiny_model(name).rewinds]
GENERATOR = torch.Generator().manual_seed(3)
SOURCES = [
    [*torch.randint(4, SIZE, (length,), generator=GENERATOR).tolist(), EOS] for length in (1, 5, 3, 12, 7, 9, 2, 6)
]
LIMITS = {"plain": (None, None), "least": (torch.tensor([7]), None), "prefix": (None, torch.tensor([[5, 9, 4, 8, 30]]))}


class Oracle:
    """Guesses what is given, but another for every `wrong`-th token."""

    def __init__(self, said: Sequence[int], wrong: int = 0) -> None:
        self.tokens = [
            (token + (place % wrong == wrong - 1 if wrong else 0)) % SIZE for place, token in enumerate(said)
        ]

    def guess(self, said: Sequence[int], count: int) -> list[int]:
        return self.tokens[len(said) : len(said) + count]


def constraints(kind: str) -> Constraints:
    return Constraints(EOS, (PAD, BOS), *LIMITS[kind])


def greedy(model: Seq2Seq | Ensemble, source: list[int], kind: str, longest: int) -> Hypothesis:
    return found(model, source, kind, longest, greedy_search, model.step)


def found(
    model: Seq2Seq | Ensemble,
    source: list[int],
    kind: str,
    longest: int,
    search: Callable,
    step: Callable,
    **more: object,
) -> Hypothesis:
    with torch.inference_mode():
        memory = model.read(torch.tensor([source]), torch.ones(1, len(source), dtype=torch.bool))
        ((one,),) = search(
            step,
            memory,
            model.init_state(memory, longest),
            bos=BOS,
            max_lengths=torch.tensor([longest]),
            constraints=constraints(kind),
            length_penalty=LengthPenalty(0.8),
            **more,
        )
    return one


def drafted(
    model: Seq2Seq | Ensemble, source: list[int], kind: str, longest: int, drafter: object
) -> tuple[Hypothesis, list[int]]:
    """The hypothesis, and how many tokens each step was given."""
    given = []

    def steps(tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        given.append(tokens.size(1))
        return model.steps(tokens, memory, state)

    return found(model, source, kind, longest, single_search, steps, drafter=drafter), given


def check_same(ours: Hypothesis, theirs: Hypothesis) -> None:
    assert (ours.tokens, ours.finished) == (theirs.tokens, theirs.finished)
    assert ours.log_prob == pytest.approx(theirs.log_prob, abs=1e-4)
    assert ours.score == pytest.approx(theirs.score, abs=1e-4)


@pytest.mark.parametrize(
    ("least", "prefix"), [*LIMITS.values(), (torch.tensor([5]), torch.tensor([[5, 9, -1, -1, -1, -1]]))]
)
def test_a_token_is_allowed_where_constraints_leave_it_as_it_is(least: Tensor | None, prefix: Tensor | None) -> None:
    limits, refused = Constraints(EOS, (PAD, BOS), least, prefix), 0
    for length in range(1, 9):
        log_probs = torch.zeros(1, SIZE)
        limits.apply(log_probs, length)
        allowed = [limits.allow(token, length) for token in range(SIZE)]
        assert allowed == (log_probs[0] == 0).tolist()
        refused += SIZE - sum(allowed)
    assert refused > 2 * 8 or (least is None and prefix is None)


def models() -> dict[str, Seq2Seq | Ensemble]:
    made: dict[str, Seq2Seq | Ensemble] = {name: tiny_model(name, SIZE, seed=5) for name in REWINDING}
    made["ensemble"] = Ensemble([tiny_model(name, SIZE, seed=6) for name in REWINDING])
    return made


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize(("name", "model"), models().items(), ids=list(models()))
def test_guesses_change_nothing_in_what_is_found(name: str, model: Seq2Seq, kind: str, wrong: int) -> None:
    lengths, unfinished = set(), 0
    for source in SOURCES:
        longest = len(source) + 8
        expected = greedy(model, source, kind, longest)
        said = [*expected.tokens, EOS]
        for drafter in (Oracle(said, wrong), Oracle([])):
            one, given = drafted(model, source, kind, longest, drafter)
            check_same(one, expected)
            assert sum(given) >= len(expected.tokens)
        lengths.add(len(expected.tokens))
        unfinished += not expected.finished
    assert len(lengths) > 1 or unfinished == len(SOURCES)


@pytest.mark.parametrize("name", REWINDING)
def test_right_guesses_save_steps_and_a_prefix_is_one(name: str) -> None:
    model, source = tiny_model(name, SIZE, seed=5), SOURCES[3]
    expected = greedy(model, source, "least", 20)
    tokens = len(expected.tokens) + expected.finished
    assert tokens > 2 * (GUESSES + 1)
    _, given = drafted(model, source, "least", 20, Oracle([*expected.tokens, EOS]))
    assert len(given) == -(-tokens // (GUESSES + 1))
    _, given = drafted(model, source, "least", 20, Oracle([]))
    assert given == [1] * tokens
    expected = greedy(model, source, "prefix", 20)
    one, given = drafted(model, source, "prefix", 20, Oracle([]))
    assert given[0] == 6, "all of the prefix, and what comes first"
    check_same(one, expected)


@pytest.mark.parametrize("name", REWINDING)
def test_the_longest_length_is_kept_to(name: str) -> None:
    model = tiny_model(name, SIZE, seed=5)
    for longest in range(1, 7):
        expected = greedy(model, SOURCES[3], "least", longest)
        one, given = drafted(model, SOURCES[3], "least", longest, Oracle([*expected.tokens, 7, 7, 7, 7]))
        check_same(one, expected)
        assert len(one.tokens) == longest and not one.finished
        assert sum(given) == longest, "no more than can be said is asked for"


@pytest.mark.parametrize(("name", "model"), models().items(), ids=list(models()))
def test_steps_are_steps_and_a_state_goes_back(name: str, model: Seq2Seq) -> None:
    source, tokens = torch.tensor([SOURCES[3]]), torch.randint(4, SIZE, (1, 9), generator=GENERATOR)
    with torch.inference_mode():
        memory = model.read(source, torch.ones_like(source, dtype=torch.bool))
        state = model.init_state(memory, 20)
        each = []
        for token in tokens.unbind(1):
            log_probs, state = model.step(token, memory, state)
            each.append(log_probs)
        expected = torch.stack(each, dim=1)
        state = model.init_state(memory, 20)
        first, state = model.steps(tokens[:, :4], memory, state)
        _, astray = model.steps(tokens[:, :3] - 1, memory, state)
        rest, _ = model.steps(tokens[:, 4:], memory, rewind(astray, 4))
    torch.testing.assert_close(torch.cat((first, rest), dim=1), expected, rtol=1e-4, atol=1e-4)


def test_a_recurrent_state_has_no_way_back() -> None:
    recurrent = [name for name in VARIANTS if name not in REWINDING]
    assert len(recurrent) > 5 and not any(tiny_model(name).rewinds for name in recurrent)
    assert not Ensemble([tiny_model("luong-dot"), tiny_model("transformer-pre")]).rewinds
    with pytest.raises(AssertionError, match="a state with Tensor has no way back"):
        rewind((torch.zeros(1, 2),), 1)
