"""From raw text to what training reads: cleaned, tokenized and stored once, under the key of its content."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.schema import Config
from nmt.data import cleaning
from nmt.data.cleaning import normalise_whitespace
from nmt.data.corpora import Corpora, resolve, validation_set
from nmt.data.digests import Digests
from nmt.data.given_tokenizer import describe
from nmt.data.overlap import Shared, shared_with, tell_shared
from nmt.data.rules import has_long_signs
from nmt.data.sources import source_of
from nmt.data.sources.source import Pair, Source
from nmt.data.stages import CleanedText, Crew, clean, store, tidy, workers_for
from nmt.data.store import Store, StoreWriter
from nmt.data.tokenizer import Tokenizer
from nmt.data.vocabulary import fitting, train_tokenizer
from nmt.errors import NmtError
from nmt.files import atomic_directory, atomic_write, resumable_directory

_VAL = "data.val"  # as it is called where it is told what is in it
FORMAT = 2  # of the prepared folder; a new number makes new keys
_TOKENIZER_CHARACTERS = 30_000_000  # of text a tokenizer is trained on, at most: some 20 bytes of memory each
_KNOWN_CHARACTER = 10  # occurrences that make a character known even where the tokenizer is trained on less than all


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What a validation reads."""

    tokenizer: Tokenizer
    val: Store  # ids of the lines with white space normalised, text as it was read
    val_lines: list[Pair]  # source and reference lines as they were read


@dataclasses.dataclass(frozen=True)
class Prepared(HeldOut):
    """What training reads."""

    folder: Path
    train: Store
    fingerprints: dict[str, str]  # of train, val and tokenizer: equal where training sees the same
    report: dict[str, Any]  # what report.json holds


def prepare(
    config: Config, log: Callable[[str], None], tokenizer: Tokenizer | None = None, live: bool = False
) -> Prepared:
    """Clean the training text, train a tokenizer on it where none is given, encode and store it and validation text.

    The result lies in data.cache under a key of the texts' content and of the settings that shaped it, so that the same
    again is only opened, and what another process began is gone on with. Validation text is checked, never filtered.
    `log` is given what there is to say; `live` renews a line on stderr besides. Raises NmtError for what the user can
    mend, and Unfinished where the same call may succeed later.
    """
    corpora = resolve(config.data)
    if config.data.path is not None and config.data.train:
        log(f"data: data.path={config.data.path} stands in for data.train, data.val and data.test")
    folder = Path(config.data.cache) / _key(config, corpora, tokenizer)
    with resumable_directory(folder, lambda: log(f"data: another process prepares {folder}: waiting for it")) as work:
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
        _find_by_size(config, corpora, folder, prepared.tokenizer)
    if work is None:
        tell_shared(_VAL, _val_shared(prepared), log)
    return prepared


def _find_by_size(config: Config, corpora: Corpora, folder: Path, tokenizer: Tokenizer) -> None:
    """Let the size that was found for `auto`, which a run's config.yaml has in its place, lead to the same folder."""
    size = max(tokenizer.source_size, tokenizer.target_size)
    sized = dataclasses.replace(config, tokenizer=dataclasses.replace(config.tokenizer, vocab_size=size))
    link = folder.with_name(_key(sized, corpora, None))
    with suppress(OSError):  # there already, or a file system without links: then it is prepared once more
        link.symlink_to(folder.name, target_is_directory=True)


def _val_shared(prepared: Prepared) -> Shared:
    """What validation and training text share; counted, and noted down if that can be, where the report lacks it."""
    counts: dict[str, Shared] = prepared.report.get("shared", {})
    if _VAL not in counts:
        counts |= shared_with(prepared.train, {_VAL: prepared.val_lines})
        with suppress(NmtError, OSError), atomic_write(prepared.folder / "report.json") as file:
            json.dump(prepared.report | {"shared": counts}, file, indent=1, ensure_ascii=False)
    return counts[_VAL]


def hold_out(data: DataConfig, tokenizer: Tokenizer, folder: Path, log: Callable[[str], None]) -> HeldOut:
    """Encode the validation set alone, with the tokenizer of a run, and store it in `folder`."""
    corpora = validation_set(data)
    lines = [list(source.pairs(log)) for source in _sources(corpora, data)]
    _store_val(lines, [corpus.tag for corpus in corpora], tokenizer, folder)
    val = Store(folder)
    return HeldOut(tokenizer, val, _lines(val))


def _sources(corpora: Sequence[CorpusConfig], data: DataConfig) -> list[Source]:
    return [source_of(corpus, data.source_language, data.target_language) for corpus in corpora]


def _lines(store: Store) -> list[Pair]:
    return [(store.source_text(row), store.target_text(row)) for row in range(len(store))]


