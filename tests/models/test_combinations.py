"""Random combinations of mechanisms have the properties of every decoder.

Combinations are drawn over all configuration keys whose values are true or false or a name, including those of the
mechanisms; a new name is drawn without a change here. Numbers have their defaults. Combinations that `check` refuses
are skipped.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nmt.config.models import MODEL_FAMILIES, ModelConfig
from nmt.config.schema import SearchConfig
from nmt.data.batch import Batch
from nmt.errors import ConfigError
from nmt.inference.engines.native import NativeEngine
from nmt.models.build import build_model
from nmt.models.contract import select
from nmt.models.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss
from tests.models.variants import VOCABULARY, log_probs_of, probabilities, random_batch

SIZES: dict[str, dict[str, Any]] = {
    "transformer": {"model_dim": 16, "ffn_dim": 24, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 2},
    "rnnsearch": {"embedding_dim": 12, "hidden_dim": 12, "attention_dim": 10, "maxout_dim": 12, "encoder_layers": 2},
    "luong": {"embedding_dim": 12, "hidden_dim": 12, "layers": 2},
    "rnn_encdec": {"embedding_dim": 12, "hidden_dim": 12, "maxout_dim": 12, "layers": 2},
}
LAYERS = 2  # per stack of the Transformer
LENGTHS = [5, 3, 7]
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}  # of probabilities


def values(hint: Any) -> st.SearchStrategy[Any] | None:
    """Return the values to draw for a key with a choice: true or false, a name, or a list with a name per layer."""
    if hint is bool:
        return st.booleans()
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if dataclasses.is_dataclass(hint):
        options = choices(hint)
        return st.fixed_dictionaries(options).map(lambda chosen: hint(**chosen)) if options else None
    members = {get_origin(member): member for member in get_args(hint)}
    if Literal not in members or list not in members:
        return None
    one = st.sampled_from(get_args(members[Literal]))
    return st.one_of(one, st.lists(one, min_size=LAYERS, max_size=LAYERS))


def choices(cls: Any) -> dict[str, st.SearchStrategy[Any]]:
    """Return the keys of a dataclass that have a choice of values, including the keys of its mechanisms."""
    hints = get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.name != "family"]
    return {name: drawn for name in names if (drawn := values(hints[name])) is not None}


def configurations(family: str) -> st.SearchStrategy[ModelConfig]:
    """Return a strategy for configurations of a family that `check` accepts."""
    cls = MODEL_FAMILIES[family]
    return st.fixed_dictionaries(choices(cls)).map(lambda chosen: cls(**SIZES[family], **chosen)).filter(is_allowed)


def is_allowed(config: ModelConfig) -> bool:
    try:
        config.check()
    except ConfigError:
        return False
    return True


def model_of(config: ModelConfig) -> Seq2Seq:
    torch.manual_seed(1)
    model = build_model(config, VOCABULARY, VOCABULARY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model.eval()


DRAWN = settings(
    max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("family", SIZES)
def test_what_is_drawn_is_decoded_searched_and_trained_as_promised(family: str) -> None:
    @DRAWN
    @given(configurations(family))
    def check(config: ModelConfig) -> None:
        model = model_of(config).double()  # in fp32, the roundings of some models add up to more than the tolerance
        parallel_is_step_by_step_in_a_beam(model)
        padding_and_company_change_nothing(model)
        a_hypothesis_scores_what_forcing_it_says(model)
        training_reaches_every_weight(model)

    check()


@torch.no_grad()
def parallel_is_step_by_step_in_a_beam(model: Seq2Seq) -> None:
    """Check this with two hypotheses per sentence, when one sentence leaves the batch halfway."""
    src, mask = random_batch(LENGTHS)
    tokens, _ = random_batch([6] * 6, seed=3)
    sentences = torch.tensor([0, 0, 1, 1, 2, 2])
    whole = probabilities(model, src[sentences], mask[sentences], tokens)
    memory = model.read(src, mask)
    state = select(model.init_state(memory, 6), sentences)
    rows = torch.arange(6)
    for step in range(6):
        decoded, state = model.decoder(tokens[rows, step : step + 1], memory, state)
        torch.testing.assert_close(log_probs_of(model, decoded).exp(), whole[rows, step : step + 1], **TOLERANCE)
        if step == 2:
            stay, kept = torch.tensor([2, 0]), torch.tensor([5, 4, 0, 1])
            memory, state, rows = select(memory, stay), select(state, kept), rows[kept]


@torch.no_grad()
def padding_and_company_change_nothing(model: Seq2Seq) -> None:
    src, mask = random_batch(LENGTHS)
    tokens, _ = random_batch([6, 6, 6], seed=3)
    together = probabilities(model, src, mask, tokens)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        alone = probabilities(model, src[one, :length], mask[one, :length], tokens[one])
        torch.testing.assert_close(together[one], alone, **TOLERANCE)


def a_hypothesis_scores_what_forcing_it_says(model: Seq2Seq) -> None:
    engine, options = NativeEngine(model), SearchConfig(beam_size=3, max_length_ratio=1.0, max_length_offset=3)
    src, mask = random_batch(LENGTHS)
    sources = [[*row[m].tolist()[:-1], 3] for row, m in zip(src, mask, strict=True)]
    for source, hypotheses in zip(sources, engine.search(sources, options, n_best=2), strict=True):
        for found in hypotheses:
            target = [*found.tokens, 3] if found.finished else found.tokens
            if target:
                (forced,) = engine.score([source], [target], options)
                assert sum(forced.token_log_probs) == pytest.approx(found.log_prob, abs=1e-3)


def training_reaches_every_weight(model: Seq2Seq) -> None:
    src, mask = random_batch(LENGTHS)
    tokens, _ = random_batch([6, 6, 6], seed=3)
    loss = batch_loss(model.train(), Batch(src, mask, tokens, tokens, mask.sum(1)), torch.device("cpu"), 0.1)
    loss.smoothed.backward()
    assert len(loss.terms) == len(model.loss_names)
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
