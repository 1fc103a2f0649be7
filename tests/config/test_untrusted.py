"""Test that a configuration from somebody else is refused with one sentence, or does nothing but configure."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from nmt.config.load import config_to_yaml, load_config, read_config, read_to_continue, save_config
from nmt.config.names import plain_name
from nmt.config.schema import Config
from nmt.errors import ConfigError

EARLIER = Path(__file__).parents[1] / "earlier"
RUN = "runs/x/config.yaml"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder, with something secret in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "s3cr3t")


def of_run(text: str | None = None, *changes: tuple[str, str]) -> Path:
    """Write a run's config.yaml: what nmt writes, or `text`, with changes."""
    path = Path(RUN)
    (path.parent / "checkpoints").mkdir(parents=True, exist_ok=True)
    text = config_to_yaml(load_config("embedded", ["run_dir=runs/x"])) if text is None else text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(read: Any, path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(str(path))
    sentence = str(caught.value)
    assert "\n" not in sentence and "s3cr3t" not in sentence and len(sentence) < 1000
    return sentence


BOTH = pytest.mark.parametrize("read", [read_config, load_config], ids=["as a run's", "as CONFIG"])

# -- names ----------------------------------------------------------------------------------------------------------


def with_test_set(name: str) -> Config:
    values = load_config("multi30k_de_en")
    values.data.test = {name: values.data.held_out()["data.val"]}
    values.check()
    return values


@pytest.mark.parametrize(
    "name",
    ["../../../OUTSIDE", "/tmp/ABS", "..", ".", ".hidden", "a/b", "a\\b", "nul\0", "bell\a", "line\n", "a b", "",
     "x" * 101, "\u202egnirts", "ü" * 51],
)  # fmt: skip
def test_a_test_set_whose_name_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.test: '") as caught:
        with_test_set(name)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)
    plain = plain_name(name)
    assert plain_name(plain) == plain and Path("runs", plain).resolve().parent == Path("runs").resolve()
    with_test_set(plain)


@pytest.mark.parametrize("name", ["test", "newstest2014.de-en", "C++", "परीक्षा", "テスト1", "größe_2", "x" * 100])
def test_a_test_set_may_be_called_in_any_script(name: str) -> None:
    assert list(with_test_set(name).data.test) == [plain_name(name)] == [name]


def test_languages_end_the_names_of_files() -> None:
    assert load_config("embedded", ["data.target_language=sr_Latn@latin"]).data.target_language == "sr_Latn@latin"
    for key in ("data.source_language", "data.target_language"):
        with pytest.raises(ConfigError, match=rf"^{key}: '/\.\./x'"):
            load_config("embedded", [f"{key}=/../x"])
    with pytest.raises(ConfigError, match=r"^data\.train\[0\]\.source_language: 'a/b'"):
        load_config("multi30k_de_en", ["data.train[0].source_language=a/b"])


def test_no_text_may_have_a_nul() -> None:
    path = of_run(None, ("path: embedded", 'path: "a\\0b"'))
    assert re.fullmatch(r".*: data\.path=a\0b: text with the character NUL is not allowed", refusal(read_config, path))


# -- the environment ------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("value", ["${oc.env:SECRET}", "${seed}", "'\\\\${oc.env:SECRET}'", "'\\${a}${oc.env:SECRET}'",
                                   "${oc.create:${oc.env:SECRET}}", "${oc.decode:1}"])  # fmt: skip
def test_a_runs_configuration_resolves_nothing(read: Any, value: str) -> None:
    path = of_run(None, ("path: embedded", f"path: {value}"))
    assert refusal(read, path).startswith(f"{RUN}: data.path=")
    saved = Path("saved.yaml")  # also elsewhere: it says schema
    path.rename(saved)
    assert "has an interpolation" in refusal(read, saved)


def test_a_runs_configuration_without_its_version_is_still_a_runs() -> None:
    path = of_run(None, ("schema: 3\n", ""), ("path: embedded", "path: ${oc.env:SECRET}"))
    for read in (read_config, load_config):
        assert "has an interpolation" in refusal(read, path)


