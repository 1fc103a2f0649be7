"""What training minimises, and its gradients over an update, however that is split."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from nmt.config.schema import TrainingConfig
from nmt.data.batching import Batch, Update
from nmt.device import autocast
from nmt.models.seq2seq import Seq2Seq
from nmt.training.distributed import World
from nmt.training.loss import Loss, batch_loss


class Objective(nn.Module):
    """The losses of a batch, vocabulary projection and all: what `DistributedDataParallel` wraps.

    It counts on every weight having a gradient after each backward pass.
    """

    def __init__(self, model: Seq2Seq, config: TrainingConfig, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.device = device

    def forward(self, batch: Batch | None) -> Loss:
        """The sums over a batch; of none, a zero with gradients of zeros: a process may have no part in an update."""
        if batch is None:
            trained = (weight for weight in self.model.parameters() if weight.requires_grad)
            nothing = torch.stack([weight.flatten()[:0].sum() for weight in trained]).sum()
            return Loss(nothing, nothing.detach(), (nothing.detach(),) * len(self.model.loss_names))
        with autocast(self.device, self.config.precision):
            return batch_loss(self.model, batch, self.device, self.config.label_smoothing, self.config.rdrop)


class Gradients:
    """Gradients of an update: sums over its micro-batches and all processes, divided by all of its target tokens."""

    def __init__(self, model: Seq2Seq, config: TrainingConfig, device: torch.device, world: World) -> None:
        self._objective = world.parallel(Objective(model, config, device))
        self._terms = len(model.loss_names)
        self._device = device
        self._world = world

    def of(self, update: Update) -> Tensor:
        """Leave them in the weights' grad, and return the sums of the update's losses: smoothed, nll, named terms."""
        sums = torch.zeros(2 + self._terms, device=self._device)
        batches: Sequence[Batch | None] = update.batches or [None]
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)  # with which the processes exchange their gradients
            with nullcontext() if last else self._world.keeping_gradients(self._objective):
                loss: Loss = self._objective(batch)
                # times the number of processes, by which their mean falls short of their sum
                (self._world.size * loss.smoothed / update.target_tokens).backward()
            sums += torch.stack((loss.smoothed.detach(), loss.nll, *loss.terms))
        return self._world.sum(sums)
