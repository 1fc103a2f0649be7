"""Layers that share their weights are copies of one another: the same function as without sharing, one set of weights.

With one different layer in a stack, this is the recurrence H^t = LayerNorm(A^t + Transition(A^t)) over layers t of
Dehghani et al. 2019, eqs. 4 and 5, without their coordinate embeddings, and the sharing of all parameters of Lan et al.
2020, section 3.1.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nmt.config.heads import inseparable
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import ConvolutionConfig, ShareLayersConfig
from nmt.errors import ConfigError
from nmt.models.build import build_model
from nmt.models.flops import training_flops
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import WEIGHTS, find_checkpoint
from nmt.runs.run import load_run
from nmt.training.train import train
from tests.models.variants import TRANSFORMER, VARIANTS, VOCABULARY, random_batch, tiny_model
from tests.training.tiny import TRANSFORMER as TINY
from tests.training.tiny import assert_same_run, tiny_config

# layers that share weights, by variant and stack
GROUPS = {
    "transformer-shared-layers": {"encoder": [[0, 1]], "decoder": [[0, 1]]},
    "transformer-layers-in-turn": {"encoder": [[0, 2], [1]], "decoder": [[0, 2], [1]]},
}


def unshared(model: Seq2Seq, name: str) -> Seq2Seq:
    """Return a model in which each layer has weights of its own, copied from a model with shared layers."""
    config = VARIANTS[name]
    assert isinstance(config, TransformerConfig)
    copy = build_model(dataclasses.replace(config, share_layers=ShareLayersConfig()), VOCABULARY, VOCABULARY)
    copy.load_state_dict(model.state_dict())
    return copy.to(next(model.parameters()).dtype).eval()


@pytest.mark.parametrize("name", GROUPS)
def test_outputs_are_those_of_copies_and_gradients_the_sums_of_theirs(name: str) -> None:
    model = tiny_model(name).double()
    copies = unshared(model, name)
    src, mask = random_batch([5, 3, 7])
    tgt, _ = random_batch([6, 6, 6], seed=3)
    outputs = []
    for each in (model, copies):
        outputs.append(each(src, mask, tgt).hidden)
        (outputs[-1] * torch.linspace(-1, 1, 16, dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(*outputs)
    theirs: dict[str, Tensor | None] = {key: weight.grad for key, weight in copies.named_parameters()}
    for stack, groups in GROUPS[name].items():
        for group in groups:
            first = dict(model.get_submodule(f"{stack}.layers.{group[0]}").named_parameters())
            for key, weight in first.items():
                added = sum(theirs[f"{stack}.layers.{layer}.{key}"] for layer in group)
                torch.testing.assert_close(weight.grad, added, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", GROUPS)
def test_weights_are_shared_in_turn(name: str) -> None:
    model = tiny_model(name)
    for stack, groups in GROUPS[name].items():
        layers = list(model.get_submodule(stack).layers)
        found = [[number for number, layer in enumerate(layers) if layer is each] for each in dict.fromkeys(layers)]
        assert found == groups


def weights_file(run: Path) -> Path:
    return find_checkpoint(run).path / WEIGHTS


def test_a_run_stores_them_once_and_continues_bit_for_bit(tmp_path: Path) -> None:
    asked = {**TINY, "encoder_layers": 2, "decoder_layers": 2, "share_layers": {"encoder": 1, "decoder": 1}}
    train(tiny_config(tmp_path, "whole", model=asked))
    for steps in (3, 6):
        train(tiny_config(tmp_path, "in parts", model=asked, training__max_steps=steps))
    assert_same_run(tmp_path / "in parts", tmp_path / "whole")
    model = load_run(tmp_path / "whole").model
    for stack in (model.encoder, model.decoder):
        assert stack.layers[0] is stack.layers[1]
    train(tiny_config(tmp_path, "unshared", model={**asked, "share_layers": {}}))
    sizes = {run: weights_file(tmp_path / run).stat().st_size for run in ("whole", "unshared")}
    weights = sum(weight.numel() for stack in (model.encoder, model.decoder) for weight in stack.layers[0].parameters())
    assert sizes["unshared"] - sizes["whole"] > 4 * weights


def test_what_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"decoder=3: the decoder has fewer layers, model.decoder_layers=2"):
        TransformerConfig(**TRANSFORMER, share_layers=ShareLayersConfig(decoder=3)).check()
    shared = ShareLayersConfig(encoder=1, decoder=1)
    with pytest.raises(ConfigError, match=r"model.decoder_self has ssru in one and softmax in the other"):
        TransformerConfig(**TRANSFORMER, decoder_self=["ssru", "softmax"], share_layers=shared).check()
    TransformerConfig(**TRANSFORMER, decoder_self=["ssru", "ssru"], share_layers=shared).check()
    sizes = ConvolutionConfig(kernel_sizes=[3, 5])
    with pytest.raises(
        ConfigError, match=r"encoder=1: .*model.light_conv.kernel_sizes has 3 in one and 5 in the other"
    ):
        TransformerConfig(**TRANSFORMER, encoder_self="light_conv", light_conv=sizes, share_layers=shared).check()


def test_a_head_of_several_layers_cannot_be_removed() -> None:
    layers = TRANSFORMER | {"encoder_layers": 3}
    model = TransformerConfig(
        **layers, share_layers=ShareLayersConfig(encoder=2)
    )  # layer 1 is the only one of its kind
    reasons = {layer: inseparable(model, Place("encoder_self", layer)) for layer in range(3)}
    reason = "with model.share_layers.encoder=2, other layers have the same heads"
    assert reasons == {0: reason, 1: None, 2: reason}
    assert inseparable(model, Place("decoder_self", 0)) is None


def test_they_cost_as_much_time_as_layers_of_their_own() -> None:
    model = tiny_model("transformer-layers-in-turn")
    copies = unshared(model, "transformer-layers-in-turn")
    assert training_flops(model).tolist() == training_flops(copies).tolist()


def test_implied_weights_are_told_of_each_layer() -> None:
    config = TransformerConfig(**TRANSFORMER, encoder_self="light_conv", share_layers=ShareLayersConfig(encoder=1))
    assert build_model(config, VOCABULARY, VOCABULARY).implied_layers("encoder") == [0, 1]
