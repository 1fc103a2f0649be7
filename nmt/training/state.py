"""The state of training between two updates: what a checkpoint keeps beside the weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nmt.device import random_state, resume_random_state
from nmt.errors import NmtError
from nmt.training.distributed import World
from nmt.training.limits import TrainingProgress


class Part(Protocol):
    """Something that keeps a state of its own."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Go on from that."""
        ...


class TrainingState:
    """A model, the parts that its training is made of, and the random numbers of all processes."""

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        model: nn.Module,
        device: torch.device,
        world: World,
        parts: Mapping[str, Part],
    ) -> None:
        """The parts take up their states in this order, after the model has its weights."""
        self._run_dir = run_dir
        self._model = model
        self._device = device
        self._world = world
        self._parts = parts

    def state_dict(self, progress: TrainingProgress) -> dict[str, Any]:
        """All that training goes on from, beside the weights."""
        return {
            "progress": progress.state_dict(),
            **{name: part.state_dict() for name, part in self._parts.items()},
            "random": self._world.gather(random_state(self._device)),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> TrainingProgress:
        """Go on from a checkpoint's weights and `state_dict`, as if there had been no interruption.

        A process beyond those that there were when it was written has new random numbers. Raises NmtError for a state
        in which something is missing.
        """
        if missing := {"progress", *self._parts, "random"} - state.keys():
            raise NmtError(
                f"the checkpoints of {self._run_dir} have no {', '.join(sorted(missing))}: another version of nmt "
                "wrote them; train anew with run_dir=OTHER, or from their weights with fine_tune.run"
            )
        self._model.load_state_dict(weights)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        resume_random_state(state["random"], self._world.rank, self._device)
        return TrainingProgress.from_state_dict(state["progress"])