def _open(folder: Path) -> Prepared:
    tokenizer = Tokenizer.load(folder / "tokenizer")
    train, val = Store(folder / "train"), Store(folder / "val")
    return Prepared(
        tokenizer,
        val,
        _lines(val),
        folder,
        train,
        fingerprints={"train": train.fingerprint, "val": val.fingerprint, "tokenizer": tokenizer.fingerprint},
        report=json.loads((folder / "report.json").read_text("utf-8")),
    )


def _key(config: Config, corpora: Corpora, tokenizer: Tokenizer | None) -> str:
    """A name that changes with the content of the texts and with the settings that shape what is stored."""
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
        parts["ratio"] = "signs by the letters that they stand for"  # what was prepared before compared characters
    own_languages = [(corpus.source_language, corpus.target_language) for corpus in corpora.train]
    if data.cleaning.wrong_language is not None and any(map(any, own_languages)):
        parts["corpus_languages"] = own_languages
    hashed = blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
    return f"{languages[0]}-{languages[1]}-{hashed}"


def _trained_by(config: TokenizerConfig) -> dict[str, Any]:
    """The settings that a tokenizer is trained by; symbols only where there are some, as in older keys."""
    settings = dataclasses.asdict(config)
    return {key: value for key, value in settings.items() if key != "path" and (key != "symbols" or value)}


def _prepare(config: Config, corpora: Corpora, work: Path, crew: Crew, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Fill the folder `work`, in which a part may be done, and return the report."""
    data, log = config.data, crew.say
    val = [list(source.pairs(log)) for source in _sources(corpora.val, data)]
    cleaner = clean(data.cleaning, _sources(corpora.train, data), work, crew)
    cleaning.tell(cleaner.report(), log)  # now, since what comes next may fail for what is left
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
    store(tokenizer, cleaner, [corpus.tag for corpus in corpora.train], work, crew)
    cleaning.tell_rule(cleaner.report(), "too_many_tokens", log)
    if not cleaner.kept:
        most = data.cleaning.max_tokens
        raise NmtError(f"every training pair has more than data.cleaning.max_tokens={most} tokens: raise it")
    _store_val(val, [corpus.tag for corpus in corpora.val], tokenizer, work / "val")
    targets = [target for lines in val for _, target in lines]
    sets = {_VAL: list(chain.from_iterable(val))} | _test_text(config, corpora, log)
    shared = shared_with(Store(work / "train"), sets)
    report = {"cleaning": cleaner.report(), "round_trip": _round_trip(targets, tokenizer), "shared": shared}
    _tell_round_trip(report["round_trip"], log)
    for name, counts in shared.items():
        tell_shared(name, counts, log)
    return report


def _test_text(config: Config, corpora: Corpora, log: Callable[[str], None]) -> dict[str, list[Pair]]:
    """The test sets by their keys; one that cannot be read is not needed yet, so that is only told."""
    texts = {}
    for key, parts in ((f"data.test.{name}", parts) for name, parts in corpora.test.items()):
        try:
            texts[key] = [pair for source in _sources(parts, config.data) for pair in source.pairs(log)]
        except NmtError as error:
            log(f"{key} cannot be read now, and so not be compared with the training text: {error}")
    return texts


def _train_tokenizer(config: TokenizerConfig, tags: Sequence[str], work: Path, crew: Crew) -> Tokenizer:
    """A tokenizer trained on the text, or, for the sake of memory, on lines evenly spread over it."""
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
    """Store the lines of corpora as they are, with the ids of their tags."""
    folder.mkdir(exist_ok=True)
    with StoreWriter(folder, tokenizer.source_size, tokenizer.target_size, len(corpora)) as writer:
        for corpus, (lines, tag) in enumerate(zip(corpora, tags, strict=True)):
            head = tokenizer.tag_ids(tag)
            sources = [[*head, *ids] for ids in tokenizer.encode_source([source for source, _ in lines])]
            targets = tokenizer.encode_target([normalise_whitespace(target) for _, target in lines])
            for source, target, raw in zip(sources, targets, lines, strict=True):
                writer.add(source, target, *raw, corpus)


def _round_trip(lines: list[str], tokenizer: Tokenizer) -> dict[str, Any]:
    """How many lines decoding gives back as they are, and examples of the others."""
    decoded = [tokenizer.decode_target(ids) for ids in tokenizer.encode_target(lines)]
    altered = [list(pair) for pair in zip(lines, decoded, strict=True) if pair[0] != pair[1]]
    return {"lines": len(lines), "altered": len(altered), "examples": altered[: cleaning.EXAMPLES]}


def _tell_round_trip(trip: dict[str, Any], log: Callable[[str], None]) -> None:
    log(
        f"validation targets: {trip['lines'] - trip['altered']:,} of {trip['lines']:,} "
        "come back from the tokenizer as they were"
    )
    for line, decoded in trip["examples"]:
        log(f"  altered: {line!r} -> {decoded!r}")
