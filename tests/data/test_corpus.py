"""Test the sources of parallel text, and the messages when they cannot be read."""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nmt.config.data import CleaningConfig, CorpusConfig, DataConfig
from nmt.data.cleaning import Rules
from nmt.data.compression import read_lines
from nmt.data.corpora import check_test_sets, resolve
from nmt.data.corpora import test_sets as sets_of_tests
from nmt.data.digests import Digests
from nmt.data.extent import Extent
from nmt.data.sources import hub, source_of
from nmt.errors import ConfigError, NmtError

PAIRS = [("Guten Tag .", "Hello ."), ("ein  Hund ", " a dog"), ("", ""), ("Öl\u00a0!", "oil\u2028!")]
DIGESTS = Digests(Path("nowhere"))  # the folder is never used, since hashes of small files are not cached
WRITERS: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    with WRITERS[path.suffix if path.suffix in WRITERS else ""](path, "wb") as file:
        file.write("".join(line + end for line in lines).encode())
    return path


def write_pairs(folder: Path, name: str, suffix: str = "", pairs: list[tuple[str, str]] = PAIRS) -> None:
    folder.mkdir(exist_ok=True)
    for side, language in enumerate(("de", "en")):
        write(folder / f"{name}.{language}{suffix}", [pair[side] for pair in pairs])


def read(corpus: CorpusConfig, source: str = "de", target: str = "en") -> list[tuple[str, str]]:
    return list(source_of(corpus, source, target).pairs(print))


def digest(corpus: CorpusConfig, source: str, target: str) -> str:
    return source_of(corpus, source, target).digest(DIGESTS)


def data(path: Path | str) -> DataConfig:
    return DataConfig(source_language="de", target_language="en", path=str(path))


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITERS)
def test_parallel_files_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    write_pairs(tmp_path, "train", suffix)
    assert read(CorpusConfig(prefix=str(tmp_path / "train"))) == PAIRS
    assert read(CorpusConfig(prefix=str(tmp_path / "train")), "en", "de") == [(en, de) for de, en in PAIRS]
    explicit = CorpusConfig(source=str(tmp_path / f"train.de{suffix}"), target=str(tmp_path / f"train.en{suffix}"))
    assert read(explicit) == PAIRS


def test_line_ends_and_byte_order_mark_are_not_text(tmp_path: Path) -> None:
    path = write(tmp_path / "text", ["\ufeffone", "two\x85three", ""], end="\r\n")
    assert read_lines(path) == ["one", "two\x85three", ""]
    path.write_bytes(b"one\ntwo")
    assert read_lines(path) == ["one", "two"]


def test_tsv_columns_by_default_by_configuration_and_by_header(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", ["a\tb", "c\td"])
    assert read(CorpusConfig(tsv=str(path))) == [("a", "b"), ("c", "d")]
    assert read(CorpusConfig(tsv=str(path), columns=["en", "de"])) == [("b", "a"), ("d", "c")]
    write(path, ["en\tid\tde", "a\t1\tb"])
    assert read(CorpusConfig(tsv=str(path))) == [("b", "a")]
    with pytest.raises(NmtError, match=r"en, cs.* do not include de"):
        read(CorpusConfig(tsv=str(path), columns=["en", "cs"]))
    write(path, ["a\tb", "a\tb\tc"])
    with pytest.raises(NmtError, match=r"train\.tsv, line 2: 3 columns where 2 are expected \(de, en\)"):
        read(CorpusConfig(tsv=str(path)))


@pytest.mark.parametrize("longer", ["de", "en"])
def test_unequal_line_counts_name_both_files_and_counts(tmp_path: Path, longer: str) -> None:
    counts = {language: 5 if language == longer else 3 for language in ("de", "en")}
    for language, count in counts.items():
        write(tmp_path / f"train.{language}", ["x"] * count)
    with pytest.raises(NmtError, match=rf"train\.de has {counts['de']} lines and .*train\.en has {counts['en']}:"):
        read(CorpusConfig(prefix=str(tmp_path / "train")))


def test_invalid_utf8_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "train.de").write_bytes(b"gut\nsch\xf6n\n")
    (tmp_path / "train.en").write_bytes(b"good\nnice\n")
    with pytest.raises(NmtError, match=r"train\.de, line 2: byte 4 of the line is not valid UTF-8"):
        read(CorpusConfig(prefix=str(tmp_path / "train")))


