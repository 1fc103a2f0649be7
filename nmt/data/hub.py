"""Parallel text from data sets of the `datasets` library: from the Hugging Face hub, or local folders."""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from nmt.config.schema import CorpusConfig
from nmt.errors import ConfigError, NmtError

_ROWS = 1000  # read at a time
_SECONDS = 5  # to wait for the hub's answer


def read(corpus: CorpusConfig, source_language: str, target_language: str) -> Iterator[tuple[str, str]]:
    """The pairs of a data set, row by row; line breaks within a text become spaces, no text is an empty line.

    The languages are the keys of the nested column `corpus.field`, as in WMT14, or columns of their own, as in
    Multi30k. Raises NmtError for a data set, configuration, split or column that is not there.
    """
    rows = _load(corpus)
    nested = corpus.field in rows.column_names
    _check_columns(corpus, rows, nested, (source_language, target_language))
    for block in rows.iter(_ROWS):
        cells = block[corpus.field] if nested else []
        sources = [cell[source_language] for cell in cells] if nested else block[source_language]
        targets = [cell[target_language] for cell in cells] if nested else block[target_language]
        for source, target in zip(sources, targets, strict=True):
            yield _line(source), _line(target)


def files(corpus: CorpusConfig) -> list[Path]:
    """The files on this machine that hold the data set's split, downloaded if need be."""
    return [Path(file["filename"]) for file in _load(corpus).cache_files]


def _line(text: str | None) -> str:
    return " ".join((text or "").splitlines())


def _load(corpus: CorpusConfig) -> Any:
    """The split as a `datasets.Dataset`, memory-mapped."""
    name = str(corpus.hub)
    local = Path(name).is_dir()
    datasets = _import_datasets(offline=not local and not _hub_answers())
    try:
        if any((Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json")):
            splits = datasets.load_from_disk(name, keep_in_memory=False)
        else:
            splits = datasets.load_dataset(name, corpus.config, keep_in_memory=False)
    except Exception as error:  # every layer below (HTTP, hub, builders, Arrow) has exceptions of its own
        raise _refusal(corpus, error) from error
    if not isinstance(splits, dict):  # a single split that was saved alone
        return splits
    if corpus.split not in splits:
        raise ConfigError(f"the data set {name} has no split {corpus.split!r}: there are {', '.join(splits)}")
    return splits[corpus.split]


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


def _check_columns(corpus: CorpusConfig, rows: Any, nested: bool, languages: tuple[str, str]) -> None:
    if nested:
        feature = rows.features[corpus.field]
        there = list(feature) if isinstance(feature, dict) else list(getattr(feature, "languages", None) or [])
        where = f"column {corpus.field!r}"
    else:
        there, where = rows.column_names, f"split {corpus.split!r}"
    for language in languages:
        if language not in there:
            raise ConfigError(
                f"{where} of the data set {corpus.hub} has no {language!r}: there are {', '.join(there) or 'none'}"
            )
