"""Training metrics that are summed between two log lines."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nmt.data.batching import Update
from nmt.training.loss import perplexity


@dataclass
class _Counts:
    updates: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    padded_tokens: int = 0
    seconds: float = 0.0  # of training, without validations and checkpoints
    waited: float = 0.0  # seconds of training spent waiting for the next update's data
    cpu_seconds: float = 0.0  # CPU time of this process in training, over all of its threads


class Window:
    """Metrics summed over the updates since the last log line. Losses stay on the device until they are read."""

    def __init__(self, device: torch.device, terms: Sequence[str] = ()) -> None:
        """`terms` are the names of the additional losses (`Gradients.loss_names`)."""
        self._terms = terms
        self._sums = torch.zeros(3 + len(terms), device=device)  # smoothed loss, nll, gradient norm, terms
        self._counts = _Counts()
        self.resume()

    def add(self, update: Update, losses: Tensor, gradient_norm: Tensor) -> None:
        """Add an update; losses [2 + terms] are its sums over target tokens: smoothed, nll and the named terms."""
        self._sums[:2] += losses[:2]
        self._sums[2] += gradient_norm
        self._sums[3:] += losses[2:]
        counts = self._counts
        counts.updates += 1
        counts.source_tokens += update.source_tokens
        counts.target_tokens += update.target_tokens
        counts.padded_tokens += update.padded_tokens

    def waiting(self, updates: Iterator[Update]) -> Generator[Update, None, None]:
        """Yield the updates and measure how long training waits for each."""
        while True:
            started = time.monotonic()
            update = next(updates)
            self._counts.waited += time.monotonic() - started
            yield update

    def pause(self) -> None:
        """Stop the clock, for a validation or a checkpoint."""
        self._sums.sum().item()  # wait for the GPU: its outstanding work is training
        self._counts.seconds += time.monotonic() - self._running_since
        self._counts.cpu_seconds += time.process_time() - self._cpu_since

    def resume(self) -> None:
        """Start the clocks again."""
        self._running_since = time.monotonic()
        self._cpu_since = time.process_time()

    def metrics(self) -> dict[str, float]:
        """Return the averages since the last log line.

        Losses are in nats per target token, token rates exclude padding, and shares (padding, data_wait) are from 0
        to 1.
        """
        smoothed, nll, norm, *terms = self._sums.tolist()
        counts = self._counts
        tokens = max(counts.target_tokens, 1)
        seconds = max(counts.seconds + time.monotonic() - self._running_since, 1e-9)
        return {
            "loss": smoothed / tokens,
            "nll": nll / tokens,
            "perplexity": perplexity(nll / tokens),
            **{name: term / tokens for name, term in zip(self._terms, terms, strict=True)},
            "gradient_norm": norm / max(counts.updates, 1),
            "source_tokens_per_second": counts.source_tokens / seconds,
            "target_tokens_per_second": counts.target_tokens / seconds,
            "padding": 1 - (counts.source_tokens + counts.target_tokens) / max(counts.padded_tokens, 1),
            "data_wait": counts.waited / seconds,
            "cpu_seconds": counts.cpu_seconds + time.process_time() - self._cpu_since,
        }

    def reset(self) -> None:
        """Set all sums to zero and restart the clock."""
        self._sums.zero_()
        self._counts = _Counts()
        self.resume()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint stores, so that an interruption does not affect the log lines."""
        return {"sums": self._sums.cpu(), "counts": asdict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint, and restart the clock."""
        self._sums.copy_(state["sums"])
        self._counts = _Counts(**state["counts"])
        self.resume()
