"""Learning rate schedules and Adam, compared with their formulas."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.config.schema import OptimizerConfig, ScheduleConfig, TrainingConfig
from nmt.models.build import build_model
from nmt.training.optim import Schedule, build_optimizer, shape
from tests.models.variants import VARIANTS


def rates(steps: list[int], horizon: int | None = None, **keys: Any) -> list[float]:
    return [shape(ScheduleConfig(**keys), step, horizon) for step in steps]


@pytest.mark.parametrize("name", ["constant", "inverse_sqrt", "linear", "cosine", "plateau"])
def test_warm_up_rises_linearly_to_the_peak(name: str) -> None:
    assert rates([1, 5, 10], horizon=100, name=name, warmup_steps=10) == pytest.approx([0.1, 0.5, 1.0])


def test_inverse_sqrt_is_the_transformer_schedule() -> None:
    """The rate is dim^-0.5 min(step^-0.5, step warmup^-1.5) (Vaswani et al. 2017, eq. 3)."""
    dim, warmup = 512, 4000
    config = TrainingConfig(learning_rate=(dim * warmup) ** -0.5, schedule=ScheduleConfig(warmup_steps=warmup))
    for step in (1, 100, 3999, 4000, 4001, 100_000):
        assert Schedule(config).rate(step) == pytest.approx(dim**-0.5 * min(step**-0.5, step * warmup**-1.5))


@pytest.mark.parametrize(("name", "half"), [("linear", 0.5), ("cosine", 0.5)])
def test_linear_and_cosine_end_at_the_horizon(name: str, half: float) -> None:
    shape_of = {"name": name, "warmup_steps": 10, "min_factor": 0.2}
    assert rates([10, 60, 110, 500], horizon=110, **shape_of) == pytest.approx([1, 0.2 + 0.8 * half, 0.2, 0.2])


def test_cosine_is_a_cosine() -> None:
    got = rates([30], horizon=100, name="cosine", warmup_steps=0)
    assert got == pytest.approx([(1 + math.cos(math.pi * 29 / 99)) / 2])


def test_the_horizon_is_max_steps_unless_given() -> None:
    config = TrainingConfig(max_steps=50, schedule=ScheduleConfig(name="linear", warmup_steps=0))
    assert Schedule(config).rate(50) == 0
    config.schedule.horizon = 100
    assert Schedule(config).rate(50) > 0


def test_plateau_reduces_after_its_patience_and_not_below_its_least() -> None:
    plateau = ScheduleConfig(
        name="plateau", warmup_steps=0, decay_factor=0.5, plateau_patience=2, min_factor=0.2
    )  # fmt: skip
    schedule = Schedule(TrainingConfig(learning_rate=1.0, schedule=plateau))
    got = []
    for improved in (True, False, True, False, False, False, False, False, False):
        schedule.validated(improved)
        got.append(schedule.rate(1))
    assert got == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2]
    other = Schedule(TrainingConfig(learning_rate=1.0, schedule=plateau))
    other.load_state_dict(schedule.state_dict())
    assert other.rate(7) == schedule.rate(7)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_takes_the_steps_of_its_paper(name: Any) -> None:
    """Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2; weights decay, biases do not."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    decay = 0.1 if name == "adamw" else 0.0
    optimizer = build_optimizer(OptimizerConfig(name=name, betas=[0.8, 0.9], eps=1e-8, weight_decay=decay), model)
    expected = {key: value.detach().clone() for key, value in model.named_parameters()}
    mean = {key: torch.zeros_like(value) for key, value in expected.items()}
    square = {key: torch.zeros_like(value) for key, value in expected.items()}
    for step, rate in enumerate([0.1, 0.05, 0.2], start=1):
        optimizer.zero_grad()
        (model(torch.randn(4, 3, dtype=torch.float64)) ** 2).sum().backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None
            mean[key] = 0.8 * mean[key] + 0.2 * parameter.grad
            square[key] = 0.9 * square[key] + 0.1 * parameter.grad**2
            if key == "weight":
                expected[key] = expected[key] * (1 - rate * decay)
            expected[key] = expected[key] - rate * (mean[key] / (1 - 0.8**step)) / (
                (square[key] / (1 - 0.9**step)).sqrt() + 1e-8
            )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[key])


