"""Preparation of the data that training reads: text is cleaned, encoded and cached under a key of its content."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from hashlib import blake2b
from itertools import chain
from os.path import commonprefix
from pathlib import Path
from typing import Any

from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.schema import Config
from nmt.data import cleaning
from nmt.data.cleaning import normalise_whitespace
from nmt.data.compression import open_file
from nmt.data.corpora import Corpora, resolve, validation_set
from nmt.data.digests import Digests
from nmt.data.given_tokenizer import describe
from nmt.data.overlap import Shared, shared_with, tell_shared
from nmt.data.rules import has_long_signs
from nmt.data.sources import source_of
from nmt.data.sources.source import Pair, Source
from nmt.data.stages import CleanedText, Crew, clean, store, tidy, workers_for
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter
from nmt.data.tokenizer import Tokenizer
from nmt.data.vocabulary import fitting, train_tokenizer
from nmt.errors import NmtError, require
from nmt.files import atomic_directory, atomic_write, resumable_directory
from nmt.reading import read_object, reading

_VAL = "data.val"  # the validation set's name in messages and in the report
FORMAT = 2  # version of the prepared folder; a new number changes every key, so that everything is prepared again
_TOKENIZER_CHARACTERS = 30_000_000  # most characters a tokenizer is trained on; each takes about 20 bytes of memory
_KNOWN_CHARACTER = 10  # a character this frequent is in the vocabulary even if the tokenizer's sample lacks it


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The data that validation reads."""

    tokenizer: Tokenizer
    val: Store  # ids of the lines after normalising white space, but the text exactly as it was read
    val_lines: list[Pair]  # source and reference lines exactly as they were read


@dataclasses.dataclass(frozen=True)
class Prepared(HeldOut):
    """The data that training reads, including the validation set."""

    folder: Path
    train: Store
    fingerprints: dict[str, str]  # hashes of train, val and tokenizer; equal if training would see the same data
    report: dict[str, Any]  # the content of report.json


def prepare(
    config: Config, log: Callable[[str], None], tokenizer: Tokenizer | None = None, live: bool = False
) -> Prepared:
    """Clean the training text, train a tokenizer on it if none is given, and store training and validation text as ids.

    The result is cached in data.cache under a key made from the content of the texts and the settings that affect it.
    If it is there already, it is only opened; if an earlier process left it unfinished, it is completed. Validation
    text is checked but never filtered. `log` receives all messages; with `live`, a progress line on stderr is updated
    as well. Raises NmtError for a problem that the user can fix, and Unfinished if the same call may succeed later.
    """
    corpora = resolve(config.data)
    if config.data.path is not None and config.data.train:
        log(f"data: data.path={config.data.path} is used instead of data.train, data.val and data.test")
    content = _content(config, corpora, tokenizer)
    folder = Path(config.data.cache) / _key(config.data, content)
    with resumable_directory(folder, lambda: log(f"data: another process is preparing {folder}: waiting")) as work:
        if work is None:
            log(f"data: {folder} is prepared already")
        else:
            log(f"data: preparing {folder}")
            if not (work / "report.json").is_file():
                crew = Crew(workers_for(config.data), log, live)
                report = _prepare(config, corpora, work, crew, tokenizer)
                with atomic_write(work / "report.json") as file:
                    json.dump(report, file, indent=1, ensure_ascii=False)
            tidy(work)
    prepared = _open(folder)
    if config.tokenizer.vocab_size == "auto" and tokenizer is None:
        _find_by_size(config, content, folder, prepared.tokenizer)
    if work is None:
        tell_shared(_VAL, _val_shared(prepared), log)
    return prepared


def _find_by_size(config: Config, content: dict[str, Any], folder: Path, tokenizer: Tokenizer) -> None:
    """Make the prepared folder available under the size found for vocab_size=auto, which a run's config.yaml records.

    The folder's key for that size becomes a symbolic link to it, so that resuming the run prepares nothing again.
    """
    size = max(tokenizer.source_size, tokenizer.target_size)
    sized = _trained_by(dataclasses.replace(config.tokenizer, vocab_size=size))
    link = folder.with_name(_key(config.data, content | {"tokenizer": sized}))
    with suppress(OSError):  # the link exists, or the file system has no links: then the data is prepared once more
        link.symlink_to(folder.name, target_is_directory=True)


def _val_shared(prepared: Prepared) -> Shared:
    """Return the overlap of validation and training text; if the report lacks it, count it and try to add it there."""
    counts: dict[str, Shared] = prepared.report.get("shared", {})
    if _VAL not in counts:
        counts |= shared_with(prepared.train, {_VAL: prepared.val_lines})
        with suppress(NmtError, OSError), atomic_write(prepared.folder / "report.json") as file:
            json.dump(prepared.report | {"shared": counts}, file, indent=1, ensure_ascii=False)
    return counts[_VAL]


