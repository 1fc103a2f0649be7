"""Test that configurations of earlier versions are converted, and those of newer versions refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from nmt.config.load import config_to_dict, load_config, read_config, read_to_continue, save_config
from nmt.config.migrate import present_name
from nmt.config.schema import SearchConfig
from nmt.errors import ConfigError
from nmt.runs.run import read_run_config

ABSENT = object()
OWN = """
model: {family: transformer, model_dim: 64, num_heads: 2}
data: {source_language: de, target_language: en, path: corpus}
training: {max_steps: 10}
search: {stop: exact, length_normalisation: gnmt}
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def of_version_1(path: str = "runs/old/config.yaml", **changes: Any) -> Path:
    """Write a run's config.yaml of version 1 with its defaults and with changes: `section__key=value`, or ABSENT."""
    values = config_to_dict(load_config("embedded", ["run_dir=runs/old", "search.beam_size=4"]))
    values["search"] |= {"length_normalisation": "gnmt", "length_penalty": 1.0, "stop": "exact"}
    values["search"] |= {"draft": False, "cuda_graphs": False}
    for key, value in changes.items():
        section, name = key.split("__")
        values[section][name] = value
        if value is ABSENT:
            del values[section][name]
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file


def rules(search: SearchConfig) -> tuple[str, float, str]:
    return search.length_normalisation, search.length_penalty, search.stop


SHARED = rules(SearchConfig())
EARLIEST = {f"search__{key}": ABSENT for key in ("length_normalisation", "stop", "draft", "cuda_graphs", "shortlist")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, SHARED),
        (EARLIEST, SHARED),
        ({"search__length_penalty": 0.6}, ("gnmt", 0.6, "full")),
        ({**EARLIEST, "search__length_penalty": 0.6}, ("gnmt", 0.6, "full")),
        ({"search__length_normalisation": "power", "search__length_penalty": 0.7}, ("power", 0.7, "full")),
        ({"search__stop": "full"}, SHARED),
        ({"search__draft": True, "search__cuda_graphs": True}, SHARED),
    ],
)
def test_defaults_become_the_shared_rules_and_what_was_set_stays(
    changes: dict[str, Any], expected: tuple[str, float, str]
) -> None:
    file = of_version_1(**changes)
    before = file.read_bytes()
    config = read_config(file)
    assert rules(config.search) == expected
    assert config.search.beam_size == 4
    assert load_config(str(file)) == config, "as CONFIG of nmt-train"
    assert file.read_bytes() == before


def test_validations_keep_the_beam_that_they_had() -> None:
    assert read_config(of_version_1(training__validation_beam_size=ABSENT)).training.validation_beam_size == 4
    assert read_config(of_version_1(training__validation_beam_size=1)).training.validation_beam_size == 1


def test_overrides_come_after_the_migration() -> None:
    file = str(of_version_1())
    config = load_config(file, ["search.stop=exact", "search.length_normalisation=gnmt"])
    assert rules(config.search) == ("gnmt", SHARED[1], "exact")
    assert load_config(file, ["search=greedy"]).search == load_config("embedded", ["search=greedy"]).search


def test_the_other_rules_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    of_version_1()
    for _ in range(2):
        read_run_config("runs/old")
    assert capsys.readouterr().err == "", "nothing is searched for"
    for _ in range(2):
        read_run_config("runs/old", tells=True)
    load_config("runs/old/config.yaml")
    told = capsys.readouterr().err
    now, earlier = told.removeprefix("runs/old is from a time when search had other default rules. ").split("; ")
    assert "search.length_normalisation=power" in now and "search.stop=full" in now and "runs/old" not in now
    assert "search.length_normalisation=gnmt" in earlier and "search.stop=exact" in earlier
    assert told.count("\n") == 1
    of_version_1("runs/set/config.yaml", search__length_penalty=0.6, search__stop="full")
    read_run_config("runs/set", tells=True)
    assert capsys.readouterr().err == ""


def test_what_a_user_wrote_is_meant_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.yaml").write_text(OWN, encoding="utf-8")
    assert rules(load_config("my.yaml").search) == ("gnmt", SHARED[1], "exact")
    assert capsys.readouterr().err == ""


def test_a_written_file_begins_with_its_version_and_keeps_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config("embedded", ["search.length_normalisation=gnmt", "search.stop=exact"])
    save_config(config, "runs/new/config.yaml")
    assert Path("runs/new/config.yaml").read_text("utf-8").startswith("schema: 3\nmodel:\n")
    assert read_run_config("runs/new") == config
    assert capsys.readouterr().err == ""
    assert "schema" not in config_to_dict(config), "keys of evaluations are made of it"


def test_version_2_only_named_weights_otherwise() -> None:
    """Parts to freeze are renamed like the weights; all other values of a version 2 file stay."""
    parts = ["encoder.layers.0.self_attention", "decoder.layers.1.self_residual.norm", "decoder.layers.1", "projection"]
    config = load_config("embedded", ["search.stop=exact", "fine_tune.run=runs/base"])
    config.fine_tune.freeze = parts
    save_config(config, "new.yaml")
    Path("old.yaml").write_text(Path("new.yaml").read_text("utf-8").replace("schema: 3", "schema: 2"), encoding="utf-8")
    config.fine_tune.freeze = ["encoder.layers.0.mixer", "decoder.layers.1.mixer_residual.norm", *parts[2:]]
    assert read_config("old.yaml") == config
    begun, going_on = read_to_continue("old.yaml", load_config("embedded", []))
    assert (begun.search.stop, going_on.search.stop) == ("exact", "full"), "a difference that is refused"
    assert (
        present_name("decoder.layers.1.cross_residual.norm.weight", 2) == "decoder.layers.1.cross_residual.norm.weight"
    )
    assert (
        present_name("encoder.layers.11.attention_residual.norm.bias", 1)
        == "encoder.layers.11.mixer_residual.norm.bias"
    )


def test_a_file_may_build_on_a_runs() -> None:
    save_config(load_config("embedded", ["run_dir=runs/x", "search.beam_size=3"]), "base.yaml")
    Path("my.yaml").write_text("defaults: [base]\nsearch: {stop: exact}\n", encoding="utf-8")
    assert load_config("my.yaml").search == SearchConfig(beam_size=3, stop="exact")


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("4", r"^my\.yaml was written by a newer nmt \(schema 4; .* up to 3\): use that version of nmt$"),
        ("1", r"^my\.yaml: schema=1 is no version that nmt has written: leave the line out"),
        ("true", r"^my\.yaml: schema=True is no version"),
        ("two", r"^my\.yaml: schema=two is no version"),
        ("null", r"^my\.yaml: schema=None is no version"),
    ],
)
def test_a_version_that_is_not_known_is_refused(version: str, sentence: str) -> None:
    Path("my.yaml").write_text(f"schema: {version}\n{OWN}", encoding="utf-8")
    for read in (read_config, load_config):
        with pytest.raises(ConfigError, match=sentence) as caught:
            read("my.yaml")
        assert "\n" not in str(caught.value)


def test_the_version_is_no_key_to_override() -> None:
    for override in ("schema=2", "++schema=3"):
        with pytest.raises(ConfigError, match=r"names no key of the configuration$"):
            load_config("embedded", [override])
