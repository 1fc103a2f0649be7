"""Adaptive computation time: each position leaves its stack of layers as in the papers, in training and in search."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HaltingConfig
from nmt.data.batch import collate
from nmt.data.tokenizer import EOS
from nmt.errors import ConfigError, NmtError
from nmt.models.build import build_model
from nmt.models.halting import Halting
from nmt.models.seq2seq import Seq2Seq
from nmt.report.followed import followed
from nmt.training.loss import batch_loss
from nmt.training.shown_attention import shown_attention
from nmt.training.train import train
from tests.models.papers.halting import Halted, adaptive_computation_time
from tests.models.variants import TRANSFORMER, VARIANTS, random_batch, tiny_model
from tests.toy_run import toy_model, toy_tokenizer
from tests.training.tiny import TRANSFORMER as TINY
from tests.training.tiny import assert_same_run, events, tiny_config

NAMES = ["transformer-halting", "transformer-universal", "transformer-halting-ssru"]
LENGTHS = [5, 3, 7]


def model_of(name: str) -> Seq2Seq:
    return tiny_model(name).double()


def by_paper(
    name: str, model: Seq2Seq, stack: str, embedded: Tensor, layers: list[Callable[[Tensor], Tensor]]
) -> Halted:
    unit: Halting = getattr(model, stack).halting
    return adaptive_computation_time(embedded, layers, unit.weight, unit.bias, VARIANTS[name].halting.epsilon)  # type: ignore[union-attr]


def encoded_by_paper(name: str, model: Seq2Seq, ids: Tensor) -> Halted:
    """Encode one sentence [1, length] without padding."""
    encoder, positions, mask = model.encoder, torch.arange(ids.size(1)).unsqueeze(0), torch.ones_like(ids).bool()
    layers = [lambda s, layer=layer: layer(s.unsqueeze(0), positions, mask)[0][0] for layer in encoder.layers]
    return by_paper(name, model, "encoder", encoder.embedding(ids, positions)[0], layers)


def decoded_by_paper(name: str, model: Seq2Seq, src: Tensor, ids: Tensor) -> Halted:
    """Decode one target [1, length] of one source [1, src_len] without padding."""
    decoder, positions = model.decoder, torch.arange(ids.size(1)).unsqueeze(0)
    memory = model.read(src, torch.ones_like(src).bool())
    attends = [layer.cross_attention.over(own) for layer, own in zip(decoder.layers, memory.layers, strict=True)]
    layers = [
        lambda s, layer=layer, attend=attend: layer(s.unsqueeze(0), positions, attend, None, False)[0][0]
        for layer, attend in zip(decoder.layers, attends, strict=True)
    ]
    return by_paper(name, model, "decoder", decoder.embedding(ids, positions)[0], layers)


def gradients(model: Seq2Seq, stack: str, outputs: list[Tensor], costs: list[Tensor]) -> dict[str, Tensor]:
    """Return the gradients of a sum with arbitrary weights of all outputs and costs, by name of weight."""
    torch.manual_seed(3)
    total = sum((part * torch.randn_like(part)).sum() for part in (*outputs, *costs))
    weights = dict(model.get_submodule(stack).named_parameters())
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return {key: torch.zeros(()) if each is None else each for key, each in zip(weights, found, strict=True)}


def assert_same(model: Seq2Seq, stack: str, ours: tuple[list[Tensor], list[Tensor]], theirs: list[Halted]) -> None:
    expected = [model.get_submodule(stack).norm(each.outputs) for each in theirs], [each.ponders for each in theirs]
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other)
    found, right = gradients(model, stack, *ours), gradients(model, stack, *expected)
    for key, gradient in right.items():
        torch.testing.assert_close(found[key], gradient, msg=lambda text, key=key: f"{key}: {text}")
    assert right["halting.weight"].norm() > 1e-3 and right["halting.bias"].abs() > 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if VARIANTS[name].halting.encoder])  # type: ignore[union-attr]
def test_an_encoder_halts_as_in_the_papers(name: str) -> None:
    model = model_of(name)
    src, mask = random_batch(LENGTHS)
    theirs = [encoded_by_paper(name, model, src[row : row + 1, :length]) for row, length in enumerate(LENGTHS)]
    assert len({number for each in theirs for number in each.steps}) > 1, "positions halt in several layers"
    encoded = model.encoder(src, mask)
    assert [depth[:length].tolist() for depth, length in zip(encoded.depth, LENGTHS, strict=True)] == [
        each.steps for each in theirs
    ]
    states = [states[:length] for states, length in zip(encoded.states, LENGTHS, strict=True)]
    (loss,) = encoded.losses
    costs = [model.encoder(src[row : row + 1, :length], mask[row : row + 1, :length]).losses[0].value(*[src] * 2)
             for row, length in enumerate(LENGTHS)]  # fmt: skip
    torch.testing.assert_close(loss.value(src, src), sum(each.ponders.sum() for each in theirs))
    assert_same(model, "encoder", (states, costs), [each._replace(ponders=each.ponders.sum()) for each in theirs])


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("parts", [None, [1] * 6, [3, 1, 2]], ids=["at once", "step by step", "in parts"])
@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_halts_as_in_the_papers(name: str, parts: list[int] | None, inference: bool) -> None:
    model = model_of(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    theirs = [
        decoded_by_paper(name, model, src[row : row + 1, :length], tgt[row : row + 1])
        for row, length in enumerate(LENGTHS)
    ]
    assert len({number for each in theirs for number in each.steps}) > 1, "positions halt in several layers"
    with torch.inference_mode() if inference else nullcontext():
        memory = model.read(src, mask)
        state = None if parts is None else model.init_state(memory, 6)
        hidden, depths, costs = [], [], []
        for tokens in tgt.split(parts or [6], dim=1):
            decoded, state = model.decoder(tokens, memory, state)
            hidden.append(decoded.hidden)
            depths.append(decoded.depth)
            said = torch.eye(tokens.numel()).view(-1, *tokens.shape)  # one position at a time
            costs.append(torch.stack([decoded.losses[-1].value(each, each) for each in said]).view_as(tokens))
    assert torch.cat(depths, dim=1).tolist() == [each.steps for each in theirs]
    ours = list(torch.cat(hidden, dim=1)), list(torch.cat(costs, dim=1))
    if inference:
        for one, other in zip(ours[0], theirs, strict=True):
            torch.testing.assert_close(one.clone(), model.decoder.norm(other.outputs))
    else:
        assert_same(model, "decoder", ours, theirs)


class Calls:
    """Counts how often the modules of one kind in a model's layers are called."""

    def __init__(self, stack: nn.Module, part: str) -> None:
        self.count = 0
        for layer in dict.fromkeys(stack.layers):
            getattr(layer, part).register_forward_hook(self)

    def __call__(self, *_: Any) -> None:
        self.count += 1


