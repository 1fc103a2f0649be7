"""The training objective, and its gradients for an update that is split into micro-batches and processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from nmt.config.schema import TrainingConfig
from nmt.data.batch import Batch
from nmt.data.batching import Update
from nmt.device import autocast
from nmt.models.seq2seq import Seq2Seq
from nmt.training.distributed import World
from nmt.training.guided import Guidance
from nmt.training.loss import Loss, additional_losses, batch_loss


class Objective(nn.Module):
    """A module that computes the losses of a batch, including the vocabulary projection.

    `DistributedDataParallel` wraps this module. It expects every weight to have a gradient after each backward pass.
    """

    def __init__(self, model: Seq2Seq, config: TrainingConfig, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.device = device
        self.guidance = Guidance.of(config)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the additional losses."""
        return additional_losses(self.model, self.guidance)

    def forward(self, batch: Batch | None, done: int) -> Loss:
        """Return the summed losses of a batch; for None, a loss of zero, with zero gradients for all weights.

        `done` is the number of updates before this one. A process gets None if an update has fewer batches than there
        are processes.
        """
        if batch is None:
            trained = (weight for weight in self.model.parameters() if weight.requires_grad)
            nothing = torch.stack([weight.flatten()[:0].sum() for weight in trained]).sum()
            return Loss(nothing, nothing.detach(), (nothing.detach(),) * len(self.loss_names))
        with autocast(self.device, self.config.precision):
            config = self.config
            guidance = None if self.guidance is None else self.guidance.after(done)
            return batch_loss(self.model, batch, self.device, config.label_smoothing, config.rdrop, guidance)


class Gradients:
    """Computes the gradients of an update, summed over micro-batches and processes, per target token of the update."""

    def __init__(self, model: Seq2Seq, config: TrainingConfig, device: torch.device, world: World) -> None:
        objective = Objective(model, config, device)
        self.loss_names = objective.loss_names  # the names of the additional losses
        self._objective = world.parallel(objective)
        self._device = device
        self._world = world

    def of(self, update: Update, done: int) -> Tensor:
        """Accumulate the gradients in the weights' `grad`; return the update's summed losses: smoothed, nll, terms.

        `done` is the number of updates before this one.
        """
        sums = torch.zeros(2 + len(self.loss_names), device=self._device)
        batches: Sequence[Batch | None] = update.batches or [None]
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)  # the processes exchange gradients only in the last backward pass
            with nullcontext() if last else self._world.keeping_gradients(self._objective):
                loss: Loss = self._objective(batch, done)
                # multiplied by the number of processes, because gradients are averaged over processes, not summed
                (self._world.size * loss.smoothed / update.target_tokens).backward()
            sums += torch.stack((loss.smoothed.detach(), loss.nll, *loss.terms))
        return self._world.sum(sums)
