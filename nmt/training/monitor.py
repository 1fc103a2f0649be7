"""What a run tells while it trains: metrics.jsonl, TensorBoard, and lines or a live line on stderr."""

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
from nmt.training.keeping import Averaged
from nmt.training.limits import TrainingProgress
from nmt.training.validation import SHOWN_DIGITS, Sample, Validation

_REFRESH = 0.5  # seconds between two states of the live line
_SPOKEN = 40.0  # seconds without a line, after which one says where training is; for streams that are no terminal
_FIRST_SPOKEN = 8.0  # and before the first of them
# of a `train` line of metrics.jsonl, what TensorBoard is not shown
_NOT_PLOTTED = {"event", "step", "epoch", "minutes", "nll", "padding", "data_wait",
                "source_tokens_per_second", "target_tokens_per_second"}  # fmt: skip


class Monitor:
    """Writes metrics.jsonl and tensorboard/ of a run directory, and tells the terminal."""

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        progress: TrainingProgress | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        """Go on after `progress`: what was written about later updates is taken back.

        `pulse` says every line, and is told what training is at.
        """
        self.run_dir = Path(run_dir)
        self.path = self.run_dir / "metrics.jsonl"
        self.live = on_terminal()
        self.pulse = pulse or Pulse(tell)
        # when the live line was last renewed; without one, when the last line was written
        self._shown = 0.0 if self.live else time.monotonic() + _FIRST_SPOKEN - _SPOKEN
        self._go_on_after(progress or TrainingProgress())

    def _go_on_after(self, progress: TrainingProgress) -> None:
        from torch.utils.tensorboard import SummaryWriter

        kept = _cut(self.path, progress)
        # TensorBoard drops all from a step on. A validation of the present step that is yet to come may be there from
        # before, among figures of training that do not come again.
        repeats = progress.validated_step < progress.step
        first = progress.step if repeats else progress.step + 1
        folder = self.run_dir / "tensorboard"
        _await_later_name(folder)
        self._board = SummaryWriter(str(folder), purge_step=first)
        for entry in kept if repeats else []:
            if (entry["event"], entry["step"]) == ("train", progress.step):
                self._plot(entry)

    def train(self, progress: TrainingProgress, metrics: dict[str, Any], left: float | None) -> None:
        """The updates since the last call."""
        self._plot(self._append("train", progress, metrics))
        if not self.live:
            rate = _tokens_per_second(metrics)
            self.say(
                f"step {progress.step:,}  epoch {progress.epoch + 1}  loss {metrics['loss']:.3f}  "
                f"perplexity {metrics['perplexity']:.2f}  rate {metrics['learning_rate']:.2e}  "
                f"gradient norm {metrics['gradient_norm']:.2f}  {rate:,.0f} tokens/s  {_left(left)}"
            )

    def validation(self, progress: TrainingProgress, validation: Validation, best: bool, seconds: float) -> None:
        """A validation: its figures, sample translations and attention maps."""
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
            self._board.add_scalar(f"validation/{name}", value, progress.step)
        for number, sample in enumerate(translated.samples if translated else [], start=1):
            self._board.add_text(f"translations/{number}", _sample_table(sample), progress.step)
        for number, attention in enumerate(validation.attention_maps, start=1):
            picture = heatmap_array(attention.weights, attention.source_tokens, attention.target_tokens)
            self._board.add_image(f"attention/{number}", picture, progress.step, dataformats="HWC")
        self._board.flush()
        self.say(
            f"step {progress.step:,}  validation: {summary(validation)}{'  (best)' if best else ''}  "
            f"after {progress.minutes:.1f} minutes"
        )
        if len(by_tag) > 1:
            self.say("  BLEU by tag: " + ", ".join(f"{tag or 'no tag'} {bleu:.2f}" for tag, bleu in by_tag.items()))

    def went_back(self, progress: TrainingProgress, diagnosis: str, lowered: float) -> None:
        """After a bad update training goes on from an earlier step: what was written of later ones is taken back."""
        self._board.close()
        self._go_on_after(progress)
        self._append("rollback", progress, {"diagnosis": diagnosis, "learning_rate_factor": lowered})
        self.say(
            f"training diverged: {diagnosis}; back to step {progress.step:,}, and on with {lowered:g} times the rate"
        )

    def averaged(self, progress: TrainingProgress, averaged: Averaged) -> None:
        """The mean of checkpoints was validated, and taken or not."""
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
        """The run is done; `further` says how it goes on nevertheless."""
        self._append("end", progress, {"reason": reason, "parameters": parameters})
        self.say(f"done at step {progress.step:,} after {progress.minutes:.1f} minutes: {reason} is reached; {further}")

    def due(self) -> bool:
        """Whether the live line is to be renewed, or, where there is none, a line to be written."""
        return time.monotonic() - self._shown >= (_REFRESH if self.live else _SPOKEN)

    def show(self, progress: TrainingProgress, metrics: dict[str, Any], left: float | None) -> None:
        """Renew the live line, or write one: step, loss, tokens/s, time left."""
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
        """A line of its own."""
        self.pulse.say(sentence)
        if not self.live:
            self._shown = time.monotonic()

    def begins(self, what: str) -> None:
        """Note what training is at, such as a validation, should it take long."""
        self.pulse.begins(what)

    def close(self) -> None:
        """Leave the terminal and the files in order."""
        if self.live:
            renew("")
        self._board.close()

    def _plot(self, entry: dict[str, Any]) -> None:
        """Draw the figures of a `train` line of metrics.jsonl."""
        shown = {**entry, "tokens_per_second": _tokens_per_second(entry)}
        for name in shown.keys() - _NOT_PLOTTED:
            value = shown[name]
            self._board.add_scalar(f"train/{name}", math.inf if value is None else value, entry["step"])

    def _append(self, event: str, progress: TrainingProgress, values: dict[str, Any]) -> dict[str, Any]:
        """Write a line, and return what it holds."""
        place = {"event": event, "step": progress.step, "epoch": progress.epoch, "minutes": progress.minutes}
        entry = {  # JSON has no infinity: null stands for a perplexity beyond a float
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in (place | values).items()
        }
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise NmtError(f"{self.path} could not be written: {error.strerror}") from error
        return entry


