"""The updates of an epoch: batches of sentence pairs, each within a token budget.

The pairs of an update, and their segmentations if these are sampled, depend only on the seed, the epoch and the
position in the epoch. They do not depend on how an update is split into batches for devices and processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np

from nmt.data.batch import Batch, collate, from_arrays
from nmt.data.mixture import Mixture, Rows
from nmt.data.prefetch import in_processes, in_thread
from nmt.data.sampling import Drawn, SubwordSampling
from nmt.data.store import Store
from nmt.data.tokenizer import BOS
from nmt.errors import ConfigError
from nmt.messages import tell


class Update(NamedTuple):
    """The data of one optimizer step. The counts cover the whole update, over all processes."""

    epoch: int  # counted from 0
    position: int  # of the update within its epoch, counted from 0
    batches: list[Batch]  # of this process; may be empty if there are fewer sentences than processes
    source_tokens: int  # without padding, with EOS
    target_tokens: int  # without padding, with EOS
    padded_tokens: int  # of both sides, including padding
    sentences: int


@dataclass(eq=False)
class Updates:
    """The updates of every epoch, in an order that depends only on seed, epoch and position.

    tokens_per_update limits the size of an update: its number of sentences times the number of tokens (with EOS) of its
    longest source or target sentence. tokens_per_device limits each batch in the same way; with None, each process has
    one batch per update. Lengths are padded to a multiple of `multiple`, and the budgets count padded lengths.

    With `sampling`, the sentences of an update are segmented anew; tokens_per_update then applies to the stored ids and
    tokens_per_device to the sampled ones. Updates are built ahead by `workers` processes, or by a thread if that is 0;
    `pin` puts batches into pinned memory. A mixture gives weights to corpora. With `links`, batches have the links of
    the store. Raises ConfigError if a single sentence exceeds a budget.
    """

    store: Store
    tokens_per_update: int
    tokens_per_device: int | None = None
    seed: int = 1
    _: KW_ONLY
    rank: int = 0
    world_size: int = 1
    multiple: int = 1
    workers: int = 0
    pin: bool = False
    sampling: SubwordSampling | None = None
    mixture: Mixture | None = None  # None: every row once per epoch
    links: bool = False

    def __post_init__(self) -> None:
        if not len(self.store):
            raise ConfigError("there are no training pairs: cleaning dropped them all (see the report of nmt-prepare)")
        self._mixture = self.mixture or Mixture.whole(self.store)
        self._check_longest()

    def epoch(self, number: int) -> list[Rows]:
        """Return the rows of the store in each update of an epoch, in the order of the updates.

        An epoch has every row once, or as often as the mixture says. Rows are shuffled, sorted by length and cut into
        updates; then the updates are shuffled.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed % 2**64, number]))
        order = rng.permutation(self._mixture.rows(self.seed, number))
        turn, longer = self._sort_keys()
        order = order[np.lexsort((turn[order], longer[order]))]
        updates = np.split(order, cut(longer[order], self.tokens_per_update))
        return [updates[index] for index in rng.permutation(len(updates))]

    def iterate(self, epoch: int = 0, position: int = 0, say: Callable[[str], None] = tell) -> Iterator[Update]:
        """Yield updates endlessly, starting at a position in an epoch.

        Closing the iterator ends the thread or processes that build updates ahead.

        If a worker process dies, `say` is called with a message and the processes are restarted; raises NmtError if
        they keep dying.
        """
        places = self._places(epoch, position)
        if self.workers:
            with closing(in_processes(self.build, places, self.workers, say)) as updates:
                yield from map(self._pinned, updates)
        else:
            with closing(in_thread(self._pinned(self.build(place)) for place in places)) as updates:
                yield from updates

    def longest(self) -> tuple[int, int]:
        """Return the padded lengths of the longest source and the longest target, whether stored or sampled."""
        source, target = int(self.store.source_lengths.max()), int(self.store.target_lengths.max())
        if (sampling := self.sampling) is not None:
            source = source if sampling.source is None else max(source, sampling.max_tokens)
            target = target if sampling.target is None else max(target, sampling.max_tokens)
        return self._padded(source), self._padded(target)

    def largest(self, tokens_per_device: int | None) -> list[Batch]:
        """Return the largest batches that a budget allows: the longest one, that with most tokens and the costliest.

        The cost is that of attention, which is quadratic in length. A batch that is hardly larger than the longest one
        is left out.

        Batches are filled with copies of the longest source and the longest target, without padding. Any combination of
        pairs that fits the budget is considered possible. If tokens_per_device is None, sampled segmentations are
        assumed to stay within tokens_per_update.
        """
        longest = self.longest()
        # lengths of the longer side, in descending order so that on a tie argmax chooses the longest
        lengths = np.arange(max(longest), 0, -self.multiple)
        source, target = (np.minimum(lengths, length) for length in longest)
        sentences = -(-np.minimum(self.tokens_per_update // lengths, self._mixture.most()) // self.world_size)
        if tokens_per_device is not None:
            sentences = np.minimum(sentences, tokens_per_device // lengths)
        sentences = np.maximum(sentences, 1)
        chosen = [0]
        for size in (sentences * (source + target), sentences * (source + target) ** 2):
            if size.max() > 1.05 * size[chosen].max():  # a smaller difference is lost in the measurement of memory
                chosen.append(int(size.argmax()))
        return [self._filled(int(sentences[index]), int(source[index]), int(target[index])) for index in chosen]

    def build(self, place: tuple[int, int, Rows]) -> Update:
        """Build the update at `place`, which consists of an epoch, a position in it and the rows there."""
        epoch, position, rows = place
        sentences: Store | Drawn = self.store
        if self.sampling is not None:
            sentences = self.sampling.draw(self.store, rows, self.seed, epoch, position, links=self.links)
            rows = np.argsort(self._padded_lengths(sentences, np.arange(len(rows))), kind="stable")  # less padding
        parts = self._split(sentences, rows)
        count = len(parts) // self.world_size
        mine = parts[self.rank * count : (self.rank + 1) * count]
        return Update(
            epoch,
            position,
            batches=[self._collate(sentences, part) for part in mine if len(part)],
            source_tokens=int(sentences.source_lengths[rows].sum()),
            target_tokens=int(sentences.target_lengths[rows].sum()),
            padded_tokens=sum(self._padded_size(sentences, part) for part in parts if len(part)),
            sentences=len(rows),
        )

    def _places(self, epoch: int, position: int) -> Iterator[tuple[int, int, Rows]]:
        while True:
            for index, rows in enumerate(self.epoch(epoch)):
                if index >= position:
                    yield epoch, index, rows
            epoch, position = epoch + 1, 0

    def _split(self, sentences: Store | Drawn, rows: Rows) -> list[Rows]:
        """Split rows into the fewest equal parts that fit a device's budget, the same number for each process."""
        lengths = self._padded_lengths(sentences, rows)
        count = self.world_size
        while True:
            parts = np.array_split(rows, count)
            if self.tokens_per_device is None:
                return parts
            bounds = np.array_split(lengths, count)
            if all(len(part) * part.max(initial=0) <= self.tokens_per_device for part in bounds):
                return parts
            count += self.world_size

    def _collate(self, sentences: Store | Drawn, rows: Rows) -> Batch:
        sources, targets = [sentences.source(row) for row in rows], [sentences.target(row) for row in rows]
        links = [sentences.links(row) for row in rows] if self.links else None
        return collate(sources, targets, self.multiple, links)

    def _filled(self, sentences: int, source: int, target: int) -> Batch:
        """Return a batch of that size, filled by repeating the longest source and the longest target."""
        source_ids = self.store.source(int(self.store.source_lengths.argmax()))
        target_ids = self.store.target(int(self.store.target_lengths.argmax()))
        src = np.resize(source_ids, (sentences, source)).astype(np.int64)
        tgt_out = np.resize(target_ids, (sentences, target)).astype(np.int64)
        tgt_in = np.concatenate((np.full((sentences, 1), BOS), tgt_out[:, :-1]), axis=1)
        mask, lengths = np.ones_like(src, dtype=np.bool_), np.full(sentences, source)
        links = np.ones((*tgt_out.shape, source), dtype=np.bool_) if self.links else None
        return from_arrays(src, mask, tgt_in, tgt_out, lengths, links)

    def _pinned(self, update: Update) -> Update:
        return update._replace(batches=[batch.pin_memory() for batch in update.batches]) if self.pin else update

    def _padded_lengths(self, sentences: Store | Drawn, rows: Rows) -> Rows:
        longer = np.maximum(sentences.source_lengths[rows], sentences.target_lengths[rows])
        return _round_up(longer, self.multiple)

    def _padded_size(self, sentences: Store | Drawn, rows: Rows) -> int:
        sides = (sentences.source_lengths[rows], sentences.target_lengths[rows])
        return len(rows) * sum(int(_round_up(lengths, self.multiple).max()) for lengths in sides)

    def _sort_keys(self) -> tuple[Rows, Rows]:
        """Return the secondary and the primary key that pairs are sorted by.

        The primary key is the padded length of the longer side. The secondary key is the difference between both
        lengths; its sign alternates from one primary key to the next, so that the pairs on both sides of the boundary
        are similar too. Both keys have the smallest possible integer type, because NumPy sorts integers of up to 16
        bits several times faster.
        """
        source, target = (
            _round_up(lengths, self.multiple) for lengths in (self.store.source_lengths, self.store.target_lengths)
        )
        longer = np.maximum(source, target)
        dtype = np.min_scalar_type(-1 - int(longer.max()))
        longer, difference = longer.astype(dtype), (source - target).astype(dtype)
        return np.where(longer // self.multiple % 2, difference, -difference), longer

    def _check_longest(self) -> None:
        """Raise ConfigError for a budget that a single sentence may exceed, whether stored or sampled."""
        stored = self._padded(max(self.store.source_lengths.max(), self.store.target_lengths.max()))
        bounds = {"tokens_per_update": (stored, ""), "tokens_per_device": (stored, "")}
        if self.sampling is not None:
            bounds["tokens_per_device"] = (max(self.longest()), " that training.subword_sampling may draw")
        for key, (least, which) in bounds.items():
            budget = getattr(self, key)
            if budget is not None and least > budget:
                raise ConfigError(
                    f"training.{key}={budget} is less than the longest training sentence{which}, {least} tokens: "
                    f"set it to {least} or more, or lower data.cleaning.max_tokens"
                )

    def _padded(self, length: int) -> int:
        return int(_round_up(np.array(length), self.multiple))


def cut(lengths: Rows, budget: int) -> list[int]:
    """Return where to cut `lengths` into the longest possible parts with number * longest length <= budget.

    No single length may exceed the budget.
    """
    cuts: list[int] = []
    start = 0
    while True:
        window = lengths[start : start + budget // int(lengths[start]) + 1]
        sizes = np.maximum.accumulate(window) * np.arange(1, len(window) + 1, dtype=np.int64)
        start += int(np.searchsorted(sizes, budget, side="right"))
        if start >= len(lengths):
            return cuts
        cuts.append(start)


def _round_up(lengths: Rows, multiple: int) -> Rows:
    return lengths if multiple == 1 else -(-lengths // multiple) * multiple
