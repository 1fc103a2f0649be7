"""Test the overlap of validation and test sets with training text: counts for every kind of source, and messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.corpora import resolve
from nmt.data.corpora import test_sets as sets_of_tests
from nmt.data.overlap import tell_shared
from nmt.data.prepare import prepare
from nmt.errors import ConfigError
from nmt.resources import embedded_corpus

Pairs = list[tuple[str, str]]


def lines(language: str) -> list[str]:
    return (embedded_corpus() / f"train.{language}").read_text("utf-8").splitlines()


PAIRS: Pairs = list(dict(zip(lines("de"), lines("en"), strict=True)).items())[:400]  # without repeated sources
TRAIN, NEW = PAIRS[:300], PAIRS[300:]
# 60 training pairs with different white space, 20 training sources with different targets, and 20 new pairs
MIXED = [(f"  {source} ", target.replace(" ", "  ")) for source, target in TRAIN[:60]]
MIXED += [(source, f"{target} Or so.") for source, target in TRAIN[60:80]] + NEW[:20]


def files(folder: Path, pairs: Pairs) -> CorpusConfig:
    for side, language in enumerate(("de", "en")):
        folder.with_suffix(f".{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    return CorpusConfig(prefix=str(folder))


def tsv(folder: Path, pairs: Pairs) -> CorpusConfig:
    folder.with_suffix(".tsv").write_text("".join("\t".join(pair) + "\n" for pair in pairs), encoding="utf-8")
    return CorpusConfig(tsv=str(folder.with_suffix(".tsv")))


def rows(pairs: Pairs) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_dict({"de": [pair[0] for pair in pairs], "en": [pair[1] for pair in pairs]})


def saved(folder: Path, pairs: Pairs) -> CorpusConfig:
    rows(pairs).save_to_disk(str(folder))
    return CorpusConfig(hub=str(folder))


def streamed(folder: Path, pairs: Pairs) -> CorpusConfig:
    folder.mkdir()
    rows(pairs).to_json(folder / "train.jsonl")
    return CorpusConfig(hub=str(folder), split="train", streaming=True)


def config(tmp_path: Path, train: CorpusConfig, val: CorpusConfig, **test: CorpusConfig) -> Config:
    return Config(
        model=TransformerConfig(),
        data=DataConfig(
            source_language="de", target_language="en", train=[train], val=val, test=dict(test),
            cache=str(tmp_path / "cache"), workers=1,
        ),
        tokenizer=TokenizerConfig(algorithm="bpe", vocab_size=200),
    )  # fmt: skip


def about(said: list[str], name: str) -> list[str]:
    return [line for line in said if f"{name}: " in line]


@pytest.mark.parametrize("source", [files, tsv, saved, streamed])
def test_it_is_counted_and_told_for_every_kind_of_source(
    tmp_path: Path, source: Callable[[Path, Pairs], CorpusConfig]
) -> None:
    some = TRAIN[:3] + NEW[:17]
    test = {"few": source(tmp_path / "few", TRAIN[:1] + NEW[:19]), "some": source(tmp_path / "some", some)}
    given = config(tmp_path, source(tmp_path / "train", TRAIN), source(tmp_path / "val", MIXED), **test)
    said: list[str] = []
    prepared = prepare(given, said.append)
    assert prepared.report["shared"] == {
        "data.val": {"lines": 100, "source": 80, "pair": 60},
        "data.test.few": {"lines": 20, "source": 1, "pair": 1},
        "data.test.some": {"lines": 20, "source": 3, "pair": 3},
    }
    (loud,) = about(said, "data.val")
    assert loud.startswith("WARNING: data.val: 80 of 100 source lines (80%) are in the training text too, 60 of them")
    (plain,) = about(said, "data.test.some")
    assert plain.startswith("data.test.some: 3 of 20 source lines (15%)")
    assert not about(said, "data.test.few")
    again: list[str] = []
    prepare(given, again.append)
    assert about(again, "data.val") == [loud], "whoever opens what is prepared is told, too"


def test_what_was_prepared_before_is_counted_once(tmp_path: Path) -> None:
    given = config(tmp_path, files(tmp_path / "train", TRAIN), files(tmp_path / "val", TRAIN[:10]))
    report = prepare(given, lambda line: None).folder / "report.json"
    whole = json.loads(report.read_text("utf-8"))
    report.write_text(json.dumps({key: value for key, value in whole.items() if key != "shared"}), encoding="utf-8")
    said: list[str] = []
    prepare(given, said.append)
    assert about(said, "data.val")[0].startswith("WARNING: data.val: 10 of 10 source lines (100%)")
    assert json.loads(report.read_text("utf-8")) == whole


def test_a_test_set_that_is_not_there_yet_does_not_stop_preparation(tmp_path: Path) -> None:
    absent = CorpusConfig(prefix=str(tmp_path / "absent"))
    given = config(tmp_path, files(tmp_path / "train", TRAIN), files(tmp_path / "val", NEW), later=absent)
    said: list[str] = []
    assert list(prepare(given, said.append).report["shared"]) == ["data.val"]
    assert any(line.startswith("data.test.later cannot be read now") and "absent.de" in line for line in said)


@pytest.mark.parametrize(
    ("known", "told"), [(0, None), (10, None), (11, "data"), (50, "data"), (51, "WARNING"), (100, "WARNING")]
)
def test_shares_above_which_it_is_told(known: int, told: str | None) -> None:
    said: list[str] = []
    tell_shared("data.val", {"lines": 100, "source": known, "pair": 0}, said.append)
    assert [line[: len(told or "")] for line in said] == ([] if told is None else [told])
    tell_shared("data.val", {"lines": 0, "source": 0, "pair": 0}, said.append)
    assert len(said) == (told is not None)


# -- which split of a data set --------------------------------------------------------------------------------------


def data_set(folder: Path, *splits: str) -> str:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({split: rows([PAIRS[index]]) for index, split in enumerate(splits)}).save_to_disk(str(folder))
    return str(folder)


def splits_of(tmp_path: Path, *splits: str, **given: str) -> dict[str, str | None]:
    hub = data_set(tmp_path / "set", *splits)
    data = config(tmp_path, CorpusConfig(hub=hub), CorpusConfig(hub=hub, **given), a=CorpusConfig(hub=hub)).data
    corpora = resolve(data)
    assert sets_of_tests(data) == corpora.test
    return {"train": corpora.train[0].split, "val": corpora.val[0].split, "test": corpora.test["a"][0].split}


def test_each_takes_the_split_that_fits(tmp_path: Path) -> None:
    assert splits_of(tmp_path / "1", "train", "validation", "test") == {
        "train": "train",
        "val": "validation",
        "test": "test",
    }
    assert splits_of(tmp_path / "2", "test", "dev", "train")["val"] == "dev"
    assert splits_of(tmp_path / "3", "train", "dev", "test", split="train")["val"] == "train", "as it is told to"


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        (
            ("train",),
            r"^data\.val: .* no split called validation or valid or dev or val, only train: name a split",
        ),
        (("train", "test", "extra"), r"^data\.val: .*only train, test, extra"),
        (("train", "validation"), r"^data\.test\.a: .* no split called test, only train, validation"),
    ],
)
def test_without_such_a_split_the_others_are_named(tmp_path: Path, splits: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        splits_of(tmp_path, *splits)


def test_a_folder_of_files_is_not_validated_on_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    streamed(folder, TRAIN)
    for streaming in (False, True):
        corpus = CorpusConfig(hub=str(folder), streaming=streaming)
        with pytest.raises(ConfigError, match="only train"):
            resolve(config(tmp_path, files(tmp_path / "train", TRAIN), corpus).data)
