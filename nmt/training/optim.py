"""The optimizers and the learning rate schedules."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from nmt.config.ranges import settled
from nmt.config.schema import OptimizerConfig, ScheduleConfig, TrainingConfig
from nmt.device import has_fused_adam
from nmt.models.seq2seq import Seq2Seq


class MuonAndAdamW:
    """Muon for the linear maps inside a model, and AdamW for all other weights, as one optimizer.

    Muon (Jordan et al. 2024) replaces the running mean of a matrix's gradient by the nearest matrix with orthogonal
    rows or columns, so that an update changes all directions by as much. Its step is scaled to the size of an Adam step
    (Liu et al. 2025, section 2.2), so both take the same learning rate.
    """

    def __init__(self, muon: torch.optim.Optimizer, others: torch.optim.Optimizer) -> None:
        self.muon = muon
        self.others = others

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of weights with their settings; the trainer sets the `lr` of each."""
        return [*self.muon.param_groups, *self.others.param_groups]

    def step(self) -> None:
        """Update all weights that have a gradient."""
        self.muon.step()
        self.others.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self.muon.zero_grad(set_to_none)
        self.others.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint stores."""
        return {"muon": self.muon.state_dict(), "others": self.others.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.muon.load_state_dict(state["muon"])
        self.others.load_state_dict(state["others"])


Optimizer = torch.optim.Optimizer | MuonAndAdamW


def states(optimizer: Optimizer, state: dict[str, Any]) -> list[tuple[list[dict[str, Any]], dict[int, Any]]]:
    """Return, for each optimizer in it, the groups of weights and what a checkpoint's `state` has for each weight.

    Weights are numbered through the groups, from 0.
    """
    if isinstance(optimizer, MuonAndAdamW):
        return states(optimizer.muon, state["muon"]) + states(optimizer.others, state["others"])
    return [(optimizer.param_groups, state["state"])]


def build_optimizer(config: OptimizerConfig, model: Seq2Seq) -> Optimizer:
    """Return the configured optimizer of the trained weights of a model.

    Weight decay applies to matrices only, not to biases and gains, nor to what a module names in `not_decayed`. The
    trainer sets the learning rate before each update.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    spared = {id(getattr(module, name)) for module in model.modules() for name in getattr(module, "not_decayed", ())}
    if config.name != "muon":
        return _adam(config, trained, spared)
    maps = _linear_maps(model)
    inside = [parameter for parameter in trained if id(parameter) in maps]
    others = [parameter for parameter in trained if id(parameter) not in maps]
    if not inside or not others:  # all of one kind are frozen
        return _adam(config, trained, spared) if others else _muon(config, inside)
    return MuonAndAdamW(_muon(config, inside), _adam(config, others, spared))


def _linear_maps(model: Seq2Seq) -> set[int]:
    """Return the ids of the matrices of linear layers and recurrent units, without embeddings and output projection."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    tables.add(id(model.projection.weight))
    weights = [
        parameter
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.RNNBase | nn.RNNCellBase)
        for parameter in module.parameters(recurse=False)
    ]
    return {id(parameter) for parameter in weights if parameter.ndim == 2} - tables


def _muon(config: OptimizerConfig, matrices: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Muon(
        matrices, momentum=config.momentum, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )


def _adam(config: OptimizerConfig, parameters: list[nn.Parameter], spared: set[int]) -> torch.optim.Optimizer:
    """Return Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) for these weights.

    Weights whose ids are in `spared` do not decay.
    """
    decayed = [parameter for parameter in parameters if parameter.ndim >= 2 and id(parameter) not in spared]
    ids = {id(parameter) for parameter in decayed}
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in parameters if id(parameter) not in ids], "weight_decay": 0.0},
    ]
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    fused = all(has_fused_adam(parameter.device) for parameter in parameters)
    beta1, beta2 = config.betas
    return kind([group for group in groups if group["params"]], betas=(beta1, beta2), eps=config.eps, fused=fused)


class Schedule:
    """A learning rate schedule: warm-up, then the configured shape (see `shape`), with reductions during training."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config.schedule
        self.peak = settled(config.learning_rate)
        self.horizon = config.schedule.horizon or config.max_steps
        self.factor = 1.0  # of the plateau schedule
        self.lowered = 1.0  # factor by which the rate was lowered after bad updates
        self.stalled = 0  # validations since the last improvement or reduction

    def rate(self, step: int) -> float:
        """Return the learning rate of update `step` (the first is 1)."""
        return self.peak * self.factor * self.lowered * shape(self.config, step, self.horizon)

    def lower(self, factor: float) -> None:
        """Multiply the rate of all further updates by `factor`, after a bad update."""
        self.lowered *= factor

    def validated(self, improved: bool) -> None:
        """Report a validation: the plateau schedule lowers the rate after plateau_patience ones without improvement."""
        if self.config.name != "plateau":
            return
        self.stalled = 0 if improved else self.stalled + 1
        if self.stalled >= self.config.plateau_patience:
            self.factor = max(self.factor * self.config.decay_factor, self.config.min_factor)
            self.stalled = 0

    def state_dict(self) -> dict[str, float]:
        """Return the state that a checkpoint stores."""
        return {"factor": self.factor, "stalled": self.stalled, "lowered": self.lowered}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the state from a checkpoint."""
        self.factor, self.stalled, self.lowered = state["factor"], int(state["stalled"]), state["lowered"]


def shape(config: ScheduleConfig, step: int, horizon: int | None) -> float:
    """Return the learning rate of update `step` (the first is 1) as a fraction of the peak.

    During warm-up, the rate rises linearly and reaches the peak at warmup_steps. Then inverse_sqrt falls as
    1/sqrt(step) (Vaswani et al. 2017, eq. 3, scaled to a peak of 1); linear and cosine (Loshchilov & Hutter 2017,
    eq. 5) fall to min_factor at the horizon; constant and plateau stay at the peak.
    """
    warmup = max(settled(config.warmup_steps), 1)
    if step < warmup:
        return step / warmup
    if config.name == "inverse_sqrt":
        return math.sqrt(warmup / step)
    if config.name in ("constant", "plateau"):
        return 1.0
    assert horizon is not None, "the configuration check requires a horizon"
    left = max(0.0, (horizon - step) / (horizon - warmup)) if horizon > warmup else 0.0
    if config.name == "cosine":
        left = (1 - math.cos(math.pi * left)) / 2
    return config.min_factor + (1 - config.min_factor) * left
