"""Stochastic hard attention agrees with Xu et al. 2015, and the mean of its gradients is the exact gradient."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.attention.alignments import hard
from nmt.attention.alignments.hard import HardAlignment, sample
from nmt.attention.contract import Encoded
from nmt.attention.scores import GeneralScore
from nmt.config.load import load_config
from nmt.config.options.recurrent import HardConfig
from nmt.data.batch import collate
from nmt.errors import ConfigError
from nmt.models.seq2seq import Seq2Seq
from nmt.training.loss import Loss, batch_loss
from tests.attention.alignment_paper import CHUNKS, QUERY, STATES, assert_matches_the_paper
from tests.attention.papers import hard as paper
from tests.models.variants import tiny_model

CPU = torch.device("cpu")
NAMES = ["rnnsearch-hard", "luong-hard", "luong-hard-plain"]
SOURCES, TARGETS = [[4, 5, 3], [6, 7, 8, 9, 3], [4, 3], [9, 5, 6, 3]], [[5, 3], [7, 8, 9, 3], [8, 8, 6, 10, 3], [3]]
DRAWN = [[2, 0], [4, 1, 1, 0], [0, 1, 1, 0, 0], [3]]  # the source positions of each target token
SOFT = [False, False, True, False]  # the sentences with the expected context
BASELINE = -1.7


def least_probable(alpha: Tensor) -> Tensor:
    """Stand for a draw: return the position with the least weight above zero in each distribution [..., src_len]."""
    return torch.where(alpha > 0, alpha, torch.inf).argmin(-1)


def give_draws(monkeypatch: pytest.MonkeyPatch, drawn: list[list[int]], soft: list[bool]) -> None:
    """Make the next forward pass of a batch take these positions, row by row, instead of sampling."""
    steps = max(len(row) for row in drawn)
    positions, done = torch.tensor([[*row, *[0] * (steps - len(row))] for row in drawn]), 0

    def given(alpha: Tensor) -> Tensor:
        nonlocal done
        done += alpha.size(1)
        return positions[:, done - alpha.size(1) : done]

    monkeypatch.setattr(hard, "sample", given)
    monkeypatch.setattr(hard, "draw_soft", lambda batch, share, device: torch.tensor(soft))


def trained(name: str, **options: Any) -> Seq2Seq:
    """Return a model in training mode and float64, without dropout, with a baseline and these options of `hard`."""
    model = tiny_model(name).double().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.RNNBase):
            setattr(module, "p" if isinstance(module, nn.Dropout) else "dropout", 0.0)
    model.decoder.doubly_stochastic = 0.0
    attention = model.decoder.source_attention()
    attention.options = HardConfig(**{"reinforce": 0.7, "entropy": 0.3, "soft_share": 0.0} | options)
    attention.baseline.fill_(BASELINE)
    return model


def play(
    monkeypatch: pytest.MonkeyPatch, model: Seq2Seq, source: list[int], target: list[int], soft: bool = False
) -> paper.Play:
    """Return the function that forces a target, alone, with given source positions."""
    batch = collate([source], [target])

    def played(s: list[int]) -> tuple[list[Tensor], list[Tensor]]:
        give_draws(monkeypatch, [s], [soft])
        decoded, _ = model.decoder(batch.tgt_in, model.read(batch.src, batch.src_mask), need_weights=True)
        log_probs = model.projection(decoded.hidden).log_softmax(-1)[0]
        return list(decoded.weights[0, 0, 0]), [log_probs[t, token] for t, token in enumerate(target)]

    return played


def gradients(value: Tensor, model: Seq2Seq) -> dict[str, Tensor]:
    weights = dict(model.named_parameters())
    found = torch.autograd.grad(value, list(weights.values()), retain_graph=True, materialize_grads=True)
    return dict(zip(weights, found, strict=True))


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert any(gradient.abs().max() > 1e-3 for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, msg=lambda text, name=name: f"{name}: {text}")


# -- the alignment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("soft", [False, True], ids=["sampled", "expected"])
def test_contexts_match_the_paper_in_values_and_gradients(
    soft: bool, chunks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hard, "sample", least_probable)
    torch.manual_seed(1)
    module = HardAlignment(GeneralScore(QUERY, STATES), HardConfig(soft_share=float(soft)), feeds=True).double()
    W = module.score.states_projection.weight

    def attend(queries: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        return paper.attend(
            queries, states, lambda h, state: h @ W @ state, lambda alpha: int(alpha.argmin()), soft=soft
        )

    assert_matches_the_paper(module, attend, chunks)


def test_at_inference_the_greatest_weight_is_taken_and_shown() -> None:
    torch.manual_seed(1)
    module = HardAlignment(GeneralScore(QUERY, STATES), HardConfig(soft_share=1.0), feeds=True).double().eval()
    states, queries = torch.randn(1, 5, STATES).double(), torch.randn(2, 7, QUERY).double()
    memory = module.read(Encoded(states, torch.tensor([[True] * 4 + [False]]), ()))
    random = torch.random.get_rng_state()
    attended = module.over(memory)(queries, torch.arange(7).unsqueeze(0), None)
    assert torch.equal(torch.random.get_rng_state(), random), "nothing is drawn"
    best = (queries @ module.score.states_projection.weight @ states[0, :4].T).argmax(-1)
    assert attended.weights is not None and len(best.unique()) > 1
    assert torch.equal(attended.weights[:, 0], nn.functional.one_hot(best, 5).double())
    assert torch.equal(attended.context, states[0][best])


def test_positions_are_drawn_with_their_weights_and_padding_never() -> None:
    alpha = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    torch.manual_seed(3)
    drawn = sample(alpha.expand(40_000, -1))
    counts = torch.bincount(drawn, minlength=6)
    assert counts[alpha == 0].sum() == 0
    expected = 40_000 * alpha
    assert ((counts - expected).abs() <= 4 * (expected * (1 - alpha)).sqrt()).all()
    torch.manual_seed(3)
    assert torch.equal(drawn, sample(alpha.expand(40_000, -1)))


# -- the losses ------------------------------------------------------------------------------------------------------


def rewards_of(name: str) -> Callable[[list[Tensor], float], list[float]]:
    return paper.rewards_of_the_word if name.endswith("plain") else paper.rewards_to_go


@pytest.mark.parametrize("rdrop", [None, 3.0], ids=["", "rdrop"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", NAMES)
def test_losses_are_the_learning_rule_s_with_the_same_draws(
    name: str, smoothing: float, rdrop: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch has padding on both sides; with R-Drop each sentence passes twice, here with the same draws.

    Label smoothing changes the gradient of predictions, but not the rewards.
    """
    model = trained(name)
    nll, reinforce, entropy = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    for source, target, s, soft in zip(SOURCES, TARGETS, DRAWN, SOFT, strict=True):
        alphas, log_probs = play(monkeypatch, model, source, target, soft)(s)
        nll = nll - sum(log_probs)
        entropy = entropy + paper.entropy(alphas)
        if not soft:
            reinforce = reinforce - paper.rewarded(s, alphas, rewards_of(name)(log_probs, BASELINE))
    passes = 1 if rdrop is None else 2
    give_draws(monkeypatch, DRAWN * passes, SOFT * passes)
    ours = batch_loss(model, collate(SOURCES, TARGETS), CPU, smoothing, rdrop)
    torch.testing.assert_close(torch.stack([ours.nll, *ours.terms]), torch.stack([nll, reinforce, entropy]).detach())
    without = trained(name, reinforce=0.0, entropy=0.0)
    give_draws(monkeypatch, DRAWN * passes, SOFT * passes)
    plain = gradients(batch_loss(without, collate(SOURCES, TARGETS), CPU, smoothing, rdrop).smoothed, without)
    added = gradients(0.7 * reinforce - 0.3 * entropy, model)
    assert_same(gradients(ours.smoothed, model), {key: plain[key] + added[key] for key in plain})
    if not smoothing and rdrop is None:
        assert_same(plain, gradients(nll, model))


