"""Parallel text from data sets of the `datasets` library: from the Hugging Face hub, or local folders."""

from __future__ import annotations

import dataclasses
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nmt.config.data import CorpusConfig
from nmt.data.extent import Extent
from nmt.errors import ConfigError, NmtError, Unfinished

ROWS = 1000  # read at a time
_SECONDS = 5  # to wait for the hub's answer
_PAUSES = (1, 4, 16, 64)  # seconds before a broken stream is opened anew


def read(
    corpus: CorpusConfig, source_language: str, target_language: str, extent: Extent | None = None
) -> Iterator[tuple[str, str]]:
    """The pairs of a data set, row by row; line breaks within a text become spaces, no text is an empty line.

    The languages are the keys of the nested column `corpus.field`, as in WMT14, or columns of their own, as in
    Multi30k. Raises NmtError for a data set, configuration, split or column that is not there.
    """
    rows = _load(corpus)
    pairs_of = _columns(corpus, rows, (source_language, target_language))
    for number, block in enumerate(rows.iter(ROWS)):
        if extent is not None:
            extent.reach(number * ROWS, len(rows))
        yield from pairs_of(block)


def stream(
    corpus: CorpusConfig, source_language: str, target_language: str, place: Any, say: Callable[[str], None]
) -> Iterator[tuple[list[tuple[str, str]], Any]]:
    """The same from a stream that leaves no copy on this machine: pairs, and the place after them, as JSON can hold it.

    Goes on after a place; None is the beginning. A stream that breaks is opened anew where it was, some times with
    longer and longer pauses. Raises Unfinished where that does not help, and NmtError as `read` does.
    """
    failures = 0  # since the last block
    while True:
        try:
            rows = _load(corpus, streaming=True)
            pairs_of = _columns(corpus, rows, (source_language, target_language))
            if place is not None:
                rows.load_state_dict(place)
            blocks = rows.iter(ROWS)
            while (block := next(blocks, None)) is not None:
                pairs, place, failures = list(pairs_of(block)), rows.state_dict(), 0
                yield pairs, place
            return
        except ConfigError:
            raise
        except Exception as error:  # of every layer below, as in _load
            reason = " ".join(str(error).split()) or type(error).__name__
            if failures == len(_PAUSES):
                raise Unfinished(
                    f"the stream of {corpus.hub} breaks again and again ({reason}): run the command again to go on"
                ) from error
        say(f"the stream of {corpus.hub} broke ({reason}): opened anew where it was in {_PAUSES[failures]} s")
        time.sleep(_PAUSES[failures])
        failures += 1


def streamed_digest(corpus: CorpusConfig) -> str:
    """What can be known of a data set without reading it: its configuration, split and the revision of its files.

    Of the hub that is the commit; of a folder, the names, sizes and times of change of its files.
    """
    datasets = _datasets_for(corpus)
    try:
        builder = datasets.load_dataset_builder(corpus.hub, corpus.config)
    except Exception as error:
        raise _refusal(corpus, error) from error
    return f"{builder.dataset_name} {builder.config_id} {builder.info.version} {builder.hash} {corpus.split}"


def streams(corpus: CorpusConfig) -> bool:
    """Whether a corpus is read from a stream; what `save_to_disk` wrote is mapped into memory in any case."""
    return corpus.streaming and not _is_saved(str(corpus.hub))


def _columns(corpus: CorpusConfig, rows: Any, languages: tuple[str, str]) -> Callable[[Any], Iterator[tuple[str, str]]]:
    """A function that gives the pairs of a block of rows. Raises ConfigError for a column that is not there."""
    nested = _check_columns(corpus, rows, languages)

    def pairs_of(block: Any) -> Iterator[tuple[str, str]]:
        sides = (
            [(cell or {}).get(lang) for cell in block[corpus.field]] if nested else block[lang] for lang in languages
        )
        for source, target in zip(*sides, strict=True):
            yield _line(source), _line(target)

    return pairs_of


def files(corpus: CorpusConfig) -> list[Path]:
    """The files on this machine that hold the data set's split, downloaded if need be."""
    return [Path(file["filename"]) for file in _load(corpus).cache_files]


def _line(text: object) -> str:
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"a column of a data set is not text: it has {text!r}")
    return " ".join((text or "").splitlines())


def _load(corpus: CorpusConfig, streaming: bool = False) -> Any:
    """The split as a `datasets.Dataset`, memory-mapped, or as an `IterableDataset`."""
    name, splits = str(corpus.hub), _splits(corpus, streaming)
    alone = not isinstance(splits, dict)
    if alone:  # it goes by the default's name, and its own
        splits = dict.fromkeys(("train", *filter(None, [splits.split and str(splits.split)])), splits)
    if corpus.split is None and alone:
        return splits["train"]
    if corpus.split is None:
        raise ConfigError(f"the data set {name} has several splits: say by split which of {', '.join(splits)} to read")
    if corpus.split in splits:
        return splits[corpus.split]
    if is_part(corpus):
        return _parts(corpus, splits)
    if alone:
        raise ConfigError(
            f"the data set {name} is one split that was saved alone, not {corpus.split!r}: leave split out"
        )
    raise ConfigError(f"the data set {name} has no split {corpus.split!r}: there are {', '.join(splits)}")


