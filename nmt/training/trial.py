"""Try the largest batches before the first update, to find out at once, and not after hours, if memory is too small."""

from __future__ import annotations

import torch

from nmt.config.ranges import settled
from nmt.config.schema import TrainingConfig
from nmt.data.batch import Batch
from nmt.data.batching import Updates
from nmt.device import autocast, undisturbed_randomness
from nmt.errors import NmtError, is_out_of_memory
from nmt.models.seq2seq import Seq2Seq
from nmt.training.guided import Guidance
from nmt.training.loss import batch_loss


class Trial:
    """Checks whether the largest batches fit into memory, by running them forward and backward as an update does.

    The model and the random state stay as they are.
    """

    def __init__(self, updates: Updates, model: Seq2Seq, config: TrainingConfig, device: torch.device) -> None:
        self.updates = updates
        self.model = model
        self.config = config
        self.tokens_per_update = settled(config.tokens_per_update)
        self.device = device

    def check(self, tokens_per_device: int | None) -> None:
        """Raise NmtError if a batch of `tokens_per_device` tokens (None: of a whole update) may not fit into memory."""
        if (batch := self._too_large(tokens_per_device)) is not None:
            raise self._refusal(batch, tokens_per_device or self.tokens_per_update)

    def find(self, begin: int | None) -> int:
        """Return a number of tokens per device with which all batches fit into memory.

        The search starts with `begin`, or with a whole update if None, and halves the number until all batches fit.
        Raises NmtError if the longest sentences do not even fit one at a time.
        """
        least = max(self.updates.longest())
        tokens = max(begin or self.tokens_per_update, least)
        while (batch := self._too_large(tokens)) is not None:
            if tokens == least:
                raise self._refusal(batch, tokens)
            tokens = max(tokens // 2, least)
            torch.cuda.empty_cache()
        return tokens

    def _too_large(self, tokens_per_device: int | None) -> Batch | None:
        """Return the first of the largest batches that does not fit into memory, or None if all fit."""
        divided = tokens_per_device is not None and tokens_per_device < self.tokens_per_update
        largest = self.updates.largest(tokens_per_device)
        return next((batch for batch in largest if not self._fits(batch, divided)), None)

    def _fits(self, batch: Batch, divided: bool) -> bool:
        """Return whether a batch fits into memory in addition to what training keeps there.

        Training keeps two moments per weight and, with training.ema_decay, its moving average. If updates are divided
        into several batches, it also keeps the gradients of the earlier batches, and with several processes the buffers
        in which gradients are exchanged.
        """
        model, config, device = self.model, self.config, self.device
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        copies = 2 + (config.ema_decay is not None) + (divided and self.updates.world_size > 1)
        training = model.training
        model.train()
        try:
            with undisturbed_randomness(device):
                kept = [torch.empty_like(weight) for weight in weights for _ in range(copies)]
                for weight in weights if divided else ():
                    weight.grad = torch.zeros_like(weight)
                with autocast(device, config.precision):
                    guidance = Guidance.of(config)
                    loss = batch_loss(model, batch, device, config.label_smoothing, config.rdrop, guidance)
                (loss.smoothed / batch.tgt_out.numel()).backward()
                del kept
            return True
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            model.zero_grad(set_to_none=True)
            model.train(training)

    def _refusal(self, batch: Batch, tokens: int) -> NmtError:
        sentences = "one sentence" if len(batch.src) == 1 else f"{len(batch.src)} sentences"
        advice = "lower data.cleaning.max_tokens"
        if tokens > max(self.updates.longest()):
            advice = f"set training.tokens_per_device to less than {tokens}, or to auto, or {advice}"
        return NmtError(
            f"a batch of {sentences} with {batch.src.size(1)} source and {batch.tgt_out.size(1)} target tokens each, "
            f"which may occur in training, does not fit into memory ({self.device.type}): {advice}"
        )
