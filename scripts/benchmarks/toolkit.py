"""Run nmt-train itself, with a trainer that measures time."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np

from benchmarks.measure import Meter
from nmt.cli.train import main as nmt_train
from nmt.data.batching import Update
from nmt.data.tokenizer import PAD
from nmt.training import train as training
from nmt.training.trainer import Trainer


def train(config: str, meter: Meter) -> None:
    """Run `nmt-train config` until the meter's window has ended."""

    class MeasuredTrainer(Trainer):
        def run(self) -> None:
            updates = self.updates
            self.updates = lambda epoch, position: meter.waiting(updates(epoch, position))
            super().run()

        def train_step(self, update: Update) -> None:
            super().train_step(update)
            source = [batch.src_mask.sum(1).numpy() for batch in update.batches]
            target = [(batch.tgt_out != PAD).sum(1).numpy() for batch in update.batches]
            if meter.add(np.concatenate(source), np.concatenate(target), update.padded_tokens):
                raise SystemExit(0)

    nmt_train_with(MeasuredTrainer, config)


def nmt_train_with(trainer: type[Trainer], config: str) -> None:
    """Run `nmt-train config` with another trainer class."""
    with patch.object(training, "Trainer", trainer):
        status = nmt_train([config])
    if status:
        raise SystemExit(status)