def hold_out(data: DataConfig, tokenizer: Tokenizer, folder: Path, log: Callable[[str], None]) -> HeldOut:
    """Encode only the validation set, with the tokenizer of a run, and store it in `folder`."""
    corpora = validation_set(data)
    _store_val(_val_lines(corpora, data, log), [corpus.tag for corpus in corpora], tokenizer, folder)
    val = Store(folder)
    return HeldOut(tokenizer, val, _lines(val))


def _val_lines(corpora: Sequence[CorpusConfig], data: DataConfig, log: Callable[[str], None]) -> list[list[Pair]]:
    """Return the pairs of each corpus of the validation set; raises NmtError for a corpus without any."""
    found = []
    for source in _sources(corpora, data):
        found.append(list(source.pairs(log)))
        require(found[-1] != [], f"data.val: {source.name} has no pairs")
    return found


def _sources(corpora: Sequence[CorpusConfig], data: DataConfig) -> list[Source]:
    return [source_of(corpus, data.source_language, data.target_language) for corpus in corpora]


def _lines(store: Store) -> list[Pair]:
    return [(store.source_text(row), store.target_text(row)) for row in range(len(store))]


def _open(folder: Path) -> Prepared:
    """Open a folder of prepared data; raises Damaged if its content is not what was written."""
    tokenizer = Tokenizer.load(folder / "tokenizer")
    train, val = Store(folder / "train"), Store(folder / "val")
    for each in (train, val):
        each.verify(tokenizer.source_size, tokenizer.target_size)
    return Prepared(
        tokenizer,
        val,
        _lines(val),
        folder,
        train,
        fingerprints={"train": train.fingerprint, "val": val.fingerprint, "tokenizer": tokenizer.fingerprint},
        report=_read_report(folder / "report.json"),
    )


def _read_report(path: Path) -> dict[str, Any]:
    """Return the report of a preparation; raises Damaged."""
    with reading(path, f"remove {path.parent} and prepare the data again"):
        report = read_object(path)
        if not {"cleaning", "round_trip"} <= report.keys():
            raise KeyError("cleaning")
        return report


def _key(data: DataConfig, content: dict[str, Any]) -> str:
    """Return a folder name with the languages and a hash of what `_content` has found."""
    hashed = blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()
    return f"{data.source_language}-{data.target_language}-{hashed}"


