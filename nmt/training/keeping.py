"""Keep the checkpoints of a run: the best and the last ones, a state to roll back to, and an average at the end."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import torch

from nmt.config.schema import TrainingConfig
from nmt.device import random_state, resume_random_state
from nmt.errors import NmtError, is_out_of_memory
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import has_checkpoint, pointed_step, remove_pointer, saved_steps, set_pointer
from nmt.training.average import average_checkpoints, delete_average, take_average
from nmt.training.checkpoint import Newest, delete_others, load_newest, save_checkpoint
from nmt.training.distributed import World
from nmt.training.limits import TrainingProgress
from nmt.training.validation import Validation

if TYPE_CHECKING:  # importing it takes long
    from torch.distributed.checkpoint.stateful import Stateful


T = TypeVar("T")


class Averaged(NamedTuple):
    """The result of averaging the kept checkpoints of a run."""

    steps: list[int]  # the steps of the checkpoints in the average
    validation: Validation  # the validation of the averaged weights
    taken: bool  # whether it became the run's averaged checkpoint


class Keeper:
    """Writes, reads and deletes the checkpoints of a run; the training.keep_best best and keep_last last ones are kept.

    With several processes, only rank 0 reads and writes, and the others need no access to the run directory.
    """

    def __init__(
        self,
        config: TrainingConfig,
        run_dir: str | os.PathLike[str],
        model: Seq2Seq,
        device: torch.device,
        world: World,
        parts: Mapping[str, Stateful],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`parts` are the objects, by name, whose state is stored in addition to the model's weights.

        They include the optimizer and the learning rate schedule. They are restored in the given order, after the
        weights.

        `check` is called before each access to the run directory, and raises NmtError if that has gone.
        """
        self.config = config
        self.run_dir = run_dir
        self.model = model
        self.device = device
        self.world = world
        self.parts = parts
        self._check = check
        self._start: Newest | None = None

    @property
    def has_checkpoint(self) -> bool:
        """True if the run directory has a checkpoint to resume from."""
        return self._in_directory(lambda: has_checkpoint(self.run_dir))

    def begin(self, progress: TrainingProgress) -> None:
        """Remember the state at the start of training, to roll back to it until there is a checkpoint."""
        weights = {name: weight.to("cpu", copy=True) for name, weight in self.model.state_dict().items()}
        self._start = Newest(progress.step, weights, copy.deepcopy(self.state_dict(progress)))

    def state_dict(self, progress: TrainingProgress) -> dict[str, Any]:
        """Return everything needed to resume training after this update, except the model's weights."""
        return {
            "progress": progress.state_dict(),
            **{name: part.state_dict() for name, part in self.parts.items()},
            "random": self.world.gather(random_state(self.device)),
        }

    def save(self, progress: TrainingProgress, state: dict[str, Any]) -> None:
        """Write a checkpoint of the current model, then delete the checkpoints that need not be kept any more."""

        def write() -> None:
            save_checkpoint(self.run_dir, progress.step, self.model, state)
            self._tidy(progress)

        self._in_directory(write)
        self._start = None

    def newest(self, say: Callable[[str], None]) -> Newest:
        """Return the state to roll back to: the last checkpoint, or the start of training if there is none yet."""
        if self._start is not None:
            return self._start._replace(state=copy.deepcopy(self._start.state))
        return self._in_directory(lambda: load_newest(self.run_dir, say))

    def restore(self, newest: Newest) -> TrainingProgress:
        """Restore the weights, all `parts` and the random state from a checkpoint, and return its progress.

        If there are more processes now than when the checkpoint was written, each additional one gets random numbers of
        its own. Checkpoints that need not be kept are deleted here too, in case an earlier process ended after it had
        saved a checkpoint and before it could delete them. Raises NmtError if something is missing from the state.
        """
        progress = newest.progress
        if missing := {*self.parts, "random"} - newest.state.keys():
            raise NmtError(
                f"the checkpoints of {self.run_dir} have no {', '.join(sorted(missing))}: another version of nmt "
                "wrote them; start a new run with run_dir=OTHER, or start from their weights with fine_tune.run"
            )
        try:
            self.model.load_state_dict(newest.weights)
            for name, part in self.parts.items():
                part.load_state_dict(newest.state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            if is_out_of_memory(error):
                raise
            raise NmtError(
                f"the checkpoints of {self.run_dir} do not fit its config.yaml ({str(error).strip().splitlines()[0]}): "
                "was it changed after training had begun? Restore it, or start a new run with run_dir=OTHER"
            ) from error
        resume_random_state(newest.state["random"], self.world.rank, self.device)
        saved = self._in_directory(lambda: saved_steps(self.run_dir))
        # some of these may have been deleted when a later checkpoint, which is now lost, was saved
        progress.best = [(rank, step) for rank, step in progress.best if step in saved]
        self._in_directory(lambda: self._tidy(progress))
        return progress

    def delete_average(self) -> bool:
        """Delete the averaged checkpoint, which further training outdates; return whether there was one."""
        return self._in_directory(lambda: delete_average(self.run_dir))

    def average(
        self,
        of: Literal["best", "last"],
        progress: TrainingProgress,
        validate: Callable[[], Validation],
        say: Callable[[str], None],
    ) -> Averaged | None:
        """Average the kept checkpoints and validate the average; keep it if it ranks above the best checkpoint.

        Returns None, and says so, if the run has kept fewer than two checkpoints.
        """
        steps = self._in_directory(lambda: self._kept(of, progress))
        if len(steps) < 2:
            say(f"training.average={of}: the run has only one checkpoint, so there is nothing to average")
            return None
        weights = self._in_directory(lambda: average_checkpoints(self.run_dir, steps))
        own = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        self.model.load_state_dict(weights)
        try:
            validation = validate()
        finally:
            self.model.load_state_dict(own)  # the weights to save, from which training continues if a limit is raised
        taken = not progress.best or validation.rank > progress.best[0][0]
        if taken:
            self._in_directory(lambda: take_average(self.run_dir, weights, steps))
        return Averaged(steps, validation, taken)

    def _in_directory(self, work: Callable[[], T]) -> T:
        """Call `work` on rank 0 if the run directory is still there, and return its result in all processes."""

        def checked() -> T:
            self._check()
            return work()

        return self.world.on_main(checked)

    def _tidy(self, progress: TrainingProgress) -> None:
        """Make `best` point to the best checkpoint, and delete those that are neither among the best nor the last."""
        best, last = self._kept("best", progress), self._kept("last", progress)
        if best:
            set_pointer(self.run_dir, "best", best[0])
        elif pointed_step(self.run_dir, "best") not in last:  # lost with a damaged checkpoint
            remove_pointer(self.run_dir, "best")
        delete_others(self.run_dir, {*best, *last})

    def _kept(self, of: Literal["best", "last"], progress: TrainingProgress) -> list[int]:
        """Return the steps of the best or last checkpoints to keep, the best or the newest first."""
        if of == "best":
            return [step for _, step in progress.best]
        return [step for step in saved_steps(self.run_dir)[::-1] if step <= progress.step][: self.config.keep_last]