def test_empty_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "empty", pairs=[])
    with pytest.raises(NmtError, match=r"empty\.de is empty"):
        read(CorpusConfig(prefix=str(tmp_path / "empty")))
    write(tmp_path / "empty.tsv", [])
    with pytest.raises(NmtError, match=r"empty\.tsv is empty"):
        read(CorpusConfig(tsv=str(tmp_path / "empty.tsv")))
    with pytest.raises(NmtError, match=r"nothing\.de is missing"):
        read(CorpusConfig(prefix=str(tmp_path / "nothing")))
    with pytest.raises(NmtError, match="nothing is missing"):
        read_lines(tmp_path / "nothing")
    for suffix in (".gz", ".xz"):
        path = write(tmp_path / f"text{suffix}", ["many words"] * 1000)
        path.write_bytes(path.read_bytes()[:-12])
        with pytest.raises(NmtError, match=rf"text\{suffix} .*damaged"):
            read_lines(path)
        path.write_text("not compressed at all")
        with pytest.raises(NmtError, match=rf"text\{suffix} .*damaged"):
            read_lines(path)


def test_a_file_that_the_system_cannot_read_is_not_called_damaged() -> None:
    with pytest.raises(NmtError, match=r"/proc/self/mem could not be read: Input/output error"):
        read_lines("/proc/self/mem")  # its first page is not mapped


# -- data.path ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("val", ["val", "dev", "valid", "validation"])
def test_a_folder_stands_in_for_train_val_and_test(tmp_path: Path, val: str) -> None:
    for name, text in (("train", "t"), (val, "v"), ("test_2016_flickr", "1"), ("test", "2")):
        write_pairs(tmp_path, name, pairs=[(text, text)])
    write(tmp_path / "test_2018.de", ["without its other half"])
    write(tmp_path / "test.align", ["0-0"])
    corpora = resolve(data(tmp_path))
    assert [read(corpus) for corpus in corpora.train] == [[("t", "t")]]
    assert read(corpora.val[0]) == [("v", "v")]
    assert {name: read(corpus)[0][0] for name, (corpus,) in corpora.test.items()} == {
        "test": "2",
        "test_2016_flickr": "1",
    }
    assert sets_of_tests(data(tmp_path)) == corpora.test


def test_a_folder_of_compressed_files_and_tsv(tmp_path: Path) -> None:
    write_pairs(tmp_path, "train", ".gz")
    write(tmp_path / "val.tsv", ["v\tw"])
    write(tmp_path / "test.tsv", ["x\ty"])
    write_pairs(tmp_path, "test2", ".xz")
    corpora = resolve(data(tmp_path))
    assert read(corpora.train[0]) == PAIRS
    assert read(corpora.val[0]) == [("v", "w")]
    assert {name: len(read(corpus)) for name, (corpus,) in corpora.test.items()} == {"test": 1, "test2": 4}


def test_a_folder_that_lacks_something_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NmtError, match=r"lacks train\.de and train\.en \(also looked for \.gz, \.xz and train\.tsv\)"):
        resolve(data(tmp_path))
    write(tmp_path / "train.de", ["x"])
    with pytest.raises(NmtError, match=r"lacks train\.en \("):
        resolve(data(tmp_path))
    write(tmp_path / "train.en", ["x"])
    write(tmp_path / "dev.en", ["x"])
    with pytest.raises(NmtError, match=r"lacks dev\.de \(also looked for val\.\*, valid\.\*, validation\.\*, "):
        resolve(data(tmp_path))
    with pytest.raises(NmtError, match="there is no such folder"):
        resolve(data(tmp_path / "nowhere"))
    with pytest.raises(NmtError, match="is a file"):
        resolve(data(tmp_path / "dev.en"))


