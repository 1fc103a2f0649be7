"""Parallel text from data sets of the `datasets` library: from the Hugging Face hub, or local folders."""

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

ROWS = 1000  # read at a time
_SECONDS = 5  # to wait for the hub's answer


@dataclass(frozen=True)
class DataSet(Source):
    """One split of a data set, which is copied to this machine where it is not there already.

    Its languages are the keys of the nested column `field`, as in WMT14, or columns of their own, as in Multi30k. Line
    breaks within a text become spaces, no text is an empty line.
    """

    hub: str  # the name there, or a folder
    config: str | None
    split: str | None  # also parts of one or several: train[:10%], train[:1000]+test
    field: str

    streaming: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """The columns; and of a part its name, since all parts of a split lie in the same files."""
        return f"hub {self.field} {' '.join(self.languages)}{f' {self.split}' if self._is_part else ''}"

    def files(self) -> list[Path]:
        """The files on this machine that hold the split, downloaded if need be."""
        return [Path(file["filename"]) for file in self.load().cache_files]

    def check(self) -> None:
        """Take it to be there: to look for it may take a download."""

    def pairs(self, say: Say, extent: Extent | None = None) -> Iterator[Pair]:
        """Yield the pairs row by row; raises NmtError where the data set, its split or a column is not there."""
        rows = self.load()
        nested = self.is_nested(rows)
        for number, block in enumerate(rows.iter(ROWS)):
            if extent is not None:
                extent.reach(number * ROWS, len(rows))
            yield from self.pairs_of(block, nested)

    def load(self) -> Any:
        """Return the split as a `datasets.Dataset`, memory-mapped; as an `IterableDataset` where it is streamed."""
        splits = splits_of(self.hub, self.config, self.streaming)
        alone = not isinstance(splits, dict)
        if alone:  # it goes by the default's name, and its own
            splits = dict.fromkeys(("train", *filter(None, [splits.split and str(splits.split)])), splits)
        there = ", ".join(splits)
        if self.split is None and alone:
            return splits["train"]
        if self.split is None:
            raise ConfigError(f"the data set {self.hub} has several splits: say by split which of {there} to read")
        if self.split in splits:
            return splits[self.split]
        if self._is_part:
            return self._parts(splits)
        if alone:
            raise ConfigError(
                f"the data set {self.hub} is one split that was saved alone, not {self.split!r}: leave split out"
            )
        raise ConfigError(f"the data set {self.hub} has no split {self.split!r}: there are {there}")

    def is_nested(self, rows: Any) -> bool:
        """Return whether the languages are in one column; raises ConfigError where they are not there at all."""
        features = rows.features
        if features is None:  # of a stream of JSON or CSV: not known before a row is read
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
        """Yield the pairs of some rows, which are given column by column."""
        sides = (
            [(cell or {}).get(lang) for cell in block[self.field]] if nested else block[lang] for lang in self.languages
        )
        for source, target in zip(*sides, strict=True):
            yield _line(source), _line(target)

    @property
    def _is_part(self) -> bool:
        return re.search(r"[\[+]", self.split or "") is not None

    def _parts(self, splits: Mapping[str, Any]) -> Any:
        """The rows that a name such as train[:10%]+test means, as the `datasets` library reads it."""
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
    """Return all splits of a data set by name; or a single one that was saved alone."""
    datasets = _datasets_for(name)
    try:
        if is_saved(name):
            return datasets.load_from_disk(name, keep_in_memory=False)
        if streaming:
            return datasets.load_dataset(name, config, streaming=True)
        return datasets.load_dataset(name, config, keep_in_memory=False)
    except Exception as error:  # every layer below (HTTP, hub, builders, Arrow) has exceptions of its own
        raise _refusal(name, config, error) from error


def builder_of(name: str, config: str | None) -> Any:
    """Return what the `datasets` library knows of a data set before it reads it."""
    datasets = _datasets_for(name)
    try:
        return datasets.load_dataset_builder(name, config)
    except Exception as error:
        raise _refusal(name, config, error) from error


def is_saved(name: str) -> bool:
    """Return whether `save_to_disk` wrote it: then it is mapped into memory, and not streamed."""
    return any((Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json"))


def _line(text: object) -> str:
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"a column of a data set is not text: it has {text!r}")
    return " ".join((text or "").splitlines())


def _datasets_for(name: str) -> Any:
    """The `datasets` module; where the hub does not answer, it finds what has been downloaded before."""
    import datasets
    import huggingface_hub.constants

    if not Path(name).is_dir() and not _hub_answers():  # the environment variables that say so have been read by now
        datasets.config.HF_HUB_OFFLINE = True
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    if not on_terminal():
        datasets.disable_progress_bars()
    return datasets


@cache
def _hub_answers() -> bool:
    """Return within seconds whether the hub can be reached; its own client would try for half a minute."""
    from huggingface_hub.constants import ENDPOINT

    try:
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=_SECONDS).close()
    except (urllib.error.HTTPError, ssl.SSLError):  # an answer, though not the one hoped for
        return True
    except OSError as error:
        return isinstance(getattr(error, "reason", None), ssl.SSLError)
    return True


def _refusal(name: str, config: str | None, error: Exception) -> NmtError:
    """Return the error that tells the user, in a sentence, why a data set could not be loaded."""
    reason = " ".join(str(error).split())
    if Path(name).is_dir() or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return NmtError(f"the data set {name} (configuration {config}) could not be loaded: {reason}")
    if not _hub_answers():
        reason = "it cannot be reached, nothing has been downloaded before, and no folder here has that name"
    return NmtError(
        f"the data set {name} could not be had from the Hugging Face hub ({reason}): "
        "set data.path=FOLDER to read {train,val,test} files of your own instead"
    )
