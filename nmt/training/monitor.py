"""Report the progress of a run: in metrics.jsonl, in TensorBoard, and as lines or a live line on stderr."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nmt.errors import NmtError
from nmt.evaluation.metrics import LABELS
from nmt.files import atomic_write
from nmt.messages import on_terminal, renew, tell
from nmt.pictures.heatmap import heatmap_array
from nmt.progress import Pulse, time_left
from nmt.runs.metrics import METRICS, Event, read_events
from nmt.training.board import Board
from nmt.training.keeping import Averaged
from nmt.training.limits import TrainingProgress
from nmt.training.validation import SHOWN_DIGITS, Sample, Validation

_REFRESH = 0.5  # seconds between two refreshes of the live line
_SPOKEN = 40.0  # seconds without output after which a progress line is written, if stderr is not a terminal
_FIRST_SPOKEN = 8.0  # seconds before the first such line
# keys of a `train` line of metrics.jsonl that are not plotted in TensorBoard
_NOT_PLOTTED = {"event", "step", "epoch", "minutes", "nll", "padding", "data_wait", "cpu_seconds",
                "source_tokens_per_second", "target_tokens_per_second"}  # fmt: skip


class Monitor:
    """Writes metrics.jsonl and tensorboard/ in the run directory, and reports on stderr."""

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        progress: TrainingProgress | None = None,
        pulse: Pulse | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Continue the records of a run after `progress`; records of later updates are removed.

        `pulse` prints all lines, and is kept informed about the current activity. `check` is called before each write,
        and raises NmtError if nothing may be written.
        """
        self.check = check
        self.run_dir = Path(run_dir)
        self.path = self.run_dir / "metrics.jsonl"
        self.live = on_terminal()
        self.pulse = pulse or Pulse(tell)
        # time of the last refresh of the live line, or, if stderr is not a terminal, of the last line
        self._shown = 0.0 if self.live else time.monotonic() + _FIRST_SPOKEN - _SPOKEN
        self._go_on_after(progress or TrainingProgress())

    def _go_on_after(self, progress: TrainingProgress) -> None:
        self.check()
        kept = _cut(self.path, progress)
        # TensorBoard drops all records from a given step on. If the current step is still to be validated, an older
        # record of that validation may be there and has to go; the training metrics of this step then have to be
        # written again.
        repeats = progress.validated_step < progress.step
        first = progress.step if repeats else progress.step + 1
        self._board = Board(self.run_dir / "tensorboard", first, self.check)
        for entry in kept if repeats else []:
            if (entry["event"], entry["step"]) == ("train", progress.step):
                self._plot(entry)

    def train(self, progress: TrainingProgress, metrics: dict[str, Any], left: float | None) -> None:
        """Report the training metrics of the updates since the last call."""
        self._plot(self._append("train", progress, metrics))
        self._board.flush()
        if not self.live:
            rate = _tokens_per_second(metrics)
            self.say(
                f"step {progress.step:,}  epoch {progress.epoch + 1}  loss {metrics['loss']:.3f}  "
                f"perplexity {metrics['perplexity']:.2f}  rate {metrics['learning_rate']:.2e}  "
                f"gradient norm {metrics['gradient_norm']:.2f}  {rate:,.0f} tokens/s  {_left(left)}"
            )

    def validation(self, progress: TrainingProgress, validation: Validation, best: bool, seconds: float) -> None:
        """Report a validation: its scores, sample translations and attention maps."""
        translated = validation.translated
        figures = _figures(validation)
        extra: dict[str, Any] = {"ranked_by": validation.ranked_by, "best": best, "seconds": seconds}
        extra |= {"sentences": validation.sentences, "loss_sentences": validation.loss_sentences}
        by_tag: dict[str, float] = {}
        if translated is not None:
            extra |= {"signature": translated.bleu.signature, "chrf_signature": translated.chrf.signature}
            extra |= {"translated_sentences": translated.sentences}
            by_tag = {tag: bleu.score for tag, bleu in translated.bleu_by_tag.items()}
        self._append("validation", progress, figures | extra | ({"bleu_by_tag": by_tag} if by_tag else {}))
        for name, value in (figures | {f"bleu/{tag or 'no tag'}": bleu for tag, bleu in by_tag.items()}).items():
            self._board.scalar(f"validation/{name}", value, progress.step)
        for number, sample in enumerate(translated.samples if translated else [], start=1):
            self._board.text(f"translations/{number}", _sample_table(sample), progress.step)
        for number, attention in enumerate(validation.attention.maps, start=1):
            picture = heatmap_array(attention.weights, attention.source_tokens, attention.target_tokens)
            self._board.image(f"attention/{number}", picture, progress.step)
        for measures in validation.attention.heads:
            self._board.scalar(f"entropy/{measures.head}", measures.entropy, progress.step)
            self._board.scalar(f"distance/{measures.head}", measures.distance, progress.step)
        for stack, depth in validation.attention.depths.items():
            self._board.scalar(f"depth/{stack}", depth, progress.step)
        self._board.flush()
        self.say(
            f"step {progress.step:,}  validation: {summary(validation)}{'  (best)' if best else ''}  "
            f"after {progress.minutes:.1f} minutes"
        )
        if len(by_tag) > 1:
            self.say("  BLEU by tag: " + ", ".join(f"{tag or 'no tag'} {bleu:.2f}" for tag, bleu in by_tag.items()))

    def went_back(self, progress: TrainingProgress, diagnosis: str, lowered: float) -> None:
        """Report a rollback to an earlier step after a bad update, and remove the records of later steps."""
        self._board.flush()
        self._go_on_after(progress)
        self._append("rollback", progress, {"diagnosis": diagnosis, "learning_rate_factor": lowered})
        self.say(
            f"training diverged: {diagnosis}; training goes back to step {progress.step:,} and continues with "
            f"{lowered:g} times the learning rate"
        )

    def averaged(self, progress: TrainingProgress, averaged: Averaged) -> None:
        """Report the validation of an average of checkpoints, and whether the average was taken."""
        steps, validation, taken = averaged
        self._append("average", progress, _figures(validation) | {"steps": steps, "taken": taken})
        listed = ", ".join(f"{step:,}" for step in steps)
        self.say(f"average of steps {listed}: {summary(validation)}  ({'taken' if taken else 'not taken'})")
        if progress.best:
            (score, negative_loss), step = progress.best[0]
            by = validation.ranked_by
            scored = by != "loss" and progress.translates
            shown = f"  {LABELS[by]} {score:.{SHOWN_DIGITS}f}" if scored else ""
            self.say(f"  the best checkpoint, of step {step:,}: loss {-negative_loss:.3f}{shown}")

    def end(self, progress: TrainingProgress, reason: str, parameters: int, further: str) -> None:
        """Report the end of the run; `further` says how to train beyond the limit that was reached."""
        self._append("end", progress, {"reason": reason, "parameters": parameters})
        self.say(f"done at step {progress.step:,} after {progress.minutes:.1f} minutes: {reason} is reached; {further}")

    def due(self) -> bool:
        """Return whether it is time to refresh the live line, or to write a line if there is no live line."""
        return time.monotonic() - self._shown >= (_REFRESH if self.live else _SPOKEN)

    def show(self, progress: TrainingProgress, metrics: dict[str, Any], left: float | None) -> None:
        """Refresh the live line, or write a line: step, epoch, loss, tokens/s, time left."""
        text = (
            f"step {progress.step:,}  epoch {progress.epoch + 1}  loss {metrics['loss']:.3f}  "
            f"{_tokens_per_second(metrics):,.0f} tokens/s  {_left(left)}"
        )
        if self.live:
            renew(text)
            self._shown = time.monotonic()
        else:
            self.say(text)

    def say(self, sentence: str) -> None:
        """Print a sentence as a line."""
        self.pulse.say(sentence)
        if not self.live:
            self._shown = time.monotonic()

    def begins(self, what: str) -> None:
        """Note the current activity, such as a validation, which is reported if it takes long."""
        self.pulse.begins(what)

    def close(self) -> None:
        """Clear the live line and write what is left for TensorBoard."""
        if self.live:
            renew("")
        self._board.flush()

    def _plot(self, entry: dict[str, Any]) -> None:
        """Plot the values of a `train` line of metrics.jsonl in TensorBoard."""
        shown = {**entry, "tokens_per_second": _tokens_per_second(entry)}
        for name in shown.keys() - _NOT_PLOTTED:
            value = shown[name]
            self._board.scalar(f"train/{name}", math.inf if value is None else value, entry["step"])

    def _append(self, event: str, progress: TrainingProgress, values: dict[str, Any]) -> dict[str, Any]:
        """Append a line to metrics.jsonl, and return its entry as it is written."""
        place = {"event": event, "step": progress.step, "epoch": progress.epoch, "minutes": progress.minutes}
        entry = {  # JSON has no infinity, so null is written for a perplexity that is too large for a float
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in (place | values).items()
        }
        self.check()
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise NmtError(f"{self.path} could not be written: {error.strerror}") from error
        return entry


