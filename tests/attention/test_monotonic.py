"""Monotonic attention agrees with Raffel et al. 2017: the expectation in training, hard decisions at inference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nmt.attention.alignments.monotonic import Energy, MonotonicAlignment, NormalisedEnergy, expected, first_stop
from nmt.attention.contract import Encoded, select
from nmt.attention.scores import AdditiveScore, GeneralScore
from nmt.config.load import load_config
from nmt.errors import ConfigError
from tests.attention.alignment_paper import (
    CHUNKS,
    LENGTHS,
    QUERY,
    ROWS,
    STATES,
    STEPS,
    assert_matches_the_paper,
    inputs,
)
from tests.attention.papers import monotonic as paper


def alignment(kind: str, noise: float = 0.0) -> tuple[MonotonicAlignment, paper.Energy]:
    """Return an alignment in training mode, without noise, and its energy as the paper writes it."""
    torch.manual_seed(1)
    if kind == "general":
        module = MonotonicAlignment(Energy(GeneralScore(QUERY, STATES), -0.3), noise).double()
        W, r = module.energy.score.states_projection.weight, module.energy.r
        return module, lambda s, h: s @ W @ h + r
    score = AdditiveScore(QUERY, STATES, 6)
    module = MonotonicAlignment(NormalisedEnergy(score, -0.3), noise).double()
    with torch.no_grad():
        module.energy.g.fill_(3.0)
    weights = {"W": score.query_projection.weight, "V": score.states_projection.weight, "v": score.v.weight[0]}
    weights |= {"b": score.states_projection.bias, "g": module.energy.g, "r": module.energy.r}
    return module, paper.additive(weights)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("kind", ["additive", "general"])
def test_training_equals_the_paper_in_values_and_gradients(kind: str, chunks: list[int]) -> None:
    module, energy = alignment(kind)
    assert_matches_the_paper(module, lambda queries, states: paper.expectation(queries, states, energy), chunks)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("kind", ["additive", "general"])
def test_inference_stops_where_the_paper_does(kind: str, chunks: list[int]) -> None:
    module, energy = alignment(kind)
    with torch.no_grad():
        module.energy.r.fill_(0.5)  # so that attention stops more often than not
    queries, states, mask = inputs()
    memory = module.eval().read(Encoded(states, mask, ()))
    state, parts = select(module.init_state(memory), torch.tensor(ROWS)), []
    attend = module.over(memory)
    for part, at in zip(queries.split(chunks, 1), torch.arange(STEPS).unsqueeze(0).split(chunks, 1), strict=True):
        attended = attend(part, at, state)
        state = attended.state
        parts.append(attended)
    context = torch.cat([part.context for part in parts], dim=1)
    weights = torch.cat([part.weights for part in parts], dim=2).squeeze(1)
    for row, sentence in enumerate(ROWS):
        length = LENGTHS[sentence]
        wanted = paper.hard(queries[row], states[sentence, :length], energy)
        torch.testing.assert_close(context[row], wanted[0])
        assert torch.equal(weights[row, :, :length], wanted[1]) and not weights[row, :, length:].any()
    assert 0 < weights.sum() < weights[..., 0].numel(), "some stop, and some run past the last word"


def chained(follow: object, p: Tensor) -> Tensor:
    """Return alpha [T, J] of `follow` for the probabilities p [T, J], as the logits of which it gets energies."""
    alpha, mask = torch.eye(p.size(1), dtype=p.dtype)[:1].unsqueeze(0), torch.ones(1, 1, p.size(1), dtype=torch.bool)
    alphas = []
    for row in p:
        alpha = follow(torch.logit(row).expand(1, 1, -1), mask, alpha)  # type: ignore[operator]
        alphas.append(alpha[0, 0])
    return torch.stack(alphas)


def test_the_expectation_is_that_of_all_decisions() -> None:
    torch.manual_seed(2)
    p = torch.rand(3, 4, dtype=torch.float64)
    torch.testing.assert_close(chained(expected, p), torch.tensor(paper.by_enumeration(p.tolist())).double())


def test_decisions_that_are_sure_make_the_expectation_hard() -> None:
    torch.manual_seed(3)
    for _ in range(30):
        p = (torch.rand(5, 6, dtype=torch.float64) < 0.4).double()
        assert torch.equal(chained(expected, p), chained(first_stop, p))
        wanted = torch.zeros(5, 6, dtype=torch.float64)
        for i, j in enumerate(paper.stops(p.tolist())):
            if j is not None:
                wanted[i, j] = 1.0
        assert torch.equal(chained(first_stop, p), wanted)


@pytest.mark.parametrize("size", [5.0, 60.0])
def test_long_sentences_and_sure_decisions_neither_underflow_nor_blow_up(size: float) -> None:
    """Quotients of cumulative products would divide by zero here, in float32."""
    torch.manual_seed(4)
    energy = (size * torch.randn(1, 1, 200)).requires_grad_()
    mask, alpha = torch.ones(1, 1, 200, dtype=torch.bool), torch.full((1, 1, 200), 1 / 200)
    exact = expected(energy.detach().double(), mask, alpha.double())
    found = expected(energy, mask, alpha)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-7)
    found.sum().backward()
    assert energy.grad is not None and energy.grad.isfinite().all()


def test_noise_is_on_the_energies_in_training_only() -> None:
    module, _ = alignment("additive", noise=2.0)
    with torch.no_grad():
        module.energy.g.zero_()
    states, mask = torch.randn(1, 1, STATES).double(), torch.ones(1, 1, dtype=torch.bool)
    memory = module.read(Encoded(states, mask, ()))
    queries = torch.randn(20_000, 1, QUERY).double()
    torch.manual_seed(5)
    weights = module.over(memory)(queries, torch.zeros(1, 1), module.init_state(memory).expand(20_000, -1)).weights
    assert weights is not None
    energies = torch.logit(weights.detach().flatten())
    assert float(energies.mean()) == pytest.approx(-0.3, abs=4 * 2 / math.sqrt(20_000))
    assert float(energies.std()) == pytest.approx(2.0, rel=0.03)
    random = torch.random.get_rng_state()
    module.eval().over(memory)(queries, torch.zeros(1, 1), module.init_state(memory).expand(20_000, -1))
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_weights_stay_in_float32_under_autocast() -> None:
    """Products of many probabilities would lose precision in bf16."""
    module = alignment("additive")[0].float()
    queries, states, mask = (part if part.dtype == torch.bool else part.float() for part in inputs())
    with torch.autocast("cpu", torch.bfloat16):
        memory = module.read(Encoded(states, mask, ()))
        start = module.init_state(memory)
        attended = module.over(memory)(queries[::2], torch.zeros(1, STEPS), start)
    assert start.dtype == attended.state.dtype == attended.weights.dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("model.score=location", "decides at each source word whether to stop there"),
        ("model.normaliser=entmax15", "makes weights of scores by itself"),
        ("model.doubly_stochastic=0.1", "has weights that do not sum to one"),
    ],
)
def test_what_does_not_fit_is_refused(given: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.alignment=monotonic {reason}"):
        load_config("embedded", ["model=luong", "model.alignment=monotonic", given])
