"""Exact marginal attention agrees with its definition in values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.scores import AdditiveScore, GeneralScore
from nmt.config.load import load_config
from nmt.data.batch import collate
from nmt.errors import ConfigError
from nmt.models.luong import PlainDecoder
from nmt.models.seq2seq import Seq2Seq
from nmt.models.sequences import run_rnn
from nmt.training.loss import batch_loss
from tests.attention.papers import marginal as paper
from tests.models.variants import tiny_model

NAMES = ["luong-marginal", "luong-marginal-concat"]
SOURCES, TARGETS = [[4, 5, 3], [6, 7, 8, 9, 3], [3]], [[5, 3], [7, 8, 9, 3], [8, 4, 3]]


def of_the_paper(model: Seq2Seq) -> tuple[dict[str, Tensor], paper.Score]:
    """Return the model's weights under the papers' names, and the score."""
    assert isinstance(model.decoder, PlainDecoder)
    output, score = model.decoder.output, model.decoder.output.attention.score
    names = {"W_c": output.projection.weight, "W_s": model.projection.weight, "b_s": model.projection.bias}
    if isinstance(score, GeneralScore):
        names["W_a"] = score.states_projection.weight
        return names, paper.general(names)
    assert isinstance(score, AdditiveScore)
    names["W_a"] = torch.cat((score.query_projection.weight, score.states_projection.weight), dim=1)
    names |= {"b": score.states_projection.bias, "v": score.v.weight[0]}
    return names, paper.concat(names)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_definition_in_values_and_gradients(name: str) -> None:
    """The value is the loss of a batch with padding on both sides; gradients are those of every weight."""
    model = tiny_model(name).double()
    model.decoder.doubly_stochastic = 0.0  # this loss is not part of the likelihood
    batch = collate(SOURCES, TARGETS)
    ours = batch_loss(model, batch, torch.device("cpu")).smoothed
    shown = model.attention(batch.src, batch.src_mask, batch.tgt_in)[:, 0, 0]
    names, score = of_the_paper(model)
    decoder, memory = model.decoder, model.read(batch.src, batch.src_mask)
    h, _ = run_rnn(decoder.rnn, decoder.embedding(batch.tgt_in), memory.first)
    theirs = torch.zeros((), dtype=torch.float64)
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        states = memory.attention.states[row, : len(source)]
        p, alpha = paper.probabilities(h[row, : len(target)], states, names, score)
        torch.testing.assert_close(shown[row, : len(target), : len(source)], alpha)
        theirs = theirs - p[range(len(target)), target].log().sum()
    torch.testing.assert_close(ours, theirs)
    weights = dict(model.named_parameters())
    wanted = torch.autograd.grad(theirs, list(weights.values()))
    for key, one, other in zip(weights, torch.autograd.grad(ours, list(weights.values())), wanted, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, key=key: f"{key}: {text}")


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_target_s_probability_is_the_sum_over_all_alignments(name: str) -> None:
    """The model multiplies a sum per step; this equals the sum over all sequences of source positions."""
    model = tiny_model(name).double()
    source, target = [4, 5, 6, 3], [7, 9, 3]
    batch = collate([source], [target])
    names, score = of_the_paper(model)
    decoder, memory = model.decoder, model.read(batch.src, batch.src_mask)
    h, _ = run_rnn(decoder.rnn, decoder.embedding(batch.tgt_in), memory.first)
    wanted = paper.likelihood(target, h[0], memory.attention.states[0], names, score)
    torch.testing.assert_close(batch_loss(model, batch, torch.device("cpu")).nll, -wanted.log())


@pytest.mark.parametrize("given", [["model=rnnsearch"], ["model=luong", "model.input_feeding=true"]], ids=str)
def test_a_decoder_that_goes_on_from_the_context_is_refused(given: list[str]) -> None:
    with pytest.raises(ConfigError, match="next state does not depend on which source position was taken"):
        load_config("embedded", [*given, "model.alignment=marginal"])
    assert load_config("embedded", ["model=luong", "model.input_feeding=false", "model.alignment=marginal"])
