"""Guided attention, from its equation (Garg et al. 2019) to a run's files."""

from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from nmt.attention.losses import guided
from nmt.config.load import config_from_dict
from nmt.config.mechanisms import unguided
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.batch import Batch, collate
from nmt.data.links import NO_LINKS, PairLinks
from nmt.errors import ConfigError
from nmt.models.build import build_model
from nmt.models.contract import OneLayer
from nmt.models.seq2seq import Seq2Seq
from nmt.training.guided import Guidance
from nmt.training.loss import batch_loss
from nmt.training.train import train
from tests.models.variants import VARIANTS, attends, random_batch, tiny_model
from tests.training.tiny import RNN, TRANSFORMER, assert_same_run, events, killed_in_update, tiny_config

CPU = torch.device("cpu")
VOCAB = 13
SOURCES = [[4, 5, 3], [6, 7, 8, 9, 3], [4, 3], [9, 9, 6, 3]]
TARGETS = [[5, 3], [7, 8, 9, 10, 11, 3], [8, 8, 8, 3], [3]]
# for each pair (first source piece, the one after its last, first target piece, the one after its last): a word of
# several pieces, a target piece with two words, a pair without links
BLOCKS = [[(0, 1, 0, 1)], [(1, 3, 2, 4), (0, 1, 0, 1), (3, 4, 0, 1)], [(0, 1, 1, 3)], []]
LINKS = [
    PairLinks(np.zeros((len(blocks), 2), np.int32), np.array(blocks, np.int32)) if blocks else NO_LINKS
    for blocks in BLOCKS
]
NAMES = ["rnnsearch", "luong-general", "luong-general-plain", "luong-marginal", "transformer-post", "transformer-pre"]


def linked(row: int) -> dict[int, set[int]]:
    """Return the source positions that each target position of a pair is linked to."""
    found: dict[int, set[int]] = {}
    for start, end, first, last in BLOCKS[row]:
        for i in range(first, last):
            found.setdefault(i, set()).update(range(start, end))
    return found


def equation_4(weights: Tensor) -> Tensor:
    """Return the sum over linked target positions i of -1/|links_i| sum_j log alpha_ij; weights [batch, tgt, src]."""
    total = torch.zeros((), dtype=weights.dtype)
    for row in range(len(BLOCKS)):
        for i, sources in linked(row).items():
            for j in sources:
                total = total - torch.log(weights[row, i, j]) / len(sources)
    return total


def model_of(name: str) -> Seq2Seq:
    torch.manual_seed(0)
    return build_model(VARIANTS[name], VOCAB, VOCAB).double().eval()


def guidance(layer: int | None = None, heads: tuple[int, ...] = (0,), weight: float = 0.7) -> Guidance:
    return Guidance(weight, OneLayer(layer), list(heads))


def batch_of(rows: range = range(4), multiple: int = 1) -> Batch:
    return collate(
        *([side[row] for row in rows] for side in (SOURCES, TARGETS)), multiple, [LINKS[row] for row in rows]
    )


# -- the loss of a batch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multiple", [1, 8])
def test_a_batch_has_the_links_of_its_pieces(multiple: int) -> None:
    batch = batch_of(multiple=multiple)
    assert batch.links is not None and batch.links.shape == (*batch.tgt_out.shape, batch.src.size(1))
    found = {tuple(map(int, each)) for each in batch.links.nonzero()}
    assert found == {(row, i, j) for row in range(4) for i, sources in linked(row).items() for j in sources}
    for other in (pickle.loads(pickle.dumps(batch)), batch.to("cpu")):
        assert all(torch.equal(one, two) for one, two in zip(batch, other, strict=True))
    assert torch.equal(batch.twice().links, torch.cat((batch.links, batch.links)))
    without = collate(SOURCES, TARGETS)
    assert without.links is without.to("cpu").links is without.twice().links is None
    assert pickle.loads(pickle.dumps(without)).links is None


