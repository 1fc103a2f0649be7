"""What a run keeps: its best and its last checkpoints, where to go back to, and at the end an average."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor

from nmt.config.schema import TrainingConfig
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import has_checkpoint, saved_steps, set_pointer
from nmt.training.average import average_checkpoints, delete_average, take_average
from nmt.training.checkpoint import delete_others, load_newest, save_checkpoint
from nmt.training.distributed import World
from nmt.training.limits import Rank, TrainingProgress
from nmt.training.validation import Validation


class Averaged(NamedTuple):
    """The mean of kept checkpoints, as it was tried."""

    steps: list[int]
    validation: Validation
    taken: bool  # as the run's averaged checkpoint


class Keeper:
    """The checkpoints of a run directory, of which training.keep_best and training.keep_last stay.

    Of several processes rank 0 reads and writes them, and the others need not see the directory.
    """

    def __init__(self, config: TrainingConfig, run_dir: str | os.PathLike[str], model: Seq2Seq, world: World) -> None:
        self.config = config
        self.run_dir = run_dir
        self.model = model
        self.world = world
        self._start: tuple[dict[str, Tensor], dict[str, Any]] | None = None

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.world.on_main(lambda: has_checkpoint(self.run_dir))

    def begin(self, state: dict[str, Any]) -> None:
        """Remember the weights and this state, to go back to them while there is no checkpoint."""
        weights = {name: weight.to("cpu", copy=True) for name, weight in self.model.state_dict().items()}
        self._start = weights, copy.deepcopy(state)

    def save(self, progress: TrainingProgress, state: dict[str, Any]) -> None:
        """Write a checkpoint of the model as it is, then delete those it makes superfluous."""

        def write() -> None:
            save_checkpoint(self.run_dir, progress.step, self.model, state)
            self._tidy(progress)

        self.world.on_main(write)
        self._start = None

    def newest(self, say: Callable[[str], None]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The weights and the state to go back to: the last checkpoint's, or those of the start."""
        if self._start is not None:
            return self._start[0], copy.deepcopy(self._start[1])
        newest = self.world.on_main(lambda: load_newest(self.run_dir, say))
        return newest.weights, newest.state

    def went_on(self, progress: TrainingProgress) -> None:
        """After training has gone on from a checkpoint: forget the best ones that are lost, and tidy up.

        The process may have ended between a checkpoint and the tidying up after it.
        """

        def tidy() -> list[tuple[Rank, int]]:
            saved = saved_steps(self.run_dir)  # not those that a checkpoint since lost had made superfluous
            progress.best = [entry for entry in progress.best if entry[1] in saved]
            self._tidy(progress)
            return progress.best

        progress.best = self.world.on_main(tidy)

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
