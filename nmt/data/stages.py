"""The two long stages of preparation, in processes, each going on where an earlier process has left it.

folder/cleaned/0000012.npz   blocks that are cleaned and not yet stored (nmt.data.blocks)
folder/cleaned.json          there once all is cleaned
folder/stored.json           how many of them are in folder/train for good
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, compress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nmt.config.data import CleaningConfig, DataConfig
from nmt.data.blocks import Blocks, State, characters_of, keys_of, lines_of, spread, state_of
from nmt.data.cleaning import Cleaner, Examined, Rules
from nmt.data.extent import Extent
from nmt.data.prefetch import Task, in_processes
from nmt.data.sources.source import Pair, Source
from nmt.data.store import Packed, StoreWriter, pack
from nmt.data.tokenizer import Tokenizer
from nmt.files import atomic_write
from nmt.progress import Progress

_MOST_WORKERS = 16  # by default: more would wait for the process that reads and writes
_TASK = Task("preparation", "blocks", "data.workers", none=1, ahead=2)
_COMMIT = 16  # blocks after which the store is brought to the disk

Place = TypeVar("Place")
Item = TypeVar("Item")


class Crew(NamedTuple):
    """Who does the work, and how it is told."""

    workers: int
    say: Callable[[str], None]
    live: bool  # whether there is a terminal with a line to renew

    def build(self, build: Callable[[Place], Item], places: Iterator[Place]) -> Generator[Item, None, None]:
        """`build` of every place, in order."""
        if self.workers == 1:
            return (build(place) for place in places)
        return in_processes(build, places, self.workers, self.say, _TASK)

    def progress(self, what: str, done: int, total: float | None = None) -> Progress:
        """What tells how far a stage is."""
        return Progress(what, self.say, total, done, live=self.live)


def workers_for(data: DataConfig) -> int:
    """data.workers, or as many as there are cores that this process may use."""
    if data.workers is not None:
        return data.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


# -- cleaning -----------------------------------------------------------------------------------------------------


class _Read(NamedTuple):
    """Pairs as they were read."""

    pairs: list[Pair]
    corpus: int
    place: Any  # after them
    share: float | None  # of all text that has been read by then


class _Looked(NamedTuple):
    """Pairs as the rules have found them, field by field, which is quicker to send."""

    fields: list[tuple[Any, ...]]
    read: _Read  # without the pairs


def clean(config: CleaningConfig, sources: Sequence[Source], folder: Path, crew: Crew) -> Cleaner:
    """Clean training text into folder/cleaned; the cleaner with its counts.

    Workers look at each pair, this process at what all pairs tell, in the order of the sources.
    """
    cleaner, blocks, done = Cleaner(config), Blocks(folder / "cleaned"), folder / "cleaned.json"
    if done.is_file():
        cleaner.restore(json.loads(done.read_text("utf-8")))
        return cleaner
    numbers = blocks.numbers()
    state = state_of(blocks.path(numbers[-1])) if numbers else State(0, None, cleaner.report())
    cleaner.restore(state.report, chain.from_iterable(keys_of(blocks.path(number)) for number in numbers))
    if numbers:
        crew.say(f"going on after {cleaner.read:,} pairs that were read before")
    progress = crew.progress("pairs read", cleaner.read)
    rules = [Rules(config, source.languages) for source in sources]
    with closing(crew.build(partial(_look, rules), _raw_blocks(sources, state, crew))) as looked:
        progress.reach(cleaner.read)
        for number, (fields, read) in enumerate(looked, start=len(numbers)):
            kept = [pair for pair in map(Examined._make, zip(*fields, strict=True)) if cleaner.keeps(pair)]
            state = State(read.corpus, read.place, cleaner.report())
            blocks.write(number, [(pair.source, pair.target) for pair in kept], [pair.keys for pair in kept], state)
            progress.total = cleaner.read / read.share if read.share else None
            progress.reach(cleaner.read)
    progress.end()
    with atomic_write(done) as file:
        json.dump(cleaner.report(), file)
    counts = Cleaner(config)  # without the keys of duplicates, which nothing asks for any more
    counts.restore(cleaner.report())
    return counts


def _raw_blocks(sources: Sequence[Source], state: State, crew: Crew) -> Iterator[_Read]:
    """What is still to be read."""
    sizes = [source.size() for source in sources]
    known = [0 if size is None else size for size in sizes]
    for index in range(state.corpus, len(sources)):
        extent = Extent()
        place = state.place if index == state.corpus else None
        for pairs, after in sources[index].blocks(place, crew.say, extent):
            share = None
            if None not in sizes and extent.share is not None:
                share = (sum(known[:index]) + extent.share * known[index]) / max(1, sum(known))
            yield _Read(pairs, index, after, share)


def _look(rules: Sequence[Rules], read: _Read) -> _Looked:
    """Apply the rules of its corpus to a block."""
    examined = map(rules[read.corpus].examine, read.pairs)
    return _Looked(list(zip(*examined, strict=True)), read._replace(pairs=[]))


# -- what a tokenizer is trained on ---------------------------------------------------------------------------------


class CleanedText:
    """All cleaned text, while none of it is in the store."""

    def __init__(self, folder: Path) -> None:
        blocks = Blocks(folder / "cleaned")
        self._paths = [blocks.path(number) for number in blocks.numbers()]

    def lines(self, side: int, share: float) -> Iterator[str]:
        """Source (0) or target (1) lines, or a share of them, evenly spread."""
        return spread(chain.from_iterable(lines_of(path, side) for path in self._paths), share)

    def characters(self, crew: Crew, normalization: str) -> tuple[Counter[str], Counter[str]]:
        """How often a tokenizer with that normalization meets each character in source and in target."""
        totals: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        with closing(crew.build(partial(characters_of, normalization=normalization), iter(self._paths))) as found:
            for counts in found:
                for total, count in zip(totals, counts, strict=True):
                    total.update(count)
        return totals


# -- encoding -----------------------------------------------------------------------------------------------------


class _Encoded(NamedTuple):
    """A block as it goes into the store."""

    packed: Packed
    corpus: int
    too_long: list[Pair]  # pairs of more tokens than allowed, which are left out


def _encode(tokenizer: Tokenizer, tags: Sequence[str | None], max_tokens: int, path: Path) -> _Encoded:
    """Make ids of a block; the tags are those of the corpora."""
    lines, corpus = (lines_of(path, 0), lines_of(path, 1)), state_of(path).corpus
    head = tokenizer.tag_ids(tags[corpus])
    ids = [head + source for source in tokenizer.encode_source(lines[0])], tokenizer.encode_target(lines[1])
    fits = [max(map(len, pair)) <= max_tokens for pair in zip(*ids, strict=True)]
    too_long = [pair for pair, fit in zip(zip(*lines, strict=True), fits, strict=True) if not fit]
    sources, targets = ([*compress(side, fits)] for side in ids)
    source_lines, target_lines = ([*compress(side, fits)] for side in lines)
    sizes = tokenizer.source_size, tokenizer.target_size
    return _Encoded(pack(sources, targets, source_lines, target_lines, sizes), corpus, too_long)


def store(tokenizer: Tokenizer, cleaner: Cleaner, tags: Sequence[str | None], folder: Path, crew: Crew) -> None:
    """Move the blocks of cleaned text, with their ids, into folder/train; pairs of too many tokens are counted.

    tags are those of the corpora.
    """
    blocks, record, train = Blocks(folder / "cleaned"), folder / "stored.json", folder / "train"
    stored, committed = 0, []
    if record.is_file():
        found = json.loads(record.read_text("utf-8"))
        stored, committed = found["blocks"], found["pairs"]
        cleaner.restore(found["report"])
        blocks.delete(range(stored))
    train.mkdir(exist_ok=True)
    numbers = blocks.numbers()
    if committed and numbers:
        crew.say(f"going on after {sum(committed):,} pairs that were encoded before")
    progress = crew.progress("pairs encoded", done := sum(committed), cleaner.kept)
    encode = partial(_encode, tokenizer, tags, cleaner.config.max_tokens)
    with (
        StoreWriter(train, tokenizer.source_size, tokenizer.target_size, len(tags), committed) as writer,
        closing(crew.build(encode, (blocks.path(number) for number in numbers))) as encoded,
    ):
        progress.reach(done)
        for number, block in zip(numbers, encoded, strict=True):
            writer.extend(block.packed, block.corpus)
            for pair in block.too_long:
                cleaner.drop_too_many_tokens(*pair)
            if (number + 1) % _COMMIT == 0 or number == numbers[-1]:
                with atomic_write(record) as file:
                    done_so_far = {"blocks": number + 1, "pairs": writer.commit(), "report": cleaner.report()}
                    json.dump(done_so_far, file)
                blocks.delete(range(stored, number + 1))
                stored = number + 1
            done += block.packed.pairs + len(block.too_long)
            progress.reach(done)
    progress.end()


def tidy(folder: Path) -> None:
    """Remove what only the stages themselves need, once both are done."""
    shutil.rmtree(folder / "cleaned", ignore_errors=True)
    for name in ("cleaned.json", "stored.json"):
        (folder / name).unlink(missing_ok=True)