def orthogonal(gradient: Tensor) -> Tensor:
    """Five steps of the iteration of Jordan et al. 2024: X <- aX + (bA + cA^2)X with A = XX^T, from G / |G|."""
    if gradient.size(0) > gradient.size(1):
        return orthogonal(gradient.T).T
    matrix = gradient / gradient.norm()
    for _ in range(5):
        square = matrix @ matrix.T
        matrix = 3.4445 * matrix + (-4.775 * square + 2.0315 * square @ square) @ matrix
    return matrix


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("variant", ["transformer-pre", "luong-general"])
def test_muon_takes_the_steps_of_its_papers_inside_the_model(variant: str, tied: bool) -> None:
    """Jordan et al. 2024 with momentum as torch writes it; steps scaled as in Liu et al. 2025, section 2.2."""
    torch.manual_seed(0)
    model = build_model(replace(VARIANTS[variant], share_embeddings=tied, tie_projection=tied), 12, 12)
    optimizer = build_optimizer(OptimizerConfig(name="muon", momentum=0.8, weight_decay=0.1), model)
    by_adam = build_optimizer(OptimizerConfig(name="adamw", weight_decay=0.1), copy := deepcopy(model))
    expected = {key: value.detach().clone() for key, value in model.named_parameters()}
    mean = {key: torch.zeros_like(value) for key, value in expected.items()}
    for rate in (0.1, 0.05, 0.2):
        for (key, parameter), other in zip(model.named_parameters(), copy.parameters(), strict=True):
            parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad.clone()
            mean[key] = 0.8 * mean[key] + 0.2 * parameter.grad
            if parameter.ndim == 2:
                step = orthogonal(0.2 * parameter.grad + 0.8 * mean[key])
                expected[key] = expected[key] * (1 - rate * 0.1) - rate * 0.2 * max(step.shape) ** 0.5 * step
        for each in (optimizer, by_adam):
            for group in each.param_groups:
                group["lr"] = rate
            each.step()
    inside = 0
    for (key, parameter), other in zip(model.named_parameters(), copy.parameters(), strict=True):
        if parameter.ndim == 2 and "embedding" not in key and key != "projection.weight":
            torch.testing.assert_close(parameter.detach(), expected[key], rtol=0.02, atol=0.02)  # torch uses bfloat16
            assert not torch.allclose(parameter, other, atol=0.05), key
            inside += 1
        else:
            assert torch.equal(parameter, other), key
    assert inside > 5


def test_muon_has_nothing_to_do_where_all_matrices_are_frozen() -> None:
    model = build_model(VARIANTS["transformer-pre"], 12, 12)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("embedding" in name)
    assert isinstance(build_optimizer(OptimizerConfig(name="muon"), model), torch.optim.AdamW)


def test_muon_alone_has_the_weights_where_all_others_are_frozen() -> None:
    model = build_model(VARIANTS["transformer-pre"], 12, 12)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("query" in name and parameter.ndim == 2)
    assert isinstance(build_optimizer(OptimizerConfig(name="muon"), model), torch.optim.Muon)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_tables_of_rates_and_kernels_are_no_linear_maps(name: Any) -> None:
    """A of Mamba, biases and alphas do not decay; neither these nor kernels are orthogonalised."""
    keys = {
        "transformer-mamba": "log_a",
        "transformer-light-conv": "kernels",
        "transformer-t5": "biases",
        "transformer-entmax": "alpha_logits",
        "transformer-synthesizer-dense": "score_bias",
    }
    for variant, key in keys.items():
        model = build_model(VARIANTS[variant], 12, 12)
        optimizer = build_optimizer(OptimizerConfig(name=name, weight_decay=0.1), model)
        tables = {id(parameter) for each, parameter in model.named_parameters() if each.endswith(key)}
        assert tables
        others = getattr(optimizer, "others", optimizer)
        decay_of = {id(each): group["weight_decay"] for group in others.param_groups for each in group["params"]}
        assert {decay_of[each] for each in tables} == {0.1 if key == "kernels" else 0.0}


def test_muon_goes_on_from_its_state() -> None:
    models = [build_model(VARIANTS["transformer-pre"], 12, 12) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [build_optimizer(OptimizerConfig(name="muon"), model) for model in models]
    for step in range(4):
        if step == 2:
            optimizers[1] = build_optimizer(OptimizerConfig(name="muon"), models[1])
            optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
        for parameters in zip(*(model.parameters() for model in models), strict=True):
            parameters[0].grad = torch.randn_like(parameters[0])
            parameters[1].grad = parameters[0].grad.clone()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert one.grad is None
        assert torch.equal(one, other)
