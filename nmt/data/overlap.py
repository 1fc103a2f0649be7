"""The overlap of validation and test sets with the training text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nmt.data.cleaning import normalise_whitespace
from nmt.data.sources.source import Pair
from nmt.data.statistics import Overlap
from nmt.data.store import SIDES, Store
from nmt.errors import NmtError
from nmt.reading import read_object

Shared = dict[str, int]  # lines of a set; lines whose source is in the training text; lines whose pair is
MOST, MUCH = 0.5, 0.1  # shares of a set's lines above which a warning, or just a message, is logged


def shared_with(train: Store, sets: Mapping[str, Sequence[Pair]]) -> dict[str, Shared]:
    """Count the lines of each set that are in the cleaned training text: exact matches after normalising white space.

    This takes one pass over the training text, and memory for the sets only.
    """
    pairs_of = {
        name: [(normalise_whitespace(source), normalise_whitespace(target)) for source, target in pairs]
        for name, pairs in sets.items()
    }
    overlap = Overlap([pair for pairs in pairs_of.values() for pair in pairs])
    for rows in train.blocks():
        overlap.look_in(*(train.text(side, rows) for side in SIDES))
    found = {name: overlap.of(pairs) for name, pairs in pairs_of.items()}
    return {
        name: {"lines": len(pairs_of[name]), "source": len(rows["source"]), "pair": len(rows["pair"])}
        for name, rows in found.items()
    }


def find_store(cache: Path, fingerprint: str) -> Store | None:
    """Return the training text with that fingerprint from the prepared folders in data.cache, or None."""
    for description in cache.glob("*/train/store.json"):
        try:
            if read_object(description).get("fingerprint") == fingerprint:
                return Store(description.parent)
        except NmtError:  # the folder is damaged, or being removed
            continue
    return None


def tell_shared(name: str, shared: Shared, log: Callable[[str], None]) -> None:
    """Log if a set shares many lines with the training text (MUCH), and warn if it shares most of its lines (MOST).

    Only the source of a line has to be in the training text: translating a sentence seen in training is no test, even
    if its reference is a different translation.
    """
    lines, known = shared["lines"], shared["source"]
    if known <= MUCH * lines:
        return
    fact = (
        f"{name}: {known:,} of {lines:,} source lines ({known / lines:.0%}) are in the training text too, "
        f"{shared['pair']:,} of them with the same translation"
    )
    if known > MOST * lines:
        log(
            f"WARNING: {fact}: scores on it say little about new text; use other text for it, or remove its lines from "
            "the training text"
        )
    else:
        log(fact)