def test_embedded_names_the_corpus_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpora = resolve(data("embedded"))
    assert len(read(corpora.val[0])) == 1000
    assert list(corpora.test) == ["test"]
    write_pairs(tmp_path / "embedded", "train")
    with pytest.raises(NmtError, match="lacks val"):  # a folder with that name takes precedence over the corpus
        resolve(data("embedded"))


def test_explicit_corpora_are_taken_as_they_are() -> None:
    one, two, three = (CorpusConfig(prefix=name) for name in ("one", "two", "three"))
    config = DataConfig(source_language="de", target_language="en", train=[one, two], val=two, test={"a": three})
    resolved = resolve(config)
    assert (resolved.train, resolved.val, resolved.test) == ([one, two], [two], {"a": [three]})
    config.val, config.test = [two, three], {"a": [one, three]}
    resolved = resolve(config)
    assert (resolved.val, resolved.test) == ([two, three], {"a": [one, three]})


def test_a_corpus_may_have_languages_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.fr").write_text("un\n", encoding="utf-8")
    (tmp_path / "x.en").write_text("one\n", encoding="utf-8")
    (tmp_path / "x.tsv").write_text("fr\tde\ten\nun\teins\tone\n", encoding="utf-8")
    plain = CorpusConfig(prefix=str(tmp_path / "x"), source_language="fr")
    assert read(plain) == [("un", "one")]
    turned = CorpusConfig(tsv=str(tmp_path / "x.tsv"), source_language="en", target_language="fr")
    assert read(turned) == [("one", "un")]
    assert read(CorpusConfig(tsv=str(tmp_path / "x.tsv"))) == [("eins", "one")]
    assert digest(turned, "de", "en") == digest(turned, "it", "es")
    assert digest(turned, "de", "en") != digest(CorpusConfig(tsv=turned.tsv), "de", "en")


def test_what_a_corpus_is_called() -> None:
    named = CorpusConfig(prefix="a/b", name="mine")
    hub = CorpusConfig(hub="someone/set", config="de-en")
    files = CorpusConfig(source="x/back.de", target="x/mono.en")
    assert [source_of(one, "de", "en").name for one in (named, CorpusConfig(prefix="a/b"), hub, files)] == [
        "mine", "b", "set/de-en", "back.de",
    ]  # fmt: skip