def eager(name: str) -> Seq2Seq:
    """Return a model that uses two or three layers for each token."""
    model = model_of(name)
    with torch.no_grad():
        for stack in (model.encoder, model.decoder):
            if isinstance(stack.halting, Halting):
                stack.halting.weight.mul_(0.1)
                stack.halting.bias.fill_(0.6)
    return model


@pytest.mark.parametrize("name", ["transformer-halting", "transformer-universal"])
def test_search_leaves_out_the_layers_that_nobody_needs(name: str) -> None:
    """The outputs are the same bit for bit; of upper layers, only the state of self-attention is kept up."""
    model = eager(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    networks = [Calls(stack, "feed_forward") for stack in (model.encoder, model.decoder)]
    mixers = Calls(model.decoder, "mixer")
    found = []
    for mode in (torch.no_grad, torch.inference_mode):
        for each in (*networks, mixers):
            each.count = 0
        with mode():
            memory = model.read(src, mask)
            state, steps = model.init_state(memory, 6), []
            for tokens in tgt.split(1, dim=1):
                log_probs, state = model.step(tokens.squeeze(1), memory, state)
                steps.append(log_probs)
            found.append((torch.stack(steps).clone(), [each.count for each in (*networks, mixers)]))
    (whole, all_calls), (left_early, fewer) = found
    assert torch.equal(whole, left_early)
    layers = len(model.encoder.layers), len(model.decoder.layers)
    assert all_calls == [layers[0], 6 * layers[1], 6 * layers[1]]
    assert fewer[0] < all_calls[0] and fewer[1] < all_calls[1] and fewer[2] == all_calls[2]


def test_weights_of_all_layers_are_there_if_they_are_requested() -> None:
    model = eager("transformer-halting")
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    with torch.inference_mode():
        for kind, length in (("encoder", 7), ("decoder", 6), ("cross", 7)):
            weights = model.attention(src, mask, tgt, kind)  # type: ignore[arg-type]
            assert weights.shape[:2] == (3, 4) and weights.size(-1) == length
            assert weights[0, -1].sum(-1).allclose(torch.ones(1, dtype=torch.float64))


def test_the_ponder_cost_is_in_the_loss_without_padding() -> None:
    name = "transformer-halting"
    model = model_of(name)
    sources, targets = [[5, 6, 7, 8, 3], [9, 3]], [[4, 3], [5, 6, 7, 3]]
    batch = collate(sources, targets)
    assert model.loss_names == ("encoder_ponder", "decoder_ponder")
    loss = batch_loss(model, batch, torch.device("cpu"))
    expected = [0.0, 0.0]
    for source, target in zip(sources, targets, strict=True):
        one = collate([source], [target])
        expected[0] += encoded_by_paper(name, model, one.src).ponders.sum().item()
        expected[1] += decoded_by_paper(name, model, one.src, one.tgt_in).ponders.sum().item()
    assert [term.item() for term in loss.terms] == pytest.approx(expected)
    assert loss.smoothed.item() == pytest.approx(loss.nll.item() + 0.1 * sum(expected))
    twice = batch_loss(model, batch, torch.device("cpu"), rdrop=1.0)
    assert [term.item() for term in twice.terms] == pytest.approx(expected)


def test_a_run_tells_its_depth_and_continues_bit_for_bit(tmp_path: Path) -> None:
    layers = {"encoder_layers": 3, "decoder_layers": 2}
    halting = {"encoder": True, "decoder": True, "initial": 0.6}
    asked = {**TINY, **layers, "share_layers": {"encoder": 1}, "halting": halting}
    train(tiny_config(tmp_path, "whole", model=asked))
    for steps in (3, 6):
        train(tiny_config(tmp_path, "in parts", model=asked, training__max_steps=steps))
    assert_same_run(tmp_path / "in parts", tmp_path / "whole")
    for event in events(tmp_path / "whole", "train"):
        assert 1 < event["decoder_ponder"] < 3 and 1 < event["encoder_ponder"] < 5
    board = EventAccumulator(str(tmp_path / "whole" / "tensorboard"))
    board.Reload()
    for stack, most in (("encoder", 3), ("decoder", 2)):
        assert [event.step for event in board.Scalars(f"depth/{stack}")] == [3, 6]
        assert all(1 <= event.value <= most for event in board.Scalars(f"depth/{stack}"))


@torch.no_grad()
def test_a_validation_shows_the_mean_depth_of_its_sentences() -> None:
    name = "transformer-halting"
    model = toy_model(name)
    pairs = [([9, 10, 11, EOS], [12, EOS]), ([13, EOS], [14, 15, 16, 17, EOS])]
    source, target = ((lambda row, side=side: np.array(pairs[row][side])) for side in (0, 1))
    store = SimpleNamespace(source=source, target=target)
    shown = shown_attention(model, toy_tokenizer(), store, [0, 1], torch.device("cpu"))  # type: ignore[arg-type]
    steps: dict[str, list[int]] = {"encoder": [], "decoder": []}
    for source, target in pairs:
        one = collate([source], [target])
        steps["encoder"] += encoded_by_paper(name, model, one.src).steps
        steps["decoder"] += decoded_by_paper(name, model, one.src, one.tgt_in).steps
    assert shown.depths == {stack: pytest.approx(sum(each) / len(each)) for stack, each in steps.items()}


def test_the_first_halting_probability_is_near_the_configured_one() -> None:
    config = TransformerConfig(**TRANSFORMER, halting=HaltingConfig(encoder=True, initial=0.2))
    unit = build_model(config, 9, 9).encoder.halting
    progress = unit.after(unit.begin(torch.zeros(1, 1, 16)), torch.zeros(1, 1, 16), last=False)
    assert progress.total.item() == pytest.approx(0.2)


def test_the_threshold_is_in_float32_under_autocast() -> None:
    model = tiny_model("transformer-halting")
    unit = model.encoder.halting
    y = torch.randn(2, 3, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        progress = unit.after(unit.begin(y), y, last=False)
    assert {progress.total.dtype, progress.output.dtype, progress.cost.dtype} == {torch.float32}
    assert progress.x.dtype == torch.bfloat16


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_one_layer_is_refused(stack: str) -> None:
    config = TransformerConfig(
        **TRANSFORMER | {f"{stack}_layers": 1},
        halting=HaltingConfig(**{stack: True}),
    )
    with pytest.raises(ConfigError, match=rf"^model.halting.{stack}=true: with model.{stack}_layers=1 there is no"):
        config.check()


def test_transparent_attention_is_refused() -> None:
    for cross in ("transparent", ["softmax", "transparent"]):
        halting = HaltingConfig(encoder=True)
        with pytest.raises(ConfigError, match=r"^model.halting.encoder=true mixes .* model.decoder_cross=transparent"):
            TransformerConfig(**TRANSFORMER, decoder_cross=cross, halting=halting).check()  # type: ignore[arg-type]
    TransformerConfig(**TRANSFORMER, decoder_cross="transparent", halting=HaltingConfig(decoder=True)).check()


@pytest.mark.parametrize("how", ["rollout", "flow"])
def test_attention_is_not_followed_through_layers_that_are_left_early(how: Any) -> None:
    pairs = [(1, "ba de", "ki lo")]
    with pytest.raises(NmtError, match=r"model.halting.encoder\): draw the weights themselves"):
        followed("run", toy_model("transformer-halting"), toy_tokenizer(), pairs, how)
    assert followed("run", toy_model("transformer-post"), toy_tokenizer(), pairs, how)