@pytest.mark.parametrize("rdrop", [None, 5.0])
@pytest.mark.parametrize("name", NAMES)
def test_it_equals_the_equation_however_the_batch_is_split(name: str, rdrop: float | None) -> None:
    """Values and gradients of all weights; without dropout both passes of R-Drop are equal."""
    model = model_of(name)
    weights, batch = list(model.parameters()), batch_of()
    alphas = model.attention(batch.src, batch.src_mask, batch.tgt_in)  # [batch, layers, heads, tgt_len, src_len]
    layer = max(alphas.size(1) - 2, 0)
    term = equation_4(alphas[:, layer, 0])
    wanted = batch_loss(model, batch, CPU, 0.1, rdrop).smoothed + 0.7 * term
    wanted_grads = torch.autograd.grad(wanted, weights)
    for size in (4, 2, 1):
        parts = [batch_of(range(row, row + size)) for row in range(0, 4, size)]
        losses = [batch_loss(model, part, CPU, 0.1, rdrop, guidance()) for part in parts]
        smoothed = torch.stack([loss.smoothed for loss in losses]).sum()
        torch.testing.assert_close(smoothed, wanted)
        torch.testing.assert_close(torch.stack([loss.terms[-1] for loss in losses]).sum(), term.detach())
        for one, other in zip(torch.autograd.grad(smoothed, weights), wanted_grads, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("layer", "heads"), [(0, (1,)), (1, (0,)), (1, (0, 1)), (0, (1, 0)), (None, (1,))])
def test_the_layer_and_the_heads_are_those_chosen(layer: int | None, heads: tuple[int, ...]) -> None:
    model, batch = model_of("transformer-post"), batch_of()
    alphas = model.attention(batch.src, batch.src_mask, batch.tgt_in)
    wanted = torch.stack([equation_4(alphas[:, layer or 0, head]) for head in heads]).mean()
    found = batch_loss(model, batch, CPU, guidance=guidance(layer, heads)).terms[0]
    torch.testing.assert_close(found, wanted.detach())


def test_under_r_drop_it_is_the_mean_of_the_passes() -> None:
    model = model_of("rnnsearch").train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    batch = batch_of()
    torch.manual_seed(1)
    found = batch_loss(model, batch, CPU, 0.1, 5.0, guidance())
    torch.manual_seed(1)
    twice = batch.twice()
    passes = [equation_4(each) for each in model.attention(twice.src, twice.src_mask, twice.tgt_in)[:, 0, 0].chunk(2)]
    assert not torch.isclose(*passes)
    torch.testing.assert_close(found.terms[0], (passes[0] + passes[1]).detach() / 2)


def test_dropout_of_attention_does_not_reach_it() -> None:
    config = dataclasses.replace(VARIANTS["transformer-post"], attention_dropout=0.9, decoder_layers=1)
    assert isinstance(config, TransformerConfig)
    torch.manual_seed(0)
    model = build_model(config, VOCAB, VOCAB).double().train()
    for module in model.modules():  # of all dropout, only that of attention to the source is left
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    losses = {float(batch_loss(model, batch_of(), CPU, guidance=guidance()).terms[0]) for _ in range(3)}
    assert len(losses) == 1 and math.isfinite(min(losses))


def test_weights_of_zero_have_a_finite_loss_and_gradient() -> None:
    weights = torch.tensor([[[[0.0, 1.0, 0.0], [1e-35, 0.5, 0.5]]]], requires_grad=True)
    links = torch.tensor([[[True, True, False], [True, False, False]]])
    loss = guided(weights, links)
    assert loss.item() == pytest.approx(-1.5 * math.log(1e-30))
    loss.backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [[[[0.0, -0.5, 0.0], [0.0, 0.0, 0.0]]]]


