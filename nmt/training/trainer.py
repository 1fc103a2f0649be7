"""The training loop: updates, validations and checkpoints, up to a limit or a signal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from nmt.config.schema import TrainingConfig
from nmt.data.batching import Update
from nmt.device import autocast, random_state, set_random_state
from nmt.errors import NmtError
from nmt.models.seq2seq import Seq2Seq
from nmt.training.ema import MovingAverage
from nmt.training.health import Diverged, Health
from nmt.training.keeping import Keeper
from nmt.training.limits import Clock, Interrupted, Progress, Signals, end_reason, seconds_left
from nmt.training.loss import batch_loss
from nmt.training.monitor import Monitor
from nmt.training.optim import Schedule, build_optimizer
from nmt.training.validation import Validate, Validation
from nmt.training.window import Window

UpdatesFrom = Callable[[int, int], Iterator[Update]]  # epoch and position of the first -> updates without end


class Trainer:
    """Trains a model in a run directory: a function of configuration, seed and data, however often interrupted."""

    def __init__(
        self,
        config: TrainingConfig,
        run_dir: str | os.PathLike[str],
        model: Seq2Seq,
        updates: UpdatesFrom,
        validate: Validate,
        monitor: Monitor,
        device: torch.device,
    ) -> None:
        self.config = config
        self.run_dir = run_dir
        self.model = model
        self.updates = updates
        self.validate = validate
        self.monitor = monitor
        self.device = device
        self.optimizer = build_optimizer(config.optimizer, model)
        self.schedule = Schedule(config)
        self.progress = Progress()
        self.window = Window(device)
        self.average = MovingAverage(model, config.ema_decay)
        self.health = Health(device)
        self.waits = device.type != "cuda"  # for each update, to see whether it is a good one
        self.keeper = Keeper(config, run_dir, model)
        self.unsaved = True  # whether there is something that the last checkpoint does not hold
        self.signals = Signals()
        self.clock = Clock(0.0)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to a limit. After a signal, save a checkpoint and raise SystemExit with the signal's status."""
        with self.signals.caught():
            if self.keeper.delete_average():
                self.monitor.say("the average of checkpoints is deleted: further training makes it out of date")
            self.progress.ended = False
            self.model.train()
            self._validate_if_due()  # the one that a signal broke off before this resumption
            self._save_if_due()
            if self.progress.step == 0 and self.config.max_rollbacks:
                self.keeper.begin(self.state_dict())
            while True:
                try:
                    self._train()
                    return
                except Diverged as divergence:
                    self._go_back(divergence.diagnosis)

    def _train(self) -> None:
        """Train on from where the run is to the end."""
        with closing(self._updates()) as updates:
            for update in updates:
                self.progress.epoch, self.progress.position = update.epoch, update.position
                if reason := end_reason(self.config, self.progress):
                    self._end(reason)
                    return
                self.train_step(update)
                self._log_if_due()
                self._validate_if_due()
                self._save_if_due()
                if self.signals.received is not None:
                    self._leave()

    def train_step(self, update: Update) -> None:
        """One update: gradients summed over its micro-batches and divided by all of its target tokens."""
        self.clock.start()
        config, total = self.config, torch.zeros((), device=self.device)
        for batch in update.batches:
            with autocast(self.device, config.precision):
                loss = batch_loss(self.model, batch, self.device, config.label_smoothing, config.rdrop)
            (loss.smoothed / update.target_tokens).backward()
            self.window.add_loss(loss)
            total += loss.smoothed.detach()
        norm = self._clip()
        self.health.watch(self.progress.step + 1, update, total / update.target_tokens, norm)
        self._apply()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.average.update(self.progress.step)
        self.progress.position += 1
        self.progress.seconds = self.clock.seconds
        self.unsaved = True
        self.window.add_update(update, norm)

    def _clip(self) -> Tensor:
        """The norm of all gradients together, brought down to clip_norm where there is one (Pascanu et al. 2013)."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.config.clip_norm, norm)
        return norm

    def _apply(self) -> None:
        """The optimizer's step, unless an update was bad.

        A CUDA device is not waited for: there Adam leaves weights and moments alone from the first bad update on,
        because its `found_inf` is set, and `health.check` finds out before anything is logged, validated or saved.
        """
        if self.waits:
            self.health.check()
        else:
            self.optimizer.found_inf = self.health.bad  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.progress.step + 1)
        self.optimizer.step()

    def _updates(self) -> Generator[Update, None, None]:
        """The updates from where the run is, and how long each was waited for."""
        updates = self.updates(self.progress.epoch, self.progress.position)
        while True:
            started = time.monotonic()
            update = next(updates)
            self.window.add_wait(time.monotonic() - started)
            yield update

    # -- between updates -----------------------------------------------------------------------------------------

    def _log_if_due(self) -> None:
        left = seconds_left(self.config, self.progress)
        if self._is_due(self.config.log_every):
            self.health.check()
            rate = self.schedule.rate(self.progress.step)
            self.monitor.train(self.progress, {**self.window.metrics(), "learning_rate": rate}, left)
            self.window.reset()
        elif self.monitor.due():
            metrics = self.window.metrics()
            speed = metrics["source_tokens_per_second"] + metrics["target_tokens_per_second"]
            self.monitor.show(self.progress, metrics["loss"], speed, left)

    def _validate_if_due(self) -> None:
        if self._is_due(self.config.validate_every) and self.progress.validated_step != self.progress.step:
            self._validate()

    def _validate(self) -> None:
        """Validate and enter the outcome; a signal breaks it off and leaves it to be done after the resumption."""
        self.health.check()
        self.clock.start()
        self.window.pause()
        started = self.clock.seconds
        try:
            with self.average.applied():
                validation = self._validated()
        except Interrupted:
            self._leave()
        self.progress.seconds = self.clock.seconds
        score, seconds = validation.score(self.config.best_metric), self.progress.seconds - started
        best = self.progress.validated(score, seconds, self.config.keep_best)
        self.schedule.validated(best)
        self.unsaved = True
        self.monitor.validation(self.progress, validation, best)
        self.window.resume()

    def _validated(self) -> Validation:
        """What the model's weights as they are come to; a signal raises Interrupted."""
        with self.signals.interruptible():
            return self.validate()

    def _save_if_due(self) -> None:
        due = self._is_due(self.config.checkpoint_every or self.config.validate_every)
        if self.unsaved and (due or self.progress.is_among_best()):
            self.save()

    def _is_due(self, every: int) -> bool:
        return self.progress.step > 0 and self.progress.step % every == 0

    # -- checkpoints and the end ---------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the run as it is."""
        self.health.check()
        self.window.pause()
        self.progress.seconds = self.clock.seconds
        state = self.state_dict()
        with self.average.applied():
            self.keeper.save(self.progress, state)
        self.unsaved = False
        self.window.resume()

    def state_dict(self) -> dict[str, Any]:
        """All that training goes on from, beside the weights."""
        return {
            "progress": self.progress.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "window": self.window.state_dict(),
            "average": self.average.state_dict(),
            "health": self.health.state_dict(),
            "random": random_state(self.device),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from a checkpoint's weights and `state_dict`, as if there had been no interruption."""
        if missing := self.state_dict().keys() - state.keys():
            raise NmtError(
                f"the checkpoints of {self.run_dir} have no {', '.join(sorted(missing))}: another version of nmt wrote "
                "them; train anew with run_dir=OTHER, or from their weights with fine_tune.run"
            )
        self.model.load_state_dict(weights)
        self.progress = Progress.from_state_dict(state["progress"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.window.load_state_dict(state["window"])
        self.average.load_state_dict(state["average"])
        self.health.load_state_dict(state["health"])
        set_random_state(state["random"], self.device)
        self.clock = Clock(self.progress.seconds)
        self.unsaved = False
        self.keeper.went_on(self.progress)

    def _go_back(self, diagnosis: str) -> None:
        """After a bad update: on from the last checkpoint with a lower rate, max_rollbacks times at most."""
        done, most = self.progress.rollbacks, self.config.max_rollbacks
        if done >= most:
            kept = "the last checkpoint is kept" if self.keeper.has_checkpoint else "there was no checkpoint yet"
            tried = f" after {done} times going back to a lower rate" if done else ""
            raise NmtError(
                f"training diverged{tried}: {diagnosis}; {kept}; in another run_dir, try a lower "
                "training.learning_rate, a longer training.schedule.warmup_steps or a lower training.clip_norm"
            )
        clock = self.clock
        self.restore(*self.keeper.newest(self.monitor.say))
        self.optimizer.zero_grad(set_to_none=True)
        self.clock = clock  # what was lost counts too
        self.progress.rollbacks = done + 1
        self.schedule.lower(self.config.rollback_factor)
        self.monitor.went_back(self.progress, diagnosis, self.schedule.lowered)
        if self.keeper.has_checkpoint:
            self.save()

    def _end(self, reason: str) -> None:
        """Validate and save the last update, and say why it was the last."""
        if self.progress.validated_step != self.progress.step:
            self._validate()
        if self.config.average is not None:
            self.save()  # it may be one of those averaged
            self._average_checkpoints(self.config.average)
        self.progress.ended = True
        self.save()
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.monitor.end(self.progress, reason, parameters)

    def _average_checkpoints(self, of: Literal["best", "last"]) -> None:
        """Let the keeper try the mean of kept checkpoints, and tell what came of it."""
        try:
            averaged = self.keeper.average(of, self.progress, self._validated)
        except Interrupted:
            self.monitor.say("stopped before the average was validated; the same command goes on with that")
            raise SystemExit(self.signals.exit_status) from None
        if averaged is None:
            self.monitor.say(f"training.average={of}: the run has one checkpoint to average, so nothing to do")
        else:
            self.monitor.averaged(self.progress, averaged)

    def _leave(self) -> NoReturn:
        """Save and end as the signal asks."""
        if self.unsaved:
            self.save()
        self.monitor.say(f"stopped at step {self.progress.step:,}; the same command continues from there")
        raise SystemExit(self.signals.exit_status)
