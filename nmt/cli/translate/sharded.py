"""Translating a file into a file in shards, with one process or several; an interrupted call can be resumed."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nmt.cli.common import FAILED
from nmt.cli.translate.answers import load_translator
from nmt.cli.translate.beside import check_counts_beside, digests_beside
from nmt.cli.translate.counting import Counter, lines_done, say
from nmt.cli.translate.options import WRITTEN, as_typed, reader_of
from nmt.cli.translate.workers import Interruptible, Job, Ranks, in_workers, translate_shards, with_own_device
from nmt.errors import NmtError, UsageError
from nmt.inference.shards import Shards, open_shards, read_source
from nmt.progress import Progress
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.run import run_fingerprint

_LOOK = 1.0  # seconds between two checks of what other ranks have finished
_SILENCE = 600.0  # seconds to wait for another rank to finish a shard

# Options that do not change the translations by themselves, so an interrupted call may be resumed with other values.
# The weights of the checkpoint and the text of the input are compared by their digests instead.
_NO_EFFECT = ("run_dir", "checkpoint", "input", "output", "resume", "workers", "device", *WRITTEN)
_MAY_DIFFER = ("device",)  # options that the processes of torchrun need not share


def translate_file(arguments: Namespace, interruptible: Interruptible) -> None:
    """Translate the file --input into the file --output, which only appears when it is complete.

    Until then the finished shards are kept in a folder next to the output, for --resume. Raises NmtError and
    UsageError.
    """
    ranks = Ranks()
    if ranks.count > 1 and arguments.workers > 1:
        raise UsageError("--workers cannot be combined with torchrun, which already starts several processes")
    if ranks.count > 1 and arguments.attention_files:
        raise UsageError("--alignments and --attention are written by one process: run the command without torchrun")
    with interruptible():
        ranks.meet()
    if ranks.rank > 0:
        _translate_in_other_rank(arguments, ranks, interruptible)
        return
    reader = reader_of(arguments)
    with ExitStack() as stack:
        try:
            with interruptible():
                # every process has to read the same checkpoint, even if a training changes what "best" refers to
                checkpoints = [find_checkpoint(run_dir, arguments.checkpoint).name for run_dir in arguments.run_dir]
                model = [run_fingerprint(*each) for each in zip(arguments.run_dir, checkpoints, strict=True)]
                source = read_source(arguments.input, reader.line)
                if not source.lines:
                    raise NmtError(f"{arguments.input} is empty: there is nothing to translate")
                check_counts_beside(arguments, source.lines)
                options = _options(arguments, _NO_EFFECT)
                job = {"model": model, **options, **digests_beside(arguments)}
            processes = max(arguments.workers, ranks.count)
            output = Path(arguments.output)
            shards = stack.enter_context(open_shards(output, source, job, arguments.resume, processes))
            shards.drop_damaged(say)
        except (NmtError, OSError):
            ranks.share(None, {})  # makes the other ranks end, too
            raise
        ranks.share(Job(shards, checkpoints), _options(arguments, _MAY_DIFFER))
        stack.callback(_tell_what_is_left, shards, bool(arguments.attention_files))
        _work(shards, _with_checkpoints(arguments, checkpoints), ranks, interruptible)
        shards.join(output)
    if broken := reader.report():
        say(broken)


def _work(shards: Shards, arguments: Namespace, ranks: Ranks, interruptible: Interruptible) -> None:
    """Translate the unfinished shards and wait until those of all other ranks are finished, too."""
    done = shards.finished_lines()
    if done:
        say(f"{done:,} of {shards.lines:,} lines are already translated")
    if done == shards.lines:  # the shards only need to be joined
        return
    if arguments.workers > 1:
        progress = lines_done(shards.lines, done)
        in_workers(shards, arguments, progress.reach, interruptible)
    else:
        with interruptible():
            translator = load_translator(with_own_device(arguments, ranks.local_rank) if ranks.count > 1 else arguments)
        progress = lines_done(shards.lines, done)
        counter = Counter(lambda lines: progress.reach(max(progress.done, done + lines)))
        translate_shards(shards, arguments, translator, counter, interruptible)
        while not _all_finished(shards, progress, interruptible):
            say(f"other processes have finished nothing for {_SILENCE:.0f} seconds: translating their shards here")
            shards.release()
            translate_shards(shards, arguments, translator, counter, interruptible)
    progress.reach(shards.lines)
    progress.end()


def _all_finished(shards: Shards, progress: Progress, interruptible: Interruptible) -> bool:
    """Wait for the shards of other ranks; return True when all are finished, False after _SILENCE without progress."""
    known, since = len(shards.unfinished()), time.monotonic()
    while unfinished := len(shards.unfinished()):
        if unfinished < known:
            known, since = unfinished, time.monotonic()
        elif time.monotonic() - since > _SILENCE:
            return False
        progress.reach(shards.finished_lines())
        with interruptible():
            time.sleep(_LOOK)
    return True


def _translate_in_other_rank(arguments: Namespace, ranks: Ranks, interruptible: Interruptible) -> None:
    """Translate shards in a rank other than the first; the first rank makes the shards and joins them."""
    with interruptible():
        job = ranks.share(None, _options(arguments, _MAY_DIFFER))
        if job is None:
            raise SystemExit(FAILED)  # the first rank reports why
        arguments = _with_checkpoints(arguments, job.checkpoints)
        translator = load_translator(with_own_device(arguments, ranks.local_rank))
    translate_shards(job.shards, arguments, translator, Counter(lambda lines: None), interruptible)


def _with_checkpoints(arguments: Namespace, checkpoints: list[str]) -> Namespace:
    """Return the options with the names of the checkpoints' folders, one for each run, in place of --checkpoint."""
    return Namespace(**vars(arguments) | {"checkpoint": checkpoints})


def _options(arguments: Namespace, left_out: Collection[str]) -> dict[str, Any]:
    """Return the values of all options except those left out, keyed by the option as the user types it."""
    left_out = {*left_out, "attention_files"}
    return {as_typed(name): value for name, value in vars(arguments).items() if name not in left_out}


def _tell_what_is_left(shards: Shards, attention: bool) -> None:
    """After a failure or a signal, tell the user how many lines are kept and how to resume.

    Files of attention are written in one go, so that a command with them cannot be resumed.
    """
    if finished := shards.finished_lines():
        how = "run the same command with --resume to continue"
        if attention:
            how = (
                "to continue, run the command with --resume and without --alignments and --attention; to start again "
                "with them, delete this folder"
            )
        say(f"{finished:,} of {shards.lines:,} lines are translated and kept in {shards.folder}: {how}")
