"""From raw text to what training reads: cleaned, tokenized and stored once, under the key of its content."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from nmt.config.schema import Config, TokenizerConfig
from nmt.data import cleaning
from nmt.data.cleaning import Cleaner, normalise_whitespace
from nmt.data.corpus import Corpora, Pair, digest, read_corpus, resolve
from nmt.data.digests import Digests
from nmt.data.store import Store, StoreWriter
from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError
from nmt.files import atomic_directory, atomic_write

FORMAT = 1  # of the prepared folder; a new number makes new keys
_BLOCK = 10_000  # lines encoded at a time
_TOKENIZER_CHARACTERS = 30_000_000  # of text a tokenizer is trained on, at most: some 20 bytes of memory each
_KNOWN_CHARACTER = 10  # occurrences that make a character known even where the tokenizer is trained on less than all
_SECONDS_BETWEEN_LINES = 10.0


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What training reads."""

    folder: Path
    tokenizer: Tokenizer
    train: Store
    val: Store  # ids of the lines with white space normalised, text as it was read
    val_lines: list[Pair]  # source and reference lines as they were read
    fingerprints: dict[str, str]  # of train, val and tokenizer: equal where training sees the same
    report: dict[str, Any]  # what report.json holds


class _Text(NamedTuple):
    """Cleaned text on disk, a line a sentence."""

    source: Path
    target: Path
    pairs: int
    characters: tuple[Counter[str], Counter[str]]  # of source and target

    @property
    def size(self) -> int:
        """In characters."""
        return sum(counts.total() for counts in self.characters)


def prepare(config: Config, log: Callable[[str], None], tokenizer: Tokenizer | None = None) -> Prepared:
    """Clean the training text, train a tokenizer on it where none is given, encode and store it and validation text.

    The result lies in data.cache under a key of the texts' content and of the settings that shaped it, so that the same
    again is only opened. Validation text is checked, never filtered. Raises NmtError for what the user can mend.
    """
    corpora = resolve(config.data)
    folder = Path(config.data.cache) / _key(config, corpora, tokenizer)
    if folder.is_dir():
        log(f"data: {folder} is prepared already")
        return _open(folder)
    log(f"data: preparing {folder}")
    with atomic_directory(folder) as work:
        report = _prepare(config, corpora, work, log, tokenizer)
        with atomic_write(work / "report.json") as file:
            json.dump(report, file, indent=1, ensure_ascii=False)
    return _open(folder)


def _open(folder: Path) -> Prepared:
    tokenizer = Tokenizer.load(folder / "tokenizer")
    train, val = Store.open(folder / "train"), Store.open(folder / "val")
    return Prepared(
        folder,
        tokenizer,
        train,
        val,
        val_lines=[(val.source_text(row), val.target_text(row)) for row in range(len(val))],
        fingerprints={"train": train.fingerprint, "val": val.fingerprint, "tokenizer": tokenizer.fingerprint},
        report=json.loads((folder / "report.json").read_text("utf-8")),
    )


def _key(config: Config, corpora: Corpora, tokenizer: Tokenizer | None) -> str:
    """A name that changes with the content of the texts and with the settings that shape what is stored."""
    data = config.data
    languages = (data.source_language, data.target_language)
    digests = Digests(Path(data.cache))
    parts = {
        "format": FORMAT,
        "languages": languages,
        "cleaning": dataclasses.asdict(data.cleaning),
        "tokenizer": dataclasses.asdict(config.tokenizer) if tokenizer is None else tokenizer.fingerprint,
        "train": [digest(corpus, *languages, digests) for corpus in corpora.train],
        "val": digest(corpora.val, *languages, digests),
    }
    hashed = blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
    return f"{languages[0]}-{languages[1]}-{hashed}"


def _prepare(
    config: Config, corpora: Corpora, work: Path, log: Callable[[str], None], tokenizer: Tokenizer | None
) -> dict[str, Any]:
    """Fill the folder `work` and return the report."""
    data = config.data
    languages = (data.source_language, data.target_language)
    val_lines = list(read_corpus(corpora.val, *languages))
    cleaner = Cleaner(data.cleaning, languages)
    raw = chain.from_iterable(read_corpus(corpus, *languages) for corpus in corpora.train)
    text = _write_text(cleaner.clean(_watched(raw, "read", log)), work)
    if not text.pairs:
        cleaning.tell(cleaner.report(), log)
        raise NmtError("cleaning dropped every training pair: see data.cleaning for the limits")
    if tokenizer is None:
        tokenizer = _train_tokenizer(config.tokenizer, text, log)
    tokenizer.save(work / "tokenizer")
    pairs = zip(_lines(text.source), _lines(text.target), strict=True)
    _store_train(_watched(pairs, "encoded", log, text.pairs), tokenizer, cleaner, work / "train")
    _store_val(val_lines, tokenizer, work / "val")
    text.source.unlink()
    text.target.unlink()
    report = {"cleaning": cleaner.report(), "round_trip": _round_trip([line for _, line in val_lines], tokenizer)}
    _tell(report, log)
    return report


