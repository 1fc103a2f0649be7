"""Parallel text read by the `datasets` library, from the Hugging Face hub or from local folders."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from nmt.data.extent import Extent
from nmt.data.sources.source import Pair, Say, Source
from nmt.errors import ConfigError, NmtError
from nmt.messages import on_terminal

ROWS = 1000  # rows read at a time
_SECONDS = 5  # the longest wait for an answer of the hub


@dataclass(frozen=True)
class DataSet(Source):
    """One split of a data set, which is downloaded unless it is already on this machine.

    The languages are the keys of the nested column `field`, as in WMT14, or have a column each, as in Multi30k. A
    missing text (null) is an empty line. Line breaks within a text become spaces; in training text (`cut`), cleaning
    replaces and counts them.
    """

    hub: str  # the name on the hub, or a local folder
    config: str | None  # the name of a configuration of the data set
    split: str | None  # one split, or parts of one or several: train[:10%], train[:1000]+test
    field: str  # the nested column, if there is one

    streaming: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """The columns and, if only a part of a split is read, the name of the part: its files contain all parts."""
        return f"hub {self.field} {' '.join(self.languages)}{f' {self.split}' if self._is_part else ''}"

    def files(self) -> list[Path]:
        """Return the files on this machine that contain the split; downloads them if necessary."""
        return [Path(file["filename"]) for file in self.load().cache_files]

    def check(self) -> None:
        """Do nothing, because checking whether the data set exists could download it."""

    def pairs(self, say: Say, extent: Extent | None = None, cut: bool = False) -> Iterator[Pair]:
        """Yield the pairs row by row; raises NmtError if the data set, its split or a column does not exist."""
        rows = self.load()
        nested = self.is_nested(rows)
        for number, block in enumerate(rows.iter(ROWS)):
            if extent is not None:
                extent.reach(number * ROWS, len(rows))
            pairs = self.pairs_of(block, nested)
            yield from pairs if cut else map(as_lines, pairs)

    def load(self) -> Any:
        """Return the split as a memory-mapped `datasets.Dataset`, or as an `IterableDataset` if it is streamed."""
        splits = splits_of(self.hub, self.config, self.streaming)
        alone = not isinstance(splits, dict)
        if alone:  # the default name train refers to it as well as its own name
            splits = dict.fromkeys(("train", *filter(None, [splits.split and str(splits.split)])), splits)
        there = ", ".join(splits)
        if self.split is None and alone:
            return splits["train"]
        if self.split is None:
            raise ConfigError(f"the data set {self.hub} has several splits: set split to one of {there}")
        if self.split in splits:
            return splits[self.split]
        if self._is_part:
            return self._parts(splits)
        if alone:
            raise ConfigError(
                f"the data set {self.hub} is a single split that was saved by itself, not {self.split!r}: remove split"
            )
        raise ConfigError(f"the data set {self.hub} has no split {self.split!r}: there are {there}")

    def is_nested(self, rows: Any) -> bool:
        """Return whether the languages are nested in the column `field`; raises ConfigError if one does not exist."""
        features = rows.features
        if features is None:  # the columns of streamed JSON or CSV are only known once a row has been read
            features = next(iter(rows), {})
        nested = self.field in features
        if nested:
            feature = features[self.field]
            there = list(feature) if isinstance(feature, dict) else list(getattr(feature, "languages", None) or [])
            where = f"column {self.field!r}"
        else:
            there, where = list(features), f"split {self.split!r}"
        for language in self.languages:
            if language not in there:
                raise ConfigError(
                    f"{where} of the data set {self.hub} has no {language!r}: there are {', '.join(there) or 'none'}"
                )
        return nested

    def pairs_of(self, block: Mapping[str, Any], nested: bool) -> Iterator[Pair]:
        """Yield the pairs of a block of rows, given as a mapping from column names to lists of cells, unchanged."""
        sides = (
            [(cell or {}).get(lang) for cell in block[self.field]] if nested else block[lang] for lang in self.languages
        )
        for source, target in zip(*sides, strict=True):
            yield _text(source), _text(target)

    @property
    def _is_part(self) -> bool:
        return re.search(r"[\[+]", self.split or "") is not None

    def _parts(self, splits: Mapping[str, Any]) -> Any:
        """Return the rows that a split such as train[:10%]+test selects, in the syntax of the `datasets` library."""
        import datasets

        try:
            asked = datasets.ReadInstruction.from_spec(self.split)
            found = asked.to_absolute({split: len(rows) for split, rows in splits.items()})
        except (ValueError, AssertionError) as error:
            raise ConfigError(
                f"the data set {self.hub} has no split={self.split}: there are {', '.join(splits)}, and parts of them "
                "such as train[:10%] or train[1000:2000]"
            ) from error
        parts = [splits[part.splitname].select(range(part.from_, part.to)) for part in found]
        if not any(map(len, parts)):
            raise ConfigError(f"the data set {self.hub}: split={self.split} has no rows in it")
        return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def splits_of(name: str, config: str | None, streaming: bool) -> Any:
    """Return all splits of a data set by name, or the split itself if a single one was saved by itself."""
    datasets = _datasets_for(name)
    try:
        if is_saved(name):
            return datasets.load_from_disk(name, keep_in_memory=False)
        if streaming:
            return datasets.load_dataset(name, config, streaming=True)
        return datasets.load_dataset(name, config, keep_in_memory=False)
    except Exception as error:  # the layers below (HTTP, hub, builders, Arrow) share no exception class
        raise _refusal(name, config, error) from error


def builder_of(name: str, config: str | None) -> Any:
    """Return the builder of a data set, which describes it without reading its content."""
    datasets = _datasets_for(name)
    try:
        return datasets.load_dataset_builder(name, config)
    except Exception as error:
        raise _refusal(name, config, error) from error


def is_saved(name: str) -> bool:
    """Return whether `name` is a folder written by `save_to_disk`, which is memory-mapped and never streamed."""
    return any((Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json"))


def _text(cell: object) -> str:
    if cell is not None and not isinstance(cell, str):
        raise ConfigError(f"a column of a data set is not text: it contains {cell!r}")
    return cell or ""


def as_lines(pair: Pair) -> Pair:
    """Return a pair of texts as lines: line breaks become spaces."""
    return " ".join(pair[0].splitlines()), " ".join(pair[1].splitlines())


def _datasets_for(name: str) -> Any:
    """Return the `datasets` module, in offline mode if the hub does not answer, so that earlier downloads are found."""
    import datasets
    import huggingface_hub.constants

    if not Path(name).is_dir() and not _hub_answers():
        # both libraries have read the environment variables for offline mode already, when they were imported
        datasets.config.HF_HUB_OFFLINE = True
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    if not on_terminal():
        datasets.disable_progress_bars()
    return datasets


@cache
def _hub_answers() -> bool:
    """Return within seconds whether the hub can be reached; the hub's own client would try for half a minute."""
    from huggingface_hub.constants import ENDPOINT

    try:
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=_SECONDS).close()
    except (urllib.error.HTTPError, ssl.SSLError):  # a refusal or a bad certificate is an answer too
        return True
    except OSError as error:
        return isinstance(getattr(error, "reason", None), ssl.SSLError)
    return True


def _refusal(name: str, config: str | None, error: Exception) -> NmtError:
    """Return the error that tells the user in one sentence why a data set could not be loaded."""
    reason = " ".join(str(error).split())
    if Path(name).is_dir() or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return NmtError(f"the data set {name} (configuration {config}) could not be loaded: {reason}")
    if not _hub_answers():
        reason = "it cannot be reached, nothing has been downloaded before, and no folder here has that name"
    return NmtError(
        f"the data set {name} could not be loaded from the Hugging Face hub ({reason}): "
        "set data.path=FOLDER to read {train,val,test} files of your own instead"
    )