def one(model: Seq2Seq, source: list[int], target: list[int], rows: int = 1) -> Loss:
    return batch_loss(model, collate([source] * rows, [target] * rows), CPU)


SOURCE, TARGET = [4, 7, 3], [8, 3]  # three source positions, two target steps


def estimates(
    monkeypatch: pytest.MonkeyPatch, model: Seq2Seq, target: list[int], estimate: Callable[[list[int]], Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the mean and the variance, over all draws s, of the gradient of estimate(s)."""
    probabilities, found = [], []
    for drawn in product(range(len(SOURCE)), repeat=len(target)):
        alphas, _ = play(monkeypatch, model, SOURCE, target)(list(drawn))
        probabilities.append(paper.log_p_of(list(drawn), alphas).exp().item())
        found.append(gradients(estimate(list(drawn)), model))
    assert sum(probabilities) == pytest.approx(1.0)
    weighted = list(zip(probabilities, found, strict=True))
    means = {key: sum(p * each[key] for p, each in weighted) for key in found[0]}
    return means, {key: sum(p * (each[key] - means[key]).square() for p, each in weighted) for key in means}


def of_the_model(monkeypatch: pytest.MonkeyPatch, model: Seq2Seq, target: list[int]) -> Callable[[list[int]], Tensor]:
    def estimate(drawn: list[int]) -> Tensor:
        give_draws(monkeypatch, [drawn], [False])
        return one(model, SOURCE, target).smoothed

    return estimate


def of_the_paper(
    monkeypatch: pytest.MonkeyPatch, model: Seq2Seq, target: list[int], baseline: float
) -> Callable[[list[int]], Tensor]:
    """Return the paper's estimate, in which each choice is rewarded for the whole sentence."""

    def estimate(drawn: list[int]) -> Tensor:
        alphas, log_probs = play(monkeypatch, model, SOURCE, target)(drawn)
        rewards = paper.rewards_of_the_sentence(log_probs, baseline)
        return -sum(log_probs) - paper.rewarded(drawn, alphas, rewards)

    return estimate


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_its_gradients_is_the_exact_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is the mean with the paper's rewards."""
    model = trained(name, reinforce=1.0, entropy=0.0)
    exact = gradients(-paper.bound(play(monkeypatch, model, SOURCE, TARGET), 2, 3), model)
    assert_same(estimates(monkeypatch, model, TARGET, of_the_model(monkeypatch, model, TARGET))[0], exact)
    assert_same(estimates(monkeypatch, model, TARGET, of_the_paper(monkeypatch, model, TARGET, BASELINE))[0], exact)


@pytest.mark.parametrize("name", NAMES)
def test_the_baseline_and_leaving_out_the_earlier_words_lower_the_variance(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variance is that of the gradients of the score, summed over some targets; the baseline is their mean."""
    targets = [[5, 9], [8, 3], [10, 4], [6, 6]]
    model = trained(name, reinforce=1.0, entropy=0.0)
    torch.manual_seed(5)
    with torch.no_grad():
        mean = -sum(float(one(model, SOURCE, target, rows=100).nll) for target in targets) / (4 * 100 * 2)

    def variance(estimate: Callable[[list[int]], Callable[[list[int]], Tensor]], baseline: float) -> float:
        model.decoder.source_attention().baseline.fill_(baseline)
        found = [estimates(monkeypatch, model, target, estimate(target))[1] for target in targets]
        return sum(float(each.sum()) for of_weights in found for key, each in of_weights.items() if "score" in key)

    ours = variance(lambda target: of_the_model(monkeypatch, model, target), mean)
    assert ours < 0.5 * variance(lambda target: of_the_model(monkeypatch, model, target), -1e-12)
    assert ours < 0.9 * variance(lambda target: of_the_paper(monkeypatch, model, target, mean), mean)


@pytest.mark.parametrize("name", NAMES)
def test_sampled_gradients_agree_with_the_exact_one_within_their_standard_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each weight's gradient is projected on its exact direction, and has to be within 4 standard errors."""
    rows, batches = 400, 60
    model = trained(name, reinforce=1.0, entropy=0.0)
    with monkeypatch.context() as patched:
        exact = gradients(-paper.bound(play(patched, model, SOURCE, TARGET), 2, 3), model)
    torch.manual_seed(4)
    found: dict[str, list[float]] = {key: [] for key, gradient in exact.items() if gradient.norm() > 1e-8}
    for _ in range(batches):
        sampled = gradients(one(model, SOURCE, TARGET, rows).smoothed / rows, model)
        for key, projections in found.items():
            projections.append(float((sampled[key] * exact[key]).sum() / exact[key].norm()))
    attention = [key for key in found if "score" in key]
    for key, projections in found.items():
        values = torch.tensor(projections, dtype=torch.float64)
        error = values.std() / batches**0.5
        assert abs(values.mean() - exact[key].norm()) <= 4 * error, key
        assert error < 0.2 * exact[key].norm() or key not in attention, f"{key}: too few samples to tell"


# -- what is learned between updates --------------------------------------------------------------------------------


def test_the_baseline_is_the_running_mean_of_the_paper_from_the_first_update_on() -> None:
    module = HardAlignment(GeneralScore(QUERY, STATES), HardConfig(baseline_decay=0.9), feeds=True).double()
    losses, b = [7.0, 5.0, 6.0, 1.0], None
    for nll in losses:
        module.after_update({"nll": torch.tensor(nll, dtype=torch.float32), "reinforce": torch.tensor(9.0)})
        b = -nll if b is None else 0.9 * b + 0.1 * -nll
        assert float(module.baseline) == pytest.approx(b)
    assert "baseline" in module.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_baseline_there_are_no_rewards_yet(name: str) -> None:
    model = trained(name)
    model.decoder.source_attention().baseline.zero_()
    assert float(one(model, SOURCE, TARGET, rows=20).terms[0]) == 0.0
    model.decoder.source_attention().baseline.fill_(-0.1)
    assert float(one(model, SOURCE, TARGET, rows=20).terms[0]) != 0.0
    assert float(one(model.eval(), SOURCE, TARGET, rows=20).terms[0]) == 0.0, "at inference nothing is sampled"


@pytest.mark.parametrize("normaliser", ["sparsemax", "rela", "top_k"])
def test_weights_that_can_be_zero_are_refused(normaliser: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.alignment=hard needs the logarithm of every weight"):
        load_config("embedded", ["model=luong", "model.alignment=hard", f"model.normaliser={normaliser}"])
