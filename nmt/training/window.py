"""What is measured between two log lines."""

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
    seconds: float = 0.0  # of training: validations and checkpoints left out
    waited: float = 0.0  # seconds of these that the next update was not there yet


class Window:
    """Sums over the updates since the last log line. Losses stay on the device until they are read."""

    def __init__(self, device: torch.device, terms: Sequence[str] = ()) -> None:
        """`terms` are the names of the losses that mechanisms add."""
        self._terms = terms
        self._sums = torch.zeros(3 + len(terms), device=device)  # smoothed loss, nll, gradient norm, named terms
        self._counts = _Counts()
        self._running_since = time.monotonic()

    def add(self, update: Update, losses: Tensor, gradient_norm: Tensor) -> None:
        """Add an update: losses [2 + terms] are the sums over it, smoothed, nll and the named terms."""
        self._sums[:2] += losses[:2]
        self._sums[2] += gradient_norm
        self._sums[3:] += losses[2:]
        counts = self._counts
        counts.updates += 1
        counts.source_tokens += update.source_tokens
        counts.target_tokens += update.target_tokens
        counts.padded_tokens += update.padded_tokens

    def waiting(self, updates: Iterator[Update]) -> Generator[Update, None, None]:
        """The updates, and how long each was not there yet."""
        while True:
            started = time.monotonic()
            update = next(updates)
            self._counts.waited += time.monotonic() - started
            yield update

    def pause(self) -> None:
        """Stop the time, for a validation or a checkpoint."""
        self._sums.sum().item()  # what a GPU has still to do is training
        self._counts.seconds += time.monotonic() - self._running_since

    def resume(self) -> None:
        """Let the time go on."""
        self._running_since = time.monotonic()

    def metrics(self) -> dict[str, float]:
        """Averages so far: losses in nats per target token, tokens without padding, shares from 0 to 1."""
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
        }

    def reset(self) -> None:
        """Begin anew."""
        self._sums.zero_()
        self._counts = _Counts()
        self.resume()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that log lines don't tell of an interruption."""
        return {"sums": self._sums.cpu(), "counts": asdict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._sums.copy_(state["sums"])
        self._counts = _Counts(**state["counts"])
        self.resume()
