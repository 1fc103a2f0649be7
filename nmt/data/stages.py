"""The two long stages of preparation, cleaning and encoding, which use worker processes and can be resumed.

folder/cleaned/0000012.npz   blocks that are cleaned but not yet stored (nmt.data.blocks)
folder/cleaned.json          the cleaning report, written once all text is cleaned
folder/stored.json           the number of blocks that are safely in folder/train, and the report up to them
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
from nmt.data.blocks import Blocks, State, characters_of, keys_of, lines_of, links_of, spread, state_of
from nmt.data.cleaning import Cleaner, Examined, Rules
from nmt.data.extent import Extent
from nmt.data.links import LinkFile, LinkLines, link_pieces
from nmt.data.prefetch import Task, in_processes
from nmt.data.sources.source import Pair, Source
from nmt.data.store_writer import Packed, StoreWriter, pack
from nmt.data.tokenizer import Tokenizer
from nmt.files import atomic_write
from nmt.progress import Progress
from nmt.reading import read_object, reading

_MOST_WORKERS = 16  # the default's limit: more would only wait for the one process that reads and writes
_TASK = Task("preparation", "blocks", "data.workers", none=1, ahead=2)
_AGAIN = "remove the folder {}, then prepare again"
_COMMIT = 16  # blocks between two commits of the store to disk

Place = TypeVar("Place")
Item = TypeVar("Item")


class Crew(NamedTuple):
    """The worker processes of the stages, and how progress is reported."""

    workers: int  # 1: no processes, this one does the work
    say: Callable[[str], None]
    live: bool  # whether a progress line on a terminal is updated

    def build(self, build: Callable[[Place], Item], places: Iterator[Place]) -> Generator[Item, None, None]:
        """Yield `build(place)` for every place, in order."""
        if self.workers == 1:
            return (build(place) for place in places)
        return in_processes(build, places, self.workers, self.say, _TASK)

    def progress(self, what: str, done: int, total: float | None = None) -> Progress:
        """Return a progress report for a stage that counts `what`, beginning at `done` of `total`."""
        return Progress(what, self.say, total, done, live=self.live)


def workers_for(data: DataConfig) -> int:
    """Return data.workers or, by default, the number of cores that this process may use, at most _MOST_WORKERS."""
    if data.workers is not None:
        return data.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


# -- cleaning -----------------------------------------------------------------------------------------------------


class _Read(NamedTuple):
    """A block of pairs as they were read."""

    pairs: list[Pair]
    corpus: int  # the index of their source
    place: Any  # the place in the source after them, from which reading can be resumed
    share: float | None  # of all text, how much has been read after them; None if unknown
    links: LinkLines | None  # the links of the pairs, if their corpus has word alignments


class _ExaminedBlock(NamedTuple):
    """A block of pairs after the rules were applied."""

    fields: list[tuple[Any, ...]]  # one tuple per field of Examined, since tuples of plain values are quicker to send
    read: _Read  # without the pairs and links
    links: list[str] | None  # a line for each pair


def clean(
    config: CleaningConfig, sources: Sequence[Source], alignments: Sequence[str | None], folder: Path, crew: Crew
) -> Cleaner:
    """Clean the training text into folder/cleaned and return the cleaner with its counts.

    `alignments` has the path of the file of word alignments of each source that has one. A pair and its links are kept
    or dropped together.

    Worker processes apply the rules that need a single pair; this process removes duplicates, in the sources' order.
    """
    cleaner, blocks, done = Cleaner(config), Blocks(folder / "cleaned"), folder / "cleaned.json"
    if done.is_file():
        with reading(done, _AGAIN.format(folder)):
            cleaner.restore(read_object(done))
        return cleaner
    numbers = blocks.numbers()
    state = state_of(blocks.path(numbers[-1])) if numbers else State(0, None, cleaner.report())
    cleaner.restore(state.report, chain.from_iterable(keys_of(blocks.path(number)) for number in numbers))
    if numbers:
        crew.say(f"resuming after {cleaner.read:,} pairs that were read before")
    progress = crew.progress("pairs read", cleaner.read)
    rules = [Rules(config, source.languages) for source in sources]
    with closing(crew.build(partial(_examine, rules), _raw_blocks(sources, alignments, state, crew))) as examined:
        progress.reach(cleaner.read)
        for number, (fields, read, links) in enumerate(examined, start=len(numbers)):
            pairs = list(map(Examined._make, zip(*fields, strict=True)))
            keeps = list(map(cleaner.keeps, pairs))
            kept = list(compress(pairs, keeps))
            kept_links = None if links is None else list(compress(links, keeps))
            texts, keys = [(pair.source, pair.target) for pair in kept], [pair.keys for pair in kept]
            blocks.write(number, texts, keys, State(read.corpus, read.place, cleaner.report()), kept_links)
            progress.total = cleaner.read / read.share if read.share else None
            progress.reach(cleaner.read)
    progress.end()
    with atomic_write(done) as file:
        json.dump(cleaner.report(), file)
    counts = Cleaner(config)  # a new cleaner, to free the memory of the keys that duplicates are found by
    counts.restore(cleaner.report())
    return counts


def _raw_blocks(
    sources: Sequence[Source], alignments: Sequence[str | None], state: State, crew: Crew
) -> Iterator[_Read]:
    """Yield the blocks that have not been read yet, after `state`."""
    sizes = [source.size() for source in sources]
    known = [0 if size is None else size for size in sizes]
    for index in range(state.corpus, len(sources)):
        extent = Extent()
        place = state.place if index == state.corpus else None
        path = alignments[index]
        links = None if path is None else LinkFile(path, sources[index].name, place or 0)
        for pairs, after in sources[index].blocks(place, crew.say, extent):
            share = None
            if None not in sizes and extent.share is not None:
                share = (sum(known[:index]) + extent.share * known[index]) / max(1, sum(known))
            yield _Read(pairs, index, after, share, None if links is None else links.take(len(pairs)))
        if links is not None:
            links.end()


def _examine(rules: Sequence[Rules], read: _Read) -> _ExaminedBlock:
    """Apply the rules of the block's corpus to a block; `rules` has those of every corpus."""
    examined = map(rules[read.corpus].examine, read.pairs)
    links = None if read.links is None else read.links.checked(read.pairs)
    return _ExaminedBlock(list(zip(*examined, strict=True)), read._replace(pairs=[], links=None), links)


