"""The additional loss `model.doubly_stochastic` (Xu et al. 2015, eq. 14), from its equation to a run's files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from nmt.attention.losses import doubly_stochastic
from nmt.data.batch import collate
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss
from nmt.training.train import train
from tests.models.variants import VARIANTS
from tests.training.tiny import RNN, assert_same_run, events, tiny_config

CPU = torch.device("cpu")
VOCAB = 13
NAMES = [name for name, config in VARIANTS.items() if getattr(config, "doubly_stochastic", 0)]
SOURCES = [[4, 5, 3], [6, 7, 8, 9, 3], [4, 3], [9, 9, 6, 3]]
TARGETS = [[5, 3], [7, 8, 9, 10, 11, 3], [8, 8, 8, 3], [3]]


def model_of(name: str) -> Seq2Seq:
    torch.manual_seed(0)
    return build_model(VARIANTS[name], VOCAB, VOCAB).double().eval()


def equation_14(weights: Tensor, sources: list[list[int]], targets: list[list[int]]) -> Tensor:
    """Return sum_i (1 - sum_t alpha_ti)^2 over each pair's non-padding positions; weights [batch, tgt_len, src_len]."""
    total = torch.zeros((), dtype=weights.dtype)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        for i in range(len(source)):
            given = sum(weights[row, t, i] for t in range(len(target)))
            total = total + (1 - given) ** 2
    return total


def test_equals_the_equation_whatever_is_in_padding() -> None:
    torch.manual_seed(1)
    weights = torch.rand(4, 6, 5, dtype=torch.float64, requires_grad=True)
    batch = collate(SOURCES, TARGETS)
    found = doubly_stochastic(weights, batch.src_mask, batch.tgt_out != 0)
    wanted = equation_14(weights, SOURCES, TARGETS)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(each, weights)[0] for each in (found, wanted)))


@pytest.mark.parametrize("rdrop", [None, 5.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_costs_its_weight_more_however_it_is_split(name: str, rdrop: float | None) -> None:
    """A pair costs the same alone, without padding, as in a batch; without dropout both passes of R-Drop are equal."""
    model = model_of(name)
    weights, weight = list(model.parameters()), VARIANTS[name].doubly_stochastic
    batch = collate(SOURCES, TARGETS)
    alphas = model.attention(batch.src, batch.src_mask, batch.tgt_in)[:, 0, 0]
    term = equation_14(alphas, SOURCES, TARGETS)
    model.decoder.doubly_stochastic = 0.0
    wanted = batch_loss(model, batch, CPU, 0.1, rdrop).smoothed + weight * term
    model.decoder.doubly_stochastic = weight
    wanted_grads = torch.autograd.grad(wanted, weights)
    for size in (4, 2, 1):
        parts = [collate(SOURCES[row : row + size], TARGETS[row : row + size]) for row in range(0, 4, size)]
        losses = [batch_loss(model, part, CPU, 0.1, rdrop) for part in parts]
        smoothed = torch.stack([loss.smoothed for loss in losses]).sum()
        torch.testing.assert_close(smoothed, wanted)
        torch.testing.assert_close(torch.stack([loss.terms[-1] for loss in losses]).sum(), term.detach())
        for one, other in zip(torch.autograd.grad(smoothed, weights), wanted_grads, strict=True):
            torch.testing.assert_close(one, other)


def test_under_r_drop_it_is_the_mean_of_the_passes() -> None:
    model = model_of(NAMES[0]).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    batch, twice = collate(SOURCES, TARGETS), collate(SOURCES * 2, TARGETS * 2)
    torch.manual_seed(1)
    found = batch_loss(model, batch, CPU, 0.1, 5.0)
    torch.manual_seed(1)
    alphas = model.attention(twice.src, twice.src_mask, twice.tgt_in)[:, 0, 0]
    passes = [equation_14(each, SOURCES, TARGETS) for each in alphas.chunk(2)]
    assert not torch.isclose(*passes)
    torch.testing.assert_close(found.terms[-1], (passes[0] + passes[1]).detach() / 2)


# -- runs -----------------------------------------------------------------------------------------------------------

ASKED = {**RNN, "doubly_stochastic": 0.5}
IN_PARTS = {"training__tokens_per_device": 60, "training__label_smoothing": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doubly-stochastic")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """Train a run with several micro-batches per update."""
    train(tiny_config(folder, "whole", model=ASKED, **IN_PARTS))
    return folder / "whole"


def test_it_has_its_name_in_both_logs(run: Path) -> None:
    told = {event["step"]: event["doubly_stochastic"] for event in events(run, "train")}
    assert list(told) == [2, 4, 6] and all(value > 0 for value in told.values())
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    (tag,) = [tag for tag in board.Tags()["scalars"] if "doubly_stochastic" in tag]
    shown = {event.step: event.value for event in board.Scalars(tag)}
    assert shown == pytest.approx(told)


def test_it_is_part_of_what_is_minimised_with_its_weight(run: Path) -> None:
    for told in events(run, "train"):
        assert told["loss"] == pytest.approx(told["nll"] + 0.5 * told["doubly_stochastic"])


def test_micro_batches_change_no_sum(folder: Path, run: Path) -> None:
    """Only the first updates are compared, because later weights differ by rounding."""
    certain = {**ASKED, "dropout": 0.0}
    train(tiny_config(folder, "in-one", model=certain, training__max_steps=2, training__label_smoothing=0.0))
    train(tiny_config(folder, "in-parts", model=certain, training__max_steps=2, **IN_PARTS))
    one, other = (events(folder / name, "train")[0] for name in ("in-one", "in-parts"))
    for key in ("loss", "nll", "doubly_stochastic", "gradient_norm"):
        assert one[key] == pytest.approx(other[key], rel=1e-4)


def test_training_with_it_continues_bit_for_bit(folder: Path, run: Path) -> None:
    for steps in (3, 6):
        train(tiny_config(folder, "raised", model=ASKED, training__max_steps=steps, **IN_PARTS))
    assert_same_run(folder / "raised", run)
