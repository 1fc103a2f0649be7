"""Which sentence pairs are trained on: filters that count what they drop.

White space is normalised first: runs of spaces, tabs and characters that end lines become one space, and those at
either end go. Other spaces, such as the no-break space of French, are text. So what is kept is lines of text
(nmt.data.characters): other control characters cost the pair or, where data.cleaning.control_characters is false,
become spaces. How many of the pairs kept were mended so is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from nmt.config.data import CleaningConfig
from nmt.data import language_id
from nmt.data.characters import LINE_ENDS, as_line, find_foreign
from nmt.data.rules import PAIR_RULES, Limits, skeleton
from nmt.data.seen import Seen

RULES = {name: rule.meaning for name, rule in PAIR_RULES.items()} | {
    "duplicate": "the same pair came before",
    "near_duplicate": "a pair with the same letters came before",
    "too_many_tokens": "a side has more than max_tokens tokens",
}
MENDED = "a side had line ends or control characters, which became spaces"
_KEYS = {name: rule.key for name, rule in PAIR_RULES.items()} | {
    "duplicate": "deduplicate",
    "near_duplicate": "near_duplicates",
}
EXAMPLES = 3  # kept for each rule
_EXAMPLE_CHARACTERS = 200

_SPACE_CHARACTERS = f" \t{LINE_ENDS}"
_OTHER_SPACES = re.compile(f"[{_SPACE_CHARACTERS[1:]}]")
_SPACES = re.compile(f"[{_SPACE_CHARACTERS}]+")


def normalise_whitespace(text: str) -> str:
    """Every run of spaces, tabs and characters that end lines as one space, none at either end."""
    if "  " in text or (not text.isprintable() and _OTHER_SPACES.search(text)):  # of these, only the space is printable
        text = _SPACES.sub(" ", text)
    return text.strip(_SPACE_CHARACTERS)


def switched_off(config: CleaningConfig) -> list[str]:
    """The rules that a configuration switches off."""
    return [rule for rule, key in _KEYS.items() if key is not None and getattr(config, key) in (None, False)]


class Examined(NamedTuple):
    """A pair as lines of text, and what a look at it alone tells."""

    source: str
    target: str
    broken: str | None  # the first rule that it breaks
    key: int  # equal for duplicates; 0 where a rule is broken or duplicates may stay
    near_key: int  # equal for near-duplicates; 0 likewise
    mended: bool = False  # it had characters that no line of text has, which are spaces now

    @property
    def keys(self) -> tuple[int, ...]:
        """All that tells duplicates."""
        return self.key, self.near_key


class Rules:
    """The rules that need no more than the pair itself: they hold nothing, so any process can apply them."""

    def __init__(self, config: CleaningConfig, languages: tuple[str, str]) -> None:
        """`languages` of source and target. Raises NmtError where a rule needs an extra that is not installed."""
        self.config = config
        self._limits = Limits(config, languages)
        self._asked = [name for name in PAIR_RULES if name not in switched_off(config)]
        if config.wrong_language is not None:
            language_id.classifier()

    def examine(self, pair: tuple[str, str]) -> Examined:
        """Make lines of text of a pair and apply the rules to it."""
        mended = any(map(find_foreign, pair))
        if mended and not self.config.control_characters:
            pair = as_line(pair[0]), as_line(pair[1])
        source, target = clean = normalise_whitespace(pair[0]), normalise_whitespace(pair[1])
        broken = next((name for name in self._asked if PAIR_RULES[name].breaks(clean, self._limits)), None)
        key = near_key = 0
        if broken is None and self.config.deduplicate:
            key = _key(source, target)
        if broken is None and self.config.near_duplicates:
            near_key = _key(skeleton(source), skeleton(target))
        return Examined(source, target, broken, key, near_key, mended)


class Cleaner:
    """Takes pairs as the rules have found them, drops duplicates, and keeps the counts of all rules.

    Identical pairs are told by 8-byte hashes: among n distinct pairs, the chance that any is taken for another's
    duplicate is below n**2 / 2**65 (one in 30 million for a million pairs). So are near-duplicates.
    """

    def __init__(self, config: CleaningConfig) -> None:
        self.config = config
        self.read = 0
        self.kept = 0
        self.mended = 0  # of those kept, before any was dropped for its tokens
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {rule: [] for rule in RULES}
        self._seen = Seen()
        self._near_seen = Seen()

    def keeps(self, examined: Examined) -> bool:
        """Count a pair; whether it passes. Duplicates follow the order of the calls."""
        self.read += 1
        rule = examined.broken
        if rule is None:
            rule = self._repeats(examined)
        if rule is not None:
            self._count(rule, examined.source, examined.target)
            return False
        self.kept += 1
        self.mended += examined.mended
        return True

    def drop_too_many_tokens(self, source: str, target: str) -> None:
        """Count a pair, kept so far, as dropped: its tokens are more than max_tokens."""
        self.kept -= 1
        self._count("too_many_tokens", source, target)

    def restore(self, report: dict[str, Any], keys: Iterable[Sequence[int]] = ()) -> None:
        """Go on after what a report tells; `keys` are those of the pairs kept, for the duplicates among later ones."""
        self.read, self.kept, self.dropped = report["read"], report["kept"], Counter(report["dropped"])
        self.mended = report["mended"]
        self.examples |= {rule: [(pair[0], pair[1]) for pair in pairs] for rule, pairs in report["examples"].items()}
        for key, near_key in keys:
            self._seen.add(key)
            self._near_seen.add(near_key)

    def report(self) -> dict[str, Any]:
        """Counts and examples, for JSON. What was read is kept or dropped by one rule."""
        assert self.kept + self.dropped.total() == self.read, "every pair is kept or dropped by one rule"
        return {
            "read": self.read,
            "kept": self.kept,
            "mended": self.mended,
            "dropped": {rule: self.dropped[rule] for rule in RULES},
            "examples": {rule: [list(pair) for pair in pairs] for rule, pairs in self.examples.items() if pairs},
        }

    def _repeats(self, examined: Examined) -> str | None:
        """Which rule about the pairs before it breaks; where it breaks none, it is remembered."""
        if self.config.near_duplicates:
            if self.config.deduplicate and examined.key in self._seen:
                return "duplicate"
            if not self._near_seen.add(examined.near_key):
                return "near_duplicate"
        if self.config.deduplicate and not self._seen.add(examined.key):
            return "duplicate"
        return None

    def _count(self, rule: str, source: str, target: str) -> None:
        self.dropped[rule] += 1
        if len(self.examples[rule]) < EXAMPLES:
            self.examples[rule].append((source[:_EXAMPLE_CHARACTERS], target[:_EXAMPLE_CHARACTERS]))


def _key(source: str, target: str) -> int:
    return int.from_bytes(blake2b(f"{source}\n{target}".encode(), digest_size=8).digest(), "little")


def tell(report: dict[str, Any], log: Callable[[str], None]) -> None:
    """A cleaning report as lines of text: what was read, kept and dropped by each rule, with an example of it."""
    read, kept = report["read"], report["kept"]
    log(f"training pairs: {read:,} read, {kept:,} kept, {read - kept:,} dropped")
    if mended := report["mended"]:
        log(f"  {mended:,} mended ({MENDED})")
    for rule in report["dropped"]:
        tell_rule(report, rule, log)


def tell_rule(report: dict[str, Any], rule: str, log: Callable[[str], None]) -> None:
    """What one rule dropped, if anything."""
    if count := report["dropped"][rule]:
        source, target = report["examples"][rule][0]
        log(f"  {count:,} {rule} ({RULES[rule]}), such as: {source[:60]!r} | {target[:60]!r}")