def summary(validation: Validation) -> str:
    """Return the scores of a validation as text for a log line."""
    figures = f"loss {validation.loss:.3f}  perplexity {validation.perplexity:.2f}"
    translated = validation.translated
    if translated is None:
        figures += _part(validation.loss_sentences, validation.sentences)
        floor = f"{validation.unigram_loss:.3f}"
        return f"{figures}  not translated yet: the loss is above {floor}, that of word frequencies alone"
    scores = "  ".join(
        f"{LABELS[each.name]} {each.score:.{SHOWN_DIGITS}f}" for each in (translated.bleu, translated.chrf)
    )
    return f"{figures}  {scores}{_part(translated.sentences, validation.sentences)}"


def _part(looked_at: int, sentences: int) -> str:
    """Return the text that says on how many sentences scores were computed; empty if on the whole validation set."""
    return f"  on {looked_at:,} of {sentences:,} sentences" if looked_at < sentences else ""


def _figures(validation: Validation) -> dict[str, float]:
    """Return the values of a validation for metrics.jsonl and TensorBoard; without scores if nothing was translated."""
    figures = {"loss": validation.loss, "perplexity": validation.perplexity}
    if validation.translated is not None:
        figures |= {"bleu": validation.translated.bleu.score, "chrf": validation.translated.chrf.score}
    return figures


