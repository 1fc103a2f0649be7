"""Test preparation end to end: all pairs are counted, and equal inputs are prepared once, completely or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmt.cli import prepare as command
from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data import long_lines
from nmt.data import prepare as module
from nmt.data.prepare import Prepared, prepare
from nmt.data.tokenizer import EOS, UNK
from nmt.errors import ConfigError, NmtError
from nmt.resources import embedded_corpus

REAL = Path(os.environ.get("NMT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "multi30k"


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    for side, language in enumerate(("de", "en")):
        (folder / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")


def embedded(name: str, count: int) -> list[tuple[str, str]]:
    sides = [(embedded_corpus() / f"{name}.{lang}").read_text("utf-8").split("\n")[:count] for lang in ("de", "en")]
    return list(zip(*sides, strict=True))


BAD = [("", "empty"), ("viel zu kurz " * 8, "short"), ("bell\x07", "bell\x07"), embedded("train", 1)[0]]
VAL = [*embedded("dev", 50), ("  zwei  Leerzeichen", "two  spaces "), ("", "nothing"), ("Ω " * 300, "☃")]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write(tmp_path / "text", "train", embedded("train", 1000) + BAD)
    write(tmp_path / "text", "val", VAL)
    return Config(
        model=TransformerConfig(),
        data=DataConfig(
            source_language="de",
            target_language="en",
            path=str(tmp_path / "text"),
            cache=str(tmp_path / "cache"),
        ),
        tokenizer=TokenizerConfig(algorithm="bpe", vocab_size=400),
    )


def run(config: Config) -> Prepared:
    return prepare(config, lambda line: None)


def test_everything_read_is_stored_or_counted(config: Config) -> None:
    config.data.cleaning.max_tokens = 60
    said: list[str] = []
    prepared = prepare(config, said.append)
    cleaning = prepared.report["cleaning"]
    assert cleaning["read"] == 1000 + len(BAD)
    assert cleaning["kept"] == len(prepared.train) == cleaning["read"] - sum(cleaning["dropped"].values())
    long = cleaning["dropped"].pop("too_many_tokens")
    assert 0 < long < 500
    others = {rule: count for rule, count in cleaning["dropped"].items() if count}
    assert others == {"empty": 1, "control_character": 1, "ratio": 1, "duplicate": 1}
    lengths = np.maximum(prepared.train.source_lengths, prepared.train.target_lengths)
    assert lengths.max() <= 60
    assert json.loads((prepared.folder / "report.json").read_text("utf-8")) == prepared.report | {
        "cleaning": cleaning | {"dropped": {**cleaning["dropped"], "too_many_tokens": long}}
    }
    assert any("1,004 read" in line for line in said)


def test_the_store_holds_the_ids_of_its_text(config: Config) -> None:
    prepared = run(config)
    texts = [(prepared.train.source_text(i), prepared.train.target_text(i)) for i in range(len(prepared.train))]
    assert texts == embedded("train", 1000)
    for index in (0, 500, 999):
        assert [prepared.train.source(index).tolist()] == prepared.tokenizer.encode_source([texts[index][0]])
        assert [prepared.train.target(index).tolist()] == prepared.tokenizer.encode_target([texts[index][1]])
    every = np.concatenate([prepared.train.target(i) for i in range(len(prepared.train))])
    assert not (every == UNK).any(), "the tokenizer was trained on all of the text"


def test_a_line_without_an_end_is_dropped_and_counted_before_the_tokenizer_sees_it(config: Config) -> None:
    config.tokenizer.algorithm = "unigram"  # whose training fails on such a line
    letters = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=300_000))
    without = run(config)
    hopeless = [("x" * 5000, "y" * 5000), (letters, letters), ("x" + "\0" * 5_000_000, "y")]
    write(Path(str(config.data.path)), "train", [*hopeless, *embedded("train", 1000), *BAD])
    said: list[str] = []
    prepared = prepare(config, said.append)
    assert prepared.fingerprints == without.fingerprints
    assert prepared.report["cleaning"]["dropped"]["too_long"] == len(hopeless)
    assert any(
        "3 too_long (a side has more than max_words words or 16 * max_tokens characters)" in line for line in said
    )
    assert {len(source) for source, _ in prepared.report["cleaning"]["examples"]["too_long"]} == {200}


def test_validation_text_with_a_line_too_long_to_be_read_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_lines, "LONGEST_LINE", 1000)
    write(Path(str(config.data.path)), "val", [*VAL, ("x", "y" * 1001)])
    with pytest.raises(NmtError, match=rf"val\.en, line {len(VAL) + 1} has more than 1,000 characters"):
        run(config)


def test_validation_text_is_never_filtered_or_altered(config: Config) -> None:
    prepared = run(config)
    assert prepared.val_lines == VAL
    assert len(prepared.val) == len(VAL)
    row = len(VAL) - 3
    assert prepared.val.target(row).tolist() == prepared.tokenizer.encode_target(["two spaces"])[0]
    assert prepared.val.source(row + 1).tolist() == [EOS]
    trip = prepared.report["round_trip"]
    assert (trip["lines"], trip["altered"]) == (len(VAL), 1)
    assert trip["examples"][0][0] == "☃"


def test_of_an_altered_long_line_the_first_difference_is_shown(config: Config) -> None:
    write(Path(str(config.data.path)), "val", [("a", "words " * 100 + "with a ☃ and more " + "words " * 100)])
    said: list[str] = []
    prepare(config, said.append)
    (altered,) = [line for line in said if "  altered: " in line]
    assert "with a ☃ and more" in altered
    assert len(altered) < 150


def test_the_same_again_is_only_opened(config: Config, tmp_path: Path) -> None:
    first = run(config)
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    said: list[str] = []
    again = prepare(config, said.append)
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before
    assert "prepared already" in said[0]
    assert (again.fingerprints, again.report, again.val_lines) == (first.fingerprints, first.report, first.val_lines)
    (tmp_path / "text").rename(tmp_path / "moved")
    config.data.path = str(tmp_path / "moved")
    assert run(config).folder == first.folder, "the key is of content, not of place"
    config.seed, config.training.max_steps = 7, 3
    assert run(config).folder == first.folder, "other settings have no part in it"


def test_changed_text_or_settings_are_prepared_anew(config: Config, tmp_path: Path) -> None:
    folders = [run(config).folder]
    config.tokenizer.vocab_size = 300
    folders.append(run(config).folder)
    config.data.cleaning.deduplicate = False
    folders.append(run(config).folder)
    write(tmp_path / "text", "val", VAL[:-1])
    folders.append(run(config).folder)
    write(tmp_path / "text", "train", embedded("train", 900))
    folders.append(run(config).folder)
    config.data.source_language, config.data.target_language = "en", "de"
    folders.append(run(config).folder)
    assert len(set(folders)) == 6
    assert {folder.name for folder in folders} == {path.name for path in (tmp_path / "cache").iterdir()}


def test_a_corpus_language_changes_the_key_only_if_language_is_checked(config: Config) -> None:
    def keys() -> set[str]:
        found = set()
        for language in (None, "nl"):
            config.data.train[0].source_language = language
            found.add(module._key(config.data, module._content(config, module.resolve(config.data), None)))
        return found

    text = str(config.data.path)
    config.data.path, config.data.val = None, CorpusConfig(prefix=f"{text}/val")
    config.data.train = [CorpusConfig(source=f"{text}/train.de", target=f"{text}/train.en")]
    assert len(keys()) == 1
    config.data.cleaning.wrong_language = 0.8
    assert len(keys()) == 2


def test_preparation_is_a_function_of_text_and_settings(config: Config, tmp_path: Path) -> None:
    first = run(config).fingerprints
    config.data.cache = str(tmp_path / "elsewhere")
    assert run(config).fingerprints == first


def test_several_corpora_in_any_form_are_one_training_text(config: Config, tmp_path: Path) -> None:
    write(tmp_path / "text", "more", embedded("train", 1100)[1000:])
    text = tmp_path / "text"
    explicit = DataConfig(
        source_language="de",
        target_language="en",
        train=[CorpusConfig(prefix=str(text / "train")), CorpusConfig(prefix=str(text / "more"))],
        val=CorpusConfig(prefix=str(text / "val")),
        cache=config.data.cache,
    )
    prepared = run(dataclasses.replace(config, data=explicit))
    assert len(prepared.train) == 1100


def test_large_text_is_sampled_evenly_for_the_tokenizer(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [
        (f"Satz {number}", f"☃ {number}" if number % 100 == 99 else f"sentence {number}") for number in range(1, 2001)
    ]
    write(Path(config.data.path or ""), "train", pairs)
    config.tokenizer.vocab_size = 60
    monkeypatch.setattr(module, "_TOKENIZER_CHARACTERS", sum(len(s) + len(t) for s, t in pairs) // 10)
    seen: list[list[str]] = []
    train = module.train_tokenizer

    def spy(settings: TokenizerConfig, source: Any, target: Any, *others: Any) -> Any:
        seen[:] = [list(source), list(target)]
        return train(settings, *seen, *others)

    monkeypatch.setattr(module, "train_tokenizer", spy)
    tokenizer = run(config).tokenizer
    assert len(seen[0]) == len(seen[1]) in (199, 200)
    numbers = [int(line.split()[1]) for line in seen[0]]
    assert set(np.diff(numbers)) <= {9, 10, 11}
    assert [pairs[number - 1][1] for number in numbers] == seen[1]
    assert UNK not in tokenizer.encode_target(["☃"])[0], "a character that recurs is known, sampled or not"


def test_a_corpus_without_pairs_is_refused(config: Config, tmp_path: Path) -> None:
    (tmp_path / "named.tsv").write_text("de\ten\n")
    datasets = pytest.importorskip("datasets")
    (tmp_path / "nothing").mkdir()
    datasets.Dataset.from_dict({"de": ["eins"], "en": ["one"]}).select([]).to_parquet(
        tmp_path / "nothing" / "a.parquet"
    )
    full = CorpusConfig(prefix=str(tmp_path / "text" / "train"))
    tsv = CorpusConfig(tsv=str(tmp_path / "named.tsv"))
    hub = CorpusConfig(hub=str(tmp_path / "nothing"), split="train", streaming=True)
    for train, val, sentence in (
        (tsv, full, r"named\.tsv is empty, but for the names of its columns"),
        (full, tsv, r"named\.tsv is empty, but for the names of its columns"),
        (hub, full, r"data\.train has no pairs"),
        (full, hub, r"data\.val: nothing has no pairs"),
    ):
        data = dataclasses.replace(config.data, path=None, train=[train], val=val)
        with pytest.raises(NmtError, match=sentence):
            run(dataclasses.replace(config, data=data))


@pytest.mark.parametrize("key", ["split", "config", "field"])
def test_files_have_nothing_of_a_data_set(config: Config, tmp_path: Path, key: str) -> None:
    given: dict[str, Any] = {"prefix": "x", key: "other"}
    data = dataclasses.replace(config.data, path=None, train=[CorpusConfig(**given)], val=CorpusConfig(prefix="x"))
    with pytest.raises(ConfigError, match=rf"data\.train\[0\]\.{key} belongs to a data set \(hub\)"):
        data.check()


def test_failures_are_sentences_and_leave_nothing(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "text"
    good = (folder / "train.de").read_bytes()
    cases: list[tuple[bytes, str]] = [
        (good[:200], r"train\.de has \d+ lines and .*train\.en has 1,004"),
        (good.replace(b"\n", b"\xff\n", 1), r"train\.de, line 1"),
        (b"", r"train\.de is empty"),
        (b"\n" * 1004, "dropped every training pair"),
    ]
    for content, sentence in cases:
        (folder / "train.de").write_bytes(content)
        with pytest.raises(NmtError, match=sentence):
            run(config)
        assert not (tmp_path / "cache").exists()
    (folder / "train.de").write_bytes(good)
    config.data.cleaning.max_tokens = 2
    with pytest.raises(NmtError, match=r"max_tokens=2"):
        run(config)
    config.tokenizer.vocab_size = 50_000
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size=50000 .* at most"):
        run(config)
    assert not (tmp_path / "cache").exists()
    config.data.cache = str(folder / "train.de")
    with pytest.raises(NmtError, match="a file is in its place"):
        run(config)


def test_the_command_prints_the_folder(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [f"data.path={config.data.path}", f"data.cache={config.data.cache}", "tokenizer.vocab_size=400"]
    assert command.main(["embedded", *overrides]) == 0
    out, err = capsys.readouterr()
    assert Path(out.strip()).parent == tmp_path / "cache"
    assert Path(out.strip(), "train", "store.json").is_file()
    assert "1,004 read" in err
    assert command.main(["embedded", *overrides, "tokenizer.vocab_size=9999999"]) == 1
    assert "nmt-prepare: error: tokenizer.vocab_size=9999999" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_dir(), reason="no real text: set NMT_TEST_DATA")
@pytest.mark.parametrize("target", ["en", "fr"])
def test_real_targets_come_back(target: str, config: Config) -> None:
    config.data.path, config.data.target_language = str(REAL), target
    config.tokenizer.vocab_size = 2000
    trip = run(config).report["round_trip"]
    assert trip["altered"] <= 0.001 * trip["lines"]


def test_characters_that_are_kept_by_others_are_trained_on_and_line_ends_never(config: Config) -> None:
    odd = [(f"das <s>Ø</s> ist ▁ und ▅, Nummer {n}", f"the <s>Ø</s> is ▁ and ▅, number {n}") for n in range(20)] + [
        (f"eine\u2028Zeile {n}\x85", f"a\x1cline {n}") for n in range(20)
    ]
    write(Path(config.data.path or ""), "train", [*embedded("train", 1000), *odd, ("ein \x92 Zeichen", "a \x92 sign")])
    prepared = run(config)
    assert (prepared.report["cleaning"]["mended"], prepared.report["cleaning"]["dropped"]["control_character"]) == (
        20,
        1,
    )
    texts = [prepared.train.target_text(row) for row in range(len(prepared.train))]
    assert [text for text in texts if len(text.splitlines()) > 1] == [] and "a line 7" in texts
    for row, text in enumerate(texts):
        ids = prepared.train.target(row).tolist()
        assert UNK not in ids and prepared.tokenizer.decode_target(ids) == text


@pytest.mark.parametrize("normalization", ["identity", "nfkc"])
def test_a_character_that_recurs_is_known_as_the_tokenizer_meets_it(
    config: Config, monkeypatch: pytest.MonkeyPatch, normalization: str
) -> None:
    rare = "e\u0301▁▅½"
    pairs = [(f"Satz {n}", f"{rare} {n}" if n % 100 == 99 else f"sentence {n}") for n in range(1, 2001)]
    write(Path(config.data.path or ""), "train", pairs)
    config.tokenizer.vocab_size, config.tokenizer.normalization = 60, normalization  # type: ignore[assignment]
    monkeypatch.setattr(module, "_TOKENIZER_CHARACTERS", sum(len(s) + len(t) for s, t in pairs) // 10)
    assert UNK not in run(config).tokenizer.encode_target([rare])[0]