def _await_later_name(folder: Path) -> None:
    """Wait for the next second if a file of events was begun in this one.

    TensorBoard reads files in the order of their names, which begin with that second.
    """
    now = time.time()
    if any(folder.glob(f"events.out.tfevents.{int(now):010d}.*")):
        time.sleep(1 - now % 1)


def summary(validation: Validation) -> str:
    """The figures of a validation as part of a sentence."""
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
    """Return what follows figures that are those of a part of the validation set."""
    return f"  on {looked_at:,} of {sentences:,} sentences" if looked_at < sentences else ""


def _figures(validation: Validation) -> dict[str, float]:
    """What metrics.jsonl and TensorBoard are given; no scores where nothing was translated."""
    figures = {"loss": validation.loss, "perplexity": validation.perplexity}
    if validation.translated is not None:
        figures |= {"bleu": validation.translated.bleu.score, "chrf": validation.translated.chrf.score}
    return figures


def _tokens_per_second(metrics: dict[str, Any]) -> float:
    return float(metrics["source_tokens_per_second"] + metrics["target_tokens_per_second"])


def _cut(path: Path, progress: TrainingProgress) -> list[dict[str, Any]]:
    """Keep the lines up to `progress`, and return what they hold.

    Later ones, those of the end, and a line left half written come again.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    last = {"train": progress.step, "rollback": progress.step, "validation": progress.validated_step}
    kept: list[tuple[str, dict[str, Any]]] = []
    rollbacks = 0
    for line in lines:
        entry = _parsed(line)
        rollbacks += entry["event"] == "rollback"
        if entry["step"] <= last.get(entry["event"], -1) and rollbacks <= progress.rollbacks:
            kept.append((line, entry))
    if len(kept) < len(lines):
        with atomic_write(path) as file:
            file.writelines(line + "\n" for line, _ in kept)
    return [entry for _, entry in kept]


def tells_of_checkpoints(run_dir: Path) -> bool:
    """Whether metrics.jsonl tells of a run that has saved a checkpoint: one that has ended, or validated twice.

    The first validation is the best so far, so a checkpoint follows it.
    """
    path = run_dir / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    told = [_parsed(line)["event"] for line in lines]
    return "end" in told or told.count("validation") > 1


def _parsed(line: str) -> dict[str, Any]:
    """What a line of metrics.jsonl holds; an event of no kind for one left half written."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return {"event": "", "step": 0}


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{time_left(seconds)} left"


def _sample_table(sample: Sample) -> str:
    rows = {"source": sample.source, "reference": sample.reference, "translation": sample.hypothesis}
    escaped = {name: text.replace("\\", "\\\\").replace("|", "\\|") for name, text in rows.items()}
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {text} |" for name, text in escaped.items())


class Silent:
    """In the place of a `Monitor`, for the processes of a training that are not to write or say anything."""

    def __getattr__(self, method: str) -> Callable[..., None]:
        """Return a method that does nothing."""
        return lambda *arguments: None
