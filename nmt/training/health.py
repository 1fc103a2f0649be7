"""Whether training still goes well: gradients that are finite, a loss that does not explode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmt.data.batching import Update
from nmt.errors import NmtError
from nmt.training.distributed import World

_MEMORY = 0.9  # of the running mean of the loss


class Diverged(Exception):
    """An update went wrong; the message says which, and how."""


def gone_for_good(diagnosis: str, rollbacks: int, has_checkpoint: bool) -> NmtError:
    """What ends a run that has gone back to a lower rate often enough."""
    kept = "the last checkpoint is kept" if has_checkpoint else "there was no checkpoint yet"
    tried = f" after {rollbacks} times going back to a lower rate" if rollbacks else ""
    return NmtError(
        f"training diverged{tried}: {diagnosis}; {kept}; in another run_dir, try a lower "
        "training.learning_rate, a longer training.schedule.warmup_steps or a lower training.clip_norm"
    )


class Health:
    """Watches the loss and the gradient of every update, on the device, without waiting for it.

    An update is bad when its gradient is not finite, or when with it the running mean of the loss comes to more than
    twice the lowest it has been, and a nat (the loss is in nats a target token). Both are of the whole update, so that
    all processes come to the same.
    """

    def __init__(self, device: torch.device, world: World) -> None:
        self._world = world
        self._level = torch.full((2,), torch.inf, device=device)  # running mean of the loss, and the lowest it has been
        self._bad = torch.zeros(3, device=device)  # the first bad update: its step (0: none), loss, gradient norm
        # epoch, position, sentences, longest source and target of each update since the last check, by its step
        self._seen: dict[int, tuple[int, ...]] = {}

    @property
    def bad(self) -> Tensor:
        """1.0 once there was a bad update, else 0.0; on the device."""
        return (self._bad[0] > 0).float()

    def watch(self, step: int, update: Update, loss: Tensor, gradient_norm: Tensor) -> None:
        """Look at an update: its loss a target token and the norm of its gradient, before it is applied."""
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
        """Raise Diverged if an update was bad; waits for the device."""
        step, loss, norm = self._bad.tolist()
        if step:
            seen = self._world.gather(self._seen[int(step)])  # alike but for the lengths, each having a part of it
            epoch, position, sentences, source, target = map(max, zip(*seen, strict=True))
            raise Diverged(
                f"update {int(step):,} (number {position + 1:,} of epoch {epoch + 1}: {sentences:,} sentences of up to "
                f"{source} source and {target} target tokens) has loss {loss:.3g}, gradient norm {norm:.3g}"
            )
        self._seen.clear()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"level": self._level.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint, where all was well."""
        self._level = state["level"].to(self._bad.device)
        self._bad = torch.zeros_like(self._bad)
        self._seen.clear()
