"""Filters that decide which sentence pairs are trained on, and that count the pairs they drop.

White space is normalised first: every run of spaces, tabs and line-end characters becomes one space, and is removed at
both ends of the text. Other Unicode spaces, such as the no-break space of French, are ordinary text. A pair with other
control characters is dropped or, if data.cleaning.control_characters is false, kept with spaces instead of them. So
every text that is kept is one line without any foreign character (nmt.data.characters). A pair is called mended if line
ends or control characters in it became spaces; the number of mended pairs is reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from nmt.config.data import CleaningConfig
from nmt.data import language_id, long_lines
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
EXAMPLES = 3  # examples of dropped pairs that the report has for each rule
_EXAMPLE_CHARACTERS = 200  # characters to which each side of an example is cut

_SPACE_CHARACTERS = f" \t{LINE_ENDS}"
_OTHER_SPACES = re.compile(f"[{_SPACE_CHARACTERS[1:]}]")
_SPACES = re.compile(f"[{_SPACE_CHARACTERS}]+")


def normalise_whitespace(text: str) -> str:
    """Replace every run of spaces, tabs and line-end characters by one space, and strip them from both ends."""
    # the space is the only printable one of these characters, so printable text needs no search for the others
    if "  " in text or (not text.isprintable() and _OTHER_SPACES.search(text)):
        text = _SPACES.sub(" ", text)
    return text.strip(_SPACE_CHARACTERS)


def switched_off(config: CleaningConfig) -> list[str]:
    """Return the names of the rules that a configuration switches off."""
    return [rule for rule, key in _KEYS.items() if key is not None and getattr(config, key) in (None, False)]


class Examined(NamedTuple):
    """A pair with normalised white space, and the result of the rules that look at one pair alone."""

    source: str
    target: str
    broken: str | None  # the first rule that the pair breaks
    key: int  # equal for duplicates; 0 if a rule is broken or duplicates are allowed
    near_key: int  # equal for near-duplicates; 0 if a rule is broken or near-duplicates are allowed
    mended: bool = False  # whether foreign characters (nmt.data.characters) were replaced by spaces

    @property
    def keys(self) -> tuple[int, ...]:
        """Both keys, by which duplicates are found."""
        return self.key, self.near_key


class Rules:
    """The rules that look at one pair alone. They keep no state between pairs, so any process can apply them."""

    def __init__(self, config: CleaningConfig, languages: tuple[str, str]) -> None:
        """Choose the rules that are on for source and target `languages`; NmtError if one needs a missing extra."""
        self.config = config
        self._limits = Limits(config, languages)
        self._asked = [name for name in PAIR_RULES if name not in switched_off(config)]
        if config.wrong_language is not None:
            language_id.classifier()

    def examine(self, pair: tuple[str, str]) -> Examined:
        """Turn both sides of a pair into lines of text and apply the rules to the pair.

        Lines of more than LONGEST_LINE characters may have been cut, so they are not looked at any further.
        """
        if max(map(len, pair)) > long_lines.LONGEST_LINE:
            return Examined(pair[0][:_EXAMPLE_CHARACTERS], pair[1][:_EXAMPLE_CHARACTERS], "too_long", 0, 0)
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
    """A filter for examined pairs that drops duplicates and keeps the counts of all rules.

    Duplicates and near-duplicates are recognised by 8-byte hashes: among n distinct pairs, the probability that any is
    mistaken for a duplicate is below n**2 / 2**65 (one in 30 million for a million pairs).
    """

    def __init__(self, config: CleaningConfig) -> None:
        self.config = config
        self.read = 0
        self.kept = 0
        self.mended = 0  # pairs mended among those kept, including those dropped later for too many tokens
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {rule: [] for rule in RULES}
        self._seen = Seen()
        self._near_seen = Seen()

    def keeps(self, examined: Examined) -> bool:
        """Count a pair and return whether it is kept. Of duplicates, the first that is passed in is kept."""
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
        """Count a pair that was kept so far as dropped, because a side has more than max_tokens tokens."""
        self.kept -= 1
        self._count("too_many_tokens", source, target)

    def restore(self, report: dict[str, Any], keys: Iterable[Sequence[int]] = ()) -> None:
        """Restore the counts of a report, and the keys of the pairs kept so far, to find duplicates of them later."""
        self.read, self.kept, self.dropped = report["read"], report["kept"], Counter(report["dropped"])
        self.mended = report["mended"]
        self.examples |= {rule: [(pair[0], pair[1]) for pair in pairs] for rule, pairs in report["examples"].items()}
        for key, near_key in keys:
            self._seen.add(key)
            self._near_seen.add(near_key)

    def report(self) -> dict[str, Any]:
        """Return the counts and examples, for JSON. Every pair that was read is either kept or dropped by one rule."""
        assert self.kept + self.dropped.total() == self.read, "every pair is kept or dropped by one rule"
        return {
            "read": self.read,
            "kept": self.kept,
            "mended": self.mended,
            "dropped": {rule: self.dropped[rule] for rule in RULES},
            "examples": {rule: [list(pair) for pair in pairs] for rule, pairs in self.examples.items() if pairs},
        }

    def _repeats(self, examined: Examined) -> str | None:
        """Return the rule on duplicates that a pair breaks; if it breaks none, remember the pair and return None."""
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
    """Log a cleaning report: the pairs read and kept, and those dropped by each rule, with an example."""
    read, kept = report["read"], report["kept"]
    log(f"training pairs: {read:,} read, {kept:,} kept, {read - kept:,} dropped")
    if mended := report["mended"]:
        log(f"  {mended:,} mended ({MENDED})")
    for rule in report["dropped"]:
        tell_rule(report, rule, log)


def tell_rule(report: dict[str, Any], rule: str, log: Callable[[str], None]) -> None:
    """Log how many pairs one rule dropped, with an example, unless it dropped none."""
    if count := report["dropped"][rule]:
        source, target = report["examples"][rule][0]
        log(f"  {count:,} {rule} ({RULES[rule]}), such as: {source[:60]!r} | {target[:60]!r}")
