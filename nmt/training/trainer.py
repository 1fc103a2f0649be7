"""The training loop: updates, validations and checkpoints, up to a limit or a signal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn

import torch
from torch import Tensor

from nmt.config.ranges import settled
from nmt.config.schema import TrainingConfig
from nmt.data.batching import Update
from nmt.device import is_cuda
from nmt.models.seq2seq import Seq2Seq
from nmt.training.checkpoint import Newest
from nmt.training.distributed import World
from nmt.training.ema import MovingAverage
from nmt.training.health import Diverged, Health, gone_for_good
from nmt.training.keeping import Keeper
from nmt.training.limits import (
    Clock,
    Interrupted,
    Signals,
    TrainingProgress,
    end_reason,
    how_further,
    is_to_try_validation,
    seconds_left,
)
from nmt.training.monitor import Monitor
from nmt.training.objective import Gradients
from nmt.training.optim import Schedule, build_optimizer
from nmt.training.validation import Validation, Validator
from nmt.training.window import Window

if TYPE_CHECKING:  # importing it takes long
    from torch.distributed.checkpoint.stateful import Stateful

UpdatesFrom = Callable[[int, int], Iterator[Update]]  # (epoch, position) to start at -> endless iterator of updates


class Trainer:
    """The training loop of one run, with its optimizer, checkpoints and logging.

    The result depends only on configuration, seed and data, no matter how often training is interrupted and resumed.
    """

    def __init__(
        self,
        config: TrainingConfig,
        run_dir: str | os.PathLike[str],
        model: Seq2Seq,
        updates: UpdatesFrom,
        validator: Validator,
        monitor: Monitor,
        device: torch.device,
        world: World | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` is called before each write to the run directory, and raises NmtError if nothing may be written."""
        self.config = config
        self.model = model
        self.updates = updates
        self.validator = validator
        self.monitor = monitor
        self.device = device
        self.world = world or World()
        self.optimizer = build_optimizer(config.optimizer, model)
        self.schedule = Schedule(config)
        self.progress = TrainingProgress()
        self.average = MovingAverage(model, config.ema_decay)
        self.health = Health(device, self.world)
        self.gradients = Gradients(model, config, device, self.world)
        self.window = Window(device, self.gradients.loss_names)
        parts: dict[str, Stateful] = {"optimizer": self.optimizer, "schedule": self.schedule, "window": self.window}
        parts |= {"average": self.average, "health": self.health}
        self.keeper = Keeper(config, run_dir, model, device, self.world, parts, check)
        self.waits = not is_cuda(device) or config.optimizer.name == "muon"  # whether an update waits for its check
        self.unsaved = True  # whether anything has changed since the last checkpoint
        self.signals = Signals()
        self.clock = Clock(0.0)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train until a limit is reached. After a signal, save a checkpoint and raise SystemExit with its status."""
        with self.signals.caught():
            if self.keeper.delete_average():
                self.monitor.say("the average of checkpoints is deleted: further training makes it out of date")
            self.progress.ended = False
            self.model.train()
            if self.progress.step == 0 and self.config.max_rollbacks:
                self.keeper.begin(self.progress)
            while True:
                try:
                    self._validate_if_due()  # a signal may have cut off this validation before the state was saved
                    self._save_if_due()
                    self._train()
                    return
                except Diverged as divergence:
                    self._go_back(str(divergence))

    def _train(self) -> None:
        """Train from the current position until a limit is reached."""
        with closing(self.window.waiting(self.updates(self.progress.epoch, self.progress.position))) as updates:
            for update in updates:
                self.progress.epoch, self.progress.position = update.epoch, update.position
                if reason := end_reason(self.config, self.progress):
                    self._end(reason)
                    return
                self.train_step(update)
                self._log_if_due()
                self._validate_if_due()
                self._save_if_due()
                self._agree()
                if is_to_try_validation(self.config, self.progress):
                    self._try_validation()
                if self.signals.heeded is not None:
                    self._leave()

    def train_step(self, update: Update) -> None:
        """Do one update, with gradients summed over its micro-batches and divided by its number of target tokens."""
        self.clock.start()
        losses = self.gradients.of(update, self.progress.step)
        norm = self._clip()
        _, nll, *terms = (losses / update.target_tokens).unbind()
        self.health.watch(self.progress.step + 1, update, nll, norm)
        self._apply()
        self.model.after_update({"nll": nll, **dict(zip(self.gradients.loss_names, terms, strict=True))})
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.average.update(self.progress.step)
        self.progress.position += 1
        self.progress.seconds = self.clock.seconds
        self.unsaved = True
        self.window.add(update, losses, norm)

    def _clip(self) -> Tensor:
        """Clip the gradients to a total norm of clip_norm, if set, and return their norm before clipping.

        Source: Pascanu et al. 2013.
        """
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.config.clip_norm, norm)
        return norm

    def _apply(self) -> None:
        """Set the learning rate and do the optimizer's step, unless this or an earlier update was bad.

        On a CUDA device, Adam does not wait for the check. There its `found_inf` makes it skip every step from the
        first bad update on, and `health.check` raises Diverged before anything is logged, validated or saved.
        """
        if self.waits:
            self.health.check()
        else:
            self.optimizer.found_inf = self.health.bad  # type: ignore[union-attr]
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.progress.step + 1)
        self.optimizer.step()

    def _agree(self) -> None:
        """Make all processes agree on the elapsed time and on a received signal, so that they decide alike."""
        self.progress.seconds, self.signals.heeded = self.world.agree(self.clock.seconds, self.signals.received)

    # -- between updates -----------------------------------------------------------------------------------------

    def _log_if_due(self) -> None:
        left = seconds_left(self.config, self.progress)
        if self._is_due(self.config.log_every):
            self.health.check()
            rate = self.schedule.rate(self.progress.step)
            self.monitor.train(self.progress, {**self.window.metrics(), "learning_rate": rate}, left)
            self.window.reset()
        elif self.monitor.due():
            self.monitor.show(self.progress, self.window.metrics(), left)

    def _validate_if_due(self) -> None:
        if self._is_due(settled(self.config.validate_every)) and self.progress.validated_step != self.progress.step:
            self._validate()

    def _validate(self) -> None:
        """Validate and record the result. If a signal interrupts it, save and exit; the resumed run validates again."""
        self.health.check()
        self.clock.start()
        validation: Validation | None = None
        with self._paused() as started:
            self.monitor.begins(f"validating step {self.progress.step:,}")
            with suppress(Interrupted), self.average.applied():
                validation = self.validator.validate(self.signals, self.progress.translates)
            self._agree()
            if validation is not None:
                best = self.progress.validated(validation.rank, self.config.keep_best)
                self.schedule.validated(best)
                self.unsaved = True
                self.monitor.validation(self.progress, validation, best, self.progress.seconds - started)
        if validation is None:
            self._leave()
        if validation.translated is not None:
            self.progress.translates, self.progress.validation_seconds = True, self.progress.seconds - started

    def _try_validation(self) -> None:
        """Estimate how long a validation takes, so that the run can end in time; the training state does not change."""
        with self._paused():
            self.progress.validation_seconds = max(self.world.gather(self.validator.estimate()))

    @contextmanager
    def _paused(self) -> Iterator[float]:
        """Count the time of the block as paused, not as training; yield the run's elapsed seconds at its start."""
        self.window.pause()
        self._agree()
        started = self.progress.seconds
        yield started
        self._agree()
        self.progress.paused_seconds += self.progress.seconds - started
        self.window.resume()

    def _save_if_due(self) -> None:
        due = self._is_due(self.config.checkpoint_every or settled(self.config.validate_every))
        if self.unsaved and (due or self.progress.is_among_best()):
            self.save()

    def _is_due(self, every: int) -> bool:
        return self.progress.step > 0 and self.progress.step % every == 0

    # -- checkpoints and the end ---------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the current state of the run."""
        self.health.check()
        with self._paused() as started:
            state = self.keeper.state_dict(self.progress)
            with self.average.applied():
                self.keeper.save(self.progress, state)
        self.unsaved = False
        self.progress.saving_seconds = self.progress.seconds - started

    def restore(self, newest: Newest) -> None:
        """Resume from a checkpoint, as if training had not been interrupted."""
        self.progress = self.keeper.restore(newest)
        self.clock = Clock(self.progress.seconds)
        self.unsaved = False

    def _go_back(self, diagnosis: str) -> None:
        """Recover from a bad update: reload the last checkpoint and multiply the learning rate by rollback_factor.

        Raises NmtError once this has been done max_rollbacks times.
        """
        done = self.progress.rollbacks
        if done >= self.config.max_rollbacks:
            raise gone_for_good(diagnosis, done, self.keeper.has_checkpoint)
        clock = self.clock
        self.restore(self.keeper.newest(self.monitor.say))
        self.optimizer.zero_grad(set_to_none=True)
        self.clock = clock  # the lost time counts for max_minutes, but as paused time rather than as training
        kept = self.progress.seconds
        self._agree()
        self.progress.paused_seconds += self.progress.seconds - kept
        self.progress.rollbacks = done + 1
        self.schedule.lower(self.config.rollback_factor)
        self.monitor.went_back(self.progress, diagnosis, self.schedule.lowered)
        if self.keeper.has_checkpoint:
            self.save()
        else:
            self.keeper.begin(self.progress)  # with the lower rate, which the next rollback lowers again

    def _end(self, reason: str) -> None:
        """End the run: validate and save the last update, average checkpoints if configured, and report the reason."""
        if self.progress.validated_step != self.progress.step:
            self._validate()
        if reason.startswith("training.max_minutes="):
            self.progress.ran_out = self.config.max_minutes or 0.0
        if self.config.average is not None:
            self.save()  # this checkpoint may be part of the average
            self._average(self.config.average)
        self.progress.ended = True
        self.save()
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        further = how_further(self.config, self.progress, self.keeper.run_dir, reason)
        self.monitor.end(self.progress, reason, parameters, further)

    def _average(self, of: Literal["best", "last"]) -> None:
        """Average the kept checkpoints, validate the average, and report the result."""
        validate = partial(self.validator.validate, self.signals, self.progress.translates)
        try:
            averaged = self.keeper.average(of, self.progress, validate, self.monitor.say)
        except Interrupted:
            self._agree()
            self.monitor.say("stopped before the average was validated; run the same command again to do that")
            raise SystemExit(self.signals.exit_status) from None
        if averaged is not None:
            self.monitor.averaged(self.progress, averaged)

    def _leave(self) -> NoReturn:
        """Save a checkpoint and exit with the status that belongs to the signal (130 for Ctrl-C, 143 for SIGTERM)."""
        if self.unsaved:
            self.save()
        self.monitor.say(f"stopped at step {self.progress.step:,}; run the same command again to continue from there")
        raise SystemExit(self.signals.exit_status)
