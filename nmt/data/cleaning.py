"""Which sentence pairs are trained on: filters that count what they drop.

White space is normalised first: runs of ASCII white space (space, tab, line breaks, vertical tab, form feed) become
one space and those at either end go. Other spaces, such as the no-break space of French, are text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

from nmt.config.schema import CleaningConfig

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
_SPACES = re.compile(f"[{_SPACE_CHARACTERS}]+")


def normalise_whitespace(text: str) -> str:
    """Every run of ASCII white space as one space, none at either end."""
    return _SPACES.sub(" ", text).strip(_SPACE_CHARACTERS)


class Cleaner:
    """Applies the rules of a configuration and keeps their counts.

    Identical pairs are told by 8-byte hashes, some 100 bytes of memory each: among n distinct pairs, the chance that
    any is taken for another's duplicate is below n**2 / 2**65 (one in 30 million for a million pairs).
    """

    def __init__(self, config: CleaningConfig) -> None:
        self.config = config
        self.read = 0
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {rule: [] for rule in RULES}
        self._seen: set[int] = set()

    def clean(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """The pairs that pass, white space normalised, in order."""
        for pair in pairs:
            source, target = normalise_whitespace(pair[0]), normalise_whitespace(pair[1])
            self.read += 1
            rule = self._broken_rule(source, target)
            if rule is None:
                self.kept += 1
                yield source, target
            else:
                self._count(rule, source, target)

    def drop_too_many_tokens(self, source: str, target: str) -> None:
        """Count a pair, kept so far, as dropped: its tokens are more than max_tokens."""
        self.kept -= 1
        self._count("too_many_tokens", source, target)

    def report(self) -> dict[str, Any]:
        """Counts and examples, for JSON. What was read is kept or dropped by one rule."""
        assert self.kept + self.dropped.total() == self.read, "every pair is kept or dropped by one rule"
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": {rule: self.dropped[rule] for rule in RULES},
            "examples": {rule: [list(pair) for pair in pairs] for rule, pairs in self.examples.items() if pairs},
        }

    def _broken_rule(self, source: str, target: str) -> str | None:
        config = self.config
        if not source or not target:
            return "empty"
        if config.control_characters and (_CONTROL.search(source) or _CONTROL.search(target)):
            return "control_character"
        if max(source.count(" "), target.count(" ")) >= config.max_words:
            return "too_long"
        longer, shorter = max(len(source), len(target)), min(len(source), len(target))
        if config.max_ratio is not None and longer > config.max_ratio * shorter:
            return "ratio"
        if config.deduplicate and self._is_duplicate(source, target):
            return "duplicate"
        return None

    def _is_duplicate(self, source: str, target: str) -> bool:
        digest = blake2b(f"{source}\n{target}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "little")
        if key in self._seen:
            return True
        self._seen.add(key)
        return False

    def _count(self, rule: str, source: str, target: str) -> None:
        self.dropped[rule] += 1
        if len(self.examples[rule]) < EXAMPLES:
            self.examples[rule].append((source[:_EXAMPLE_CHARACTERS], target[:_EXAMPLE_CHARACTERS]))


def tell(report: dict[str, Any], log: Callable[[str], None]) -> None:
    """A cleaning report as lines of text: what was read, kept and dropped by each rule, with an example of it."""
    read, kept = report["read"], report["kept"]
    log(f"training pairs: {read:,} read, {kept:,} kept, {read - kept:,} dropped")
    for rule, count in report["dropped"].items():
        if count:
            source, target = report["examples"][rule][0]
            log(f"  {count:,} {rule} ({RULES[rule]}), such as: {source[:60]!r} | {target[:60]!r}")