@pytest.mark.parametrize("name", [name for name, config in VARIANTS.items() if unguided(config) is None])
def test_every_mechanism_with_weights_can_be_guided(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(VARIANTS[name], VOCAB, VOCAB).train()
    loss = batch_loss(model, batch_of(), CPU, guidance=guidance())
    loss.smoothed.backward()
    assert 0 < float(loss.terms[-1]) < math.inf
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", [name for name in VARIANTS if attends(name)])
def test_the_weights_of_one_layer_are_those_among_all(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch([5, 3, 7])
    tgt, _ = random_batch([6, 6, 6], seed=3)
    memory = model.read(src, mask)
    everything, _ = model.decoder(tgt, memory, need_weights=True)
    layers = everything.weights.size(1)
    for layer in (None, *range(layers)):
        one, _ = model.decoder(tgt, memory, need_weights=OneLayer(layer))
        chosen = max(layers - 2, 0) if layer is None else layer
        torch.testing.assert_close(one.weights, everything.weights[:, chosen : chosen + 1])
        torch.testing.assert_close(one.hidden, everything.hidden, atol=1e-5, rtol=1e-5)
        assert one.self_weights is None


# -- what is refused ------------------------------------------------------------------------------------------------


def values(model: dict[str, Any], **settings: Any) -> dict[str, Any]:
    train = [{"prefix": "a"}, {"prefix": "b", "alignments": "b.align"}]
    return {
        "model": model,
        "data": {"source_language": "de", "target_language": "en", "train": train, "val": {"prefix": "val"}},
        "training": {"max_steps": 1, "guided_attention": {"weight": 1.0, **settings}},
    }


LAYERS = {"family": "transformer", "decoder_layers": 3, "num_heads": 4}


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ({"family": "rnn_encdec"}, {}, "a rnn_encdec model has none: it reads the source as one fixed vector"),
        ({"family": "luong", "alignment": "gaussian"}, {}, "alignment=gaussian, which has weights .* larger than one"),
        ({"family": "rnnsearch", "normaliser": "rela"}, {}, "normaliser=rela, which has weights .* larger than one"),
        ({"family": "luong"}, {"layer": 2}, "a luong model has one layer of attention with one head"),
        ({"family": "luong"}, {"heads": [1, 2]}, "a luong model has one layer of attention with one head"),
        (LAYERS, {"layer": 4}, r"guided_attention\.layer=4: the decoder has 3 layers"),
        (LAYERS, {"heads": [5]}, r"heads=\[5\]: expected different numbers from 1 to 4"),
        (LAYERS, {"heads": [2, 2]}, r"heads=\[2, 2\]: expected different numbers"),
        (LAYERS, {"heads": []}, r"heads=\[\]: expected different numbers"),
        (LAYERS, {"layer": 0}, r"training\.guided_attention\.layer"),
    ],
)
def test_what_cannot_be_guided_is_refused(model: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_dict(values(model, **settings))
    config_from_dict(values(LAYERS, layer=3, heads=[4, 1]))


def test_without_alignments_it_is_refused() -> None:
    asked = values(LAYERS)
    del asked["data"]["train"][1]["alignments"]
    with pytest.raises(
        ConfigError, match=r"weight=1 needs word alignments: name a file .*data\.train\[N\]\.alignments$"
    ):
        config_from_dict(asked)
    asked = values(LAYERS)
    asked["data"]["path"] = "folder"
    with pytest.raises(ConfigError, match=r"needs word alignments: .*, and leave data\.path out"):
        config_from_dict(asked)


# -- runs -----------------------------------------------------------------------------------------------------------

IN_PARTS = {"tokens_per_device": 60, "label_smoothing": 0.0}
MODELS = {"rnn": RNN, "transformer": {**TRANSFORMER, "decoder_layers": 2}}


def guided_config(folder: Path, run: str, weight: float = 0.5, model: str = "rnn", **settings: Any) -> Config:
    """Return a configuration with links between every word of the source and its place in the reversed target."""
    tiny_config(folder)  # writes the text
    text = folder / "text"
    lines = [line.split() for line in (text / "train.aa").read_text("utf-8").splitlines()]
    random = Random(1)
    links = [[f"{i}-{len(line) - 1 - i}" for i in range(len(line)) if random.random() < 0.7] for line in lines]
    (text / "train.align").write_text("".join(" ".join(of_line) + "\n" for of_line in links), "utf-8")
    data = {
        "source_language": "aa",
        "target_language": "bb",
        "train": [{"prefix": str(text / "train"), "alignments": str(text / "train.align")}],
        "val": {"prefix": str(text / "val")},
        "cache": str(folder / "cache"),
    }
    config = tiny_config(folder, run, data=data, model=MODELS[model])
    config.data.cleaning.max_tokens = 60  # so that no sampled sentence exceeds tokens_per_device
    config.training.guided_attention.weight = weight
    for key, value in settings.items():
        setattr(config.training, key, value)
    config.check()
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guided")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """Train a run with several micro-batches per update."""
    train(guided_config(folder, "whole", **IN_PARTS))
    return folder / "whole"


def test_it_has_its_name_in_both_logs_and_is_minimised_with_its_weight(run: Path) -> None:
    told = {event["step"]: event for event in events(run, "train")}
    assert list(told) == [2, 4, 6]
    for event in told.values():
        assert event["guided_attention"] > 0
        assert event["loss"] == pytest.approx(event["nll"] + 0.5 * event["guided_attention"])
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    (tag,) = [tag for tag in board.Tags()["scalars"] if "guided_attention" in tag]
    shown = {event.step: event.value for event in board.Scalars(tag)}
    assert shown == pytest.approx({step: event["guided_attention"] for step, event in told.items()})


def test_its_weight_falls_to_zero(folder: Path) -> None:
    """The weight of update t, from 1, is w * (1 - (t - 1) / decay_steps) until it is 0; killed or not."""
    config = guided_config(folder, "falling", weight=0.8, label_smoothing=0.0, log_every=1, checkpoint_every=2)
    config.training.guided_attention.decay_steps = 4
    killed_in_update(config, 4)
    train(config)
    told = events(folder / "falling", "train")
    found = {event["step"]: (event["loss"] - event["nll"]) / event["guided_attention"] for event in told}
    assert found == pytest.approx({1: 0.8, 2: 0.6, 3: 0.4, 4: 0.2, 5: 0.0, 6: 0.0}, abs=1e-4)
    constant = guided_config(folder, "constant", weight=0.8, label_smoothing=0.0, log_every=1)
    train(constant)
    first, other = (events(folder / name, "train")[0] for name in ("falling", "constant"))
    assert first["gradient_norm"] == other["gradient_norm"]


@pytest.mark.parametrize("model", MODELS)
def test_micro_batches_change_no_sum(folder: Path, model: str) -> None:
    """Only the first updates are compared, because later weights differ by rounding."""
    told = []
    for name, settings in (("one", {"label_smoothing": 0.0}), ("parts", IN_PARTS)):
        config = guided_config(folder, f"in-{name}-{model}", model=model, max_steps=2, **settings)
        config.model.dropout = 0.0
        train(config)
        told.append(events(folder / f"in-{name}-{model}", "train")[0])
    for key in ("loss", "nll", "guided_attention", "gradient_norm"):
        assert told[0][key] == pytest.approx(told[1][key], rel=1e-4)


@pytest.mark.parametrize("sampling", [None, 0.3])
def test_a_killed_run_and_worker_processes_train_the_same(folder: Path, run: Path, sampling: float | None) -> None:
    settings = {**IN_PARTS, "subword_sampling": sampling, "checkpoint_every": 2}
    name = f"{sampling}"
    killed = guided_config(folder, f"killed-{name}", **settings)
    killed_in_update(killed, 4)
    train(killed)
    train(guided_config(folder, f"workers-{name}", workers=2, **settings))
    assert_same_run(folder / f"killed-{name}", folder / f"workers-{name}")
    if sampling is None:
        assert_same_run(folder / f"workers-{name}", run)


def test_a_weight_of_zero_trains_as_without_alignments(folder: Path) -> None:
    train(guided_config(folder, "zero", weight=0.0))
    train(tiny_config(folder, "none", model=RNN))
    assert_same_run(folder / "zero", folder / "none")


def test_attention_follows_the_links(folder: Path) -> None:
    """After some updates the loss, per target token, is much lower with guided attention."""
    losses = {}
    for weight in (1e-6, 1.0):
        train(guided_config(folder, f"learns-{weight}", weight=weight, max_steps=80, validate_every=80, log_every=80))
        losses[weight] = events(folder / f"learns-{weight}", "train")[-1]["guided_attention"]
    assert losses[1.0] < losses[1e-6] - 0.1
