"""The training loop: updates, validations and checkpoints, up to a limit or a signal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NoReturn

import torch
from torch import Tensor

from nmt.config.schema import TrainingConfig
from nmt.data.batching import Update
from nmt.device import autocast, random_state, set_random_state
from nmt.errors import NmtError
from nmt.models.seq2seq import Seq2Seq
from nmt.training.checkpoint import delete_others, has_checkpoint, save_checkpoint, set_pointer
from nmt.training.limits import Clock, Interrupted, Progress, Signals, end_reason, seconds_left
from nmt.training.loss import batch_loss
from nmt.training.monitor import Monitor
from nmt.training.optim import Schedule, build_optimizer
from nmt.training.validation import Validate
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
        self.waits = device.type != "cuda"  # for each gradient, to see whether it is finite
        self.bad_step = torch.zeros((), device=device)  # the first update whose gradient was not finite
        self.unsaved = True  # whether there is something that the last checkpoint does not hold
        self.signals = Signals()
        self.clock = Clock(0.0)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to a limit. After a signal, save a checkpoint and raise SystemExit with the signal's status."""
        with self.signals.caught():
            self.model.train()
            self._validate_if_due()  # the one that a signal broke off before this resumption
            self._save_if_due()
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
        for batch in update.batches:
            with autocast(self.device, self.config.precision):
                loss = batch_loss(self.model, batch, self.device, self.config.label_smoothing)
            (loss.smoothed / update.target_tokens).backward()
            self.window.add_loss(loss)
        norm = self._clip()
        self._apply(norm)
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
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

    def _apply(self, norm: Tensor) -> None:
        """The optimizer's step, unless the gradient is NaN or infinite.

        A CUDA device is not waited for: there Adam leaves weights and moments alone from the first bad gradient on,
        because its `found_inf` is set, and `_check_finite` finds out before anything is logged, validated or saved.
        """
        step = self.progress.step + 1
        self.bad_step = torch.where(torch.isfinite(norm) | (self.bad_step > 0), self.bad_step, step)
        if self.waits:
            self._check_finite()
        else:
            self.optimizer.found_inf = (self.bad_step > 0).float()  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        self.optimizer.step()

    def _check_finite(self) -> None:
        if step := int(self.bad_step):
            kept = "the last checkpoint is kept" if has_checkpoint(self.run_dir) else "there was no checkpoint yet"
            raise NmtError(
                f"the gradient of update {step:,} is not finite (NaN or infinite): training stops before applying it, "
                f"{kept}; try a lower training.learning_rate or a longer training.schedule.warmup_steps"
            )

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
            self._check_finite()
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
        self._check_finite()
        self.clock.start()
        self.window.pause()
        started = self.clock.seconds
        try:
            with self.signals.interruptible():
                validation = self.validate()
        except Interrupted:
            self._leave()
        self.progress.seconds = self.clock.seconds
        score, seconds = validation.score(self.config.best_metric), self.progress.seconds - started
        best = self.progress.validated(score, seconds, self.config.keep_best)
        self.schedule.validated(best)
        self.unsaved = True
        self.monitor.validation(self.progress, validation, best)
        self.window.resume()

    def _save_if_due(self) -> None:
        due = self._is_due(self.config.checkpoint_every or self.config.validate_every)
        if self.unsaved and (due or self.progress.is_among_best()):
            self.save()

    def _is_due(self, every: int) -> bool:
        return self.progress.step > 0 and self.progress.step % every == 0

    # -- checkpoints and the end ---------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the run as it is, then delete those it makes superfluous."""
        self._check_finite()
        self.window.pause()
        self.progress.seconds = self.clock.seconds
        save_checkpoint(self.run_dir, self.progress.step, self.model, self.state_dict())
        self._point_to_best()
        self.unsaved = False
        self.window.resume()

    def state_dict(self) -> dict[str, Any]:
        """All that training goes on from, beside the weights."""
        return {
            "progress": self.progress.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "window": self.window.state_dict(),
            "random": random_state(self.device),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from a checkpoint's weights and `state_dict`, as if there had been no interruption."""
        self.model.load_state_dict(weights)
        self.progress = Progress.from_state_dict(state["progress"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.window.load_state_dict(state["window"])
        set_random_state(state["random"], self.device)
        self.clock = Clock(self.progress.seconds)
        self.unsaved = False
        self._point_to_best()  # the process may have ended between a checkpoint and this

    def _point_to_best(self) -> None:
        kept = [step for _, step in self.progress.best]
        if kept:
            set_pointer(self.run_dir, "best", kept[0])
        delete_others(self.run_dir, [*kept, self.progress.step])

    def _end(self, reason: str) -> None:
        """Validate and save the last update, and say why it was the last."""
        if self.progress.validated_step != self.progress.step:
            self._validate()
        self.save()  # at the least, that the next update is beyond max_epochs
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.monitor.end(self.progress, reason, parameters)

    def _leave(self) -> NoReturn:
        """Save and end as the signal asks."""
        if self.unsaved:
            self.save()
        self.monitor.say(f"stopped at step {self.progress.step:,}; the same command continues from there")
        raise SystemExit(self.signals.exit_status)
