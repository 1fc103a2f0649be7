"""The embedded corpus: draw distinct sentences with a fixed distribution of lengths, split, write and measure them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from nmt.files import atomic_write
from tools.embedded_corpus.choice import Choice
from tools.embedded_corpus.sentences import Sentence, Sentences

SEED = 20_001
SIZES = {"train": 20_000, "dev": 1_000, "test": 1_000}
ALIGNED = ("dev", "test")


@dataclass(frozen=True)
class Band:
    """A range of German lengths in words, its share of the corpus, and how its sentences are drawn."""

    low: int
    high: int
    share: float
    units: tuple[int, ...]
    detail: tuple[float, float]


BANDS = (
    Band(3, 6, 0.08, (1,), (0.0, 0.1)),
    Band(7, 10, 0.22, (1,), (0.0, 0.5)),
    Band(11, 16, 0.31, (1,), (0.3, 0.9)),
    Band(17, 25, 0.22, (1, 2), (0.5, 1.0)),
    Band(26, 35, 0.105, (2, 2, 3), (0.6, 1.0)),
    Band(36, 45, 0.045, (2, 3), (0.8, 1.0)),
    Band(46, 62, 0.02, (3, 3, 4), (0.8, 1.0)),
)


def generate(sizes: dict[str, int] | None = None, seed: int = SEED) -> dict[str, list[Sentence]]:
    """Return the splits, each with its share of every band. No two sentences have the same German side."""
    sizes = SIZES if sizes is None else sizes
    drawn = _draw(Sentences(seed), Choice(seed + 1), _quotas(sum(sizes.values())))
    choice = Choice(seed + 2)
    splits: dict[str, list[Sentence]] = {name: [] for name in sizes}
    left = dict(sizes)
    for band in drawn:
        choice.shuffle(band)
    for name in sorted(sizes, key=lambda name: sizes[name]):
        for band, quota in zip(drawn, _quotas(left.pop(name)), strict=True):
            splits[name] += band[:quota] if left else band
            del band[:quota]
        choice.shuffle(splits[name])
    return splits


def _quotas(size: int) -> list[int]:
    """Return the number of sentences per band for a split of this size; the second band gets the rounding rest."""
    quotas = [round(size * band.share) for band in BANDS]
    quotas[1] += size - sum(quotas)
    return quotas


def _draw(sentences: Sentences, choice: Choice, quotas: list[int]) -> list[list[Sentence]]:
    """Draw distinct sentences for every band. A sentence drawn for one band may be used in another."""
    seen: set[str] = set()
    bands: list[list[Sentence]] = [[] for _ in BANDS]
    for aim, quota in zip(BANDS, quotas, strict=True):
        while len(bands[BANDS.index(aim)]) < quota:
            sentence = sentences.draw(aim.units[choice.below(len(aim.units))], choice.within(*aim.detail))
            length, text = len(sentence.german.words), sentence.german.text
            for place, band in enumerate(BANDS):
                if band.low <= length <= band.high and len(bands[place]) < quotas[place] and text not in seen:
                    seen.add(text)
                    bands[place].append(sentence)
    return bands


def pharaoh(sentence: Sentence) -> str:
    """Return the gold links of a sentence as "i-j i-j ..."."""
    return " ".join(f"{i}-{j}" for i, j in sentence.links)


def write_corpus(splits: dict[str, list[Sentence]], folder: Path, aligned: Iterable[str] = ALIGNED) -> list[Path]:
    """Write the text of every split and the alignments of those in `aligned`. Each file is complete or absent."""
    aligned = set(aligned)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, split in splits.items():
        written.append(_write(folder / f"{name}.de", (sentence.german.text for sentence in split)))
        written.append(_write(folder / f"{name}.en", (sentence.english.text for sentence in split)))
        if name in aligned:
            written.append(_write(folder / f"{name}.align", map(pharaoh, split)))
    return written


def _write(path: Path, lines: Iterable[str]) -> Path:
    with atomic_write(path) as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


class Neighbours:
    """An index that finds out whether a line is within two word edits of one of many, without comparing all of them.

    Two edits leave at least one of three segments of a line unchanged and move it by at most two words, so only lines
    that share a segment are compared (Li et al. 2011, Pass-Join).
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._index: dict[tuple[int, int, tuple[str, ...]], list[tuple[str, ...]]] = {}
        for line in lines:
            tokens = tuple(line.split())
            for part, (start, stop) in enumerate(_segments(len(tokens))):
                self._index.setdefault((len(tokens), part, tokens[start:stop]), []).append(tokens)

    def has_near(self, line: str) -> bool:
        """Return whether some line differs from this one in at most two words."""
        tokens = tuple(line.split())
        for length in range(max(1, len(tokens) - 2), len(tokens) + 3):
            for part, (start, stop) in enumerate(_segments(length)):
                for at in range(max(0, start - 2), start + 3):
                    candidates = self._index.get((length, part, tokens[at : at + stop - start]), ())
                    if any(_within_two(tokens, other) for other in candidates):
                        return True
        return False


