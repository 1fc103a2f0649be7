"""The Adam optimizer and the learning rate schedules."""

from __future__ import annotations

import math

import torch
from torch import nn

from nmt.config.ranges import settled
from nmt.config.schema import OptimizerConfig, ScheduleConfig, TrainingConfig
from nmt.device import has_fused_adam


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) for the trained weights of a model.

    Weight decay applies to matrices only, not to biases and gains. The trainer sets the learning rate before each
    update.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
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
