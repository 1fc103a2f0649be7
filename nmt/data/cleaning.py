"""Which sentence pairs are trained on: filters that count what they drop.

White space is normalised first: runs of ASCII white space (space, tab, line breaks, vertical tab, form feed) become
one space and those at either end go. Other spaces, such as the no-break space of French, are text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from nmt.config.schema import CleaningConfig
from nmt.data.seen import Seen

RULES = {
    "empty": "a side has no text",
    "control_character": "a side has control characters",
    "too_long": "a side has more than max_words words",
    "ratio": "a side has more than max_ratio times the characters of the other",
    "duplicate": "the same pair came before",
    "too_many_tokens": "a side has more than max_tokens tokens",
}
EXAMPLES = 3  # kept for each rule
_EXAMPLE_CHARACTERS = 200

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SPACE_CHARACTERS = " \t\n\r\v\f"
_OTHER_SPACES = re.compile(f"[{_SPACE_CHARACTERS[1:]}]")
_SPACES = re.compile(f"[{_SPACE_CHARACTERS}]+")


def normalise_whitespace(text: str) -> str:
    """Every run of ASCII white space as one space, none at either end."""
    if "  " in text or (not text.isprintable() and _OTHER_SPACES.search(text)):  # of these, only the space is printable
        text = _SPACES.sub(" ", text)
    return text.strip(_SPACE_CHARACTERS)


class Examined(NamedTuple):
    """A pair with its white space normalised, and what a look at it alone tells."""

    source: str
    target: str
    broken: str | None  # the first rule that it breaks
    key: int  # equal for duplicates; 0 where a rule is broken

    @property
    def keys(self) -> tuple[int, ...]:
        """All that tells duplicates."""
        return (self.key,)


class Rules:
    """The rules that need no more than the pair itself: they hold nothing, so any process can apply them."""

    def __init__(self, config: CleaningConfig) -> None:
        self.config = config

    def examine(self, pair: tuple[str, str]) -> Examined:
        """Normalise a pair's white space and apply the rules to it."""
        source, target = normalise_whitespace(pair[0]), normalise_whitespace(pair[1])
        broken = self._broken(source, target)
        key = _key(source, target) if broken is None and self.config.deduplicate else 0
        return Examined(source, target, broken, key)

    def _broken(self, source: str, target: str) -> str | None:
        config = self.config
        if not source or not target:
            return "empty"
        if config.control_characters and (_has_control_characters(source) or _has_control_characters(target)):
            return "control_character"
        if max(source.count(" "), target.count(" ")) >= config.max_words:
            return "too_long"
        longer, shorter = max(len(source), len(target)), min(len(source), len(target))
        if config.max_ratio is not None and longer > config.max_ratio * shorter:
            return "ratio"
        return None


class Cleaner:
    """Takes pairs as the rules have found them, drops duplicates, and keeps the counts of all rules.

    Identical pairs are told by 8-byte hashes: among n distinct pairs, the chance that any is taken for another's
    duplicate is below n**2 / 2**65 (one in 30 million for a million pairs).
    """

    def __init__(self, config: CleaningConfig) -> None:
        self.config = config
        self.rules = Rules(config)
        self.read = 0
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {rule: [] for rule in RULES}
        self._seen = Seen()

    def clean(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """The pairs that pass, white space normalised, in order."""
        for pair in pairs:
            examined = self.rules.examine(pair)
            if self.keeps(examined):
                yield examined.source, examined.target

    def keeps(self, examined: Examined) -> bool:
        """Count a pair; whether it passes. Duplicates follow the order of the calls."""
        self.read += 1
        rule = examined.broken
        if rule is None and self.config.deduplicate and not self._seen.add(examined.key):
            rule = "duplicate"
        if rule is not None:
            self._count(rule, examined.source, examined.target)
            return False
        self.kept += 1
        return True

    def drop_too_many_tokens(self, source: str, target: str) -> None:
        """Count a pair, kept so far, as dropped: its tokens are more than max_tokens."""
        self.kept -= 1
        self._count("too_many_tokens", source, target)

    def restore(self, report: dict[str, Any], keys: Iterable[Sequence[int]] = ()) -> None:
        """Go on after what a report tells; `keys` are those of the pairs kept, for the duplicates among later ones."""
        self.read, self.kept, self.dropped = report["read"], report["kept"], Counter(report["dropped"])
        self.examples |= {rule: [(pair[0], pair[1]) for pair in pairs] for rule, pairs in report["examples"].items()}
        if self.config.deduplicate:
            for (key,) in keys:
                self._seen.add(key)

    def report(self) -> dict[str, Any]:
        """Counts and examples, for JSON. What was read is kept or dropped by one rule."""
        assert self.kept + self.dropped.total() == self.read, "every pair is kept or dropped by one rule"
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": {rule: self.dropped[rule] for rule in RULES},
            "examples": {rule: [list(pair) for pair in pairs] for rule, pairs in self.examples.items() if pairs},
        }

    def _count(self, rule: str, source: str, target: str) -> None:
        self.dropped[rule] += 1
        if len(self.examples[rule]) < EXAMPLES:
            self.examples[rule].append((source[:_EXAMPLE_CHARACTERS], target[:_EXAMPLE_CHARACTERS]))


def _has_control_characters(text: str) -> bool:
    return not text.isprintable() and _CONTROL.search(text) is not None  # they are not printable


def _key(source: str, target: str) -> int:
    return int.from_bytes(blake2b(f"{source}\n{target}".encode(), digest_size=8).digest(), "little")


def tell(report: dict[str, Any], log: Callable[[str], None]) -> None:
    """A cleaning report as lines of text: what was read, kept and dropped by each rule, with an example of it."""
    read, kept = report["read"], report["kept"]
    log(f"training pairs: {read:,} read, {kept:,} kept, {read - kept:,} dropped")
    for rule, count in report["dropped"].items():
        if count:
            source, target = report["examples"][rule][0]
            log(f"  {count:,} {rule} ({RULES[rule]}), such as: {source[:60]!r} | {target[:60]!r}")
