"""A file translated into another: shard by shard, by one process or several, from where an earlier call stopped."""

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
from nmt.cli.translate.workers import Interruptible, Ranks, in_workers, translate_shards, with_own_device
from nmt.errors import NmtError, UsageError
from nmt.inference.shards import Shards, open_shards, read_source
from nmt.progress import Progress
from nmt.runs.run import run_fingerprint

_LOOK = 1.0  # seconds between two looks at what other ranks have finished
_SILENCE = 600.0  # seconds without a finished shard after which others are not waited for

# Options that say where the work is done and what it is called, not what comes out.
_OF_THE_PLACE = ("run_dir", "checkpoint", "input", "output", "resume", "workers", "device", *WRITTEN)
_OF_A_PROCESS = ("device",)  # in which the processes of torchrun may differ


def translate_file(arguments: Namespace, interruptible: Interruptible) -> None:
    """Translate the file --input into the file --output, which is complete or absent.

    Until it is complete, what is done lies in a folder beside it, for --resume. Raises NmtError and UsageError.
    """
    ranks = Ranks()
    if ranks.count > 1 and arguments.workers > 1:
        raise UsageError("--workers are processes of one command, and torchrun starts several: choose one of them")
    if ranks.count > 1 and arguments.attention_files:
        raise UsageError("--alignments and --attention are written by one process: leave out torchrun")
    with interruptible():
        ranks.meet()
    if ranks.rank > 0:
        _help(arguments, ranks, interruptible)
        return
    reader = reader_of(arguments)
    with ExitStack() as stack:
        try:
            with interruptible():
                model = [run_fingerprint(run_dir, arguments.checkpoint) for run_dir in arguments.run_dir]
                source = read_source(arguments.input, reader.line)
                if not source.lines:
                    raise NmtError(f"{arguments.input} is empty: there is nothing to translate")
                check_counts_beside(arguments, source.lines)
                options = _options(arguments, _OF_THE_PLACE)  # that answers depend on
                belongings = {"model": model, **options, **digests_beside(arguments)}
            processes = max(arguments.workers, ranks.count)
            output = Path(arguments.output)
            shards = stack.enter_context(open_shards(output, source, belongings, arguments.resume, processes))
            shards.drop_damaged(say)
        except (NmtError, OSError):
            ranks.share(None, {})  # the others end, too
            raise
        ranks.share(shards, _options(arguments, _OF_A_PROCESS))
        stack.callback(_tell_what_is_left, shards)
        _work(shards, arguments, ranks, interruptible)
        shards.join(output)
    if broken := reader.report():
        say(broken)


def _work(shards: Shards, arguments: Namespace, ranks: Ranks, interruptible: Interruptible) -> None:
    """Translate what is not translated yet, and wait until all is."""
    done = shards.finished_lines()
    if done:
        say(f"{done:,} of {shards.lines:,} lines were translated before")
    if done == shards.lines:  # and only to be joined
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
            say(f"{_SILENCE:.0f} seconds without news of other processes: what they were at is translated here")
            shards.release()
            translate_shards(shards, arguments, translator, counter, interruptible)
    progress.reach(shards.lines)
    progress.end()


def _all_finished(shards: Shards, progress: Progress, interruptible: Interruptible) -> bool:
    """Wait for what other ranks are at; False where they finish nothing for too long."""
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


def _help(arguments: Namespace, ranks: Ranks, interruptible: Interruptible) -> None:
    """What ranks other than the first do."""
    with interruptible():
        shards = ranks.share(None, _options(arguments, _OF_A_PROCESS))
        if shards is None:
            raise SystemExit(FAILED)  # the first rank says why
        translator = load_translator(with_own_device(arguments, ranks.local_rank))
    translate_shards(shards, arguments, translator, Counter(lambda lines: None), interruptible)


def _options(arguments: Namespace, left_out: Collection[str]) -> dict[str, Any]:
    """Return the options but those left out, as they are typed."""
    left_out = {*left_out, "attention_files"}
    return {as_typed(name): value for name, value in vars(arguments).items() if name not in left_out}


def _tell_what_is_left(shards: Shards) -> None:
    """After a failure or a signal."""
    if finished := shards.finished_lines():
        say(
            f"{finished:,} of {shards.lines:,} lines are translated and kept in {shards.folder}: "
            "the same command with --resume goes on"
        )
