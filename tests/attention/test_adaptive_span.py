"""Adaptive spans agree with Sukhbaatar et al. 2019, and their penalty reaches the loss and the logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.patterns.adaptive_span import AdaptiveSpan
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import AdaptiveSpanConfig
from nmt.data.batch import collate
from nmt.errors import ConfigError
from nmt.kernels.windowed import pays
from nmt.models.build import build_model
from nmt.training.loss import batch_loss
from nmt.training.train import train
from tests.attention.against_paper import assert_matches_the_paper, mixer_of
from tests.attention.papers import adaptive_span as paper
from tests.attention.papers.self_attention import Weights
from tests.training.tiny import TRANSFORMER, events, tiny_config

CPU = torch.device("cpu")
SOURCES = [[4, 5, 3], [6, 7, 8, 9, 3], [4, 3], [9, 9, 6, 3]]
TARGETS = [[5, 3], [7, 8, 9, 10, 11, 3], [8, 8, 8, 3], [3]]


def spans_of(mixer: SelfAttention) -> AdaptiveSpan:
    assert isinstance(mixer.pattern, AdaptiveSpan)
    return mixer.pattern


def mixer_with(shares: list[float], causal: bool, **options: Any) -> SelfAttention:
    config = TransformerConfig(
        model_dim=8, num_heads=len(shares), positions="none", encoder_self="adaptive_span",
        decoder_self="adaptive_span", adaptive_span=AdaptiveSpanConfig(initial=0, **options),
    )  # fmt: skip
    mixer = mixer_of(config, causal)
    with torch.no_grad():
        spans_of(mixer).shares.copy_(torch.tensor(shares))
    return mixer


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("shares", "max_span", "ramp"), [([0.31, 0.77], 3, 2), ([0.02, 0.93], 4, 1), ([0.1, 0.4, 0.6, 0.9], 30, 32)]
)
def test_attention_matches_the_paper(shares: list[float], max_span: int, ramp: int, causal: bool) -> None:
    mixer = mixer_with(shares, causal, max_span=max_span, ramp=ramp)
    pattern = spans_of(mixer)

    def attention(x: Tensor, positions: list[int], weights: Weights, causal: bool) -> Tensor:
        return paper.adaptive_attention(x, positions, weights, causal, max_span * pattern.shares, ramp)

    assert_matches_the_paper(mixer, attention)


def test_gradients_are_numbers_also_where_the_mask_is_zero_or_a_span_ends() -> None:
    """Spans of 0, 1 and max_span end exactly at a key; the float32 kernel of torch is used, and padding is there."""
    mixer = mixer_with([0.0, 0.25, 1.0, 1e-45], False, max_span=4, ramp=2).float()
    x = torch.randn(3, 9, 8, requires_grad=True)
    mask = torch.arange(9) < torch.tensor([[9], [1], [4]])
    output, _, _ = mixer(x, torch.arange(9).unsqueeze(0), mask)
    output.square().sum().backward()
    for weight in (x, *mixer.parameters()):
        assert weight.grad is not None and weight.grad.isfinite().all()


def test_search_forgets_what_no_span_can_reach() -> None:
    mixer = mixer_with([0.0, 1.0], True, max_span=3, ramp=2)
    assert mixer.state_bytes(3) < mixer.state_bytes(4) == mixer.state_bytes(1000) == 2 * 4 * 4 * 8
    state = mixer.init_state(1, torch.empty(0, dtype=torch.float64))
    for position in range(7):
        _, state, _ = mixer(torch.randn(1, 1, 8, dtype=torch.float64), torch.tensor([[position]]), None, state)
        assert state.keys.size(2) == min(position + 1, 4)
    assert paper.soft_mask(torch.tensor(3.0), 4, 2) > paper.soft_mask(torch.tensor(3.0), 5, 2) == 0


def test_an_update_leaves_spans_between_zero_and_the_longest() -> None:
    pattern = spans_of(mixer_with([-0.2, 0.3, 1.0, 1.4], True, max_span=10, ramp=2))
    assert pattern.spans.tolist() == pytest.approx([0, 3, 10, 10])  # also before
    with torch.no_grad():
        pattern.after_update({})
    assert pattern.shares.tolist() == pytest.approx([0, 0.3, 1, 1])
    pattern.penalty().backward()
    assert pattern.shares.grad is not None
    assert pattern.shares.grad.tolist() == [2.5] * 4  # so that a span can leave either end


def test_it_begins_with_the_initial_span_which_fits() -> None:
    options = AdaptiveSpanConfig(max_span=10, initial=2.5)
    assert AdaptiveSpan(3, options).spans.tolist() == pytest.approx([2.5] * 3)
    options.initial = 10.5
    with pytest.raises(ConfigError, match=r"initial=10.5, which is beyond model.adaptive_span.max_span=10"):
        TransformerConfig(decoder_self="adaptive_span", adaptive_span=options).check()


# -- the penalty ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rdrop", [None, 5.0])
def test_a_batch_costs_the_penalty_for_each_target_token_however_it_is_split(rdrop: float | None) -> None:
    torch.manual_seed(1)
    config = TransformerConfig(
        **TRANSFORMER | {"encoder_layers": 2, "dropout": 0.0}, encoder_self=["adaptive_span", "softmax"],
        decoder_self="adaptive_span", adaptive_span=AdaptiveSpanConfig(penalty=0.25),
    )  # fmt: skip
    model = build_model(config, 13, 13).double()
    spans = [module for module in model.modules() if isinstance(module, AdaptiveSpan)]
    assert len(spans) == 2
    with torch.no_grad():
        for pattern in spans:
            pattern.shares.uniform_()
            pattern.penalty_weight = 0.0
    plain = batch_loss(model, collate(SOURCES, TARGETS), CPU, 0.1, rdrop).smoothed
    term = paper.penalty([64 * pattern.shares for pattern in spans]) * sum(len(target) for target in TARGETS)
    wanted = plain + 0.25 * term
    for pattern in spans:
        pattern.penalty_weight = 0.25
    assert model.loss_names == ("span",)
    weights = list(model.parameters())
    for size in (4, 2, 1):
        parts = [collate(SOURCES[row : row + size], TARGETS[row : row + size]) for row in range(0, 4, size)]
        losses = [batch_loss(model, part, CPU, 0.1, rdrop) for part in parts]
        smoothed = torch.stack([loss.smoothed for loss in losses]).sum()
        torch.testing.assert_close(smoothed, wanted)
        torch.testing.assert_close(torch.stack([loss.terms[0] for loss in losses]).sum(), term.detach())
        gradients = [torch.autograd.grad(each, weights, retain_graph=True) for each in (smoothed, wanted)]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)


def test_a_run_minimises_and_logs_it_and_keeps_spans_in_their_range(tmp_path: Path) -> None:
    """The spans of both stacks begin at the longest; the learning rate would carry them beyond both ends."""
    asked = {
        **TRANSFORMER, "encoder_self": "adaptive_span", "decoder_self": "adaptive_span",
        "adaptive_span": {"max_span": 4, "ramp": 2, "initial": 4.0, "penalty": 50.0},
    }  # fmt: skip
    train(tiny_config(
        tmp_path, model=asked, training__label_smoothing=0.0, training__learning_rate=0.6, training__log_every=1,
        training__tokens_per_device=60,
    ))  # fmt: skip
    told = events(tmp_path / "run", "train")
    assert told[0]["span"] == pytest.approx(8)  # both layers
    assert told[-1]["span"] == pytest.approx(0)
    for event in told:
        assert event["loss"] == pytest.approx(event["nll"] + 50 * event["span"])


def test_spans_hold_in_long_sequences() -> None:
    mixer = mixer_of(TransformerConfig(
        model_dim=8, num_heads=2, encoder_self="adaptive_span", adaptive_span=AdaptiveSpanConfig(max_span=20, ramp=5)
    ), False)  # fmt: skip
    length = next(length for length in range(1, 10_000) if pays(length, spans_of(mixer).reach or 0))
    x, positions = torch.randn(1, length, 8, dtype=torch.float64), torch.arange(length).unsqueeze(0)
    with_weights, _, _ = mixer(x, positions, need_weights=True)
    torch.testing.assert_close(mixer(x, positions)[0], with_weights)