def test_digest_follows_content_not_place(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", "train")
    write_pairs(tmp_path / "b", "other")
    a, b = (CorpusConfig(prefix=str(tmp_path / prefix)) for prefix in ("a/train", "b/other"))
    assert digest(a, "de", "en") == digest(b, "de", "en") != digest(a, "en", "de")
    write(tmp_path / "b" / "other.en", ["changed"] * len(PAIRS))
    assert digest(a, "de", "en") != digest(b, "de", "en")


# -- data sets ----------------------------------------------------------------------------------------------------


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = pytest.importorskip("datasets")
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield module


ROWS = [("eins", "one"), ("zwei\nZeilen", "two"), ("drei", None)]
READ = [("eins", "one"), ("zwei Zeilen", "two"), ("drei", "")]


def nested(module: Any) -> Any:
    """Return a data set with nested columns, like WMT14."""
    rows = [{"translation": {"de": de, "en": en}} for de, en in ROWS]
    features = module.Features({"translation": module.Translation(languages=["de", "en"])})
    return module.Dataset.from_list(rows, features=features)


def flat(module: Any) -> Any:
    """Return a data set with a column for each language, like Multi30k."""
    return module.Dataset.from_dict({"en": [en for _, en in ROWS], "de": [de for de, _ in ROWS]})


@pytest.mark.parametrize("shape", [nested, flat])
def test_saved_data_sets_and_folders_of_files(tmp_path: Path, datasets: Any, shape: Callable[[Any], Any]) -> None:
    rows = shape(datasets)
    datasets.DatasetDict(train=rows, validation=rows.select([0])).save_to_disk(tmp_path / "saved")
    rows.save_to_disk(tmp_path / "alone")
    (tmp_path / "folder").mkdir()
    rows.to_parquet(tmp_path / "folder" / "train-00000-of-00001.parquet")
    rows.select([0]).to_parquet(tmp_path / "folder" / "validation-00000-of-00001.parquet")
    for name in ("saved", "folder"):
        where = str(tmp_path / name)
        assert read(CorpusConfig(hub=where, split="train")) == READ
        assert read(CorpusConfig(hub=where, split="validation"), "en", "de") == [("one", "eins")]
        with pytest.raises(ConfigError, match="has no split 'test': there are train, validation"):
            read(CorpusConfig(hub=where, split="test"))
        with pytest.raises(ConfigError, match=r"has no 'fr': there are (de, en|en, de)"):
            read(CorpusConfig(hub=where, split="train"), "de", "fr")
    with pytest.raises(NmtError, match=r"folder \(configuration cs-de\) could not be loaded: .*cs-de"):
        read(CorpusConfig(hub=str(tmp_path / "folder"), config="cs-de"))
    alone, renamed = str(tmp_path / "alone"), str(tmp_path / "renamed")
    assert read(CorpusConfig(hub=alone)) == READ
    datasets.Dataset.from_list(rows.to_list(), split="test").save_to_disk(renamed)
    for split in ("train", "test"):  # the default name and the split's own name
        assert read(CorpusConfig(hub=renamed, split=split)) == READ
    for where, split in ((alone, "test"), (renamed, "validation")):
        with pytest.raises(ConfigError, match=f"is a single split that was saved by itself, not '{split}'"):
            read(CorpusConfig(hub=where, split=split))


def test_line_breaks_of_a_data_set_become_spaces_and_are_counted_in_training_text(
    tmp_path: Path, datasets: Any
) -> None:
    flat(datasets).save_to_disk(tmp_path / "saved")
    source = source_of(CorpusConfig(hub=str(tmp_path / "saved")), "de", "en")
    ((block, _),) = source.blocks(None, print, Extent())
    examined = list(map(Rules(CleaningConfig(), ("de", "en")).examine, block))
    assert [(pair.source, pair.mended) for pair in examined] == [("eins", 0), ("zwei Zeilen", 1), ("drei", 0)]


@pytest.fixture
def hundred(tmp_path: Path, datasets: Any) -> dict[str, str]:
    """Write a data set with splits train (100 pairs) and test (5): saved whole, one split saved alone, and as files."""
    rows = datasets.Dataset.from_dict({"de": [f"de {row}" for row in range(100)], "en": list(map(str, range(100)))})
    datasets.DatasetDict(train=rows, test=rows.select(range(5))).save_to_disk(tmp_path / "saved")
    rows.save_to_disk(tmp_path / "alone")
    (tmp_path / "folder").mkdir()
    rows.to_json(tmp_path / "folder" / "train.json")
    return {name: str(tmp_path / name) for name in ("saved", "alone", "folder")}


@pytest.mark.parametrize("name", ["saved", "alone", "folder"])
def test_parts_of_a_split_are_those_of_the_datasets_library(hundred: dict[str, str], name: str) -> None:
    def rows_of(split: str) -> list[int]:
        corpus = CorpusConfig(hub=hundred[name], split=split)
        assert all(source == f"de {target}" for source, target in read(corpus))
        return [int(target) for _, target in read(corpus)]

    for split, rows in (
        ("train[:10%]", range(10)),
        ("train[10:20]", range(10, 20)),
        ("train[-3:]", range(97, 100)),
        ("train[95:500]", range(95, 100)),
        ("train[:2]+train[50%:52%]", [0, 1, 50, 51]),
    ):
        assert rows_of(split) == list(rows), split
    assert rows_of("train[:33%]") + rows_of("train[33%:]") == list(range(100))
    for wrong, told in (
        ("train[5:5]", "has no rows in it"),
        ("train[x]", "has no split=train.x.: there are train.*such as train.:10%."),
        ("tset[:3]", "has no split=tset.:3.: there are train"),
    ):
        with pytest.raises(ConfigError, match=told):
            read(CorpusConfig(hub=hundred[name], split=wrong))


def test_parts_of_several_splits_and_of_streams(hundred: dict[str, str]) -> None:
    both = read(CorpusConfig(hub=hundred["saved"], split="train[:1]+test[3:]"))
    assert [target for _, target in both] == ["0", "3", "4"]
    with pytest.raises(ConfigError, match=r"cannot be streamed with split=train.:3.: remove streaming"):
        read(CorpusConfig(hub=hundred["folder"], split="train[:3]", streaming=True))


def test_digest_tells_parts_of_a_split_apart(hundred: dict[str, str]) -> None:
    splits = ("train", "train[:10]", "train[10:20]")
    corpora = [CorpusConfig(hub=hundred["saved"], split=split) for split in splits]
    assert len({digest(corpus, "de", "en") for corpus in corpora}) == 3


def test_digest_of_a_data_set_follows_its_rows(tmp_path: Path, datasets: Any) -> None:
    rows = flat(datasets)
    for name, selected in (("one", [0, 1]), ("same", [0, 1]), ("other", [1, 0])):
        rows.select(selected).save_to_disk(tmp_path / name)
    corpora = (CorpusConfig(hub=str(tmp_path / name)) for name in ("one", "same", "other"))
    one, same, other = (digest(corpus, "de", "en") for corpus in corpora)
    assert one == same != other


def test_cells_that_are_empty_or_not_text(datasets: Any, tmp_path: Path) -> None:
    """A missing cell becomes an empty side, which cleaning drops later; a number or a list is an error."""
    nested = {"translation": [{"de": "eins", "en": None}, None, {"de": None, "en": "two"}]}
    for name, columns in (("flat", {"de": ["eins", None, None], "en": [None, None, "two"]}), ("nested", nested)):
        datasets.Dataset.from_dict(columns).save_to_disk(str(tmp_path / name))
        pairs = read(CorpusConfig(hub=str(tmp_path / name)))
        assert pairs == [("eins", ""), ("", ""), ("", "two")], name
    for value in (3, ["ein", "Satz"]):
        where = tmp_path / type(value).__name__
        datasets.Dataset.from_dict({"de": [value], "en": ["one"]}).save_to_disk(str(where))
        with pytest.raises(ConfigError, match=rf"a column of a data set is not text: it .*{re.escape(repr(value))}"):
            read(CorpusConfig(hub=str(where)))


def test_a_hub_out_of_reach_is_one_sentence(datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    hub._hub_answers.cache_clear()
    try:
        with pytest.raises(NmtError, match=r"someone/corpus could not be loaded .*data\.path=FOLDER") as raised:
            read(CorpusConfig(hub="someone/corpus", config="de-en"))
    finally:
        hub._hub_answers.cache_clear()
    assert "\n" not in str(raised.value)
    assert constants.HF_HUB_OFFLINE, "its client was kept from trying again"


def test_further_references_of_a_test_set_are_looked_for_too(tmp_path: Path) -> None:
    write_pairs(tmp_path, "text")
    there, missing = str(tmp_path / "text.en"), str(tmp_path / "other.en")
    corpus = CorpusConfig(prefix=str(tmp_path / "text"), more_references=[there])
    data = DataConfig(source_language="de", target_language="en", train=[corpus], val=corpus, test={"mine": corpus})
    check_test_sets(data)
    corpus.more_references = [there, missing]
    with pytest.raises(NmtError, match=re.escape(f"data.test.mine: {missing} is missing")):
        check_test_sets(data)