def _content(config: Config, corpora: Corpora, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Return hashes of the texts' content and all settings that affect what is stored."""
    data = config.data
    languages = (data.source_language, data.target_language)
    train, digests = _sources(corpora.train, data), Digests(Path(data.cache))
    val = [source.digest(digests) for source in _sources(corpora.val, data)]
    parts: dict[str, Any] = {
        "format": FORMAT,
        "languages": languages,
        "cleaning": dataclasses.asdict(data.cleaning),
        "tokenizer": _trained_by(config.tokenizer) if tokenizer is None else tokenizer.fingerprint,
        "train": [source.digest(digests) for source in train],
        "val": val[0] if len(val) == 1 else val,
    }
    tags = [corpus.tag for corpus in (*corpora.train, *corpora.val)]
    if any(tags):
        parts["tags"] = tags
    spoken = {*languages, *(language for source in train for language in source.languages)}
    if data.cleaning.max_ratio is not None and any(map(has_long_signs, spoken)):
        # part of the key because older versions, which counted letters otherwise, kept other pairs
        parts["ratio"] = "signs by the letters that they stand for, half-width kana too"
    if any(corpus.alignments for corpus in corpora.train):
        parts["alignments"] = [_digest(corpus.alignments, digests) for corpus in corpora.train]
    own_languages = [(corpus.source_language, corpus.target_language) for corpus in corpora.train]
    if data.cleaning.wrong_language is not None and any(map(any, own_languages)):
        parts["corpus_languages"] = own_languages
    return parts


def _digest(alignments: str | None, digests: Digests) -> str | None:
    """Return a hash of the content of a file of word alignments."""
    if alignments is None:
        return None
    with open_file(path := Path(alignments)) as file:
        return digests(path, file).hex()


def _trained_by(config: TokenizerConfig) -> dict[str, Any]:
    """Return the settings that affect how a tokenizer is trained; without empty symbols, so that older keys hold."""
    settings = dataclasses.asdict(config)
    return {key: value for key, value in settings.items() if key != "path" and (key != "symbols" or value)}


def _prepare(config: Config, corpora: Corpora, work: Path, crew: Crew, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Prepare all data in the folder `work`, which may be partly filled already, and return the report."""
    data, log = config.data, crew.say
    val = _val_lines(corpora.val, data, log)
    alignments = [corpus.alignments for corpus in corpora.train]
    cleaner = clean(data.cleaning, _sources(corpora.train, data), alignments, work, crew)
    cleaning.tell(cleaner.report(), log)  # before the tokenizer, whose training may fail on the text that is left
    if not cleaner.read:
        raise NmtError("data.train has no pairs")
    if not cleaner.kept:
        raise NmtError("cleaning dropped every training pair: see data.cleaning for the limits")
    if (work / "tokenizer").is_dir():
        tokenizer = Tokenizer.load(work / "tokenizer")
    else:
        if tokenizer is not None and config.tokenizer.path is not None and config.fine_tune.run is None:
            log(describe(config.tokenizer, tokenizer))
        tokenizer = tokenizer or _train_tokenizer(config.tokenizer, data.tags, work, crew)
        with atomic_directory(work / "tokenizer") as folder:
            tokenizer.save(folder)
    store(tokenizer, cleaner, [corpus.tag for corpus in corpora.train], any(alignments), work, crew)
    cleaning.tell_rule(cleaner.report(), "too_many_tokens", log)
    if not cleaner.kept:
        most = data.cleaning.max_tokens
        raise NmtError(f"every training pair has more than data.cleaning.max_tokens={most} tokens: raise it")
    _store_val(val, [corpus.tag for corpus in corpora.val], tokenizer, work / "val")
    targets = [target for lines in val for _, target in lines]
    sets = {_VAL: list(chain.from_iterable(val))} | _test_text(config, corpora, log)
    train = Store(work / "train")
    shared = shared_with(train, sets)
    report = {"cleaning": cleaner.report(), "round_trip": _round_trip(targets, tokenizer), "shared": shared}
    if train.has_links:
        links, pairs = train.count_links()
        report["alignments"] = {"links": links, "pairs": pairs}
        log(f"word alignments: {links:,} links in {pairs:,} of {len(train):,} training pairs")
    _tell_round_trip(report["round_trip"], log)
    for name, counts in shared.items():
        tell_shared(name, counts, log)
    return report


def _test_text(config: Config, corpora: Corpora, log: Callable[[str], None]) -> dict[str, list[Pair]]:
    """Return the test sets by their keys. One that cannot be read is only logged, since it is not needed yet."""
    texts = {}
    for key, parts in ((f"data.test.{name}", parts) for name, parts in corpora.test.items()):
        try:
            texts[key] = [pair for source in _sources(parts, config.data) for pair in source.pairs(log)]
        except NmtError as error:
            log(f"{key} cannot be read now, so it is not compared with the training text: {error}")
    return texts


def _train_tokenizer(config: TokenizerConfig, tags: Sequence[str], work: Path, crew: Crew) -> Tokenizer:
    """Train a tokenizer on the cleaned text, or on lines spread evenly over it if all of it would need much memory."""
    if config.algorithm == "byte":
        return train_tokenizer(config, [], [], tags=tags)
    text = CleanedText(work)
    characters = text.characters(crew, config.normalization)
    totals = (characters[0].total(), characters[1].total())
    share = min(1.0, _TOKENIZER_CHARACTERS / sum(totals))
    crew.say(f"training the tokenizer on {share:.0%} of the text")
    known: list[Set[str]] = [set(), set()]
    if share < 1 and config.character_coverage == 1:
        known = [{char for char, count in counts.items() if count >= _KNOWN_CHARACTER} for counts in characters]

    def train(config: TokenizerConfig) -> Tokenizer:
        return train_tokenizer(config, text.lines(0, share), text.lines(1, share), (known[0], known[1]), tags)

    return fitting(config, totals, train) if config.vocab_size == "auto" else train(config)


def _store_val(corpora: Sequence[list[Pair]], tags: Sequence[str | None], tokenizer: Tokenizer, folder: Path) -> None:
    """Store the lines of held-out corpora unchanged, with ids that begin with the tag of their corpus, if it has one.

    `corpora` has the lines of each corpus, `tags` the tag of each.
    """
    folder.mkdir(exist_ok=True)
    with StoreWriter(folder, tokenizer.source_size, tokenizer.target_size, len(corpora)) as writer:
        for corpus, (lines, tag) in enumerate(zip(corpora, tags, strict=True)):
            head = tokenizer.tag_ids(tag)
            sources = [[*head, *ids] for ids in tokenizer.encode_source([source for source, _ in lines])]
            targets = tokenizer.encode_target([normalise_whitespace(target) for _, target in lines])
            for source, target, raw in zip(sources, targets, lines, strict=True):
                writer.add(source, target, *raw, corpus)


def _round_trip(lines: list[str], tokenizer: Tokenizer) -> dict[str, Any]:
    """Count the lines that are different after encoding and decoding, and return the counts with examples."""
    decoded = [tokenizer.decode_target(ids) for ids in tokenizer.encode_target(lines)]
    altered = [list(pair) for pair in zip(lines, decoded, strict=True) if pair[0] != pair[1]]
    return {"lines": len(lines), "altered": len(altered), "examples": altered[: cleaning.EXAMPLES]}


def _tell_round_trip(trip: dict[str, Any], log: Callable[[str], None]) -> None:
    log(
        f"validation targets: {trip['lines'] - trip['altered']:,} of {trip['lines']:,} "
        "are unchanged after encoding and decoding"
    )
    for line, decoded in trip["examples"]:
        same = len(commonprefix([line, decoded]))  # noqa: RUF071 - of characters
        shown = slice(max(0, same - 30), same + 30)  # lines may be long: show the first difference
        log(f"  altered: {line[shown]!r} -> {decoded[shown]!r}")
