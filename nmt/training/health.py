"""Detect diverging training: gradients that are not finite, or a loss that explodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmt.data.batching import Update
from nmt.errors import NmtError
from nmt.training.distributed import World

_MEMORY = 0.9  # weight of the old value in the running mean of the loss


class Diverged(Exception):
    """Raised after a bad update; the message names the update and what was wrong with it."""


class DivergedForGood(NmtError):
    """Ends a training that has diverged and has no rollback left."""


def gone_for_good(diagnosis: str, rollbacks: int, has_checkpoint: bool) -> DivergedForGood:
    """Return the error that ends a diverged run when no rollback is left."""
    kept = "the last checkpoint is kept" if has_checkpoint else "there was no checkpoint yet"
    tried = f" again after {rollbacks} rollback(s) to a lower learning rate" if rollbacks else ""
    return DivergedForGood(
        f"training diverged{tried}: {diagnosis}; {kept}; in another run_dir, try a lower "
        "training.learning_rate, a longer training.schedule.warmup_steps or a lower training.clip_norm"
    )


class Health:
    """Checks the loss and the gradient norm of every update on the device, without waiting for the device.

    An update is bad if its gradient norm is not finite, or if it raises the running mean of the loss above
    2 * (the lowest running mean so far) + 1, in nats per target token. This loss is the negative log-likelihood, since
    additional terms of the objective may be below zero. Loss and norm are those of the whole update, so all processes
    come to the same result.
    """

    def __init__(self, device: torch.device, world: World) -> None:
        self._world = world
        self._level = torch.full((2,), torch.inf, device=device)  # running mean of the loss, and its minimum so far
        self._bad = torch.zeros(3, device=device)  # the first bad update: its step (0: none), loss, gradient norm
        # per step since the last check: epoch, position, sentences, longest source and target of the update
        self._seen: dict[int, tuple[int, ...]] = {}

    @property
    def bad(self) -> Tensor:
        """A scalar on the device: 1.0 once there has been a bad update, else 0.0."""
        return (self._bad[0] > 0).float()

    def watch(self, step: int, update: Update, loss: Tensor, gradient_norm: Tensor) -> None:
        """Check an update before it is applied, by its nll per target token (`loss`) and its gradient norm."""
        source = max((batch.src.size(1) for batch in update.batches), default=0)
        target = max((batch.tgt_out.size(1) for batch in update.batches), default=0)
        self._seen[step] = (update.epoch, update.position, update.sentences, source, target)
        mean, lowest = self._level.unbind()
        mean = torch.where(mean.isinf(), loss, torch.lerp(loss, mean, _MEMORY))
        well = gradient_norm.isfinite() & (mean <= 2 * lowest + 1)
        self._level = torch.stack((mean, torch.minimum(mean, lowest)))
        now = torch.stack((torch.full_like(loss, step), loss, gradient_norm))
        self._bad = torch.where(well | (self._bad[0] > 0), self._bad, now.to(self._bad.dtype))

    def check(self) -> None:
        """Raise Diverged if there has been a bad update; this waits for the device."""
        step, loss, norm = self._bad.tolist()
        if step:
            seen = self._world.gather(self._seen[int(step)])  # only the lengths differ: each process sees its share
            epoch, position, sentences, source, target = map(max, zip(*seen, strict=True))
            raise Diverged(
                f"update {int(step):,} (number {position + 1:,} of epoch {epoch + 1}: {sentences:,} sentences of up to "
                f"{source} source and {target} target tokens) has loss {loss:.3g}, gradient norm {norm:.3g}"
            )
        self._seen.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint stores."""
        return {"level": self._level.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint, which is only written when no update was bad."""
        self._level = state["level"].to(self._bad.device)
        self._bad = torch.zeros_like(self._bad)
        self._seen.clear()