def test_a_configuration_of_ones_own_may_read_the_environment() -> None:
    of_run(None, ("schema: 3\n", ""), ("path: embedded", "path: ${oc.env:SECRET}")).rename("my.yaml")
    assert load_config("my.yaml").data.path == "s3cr3t"
    assert load_config("embedded", ["data.path='${oc.env:SECRET}'"]).data.path == "s3cr3t"


@pytest.mark.parametrize("overrides", [[], ["model=luong", "search=greedy"], ["tokenizer.path='${data.path}'"]])
def test_what_is_written_as_text_stays_text(overrides: list[str]) -> None:
    config = load_config("embedded", ["run_dir=runs/x"])
    config.data.path = "${oc.env:SECRET}"
    of_run(config_to_yaml(config))
    loaded = load_config(RUN, overrides)
    assert loaded.data.path == "${oc.env:SECRET}" == read_config(RUN).data.path
    assert loaded.tokenizer.path in (None, "${oc.env:SECRET}")


def test_files_beside_a_runs_configuration_are_not_read() -> None:
    """Neither for a group that an override chooses nor by a list of defaults."""
    path = of_run()
    for name in ("model/luong.yaml", "other.yaml"):
        file = path.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("family: luong\nscore: ${oc.env:SECRET}\n", encoding="utf-8")
    assert load_config(RUN, ["model=luong"]).model == load_config("embedded", ["model=luong"]).model
    path.write_text("defaults: [other]\n" + path.read_text("utf-8"), encoding="utf-8")
    assert "defaults is not a key of the configuration" in refusal(load_config, path)


# -- size and form --------------------------------------------------------------------------------------------------

BOMB = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))


@BOTH
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "line 1 has an anchor or alias of YAML (&a0 or *a0)"),
        ("seed: " + "[" * 100_000, "line 1 has more than 50 lists and mappings"),
        ("seed: " + "{a: " * 50_000, "line 1 has more than 50 lists and mappings"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(600)), "line 51 has more than 50 lists and mappings"),
        ("a: " + "x" * 10_001, "line 1 has a key or value of more than 10,000 characters"),
        ("x" * 10_001 + ": 1", "line 1 has a key or value of more than 10,000 characters"),
        ("seed: !!bool what", "line 1 has a tag of YAML (tag:yaml.org,2002:bool)"),
        ("seed: !!python/object/apply:os.getcwd []", "line 1 has a tag of YAML (tag:yaml.org,2002:python/object"),
        ("seed: !!python/name:os.system ''", "line 1 has a tag of YAML"),
        ("#" * 250_001, "has more than 250,000 bytes"),
    ],
    ids=["aliases", "lists", "mappings", "indented", "value", "key", "tag", "python", "python name", "size"],
)
def test_what_no_configuration_looks_like_is_refused_at_once(read: Any, text: str, sentence: str) -> None:
    path = of_run(text)
    assert sentence in refusal(read, path)  # without limits, aliases would take forever


@pytest.mark.parametrize(
    "read",
    [read_config, lambda path: read_to_continue(path, load_config("embedded"))],
    ids=["read_config", "read_to_continue"],
)
def test_a_pipe_is_not_waited_for(read: Any) -> None:
    path = of_run()
    path.unlink()
    os.mkfifo(path)
    assert refusal(read, path) == f"{RUN} is damaged: it is not a file"


def test_a_device_without_end_is_refused() -> None:
    path = Path(RUN)
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/zero")
    assert "is not a file" in refusal(read_config, path)


def test_long_values_are_cut_in_messages() -> None:
    path = of_run(None, ("seed: 1\n", f"seed: {'x' * 5000}\n"))
    assert f"seed={'x' * 200}...: expected a whole number" in refusal(read_config, path)


