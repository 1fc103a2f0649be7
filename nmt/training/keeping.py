"""What a run keeps: its best and its last checkpoints, where to go back to, and at the end an average."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from nmt.config.schema import TrainingConfig
from nmt.device import random_state, resume_random_state
from nmt.errors import NmtError
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import has_checkpoint, saved_steps, set_pointer
from nmt.training.average import average_checkpoints, delete_average, take_average
from nmt.training.checkpoint import Newest, delete_others, load_newest, save_checkpoint
from nmt.training.distributed import World
from nmt.training.limits import TrainingProgress
from nmt.training.validation import Validation

if TYPE_CHECKING:  # importing it takes long
    from torch.distributed.checkpoint.stateful import Stateful


class Averaged(NamedTuple):
    """The mean of kept checkpoints, as it was tried."""

    steps: list[int]
    validation: Validation
    taken: bool  # as the run's averaged checkpoint


class Keeper:
    """The checkpoints of a run directory, of which training.keep_best and training.keep_last stay.

    Of several processes rank 0 reads and writes them, and the others need not see the directory.
    """

    def __init__(
        self,
        config: TrainingConfig,
        run_dir: str | os.PathLike[str],
        model: Seq2Seq,
        device: torch.device,
        world: World,
        parts: Mapping[str, Stateful],
    ) -> None:
        """The parts take up their states in this order, after the model has its weights."""
        self.config = config
        self.run_dir = run_dir
        self.model = model
        self.device = device
        self.world = world
        self.parts = parts
        self._start: Newest | None = None

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.world.on_main(lambda: has_checkpoint(self.run_dir))

    def begin(self, progress: TrainingProgress) -> None:
        """Remember the training as it is, to go back to it while there is no checkpoint."""
        weights = {name: weight.to("cpu", copy=True) for name, weight in self.model.state_dict().items()}
        self._start = Newest(progress.step, weights, copy.deepcopy(self.state_dict(progress)))

    def state_dict(self, progress: TrainingProgress) -> dict[str, Any]:
        """All that training goes on from between two updates, beside the weights."""
        return {
            "progress": progress.state_dict(),
            **{name: part.state_dict() for name, part in self.parts.items()},
            "random": self.world.gather(random_state(self.device)),
        }

    def save(self, progress: TrainingProgress, state: dict[str, Any]) -> None:
        """Write a checkpoint of the model as it is, then delete those it makes superfluous."""

        def write() -> None:
            save_checkpoint(self.run_dir, progress.step, self.model, state)
            self._tidy(progress)

        self.world.on_main(write)
        self._start = None

    def newest(self, say: Callable[[str], None]) -> Newest:
        """What to go back to: the last checkpoint, or the start."""
        if self._start is not None:
            return self._start._replace(state=copy.deepcopy(self._start.state))
        return self.world.on_main(lambda: load_newest(self.run_dir, say))

    def restore(self, newest: Newest) -> TrainingProgress:
        """Go on from a checkpoint, and tidy up as after saving it: the process may have ended in between.

        A process beyond those that there were when it was written has new random numbers. Raises NmtError for a state
        in which something is missing.
        """
        if missing := {"progress", *self.parts, "random"} - newest.state.keys():
            raise NmtError(
                f"the checkpoints of {self.run_dir} have no {', '.join(sorted(missing))}: another version of nmt "
                "wrote them; train anew with run_dir=OTHER, or from their weights with fine_tune.run"
            )
        self.model.load_state_dict(newest.weights)
        for name, part in self.parts.items():
            part.load_state_dict(newest.state[name])
        resume_random_state(newest.state["random"], self.world.rank, self.device)
        progress = newest.progress
        saved = self.world.on_main(lambda: saved_steps(self.run_dir))
        # without those that a checkpoint since lost had made superfluous
        progress.best = [(rank, step) for rank, step in progress.best if step in saved]
        self.world.on_main(lambda: self._tidy(progress))
        return progress

    def delete_average(self) -> bool:
        """Delete the average of checkpoints, which further training makes out of date; whether there was one."""
        return self.world.on_main(lambda: delete_average(self.run_dir))

    def average(
        self,
        of: Literal["best", "last"],
        progress: TrainingProgress,
        validate: Callable[[], Validation],
        say: Callable[[str], None],
    ) -> Averaged | None:
        """Make the mean of kept checkpoints the run's averaged one, if it validates better than the best.

        None where the run has kept fewer than two, which is said.
        """
        steps = self.world.on_main(lambda: self._kept(of, progress))
        if len(steps) < 2:
            say(f"training.average={of}: the run has one checkpoint to average, so nothing to do")
            return None
        weights = self.world.on_main(lambda: average_checkpoints(self.run_dir, steps))
        own = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        self.model.load_state_dict(weights)
        try:
            validation = validate()
        finally:
            self.model.load_state_dict(own)  # what the training state keeps, and a raised limit goes on from
        taken = not progress.best or validation.rank > progress.best[0][0]
        if taken:
            self.world.on_main(lambda: take_average(self.run_dir, weights, steps))
        return Averaged(steps, validation, taken)

    def _tidy(self, progress: TrainingProgress) -> None:
        """Point to the best checkpoint, and delete those that are neither among the best nor among the last."""
        best, last = self._kept("best", progress), self._kept("last", progress)
        if best:
            set_pointer(self.run_dir, "best", best[0])
        delete_others(self.run_dir, {*best, *last})

    def _kept(self, of: Literal["best", "last"], progress: TrainingProgress) -> list[int]:
        """The steps of the best or last checkpoints to keep, the best or the newest first."""
        if of == "best":
            return [step for _, step in progress.best]
        return [step for step in saved_steps(self.run_dir)[::-1] if step <= progress.step][: self.config.keep_last]
