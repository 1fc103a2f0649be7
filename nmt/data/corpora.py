"""The corpora of an experiment, as the data configuration names them or as they are found in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nmt.config.data import CorpusConfig, DataConfig
from nmt.data.compression import SUFFIXES, existing, open_file
from nmt.data.sources import source_of, with_split
from nmt.errors import ConfigError, NmtError
from nmt.resources import embedded_corpus

EMBEDDED = "embedded"  # the data.path of the corpus that comes with nmt
_VAL_NAMES = ("val", "dev", "valid", "validation")
_VAL_SPLITS = _VAL_NAMES[::-1]  # splits of a data set, the most common name first


@dataclass(frozen=True)
class Corpora:
    """The corpora of an experiment, with the files and splits of each resolved."""

    train: list[CorpusConfig]
    val: list[CorpusConfig]
    test: dict[str, list[CorpusConfig]]  # by the name of the test set


def resolve(data: DataConfig) -> Corpora:
    """Return the corpora that a configuration names, with a split for each data set; data.path replaces all of them.

    The folder data.path contains train, val (or dev, valid, validation) and any number of test sets (test*), each as
    NAME.{source_language,target_language}, optionally with .gz or .xz, or as NAME.tsv. Raises NmtError if something is
    missing.
    """
    folder = _folder(data)
    train = data.train if folder is None else [_in_folder(folder, ("train",), data)]
    return Corpora(train, validation_set(data), test_sets(data))


def validation_set(data: DataConfig) -> list[CorpusConfig]:
    """Return the corpora of the validation set; raises NmtError if there is none."""
    folder = _folder(data)
    if folder is not None:
        return [_in_folder(folder, _VAL_NAMES, data)]
    if data.val is None:
        raise ConfigError("data.val is missing: set data.path=FOLDER or data.val")
    return [with_split(corpus, "data.val", _VAL_SPLITS) for corpus in data.held_out()["data.val"]]


def test_sets(data: DataConfig) -> dict[str, list[CorpusConfig]]:
    """Return the corpora of each test set by name; in a folder (data.path), every test* that has both languages."""
    folder = _folder(data)
    if folder is None:
        held_out = data.held_out()
        return {
            name: [with_split(corpus, key, ("test",)) for corpus in held_out[key]]
            for name, key in ((name, f"data.test.{name}") for name in data.test)
        }
    endings = [f".{data.source_language}{suffix}" for suffix in SUFFIXES] + [".tsv"]
    names = {
        path.name.removesuffix(ending)
        for path in folder.glob("test*")
        for ending in endings
        if path.name.endswith(ending)
    }
    found = {name: _find(folder, name, data) for name in sorted(names)}
    return {name: [corpus] for name, corpus in found.items() if corpus is not None}


def check_test_sets(data: DataConfig) -> None:
    """Raise NmtError if a file of a test set is missing, since test sets are otherwise only read after training."""
    for name, corpora in test_sets(data).items():
        for corpus in corpora:
            try:
                source_of(corpus, data.source_language, data.target_language).check()
                for path in corpus.more_references or ():
                    open_file(Path(path)).close()
            except NmtError as error:
                raise NmtError(f"data.test.{name}: {error}") from error


def _folder(data: DataConfig) -> Path | None:
    if data.path is None:
        return None
    folder = Path(data.path)
    if folder.is_dir():
        return folder
    if data.path == EMBEDDED:
        return embedded_corpus()
    if folder.exists():
        raise ConfigError(f"data.path={data.path} is a file: name the folder that has {{train,val,test}}.LANGUAGE")
    raise ConfigError(f"data.path={data.path}: there is no such folder")


def _in_folder(folder: Path, names: tuple[str, ...], data: DataConfig) -> CorpusConfig:
    for name in names:
        if (corpus := _find(folder, name, data)) is not None:
            return corpus
    files = {
        name: [f"{name}.{language}" for language in (data.source_language, data.target_language)] for name in names
    }
    there = {file for pair in files.values() for file in pair if existing(folder / file)}
    name = next((name for name in names if there.intersection(files[name])), names[0])
    lacking = " and ".join(file for file in files[name] if file not in there)
    others = "".join(f"{other}.*, " for other in names if other != name)
    raise NmtError(f"data.path={data.path} lacks {lacking} (also looked for {others}.gz, .xz and {name}.tsv)")


def _find(folder: Path, name: str, data: DataConfig) -> CorpusConfig | None:
    """Return the corpus called `name` in a folder, or None unless both languages are there."""
    files = [existing(folder / f"{name}.{language}") for language in (data.source_language, data.target_language)]
    if files[0] is not None and files[1] is not None:
        return CorpusConfig(source=str(files[0]), target=str(files[1]))
    tsv = folder / f"{name}.tsv"
    return CorpusConfig(tsv=str(tsv)) if tsv.is_file() else None