def _segments(length: int) -> tuple[tuple[int, int], ...]:
    cuts = (0, length // 3, 2 * length // 3, length)
    return tuple(pairwise(cuts))


def _within_two(left: Sequence[str], right: Sequence[str]) -> bool:
    """Return whether the edit distance of two token sequences is at most two."""
    start, end = 0, 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    left, right = left[start : len(left) - end], right[start : len(right) - end]
    # two edits cannot make up for more than two words of difference in length
    if abs(len(left) - len(right)) > 2:
        return False
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        previous, row = row, [i]
        for j, b in enumerate(right, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (a != b)))
        if min(row) > 2:
            return False
    return row[-1] <= 2


def novelty(train: Sequence[Sentence], held_out: Sequence[Sentence]) -> float:
    """Return the share of sentences with a new skeleton or at least three word edits from every training line."""
    skeletons = {sentence.german.skeleton for sentence in train}
    near = Neighbours(sentence.german.text for sentence in train)
    new = sum(
        sentence.german.skeleton not in skeletons or not near.has_near(sentence.german.text) for sentence in held_out
    )
    return new / len(held_out)


def lemma_counts(sentences: Iterable[Sentence], side: str) -> Counter[str]:
    """Count how often each dictionary form occurs on one side, without names and numbers."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        line = sentence.german if side == "german" else sentence.english
        counts.update(each.lemma for each in line.words if each.tag not in ("NE", "CARD"))
    return counts


def statistics(splits: dict[str, list[Sentence]]) -> dict[str, float]:
    """Return the figures of the README, over all splits unless the name of a figure names one."""
    everything = [sentence for split in splits.values() for sentence in split]
    figures: dict[str, float] = {f"{name} pairs": len(split) for name, split in splits.items()}
    figures["distinct sources"] = len({sentence.german.text for sentence in everything})
    german = lemma_counts(everything, "german")
    english = lemma_counts(everything, "english")
    train = lemma_counts(splits["train"], "german")
    figures["German lemmas"] = len(german)
    figures["English lemmas"] = len(english)
    figures["rarest German lemma in train"] = min(train[lemma] for lemma in german)
    tokens = [each for sentence in everything for each in sentence.german.words]
    figures["German word forms"] = len({each.text for each in tokens})
    figures["German word forms without numbers"] = len({each.text for each in tokens if each.tag != "CARD"})
    figures["English word forms"] = len({each.text for sentence in everything for each in sentence.english.words})
    figures["skeletons"] = len({sentence.german.skeleton for sentence in everything})
    for name, split in splits.items():
        lengths = [len(sentence.german.words) for sentence in split]
        figures[f"{name} mean length"] = round(sum(lengths) / len(lengths), 2)
        figures[f"{name} over 25 words"] = round(sum(length > 25 for length in lengths) / len(lengths), 4)
        figures[f"{name} over 45 words"] = round(sum(length > 45 for length in lengths) / len(lengths), 4)
        figures[f"{name} shortest"] = min(lengths)
        figures[f"{name} longest"] = max(lengths)
    for name in ALIGNED:
        figures[f"{name} novelty"] = round(novelty(splits["train"], splits[name]), 4)
    return figures
