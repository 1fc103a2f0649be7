"""Segmentations sampled for each update: subword regularisation (Kudo 2018), BPE-dropout (Provilkov et al. 2020).

Each word of a sentence is sampled separately. This gives the same probabilities as sampling the whole sentence, since
no piece crosses a word boundary. SentencePiece can sample too, but in 0.2.3 the same seed gives different segmentations
in different processes, so a resumed run would not see the same data.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate
from math import exp, log
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nmt.config.schema import Config
from nmt.data.links import NO_LINKS, Numbers, PairLinks, piece_ranges
from nmt.data.reserved import SPACE
from nmt.data.store import Ids, Store
from nmt.data.tokenizer import EOS, Model, Span, Tokenizer

Sentence = Sequence[int] | Ids
Sides = Literal["both", "source", "target"]
Sampler = Callable[[str, Random], Sequence[str]]  # samples the pieces of a word whose characters are all known

_KEPT, _KEPT_LENGTH = 1 << 14, 24  # most words in the cache of `_filter`, and their greatest length: about 50 MB


class Unigram:
    """A sampler that draws a segmentation x of a word with a probability proportional to P(x)^alpha.

    It draws from all possible segmentations (Kudo 2018, section 3.3 with l = infinity). First it sums P(x)^alpha over
    all segmentations of each prefix of the word (forward filtering). Then it draws pieces from the end of the word to
    its start (backward sampling).
    """

    def __init__(self, scores: Mapping[str, float], alpha: float) -> None:
        """`scores` has the log-probability of each piece; every character of a word to sample has to be a piece."""
        self._scores = {piece: alpha * score for piece, score in scores.items()}
        self._longest = max(map(len, scores))
        self._kept = lru_cache(_KEPT)(self._filter)

    def __call__(self, word: str, random: Random) -> list[str]:
        """Draw the pieces of `word`."""
        filtered = (self._kept if len(word) <= _KEPT_LENGTH else self._filter)(word)
        pieces: list[str] = []
        end = len(word)
        while end:
            starts, shares = filtered[end - 1]
            start = starts[bisect(shares, random.random())]
            pieces.append(word[start:end])
            end = start
        pieces.reverse()
        return pieces

    def _filter(self, word: str) -> list[tuple[list[int], list[float]]]:
        """Return, for each end position in `word`, the possible starts of the piece that ends there.

        Element end - 1 of the list has these starts and their cumulative probabilities, from which `__call__` draws.
        """
        scores = self._scores
        sums = [0.0]  # by end: log of the sum of P(x)^alpha over all segmentations x of word[:end]
        filtered = []
        for end in range(1, len(word) + 1):
            starts = [start for start in range(max(0, end - self._longest), end) if word[start:end] in scores]
            terms = [sums[start] + scores[word[start:end]] for start in starts]
            greatest = max(terms)
            cumulative = list(accumulate(exp(term - greatest) for term in terms))
            sums.append(greatest + log(cumulative[-1]))
            filtered.append((starts, [share / cumulative[-1] for share in cumulative]))
        return filtered


class BpeDropout:
    """A sampler that merges pieces as BPE does, but in each step drops each possible merge with a given probability.

    Provilkov et al. 2020, Algorithm 1: each step makes the best merge that was not dropped, and the word is done when
    all merges were dropped or none is possible. The merges of a step are drawn from best to worst, and only until one
    is not dropped, because the worse ones then make no difference.
    """

    def __init__(self, scores: Mapping[str, float], probability: float) -> None:
        """`probability` is that of dropping a merge. The merge into the piece with the highest score comes first.

        Every character of a word to sample has to be a piece.
        """
        self._scores = scores
        self._probability = probability

    def __call__(self, word: str, random: Random) -> list[str]:
        """Draw the pieces of `word`."""
        pieces = [*word, ""]  # each piece at the index where it starts, "" at other indices
        before, after = list(range(-1, len(word) - 1)), list(range(1, len(word) + 1))  # where the neighbours start
        merges: list[tuple[float, int, str]] = []  # a heap: best merge first, on a tie the leftmost

        def add(left: int, right: int) -> None:
            if left >= 0 and right < len(word) and (piece := pieces[left] + pieces[right]) in self._scores:
                heappush(merges, (-self._scores[piece], left, piece))

        for start in range(len(word) - 1):
            add(start, start + 1)
        while (merge := self._choose(merges, pieces, after, random)) is not None:
            left, right = merge, after[merge]
            pieces[left], pieces[right] = pieces[left] + pieces[right], ""
            after[left] = after[right]
            if after[left] < len(word):
                before[after[left]] = left
            add(before[left], left)
            add(left, after[left])
        return [piece for piece in pieces if piece]

    def _choose(
        self, merges: list[tuple[float, int, str]], pieces: Sequence[str], after: Sequence[int], random: Random
    ) -> int | None:
        """Draw the merge of one step, take it off the heap and return the start of its left piece; None if none."""
        left_out = []
        chosen = None
        while merges:
            _, left, piece = merge = heappop(merges)
            if not pieces[left] or len(piece) != len(pieces[left]) + len(pieces[after[left]]):
                continue  # one of the two pieces has been merged with another piece since
            if random.random() >= self._probability:
                chosen = left
                break
            left_out.append(merge)
        for merge in left_out:
            heappush(merges, merge)
        return chosen


_SAMPLERS: dict[str, Callable[[Mapping[str, float], float], Sampler]] = {"unigram": Unigram, "bpe": BpeDropout}


class Drawn:
    """The sampled sentence pairs of an update as ids, with the same access by index as a Store."""

    def __init__(
        self, sources: Sequence[Sentence], targets: Sequence[Sentence], links: Sequence[PairLinks] = ()
    ) -> None:
        """Take the ids of both sides, ending with EOS, and the links of each pair, if they are needed."""
        self._sources, self._targets, self._links = sources, targets, links
        self.source_lengths = np.array([len(ids) for ids in sources], dtype=np.int32)
        self.target_lengths = np.array([len(ids) for ids in targets], dtype=np.int32)

    def source(self, index: int) -> Sentence:
        """Return the ids of source sentence `index`, ending with EOS."""
        return self._sources[index]

    def target(self, index: int) -> Sentence:
        """Return the ids of target sentence `index`, without BOS, ending with EOS."""
        return self._targets[index]

    def links(self, index: int) -> PairLinks:
        """Return the links of pair `index`, between the sampled pieces."""
        return self._links[index]


class SubwordSampling:
    """A sampler of segmentations for the sentences of an update.

    `alpha` is the alpha of `Unigram` or the probability of `BpeDropout`, depending on the tokenizer's algorithm. A word
    with a character that is not in the vocabulary is always segmented in the same way. A sentence whose sample has more
    than max_tokens tokens (with EOS) keeps its stored ids.
    """

    def __init__(
        self, tokenizer: Tokenizer, algorithm: Literal["unigram", "bpe"], alpha: float, sides: Sides, max_tokens: int
    ) -> None:
        self._arguments = (tokenizer, algorithm, alpha, sides, max_tokens)
        self.max_tokens = max_tokens
        self._tags = frozenset(tokenizer.tags.values())
        self.source = None if sides == "target" else _Lines(tokenizer.source, algorithm, alpha)
        self.target = None if sides == "source" else _Lines(tokenizer.target, algorithm, alpha)

    def __reduce__(self) -> tuple[type[SubwordSampling], tuple[Any, ...]]:
        return SubwordSampling, self._arguments

    @classmethod
    def of(cls, config: Config, tokenizer: Tokenizer) -> SubwordSampling | None:
        """Return the sampler that a configuration describes, or None if it has no subword sampling."""
        training, algorithm = config.training, config.tokenizer.algorithm
        if training.subword_sampling is None:
            return None
        assert algorithm == "unigram" or algorithm == "bpe", "Config.check refuses other algorithms"
        sides, max_tokens = training.subword_sampling_sides, config.data.cleaning.max_tokens
        return cls(tokenizer, algorithm, training.subword_sampling, sides, max_tokens)

    def draw(
        self,
        store: Store,
        rows: NDArray[np.integer[Any]],
        seed: int,
        epoch: int,
        position: int,
        *,
        links: bool = False,
    ) -> Drawn:
        """Sample segmentations of the given rows of a store, in order. The result depends only on the arguments.

        With `links`, those of the store are returned, too, between the sampled pieces.
        """
        place = np.random.SeedSequence([seed % 2**64, epoch, position])
        source_random, target_random = (Random(int(state)) for state in place.generate_state(2, np.uint64))
        sources: list[Sentence] = [store.source(row) for row in rows]
        targets: list[Sentence] = [store.target(row) for row in rows]
        if self.source is not None:
            drawn = self.source.draw([store.source_text(row) for row in rows], source_random)
            drawn = [[*self._tag(stored), *ids] for stored, ids in zip(sources, drawn, strict=True)]
            sources = self._unless_too_long(drawn, sources)
        if self.target is not None:
            drawn = self.target.draw([store.target_text(row) for row in rows], target_random)
            targets = self._unless_too_long(drawn, targets)
        if not links:
            return Drawn(sources, targets)
        drawn_links = [self._links(store, *each) for each in zip(rows.tolist(), sources, targets, strict=True)]
        return Drawn(sources, targets, drawn_links)

    def _links(self, store: Store, row: int, source: Sentence, target: Sentence) -> PairLinks:
        """Return the links of a row of the store between the pieces of its sampled ids."""
        words, pieces = store.links(row)
        if not len(words):
            return NO_LINKS
        sides: list[Numbers] = [pieces[:, :2], pieces[:, 2:]]
        if self.source is not None:
            text, tag = store.source_text(row), self._tag(source)
            sides[0] = piece_ranges(text, self.source.spans(text, source[len(tag) : -1]), len(tag))[words[:, 0]]
        if self.target is not None:
            text = store.target_text(row)
            sides[1] = piece_ranges(text, self.target.spans(text, target[:-1]))[words[:, 1]]
        return PairLinks(words, np.concatenate(sides, axis=1))

    def _tag(self, stored: Sentence) -> list[int]:
        return [int(stored[0])] if stored[0] in self._tags else []

    def _unless_too_long(self, drawn: list[list[int]], stored: list[Sentence]) -> list[Sentence]:
        return [new if len(new) <= self.max_tokens else old for new, old in zip(drawn, stored, strict=True)]


class _Lines:
    """A sampler of segmentations for whole lines of one language."""

    def __init__(self, model: Model, algorithm: str, alpha: float) -> None:
        self._model = model
        self._sampler = _SAMPLERS[algorithm](model.scores, alpha)
        self._characters = frozenset(piece for piece in model.scores if len(piece) == 1)
        self._symbols = frozenset(model.symbols)
        longest_first = sorted(model.symbols, key=len, reverse=True)
        self._cut = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None

    def draw(self, lines: Sequence[str], random: Random) -> list[list[int]]:
        """Draw the ids of each line, ending with EOS."""
        return [[*self._ids(words, random), EOS] for words in self._model.words(lines)]

    def spans(self, line: str, ids: Sentence) -> list[Span]:
        """Return the span in a line of each piece of a segmentation that can be drawn for it; ids are without EOS."""
        normal, places = self._model.normal(line)
        found: list[Span] = []
        start = 0
        for word in self._model.words_of(normal):
            if self._is_known(self._parts(word)):
                end = start
                while end < start + len(word):
                    begin, end = end, end + len(self._model.names[ids[len(found)]])
                    found.append((places[begin], places[end]))
            else:
                text = word.removeprefix(SPACE)
                first = start + len(word) - len(text)
                found += [(places[first + one], places[first + other]) for one, other in self._model.locate(text).spans]
            start += len(word)
        return found

    def _parts(self, word: str) -> list[str]:
        """Split a word around symbols, which are parts too."""
        return [word] if self._cut is None else list(filter(None, self._cut.split(word)))

    def _is_known(self, parts: Sequence[str]) -> bool:
        """Return whether each part is a symbol or has only characters of the vocabulary."""
        return all(part in self._symbols or self._characters.issuperset(part) for part in parts)

    def _ids(self, words: Sequence[str], random: Random) -> Iterator[int]:
        ids = self._model.ids
        for word in words:
            parts = self._parts(word)
            if self._is_known(parts):
                for part in parts:
                    pieces = [part] if part in self._symbols else self._sampler(part, random)
                    yield from (ids[piece] for piece in pieces)
            else:
                *unknown, _eos = self._model.encode([word.removeprefix(SPACE)])[0]  # encoding adds the ▁ again
                yield from unknown