# -- completeness ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["embedded", "multi30k_luong"])
def test_a_file_that_was_cut_anywhere_is_refused(preset: str) -> None:
    whole = config_to_yaml(load_config(preset, ["run_dir=runs/x"])).encode()
    path = of_run()
    line_ends = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    for end in {*range(len(whole) - 40, len(whole)), *line_ends[-20:], *range(0, len(whole), 131)}:
        path.write_bytes(whole[:end])
        assert refusal(read_config, path).startswith(f"{RUN}"), whole[:end][-30:]
    path.write_bytes(whole)
    assert config_to_yaml(read_config(path)).encode() == whole


@BOTH
def test_keys_that_are_missing_are_named(read: Any) -> None:
    path = of_run(None, ("\nsearch:\n", "\nignored:\n"))
    assert "ignored is not a key" in refusal(read, path)
    written = config_to_yaml(load_config("multi30k_de_en"))
    gone = "  stop:|seed:|  - prefix:|    split: train"
    kept = [line for line in written.splitlines(True) if not re.match(gone, line)]
    text = "".join(kept).replace("    source: null\n    target", "  - source: null\n    target", 1)
    saved = Path("saved.yaml")
    saved.write_text(text, encoding="utf-8")
    told = refusal(read, saved)
    assert "saved.yaml lacks data.train[0].prefix, data.train[0].split, search.stop, seed: restore the file, or" in told


def test_a_whole_section_that_is_missing_is_named() -> None:
    written = config_to_yaml(load_config("embedded"))
    text = re.sub(r"(?m)^search:\n(  .*\n)+", "", written)
    assert f"{RUN} lacks search: restore" in refusal(read_config, of_run(text))


@pytest.mark.parametrize("file", sorted(EARLIER.glob("schema_3/*.yaml")), ids=lambda file: file.stem)
def test_the_first_files_of_this_version_can_be_read(file: Path) -> None:
    """They lack keys that were added since. A new key that makes this fail belongs in migrate._ADDED."""
    assert read_config(file) == load_config(str(file))
    assert read_config(file).model.family == file.stem


def test_a_key_of_the_first_files_may_not_be_missing(tmp_path: Path) -> None:
    text = (EARLIER / "schema_3" / "transformer.yaml").read_text("utf-8")
    assert f"{RUN} lacks model.positions:" in refusal(read_config, of_run(text, ("  positions: sinusoidal\n", "")))
    of_run(text, ("  positions: sinusoidal\n", ""), ("schema: 3", "schema: 2"))
    assert read_config(RUN).model == read_config(EARLIER / "schema_3" / "transformer.yaml").model
    of_run(text, ("  norm: pre\n", ""), ("schema: 3", "schema: 2"))
    assert f"{RUN} lacks model.norm:" in refusal(read_config, RUN)


def test_a_cut_file_of_version_1_is_refused() -> None:
    text = (EARLIER / "schema_1" / "transformer" / "config.yaml").read_text("utf-8")
    for end in ("search:\n", "seed:", "run_dir:"):
        assert refusal(read_config, of_run(text[: text.index(end)])).startswith(f"{RUN} lacks ")


@pytest.mark.parametrize("text", ["fine_tune: x\n", "fine_tune: {freeze: 3}\n", "fine_tune: [1]\n", "search: 3\n"])
def test_a_file_of_an_earlier_version_may_have_anything_in_it(text: str) -> None:
    assert refusal(read_config, of_run(f"schema: 2\n{text}")).startswith(RUN)


def test_a_configuration_of_ones_own_need_not_be_complete() -> None:
    text = "model: {family: luong}\ndata: {source_language: a, target_language: b, path: p}\ntraining: {max_steps: 1}"
    Path("config.yaml").write_text(text, encoding="utf-8")
    config = load_config("config.yaml")
    assert "config.yaml lacks tokenizer, search, seed, run_dir: " in refusal(read_config, "config.yaml")
    save_config(config, "whole.yaml")
    assert read_config("whole.yaml") == config
