"""How much of the text that a system is validated or tested on is text that it is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nmt.data.cleaning import normalise_whitespace
from nmt.data.sources.source import Pair
from nmt.data.statistics import Overlap
from nmt.data.store import SIDES, Store
from nmt.errors import NmtError

Shared = dict[str, int]  # lines of a set, those of them whose source is trained on, and those with their target too
MOST, MUCH = 0.5, 0.1  # shares of a set's lines above which it is told loudly, and told


def shared_with(train: Store, sets: Mapping[str, Sequence[Pair]]) -> dict[str, Shared]:
    """What each set shares with cleaned training text, letter for letter once white space is normalised.

    One pass over the text; memory is that of the sets.
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
    """The training text of that fingerprint among the prepared folders of data.cache, if it is there."""
    for description in cache.glob("*/train/store.json"):
        try:
            if json.loads(description.read_text("utf-8"))["fingerprint"] == fingerprint:
                return Store(description.parent)
        except (OSError, ValueError, KeyError, NmtError):  # a folder that is removed now, or damaged
            continue
    return None


def tell_shared(name: str, shared: Shared, log: Callable[[str], None]) -> None:
    """Say it where a set shares much with training text, and loudly where it shares most of its lines.

    Lines are counted by their source: whoever has been trained on a sentence is not tested by it, however else it may
    be translated.
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
            f"WARNING: {fact}: scores on it say little about new text; give it other text, or take its lines out of "
            "the training text"
        )
    else:
        log(fact)