def _tokens_per_second(metrics: dict[str, Any]) -> float:
    return float(metrics["source_tokens_per_second"] + metrics["target_tokens_per_second"])


def _cut(path: Path, progress: TrainingProgress) -> list[dict[str, Any]]:
    """Remove the lines after `progress` from metrics.jsonl, and return the entries of the remaining lines.

    Lines about the end of the run and an incomplete line are removed, too; the resumed run writes them again.
    """
    events, incomplete = read_events(path)
    last = {"train": progress.step, "rollback": progress.step, "validation": progress.validated_step}
    kept: list[Event] = []
    rollbacks = 0
    for event in events:
        kind, step = event.entry["event"], event.entry["step"]
        rollbacks += kind == "rollback"
        if step <= last.get(kind, -1) and rollbacks <= progress.rollbacks:
            kept.append(event)
    if incomplete or len(kept) < len(events):
        with atomic_write(path) as file:
            file.writelines(event.line + "\n" for event in kept)
    return [event.entry for event in kept]


def tells_of_checkpoints(run_dir: Path) -> bool:
    """Return whether the run in metrics.jsonl has saved a checkpoint: whether it has ended or validated twice.

    The first validation is always the best so far and is followed by a checkpoint, so before a second one there has
    been a checkpoint.
    """
    events, _ = read_events(run_dir / METRICS)
    told = [event.entry["event"] for event in events]
    return "end" in told or told.count("validation") > 1


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{time_left(seconds)} left"


def _sample_table(sample: Sample) -> str:
    rows = {"source": sample.source, "reference": sample.reference, "translation": sample.hypothesis}
    escaped = {name: text.replace("\\", "\\\\").replace("|", "\\|") for name, text in rows.items()}
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {text} |" for name, text in escaped.items())


class Silent:
    """A stand-in for `Monitor` that does nothing, for all processes but the main one."""

    def __getattr__(self, method: str) -> Callable[..., None]:
        """Return a method that does nothing."""
        return lambda *arguments: None