def is_part(corpus: CorpusConfig) -> bool:
    """Whether a data set's split is named as part of one, or parts of several: train[:10%], train[:1000]+test."""
    return corpus.hub is not None and re.search(r"[\[+]", corpus.split or "") is not None


def _parts(corpus: CorpusConfig, splits: dict[str, Any]) -> Any:
    """The rows of splits that a name such as train[:10%]+test means, as the `datasets` library reads it."""
    import datasets

    name, shown = str(corpus.hub), f"split={corpus.split}"
    if streams(corpus):
        raise ConfigError(f"the data set {name} cannot be streamed by {shown}: leave streaming out, or take all of it")
    try:
        asked = datasets.ReadInstruction.from_spec(corpus.split)
        found = asked.to_absolute({split: len(rows) for split, rows in splits.items()})
    except (ValueError, AssertionError) as error:
        raise ConfigError(
            f"the data set {name} has no {shown}: there are {', '.join(splits)}, and parts of them such as "
            "train[:10%] or train[1000:2000]"
        ) from error
    parts = [splits[part.splitname].select(range(part.from_, part.to)) for part in found]
    if not any(map(len, parts)):
        raise ConfigError(f"the data set {name}: {shown} has no rows in it")
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def with_split(corpus: CorpusConfig, key: str, names: Sequence[str]) -> CorpusConfig:
    """The corpus as it is; of a data set without a split, with the first of `names` that is one of its splits.

    Raises ConfigError, naming the splits there are, where it has none of them: `key` is left without text.
    """
    if corpus.hub is None or corpus.split is not None:
        return corpus
    splits = _splits(corpus, corpus.streaming)
    if not isinstance(splits, dict):  # a single split, which was saved alone
        return corpus
    split = next((name for name in names if name in splits), None)
    if split is None:
        raise ConfigError(
            f"{key}: the data set {corpus.hub} has no split called {' or '.join(names)}, only {', '.join(splits)}: "
            "say by the key split which to take, one that is not trained on, or take other text"
        )
    return dataclasses.replace(corpus, split=split)


def _splits(corpus: CorpusConfig, streaming: bool) -> Any:
    """All splits by name, each as _load has it; or a single one that was saved alone."""
    name = str(corpus.hub)
    datasets = _datasets_for(corpus)
    try:
        if _is_saved(name):
            return datasets.load_from_disk(name, keep_in_memory=False)
        if streaming:
            return datasets.load_dataset(name, corpus.config, streaming=True)
        return datasets.load_dataset(name, corpus.config, keep_in_memory=False)
    except Exception as error:  # every layer below (HTTP, hub, builders, Arrow) has exceptions of its own
        raise _refusal(corpus, error) from error


def _is_saved(name: str) -> bool:
    """Whether `save_to_disk` wrote it."""
    return any((Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json"))


def _datasets_for(corpus: CorpusConfig) -> Any:
    local = Path(str(corpus.hub)).is_dir()
    return _import_datasets(offline=not local and not _hub_answers())


def _import_datasets(offline: bool) -> Any:
    """The `datasets` module; offline, it finds what has been downloaded before and does not try to reach the hub."""
    import datasets
    import huggingface_hub.constants

    if offline:  # the environment variables that say so have been read by now
        datasets.config.HF_HUB_OFFLINE = True
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


@cache
def _hub_answers() -> bool:
    """Whether the hub can be reached, told within seconds: its own client tries again for half a minute."""
    from huggingface_hub.constants import ENDPOINT

    try:
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=_SECONDS).close()
    except (urllib.error.HTTPError, ssl.SSLError):  # an answer, though not the one hoped for
        return True
    except OSError as error:
        return isinstance(getattr(error, "reason", None), ssl.SSLError)
    return True


def _refusal(corpus: CorpusConfig, error: Exception) -> NmtError:
    """What went wrong below, as a sentence for the user."""
    name, reason = str(corpus.hub), " ".join(str(error).split())
    if Path(name).is_dir() or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return NmtError(f"the data set {name} (configuration {corpus.config}) could not be loaded: {reason}")
    if not _hub_answers():
        reason = "it cannot be reached, nothing has been downloaded before, and no folder here has that name"
    return NmtError(
        f"the data set {name} could not be had from the Hugging Face hub ({reason}): "
        "set data.path=FOLDER to read {train,val,test} files of your own instead"
    )


def _check_columns(corpus: CorpusConfig, rows: Any, languages: tuple[str, str]) -> bool:
    """Whether the languages are nested in one column; raises ConfigError where they are not there at all."""
    features = rows.features
    if features is None:  # of a stream of JSON or CSV: not known before a row is read
        features = next(iter(rows), {})
    nested = corpus.field in features
    if nested:
        feature = features[corpus.field]
        there = list(feature) if isinstance(feature, dict) else list(getattr(feature, "languages", None) or [])
        where = f"column {corpus.field!r}"
    else:
        there, where = list(features), f"split {corpus.split!r}"
    for language in languages:
        if language not in there:
            raise ConfigError(
                f"{where} of the data set {corpus.hub} has no {language!r}: there are {', '.join(there) or 'none'}"
            )
    return nested