def _write_text(pairs: Iterable[Pair], folder: Path) -> _Text:
    paths = folder / "source.txt", folder / "target.txt"
    count = 0
    characters: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    with (
        paths[0].open("w", encoding="utf-8", newline="\n") as source,
        paths[1].open("w", encoding="utf-8", newline="\n") as target,
    ):
        for pair in pairs:
            source.write(f"{pair[0]}\n")
            target.write(f"{pair[1]}\n")
            count += 1
            for side, line in enumerate(pair):
                characters[side].update(line)
    return _Text(*paths, count, characters)


def _lines(path: Path, share: float = 1.0) -> Iterator[str]:
    """The lines of a file; of a share, lines evenly spread."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file):
            if int((number + 1) * share) > int(number * share):
                yield line[:-1]


def _train_tokenizer(config: TokenizerConfig, text: _Text, log: Callable[[str], None]) -> Tokenizer:
    """A tokenizer trained on the text, or, for the sake of memory, on lines evenly spread over it."""
    share = min(1.0, _TOKENIZER_CHARACTERS / text.size)
    log(f"training the tokenizer on {share:.0%} of the text")
    known: list[Set[str]] = [set(), set()]
    if share < 1 and config.character_coverage == 1:
        known = [{char for char, count in counts.items() if count >= _KNOWN_CHARACTER} for counts in text.characters]
    return Tokenizer.train(config, _lines(text.source, share), _lines(text.target, share), (known[0], known[1]))


def _store_train(pairs: Iterator[Pair], tokenizer: Tokenizer, cleaner: Cleaner, folder: Path) -> None:
    folder.mkdir()
    most = cleaner.config.max_tokens
    with StoreWriter(folder, tokenizer.source_size, tokenizer.target_size) as writer:
        while block := list(islice(pairs, _BLOCK)):
            for (source, target), source_ids, target_ids in _encoded(block, tokenizer):
                if max(len(source_ids), len(target_ids)) > most:
                    cleaner.drop_too_many_tokens(source, target)
                else:
                    writer.add(source_ids, target_ids, source, target)
    if not cleaner.kept:
        raise NmtError(f"every training pair has more than data.cleaning.max_tokens={most} tokens: raise it")


def _store_val(lines: list[Pair], tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir()
    normalised = [(normalise_whitespace(source), normalise_whitespace(target)) for source, target in lines]
    with StoreWriter(folder, tokenizer.source_size, tokenizer.target_size) as writer:
        for (_, source_ids, target_ids), raw in zip(_encoded(normalised, tokenizer), lines, strict=True):
            writer.add(source_ids, target_ids, *raw)


def _encoded(pairs: list[Pair], tokenizer: Tokenizer) -> Iterator[tuple[Pair, list[int], list[int]]]:
    sources = tokenizer.encode_source([source for source, _ in pairs])
    targets = tokenizer.encode_target([target for _, target in pairs])
    return zip(pairs, sources, targets, strict=True)


def _round_trip(lines: list[str], tokenizer: Tokenizer) -> dict[str, Any]:
    """How many lines decoding gives back as they are, and examples of the others."""
    decoded = [tokenizer.decode_target(ids) for ids in tokenizer.encode_target(lines)]
    altered = [list(pair) for pair in zip(lines, decoded, strict=True) if pair[0] != pair[1]]
    return {"lines": len(lines), "altered": len(altered), "examples": altered[: cleaning.EXAMPLES]}


def _watched(pairs: Iterable[Pair], verb: str, log: Callable[[str], None], total: int | None = None) -> Iterator[Pair]:
    """The pairs, with a line on the rate now and then, and on the time left where their number is known."""
    started = said = time.monotonic()
    for count, pair in enumerate(pairs, start=1):
        yield pair
        if count % 1000 == 0 and (now := time.monotonic()) - said > _SECONDS_BETWEEN_LINES:
            rate = count / (now - started)
            left = "" if total is None else f", {(total - count) / rate:,.0f} s left"
            log(f"{count:,} pairs {verb}, {rate:,.0f} a second{left}")
            said = now


def _tell(report: dict[str, Any], log: Callable[[str], None]) -> None:
    cleaning.tell(report["cleaning"], log)
    trip = report["round_trip"]
    log(
        f"validation targets: {trip['lines'] - trip['altered']:,} of {trip['lines']:,} "
        "come back from the tokenizer as they were"
    )
    for line, decoded in trip["examples"]:
        log(f"  altered: {line!r} -> {decoded!r}")