# -- the text that a tokenizer is trained on --------------------------------------------------------------------------


class CleanedText:
    """All cleaned text, as long as none of it has been moved to the store."""

    def __init__(self, folder: Path) -> None:
        blocks = Blocks(folder / "cleaned")
        self._paths = [blocks.path(number) for number in blocks.numbers()]

    def lines(self, side: int, share: float) -> Iterator[str]:
        """Yield the source (0) or target (1) lines, or only a share of them spread evenly over the text."""
        return spread(chain.from_iterable(lines_of(path, side) for path in self._paths), share)

    def characters(self, crew: Crew, normalization: str) -> tuple[Counter[str], Counter[str]]:
        """Count how often each character occurs in source and target text after a tokenizer's normalization."""
        totals: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        with closing(crew.build(partial(characters_of, normalization=normalization), iter(self._paths))) as found:
            for counts in found:
                for total, count in zip(totals, counts, strict=True):
                    total.update(count)
        return totals


# -- encoding -----------------------------------------------------------------------------------------------------


class _Encoded(NamedTuple):
    """A block in the form in which it is appended to the store."""

    packed: Packed
    corpus: int  # the index of its corpus
    too_long: list[Pair]  # pairs with more than max_tokens tokens, which are left out of `packed`


def _encode(tokenizer: Tokenizer, tags: Sequence[str | None], max_tokens: int, linked: bool, path: Path) -> _Encoded:
    """Encode a block of cleaned text; `tags` has the tag of every corpus.

    With `linked`, some corpora have word alignments: pairs of others get no links.
    """
    lines, corpus = (lines_of(path, 0), lines_of(path, 1)), state_of(path).corpus
    head = tokenizer.tag_ids(tags[corpus])
    ids = [head + source for source in tokenizer.encode_source(lines[0])], tokenizer.encode_target(lines[1])
    fits = [max(map(len, pair)) <= max_tokens for pair in zip(*ids, strict=True)]
    too_long = [pair for pair, fit in zip(zip(*lines, strict=True), fits, strict=True) if not fit]
    sources, targets = ([*compress(side, fits)] for side in ids)
    source_lines, target_lines = ([*compress(side, fits)] for side in lines)
    sizes = tokenizer.source_size, tokenizer.target_size
    links = None
    if linked:
        of_pairs = compress(links_of(path) or [""] * len(fits), fits)
        texts = zip(of_pairs, source_lines, target_lines, strict=True)
        links = [link_pieces(tokenizer, *text, first=len(head)) for text in texts]
    return _Encoded(pack(sources, targets, source_lines, target_lines, sizes, links), corpus, too_long)


def store(
    tokenizer: Tokenizer, cleaner: Cleaner, tags: Sequence[str | None], linked: bool, folder: Path, crew: Crew
) -> None:
    """Encode the blocks of cleaned text and move them into folder/train; pairs with too many tokens are dropped.

    The cleaner counts the dropped pairs. `tags` has the tag of every corpus. With `linked`, the store has links, since
    some corpora have word alignments.
    """
    blocks, record, train = Blocks(folder / "cleaned"), folder / "stored.json", folder / "train"
    stored, committed = 0, []
    if record.is_file():
        with reading(record, _AGAIN.format(folder)):
            found = read_object(record)
            stored, committed = found["blocks"], found["pairs"]
            cleaner.restore(found["report"])
        blocks.delete(range(stored))
    train.mkdir(exist_ok=True)
    numbers = blocks.numbers()
    if committed and numbers:
        crew.say(f"resuming after {sum(committed):,} pairs that were encoded before")
    progress = crew.progress("pairs encoded", done := sum(committed), cleaner.kept)
    encode = partial(_encode, tokenizer, tags, cleaner.config.max_tokens, linked)
    with (
        StoreWriter(train, tokenizer.source_size, tokenizer.target_size, len(tags), committed, linked) as writer,
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
    """Remove the files that only the two stages need, after both are done."""
    shutil.rmtree(folder / "cleaned", ignore_errors=True)
    for name in ("cleaned.json", "stored.json"):
        (folder / name).unlink(missing_ok=True)
