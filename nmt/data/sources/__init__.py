"""Sources of parallel text: one module per kind of corpus, and `source_of`, which chooses among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from nmt.config.data import CorpusConfig
from nmt.data.sources.hub import DataSet, is_saved, splits_of
from nmt.data.sources.source import Source
from nmt.data.sources.stream import Stream
from nmt.data.sources.tsv import Tsv
from nmt.data.sources.two_files import Files
from nmt.errors import ConfigError


def source_of(corpus: CorpusConfig, source_language: str, target_language: str) -> Source:
    """Return the source that a configured corpus is read from; the two languages are used if it names none itself."""
    languages = corpus.source_language or source_language, corpus.target_language or target_language
    if corpus.hub is not None:
        kind = Stream if corpus.streaming and not is_saved(corpus.hub) else DataSet
        name = corpus.name or "/".join(filter(None, (Path(corpus.hub).name, corpus.config)))
        return kind(name, languages, corpus.hub, corpus.config, corpus.split, corpus.field)
    path = Path(str(corpus.prefix or corpus.tsv or corpus.source))
    name = corpus.name or path.name
    if corpus.tsv is not None:
        return Tsv(name, languages, path, corpus.columns)
    if corpus.source is not None and corpus.target is not None:
        return Files(name, languages, (path, Path(corpus.target)), or_compressed=False)
    source, target = (Path(f"{corpus.prefix}.{language}") for language in languages)
    return Files(name, languages, (source, target), or_compressed=True)


def with_split(corpus: CorpusConfig, key: str, names: Sequence[str]) -> CorpusConfig:
    """Return the corpus; if it is a data set without a configured split, choose the first of `names` that it has.

    `key` is the configuration key of the corpus, for the message of the ConfigError that is raised if the data set has
    none of these splits.
    """
    if corpus.hub is None or corpus.split is not None:
        return corpus
    splits = splits_of(corpus.hub, corpus.config, corpus.streaming)
    if not isinstance(splits, dict):  # a single split that was saved by itself
        return corpus
    split = next((name for name in names if name in splits), None)
    if split is None:
        raise ConfigError(
            f"{key}: the data set {corpus.hub} has no split called {' or '.join(names)}, only {', '.join(splits)}: "
            "name a split that is not trained on with the key split, or use other text"
        )
    return dataclasses.replace(corpus, split=split)
