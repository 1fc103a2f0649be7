"""Ensembles of any models average probabilities, in each step, in search and when forced."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from nmt.models.contract import Memory, State
from nmt.models.ensemble import Ensemble
from nmt.models.seq2seq import Seq2Seq
from nmt.search.beam import beam_search
from nmt.search.constraints import Constraints
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty
from tests.models.variants import REPRESENTATIVES, random_batch, tiny_model

PAD, UNK, BOS, EOS = range(4)
TINY = 6  # vocabulary size
MIXED = ("rnnsearch", "transformer-post", "cho-lstm-2", "luong-dot", "luong-marginal")


def step_by_step(model: Seq2Seq | Ensemble, src: Tensor, mask: Tensor, tokens: Tensor) -> Tensor:
    """Return the probabilities [batch, tgt_len, vocab] after BOS and each of tokens [batch, tgt_len], step by step."""
    memory = model.read(src, mask)
    state, answers = model.init_state(memory, tokens.size(1)), []
    for column in torch.cat((torch.full_like(tokens[:, :1], BOS), tokens[:, :-1]), dim=1).unbind(1):
        log_probs, state = model.step(column, memory, state)
        answers.append(log_probs.exp())
    return torch.stack(answers, dim=1)


@torch.inference_mode()
def search(model: Seq2Seq | Ensemble, src: Tensor, mask: Tensor, beam_size: int, longest: int, alpha: float = 0.8):
    memory: Memory = model.read(src, mask)
    state: State = model.init_state(memory, longest)
    found: list[list[Hypothesis]] = beam_search(
        model.step, memory, state, bos=BOS, beam_size=beam_size, n_best=beam_size,
        max_lengths=torch.full((len(src),), longest), constraints=Constraints(EOS, (PAD, BOS)),
        length_penalty=LengthPenalty(alpha, "gnmt"),
    )  # fmt: skip
    return found


@torch.no_grad()
def test_a_step_is_the_mean_of_the_models_probabilities() -> None:
    models = [tiny_model(name, seed=seed) for seed, name in enumerate(MIXED)]
    src, mask = random_batch([5, 2, 7])
    tokens = torch.randint(4, 11, (3, 6), generator=torch.Generator().manual_seed(3))
    found = step_by_step(Ensemble(models), src, mask, tokens)
    expected = torch.stack([step_by_step(model, src, mask, tokens) for model in models]).mean(0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 6))
    assert (found - step_by_step(models[0], src, mask, tokens)).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_forcing_gives_the_probabilities_of_the_steps(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch([5, 2, 7])
    tokens = torch.randint(4, 11, (3, 6), generator=torch.Generator().manual_seed(3))
    tgt_in = torch.cat((torch.full_like(tokens[:, :1], BOS), tokens[:, :-1]), dim=1)
    for forced_model in (model, Ensemble([model, tiny_model("luong-dot", seed=9)])):
        log_probs, weights = forced_model.force(src, mask, tgt_in, tokens)
        expected = step_by_step(forced_model, src, mask, tokens).gather(2, tokens.unsqueeze(2)).squeeze(2)
        torch.testing.assert_close(log_probs.exp(), expected)
        assert weights is None


@torch.no_grad()
@pytest.mark.parametrize("name", ["rnnsearch", "luong-marginal"])
def test_forcing_in_chunks_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(name)
    src, mask = random_batch([5, 2, 7])
    tokens = torch.randint(4, 11, (3, 6), generator=torch.Generator().manual_seed(3))
    expected, _ = model.force(src, mask, tokens, tokens)
    monkeypatch.setattr("nmt.models.seq2seq.TOKENS_AT_ONCE", 5)
    torch.testing.assert_close(model.force(src, mask, tokens, tokens)[0], expected)


@pytest.mark.parametrize("name", ["sutskever", "rnnsearch-lstm", "luong-marginal", "transformer-pre"])
def test_an_ensemble_of_a_model_with_itself_is_that_model(name: str) -> None:
    model = tiny_model(name, seed=7)
    src, mask = random_batch([5, 2, 7, 1])
    pairs = zip(search(Ensemble([model, model]), src, mask, 3, 8), search(model, src, mask, 3, 8), strict=True)
    for found, expected in pairs:
        assert [one.tokens for one in found] == [one.tokens for one in expected]
        torch.testing.assert_close(
            [one.score for one in found], [one.score for one in expected], rtol=0, atol=1e-5
        )  # fmt: skip


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_beam_that_holds_everything_is_exhaustive_search(alpha: float) -> None:
    models = [tiny_model(name, TINY, seed=seed) for seed, name in enumerate(MIXED)]
    targets = [[*tokens, EOS] for length in range(4) for tokens in itertools.product((UNK, 4, 5), repeat=length)]
    src, mask = random_batch([4, 1, 6], TINY)
    for row, found in enumerate(search(Ensemble(models), src, mask, 4 * 27, 4, alpha)):
        length = int(mask[row].sum())
        scores = []
        for target in targets:
            with torch.no_grad():
                tokens, source = torch.tensor([target]), src[row : row + 1, :length]
                each = [step_by_step(model, source, mask[row : row + 1, :length], tokens)[0] for model in models]
            steps = torch.stack(each).mean(0)[range(len(target)), target]
            scores.append(math.log(steps.prod().item()) / ((5 + len(target)) / 6) ** alpha)
        best = max(range(len(targets)), key=scores.__getitem__)
        assert [*found[0].tokens, EOS] == targets[best]
        torch.testing.assert_close(
            [one.score for one in found], sorted(scores, reverse=True), rtol=0, atol=1e-4
        )  # fmt: skip


@torch.no_grad()
def test_attention_weights_are_the_mean_where_all_models_attend() -> None:
    models = [tiny_model("rnnsearch"), tiny_model("transformer-pre")]
    src, mask = random_batch([5, 3])
    tokens = torch.randint(4, 11, (2, 4), generator=torch.Generator().manual_seed(3))
    ensemble = Ensemble(models)
    _, weights = ensemble.force(src, mask, tokens, tokens, need_weights=True)
    expected = torch.stack([model.attention(src, mask, tokens).mean((1, 2)) for model in models]).mean(0)
    torch.testing.assert_close(weights, expected)
    assert ensemble.attends
    assert not Ensemble([models[0], tiny_model("cho")]).attends
    memory = ensemble.read(src, mask)
    _, first, _ = ensemble.weighted_step(tokens[:, 0], memory, ensemble.init_state(memory, 4))
    torch.testing.assert_close(first, expected[:, 0])
