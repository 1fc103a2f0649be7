"""Test loading of files, presets, groups, overrides and sweeps, and the directories of runs."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nmt.config.load import load_config, load_sweep, read_config, save_config
from nmt.config.models import LuongConfig, RnnSearchConfig, TransformerConfig
from nmt.errors import ConfigError, NmtError, UsageError

ALONE = """
model: {family: transformer, model_dim: 64, num_heads: 2}
data: {source_language: de, target_language: en, path: corpus}
training: {max_steps: 10}
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run each test in its own empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")
    return path


def refusal(config: str, *overrides: str, kind: type[NmtError] = ConfigError) -> str:
    with pytest.raises(kind) as caught:
        load_config(config, overrides)
    sentence = str(caught.value)
    assert "\n" not in sentence and "__" not in sentence
    return sentence


# -- CONFIG ---------------------------------------------------------------------------------------------------------


def test_name_is_a_preset_and_path_is_that_file() -> None:
    write("embedded.yaml", ALONE)
    assert load_config("embedded").data.path == "embedded"
    for path in ("embedded.yaml", "./embedded.yaml", str(Path("embedded.yaml").resolve())):
        assert load_config(path).data.path == "corpus"
    write("sub/mine", ALONE)
    assert load_config("sub/mine").run_dir == "runs/mine"


def test_unknown_names() -> None:
    assert refusal("multi30k").startswith("there is no preset multi30k; nearest: multi30k_de_en; available: ")
    assert refusal("embedded.yaml") == "there is no file embedded.yaml; the preset is called embedded"
    write("mine", ALONE)
    assert refusal("mine") == "there is no preset mine; the file of that name is ./mine"
    write("mine.yaml", ALONE)
    assert refusal("mine") == "there is no preset mine; the file of that name is mine.yaml"
    assert refusal("quite-other").startswith("there is no preset quite-other; available: ")
    assert refusal(str(Path.cwd())).endswith("config.yaml") and "is a folder" in refusal(str(Path.cwd()))
    Path("run").mkdir()
    assert refusal("run") == "run is a folder: give the YAML file itself, such as run/config.yaml"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed: 1\nmodel: [\n", "a.yaml: line 3 is not valid YAML: "),
        ("seed: 1\nseed: 2\n", "a.yaml: line 2 is not valid YAML: found duplicate key seed"),
        ("- 1\n", "a.yaml should hold keys and values"),
        ("", "a.yaml should hold keys and values"),
        ("defaults: 3\n", "a.yaml: defaults should be a list"),
        ("defaults: [3]\n", "a.yaml: defaults should be a list"),
        ("seed: 010\n", "a.yaml: line 1 has 010, which YAML reads as an octal number or as one to the base 60: write"),
        ("model:\n  dropout: 1:30\n", "a.yaml: line 2 has 1:30, which YAML reads as an octal number"),
        ("defaults: [{model: loung}]\n", "the defaults list names model=loung, which does not exist; nearest: luong"),
        ("defaults:\n  - model: ???\n", "You must specify 'model'"),
        ("defaults: [a]\n", "a defaults list leads back to its own file"),
        ("hydra: {verbose: true}\n", "a.yaml: hydra is not a key of the configuration"),
        ("seed: ${nothing}\n", "seed: Interpolation key 'nothing' not found"),
        ("seed: ???\n", "seed: Missing mandatory value: seed"),
    ],
)
def test_unreadable_file_is_one_sentence(text: str, sentence: str) -> None:
    assert refusal(write("a.yaml", text)).startswith(sentence)


def test_bytes_that_are_no_text() -> None:
    Path("a.yaml").write_bytes(b"seed: \xff")
    assert refusal("a.yaml") == "a.yaml is not UTF-8 text: byte 6 cannot be decoded"


def test_file_builds_on_a_preset_and_has_options_of_its_own() -> None:
    write("lab/model/mine.yaml", "family: luong\nlayers: 2\n")
    write("lab/mine.yaml", "defaults: [embedded]\nmodel: {dropout: 0.4}\nseed: ${training.max_minutes}\n")
    config = load_config("lab/mine.yaml", ["training.max_minutes=1234"])
    assert isinstance(config.model, TransformerConfig)
    assert (config.model.model_dim, config.model.dropout, config.seed) == (128, 0.4, 1234)
    assert load_config("lab/mine.yaml", ["model=mine"]).model == LuongConfig(layers=2)


def test_choice_left_open_is_made_by_an_override() -> None:
    write("a.yaml", "defaults:\n  - model: ???\n  - data: embedded\ntraining: {max_steps: 1}\n")
    assert load_config("a.yaml", ["model=rnnsearch_paper"]).model == RnnSearchConfig()


# -- overrides ------------------------------------------------------------------------------------------------------


def test_every_kind_of_value_without_plus() -> None:
    write("a.yaml", ALONE)
    config = load_config(
        "a.yaml",
        ["training.max_minutes=30", "training.clip_norm=null", "training.optimizer.betas=[0.8,0.9]", "seed=2",
         "data.train=[{prefix:corpus/a},{hub:h,config:de-en}]", "data.test.mine.prefix=x", "search.beam_size=1",
         "training.max_steps=1e3", "training.compile=true", "data.train[1].split=dev", "data.train.0.split=all"],
    )  # fmt: skip
    assert (config.training.max_minutes, config.training.clip_norm, config.training.max_steps) == (30, None, 1000)
    assert (config.training.optimizer.betas, config.training.compile, config.seed) == ([0.8, 0.9], True, 2)
    assert [corpus.prefix for corpus in config.data.train] == ["corpus/a", None]
    assert [corpus.split for corpus in config.data.train] == ["all", "dev"]
    assert config.data.test["mine"].prefix == "x"
    assert load_config("a.yaml", ["+seed=3"]).seed == load_config("a.yaml", ["++seed=3"]).seed == 3
    assert load_config("multi30k_de_en", ["~data.test"]).data.test == {}


def test_a_list_replaces_a_mapping_and_a_mapping_a_list() -> None:
    write("a.yaml", ALONE.replace("path: corpus", "train: [{prefix: t}], val: {prefix: v}"))
    a_list, a_mapping = "data.val=[{prefix: x}, {prefix: y}]", "data.val={prefix: z}"
    for overrides, prefixes in (
        ([a_list], ["x", "y"]),
        ([a_list, "data.val[1].prefix=w"], ["x", "w"]),
        ([a_list, a_mapping], ["z"]),
        (["~data.val", a_list], ["x", "y"]),
        ([a_mapping], ["z"]),
    ):
        held_out = load_config("a.yaml", overrides).data.held_out()["data.val"]
        assert [corpus.prefix for corpus in held_out] == prefixes
    assert refusal("a.yaml", "data.train={prefix: x}").endswith("expected a list")


def test_an_interpolation_finds_what_is_left_at_its_default() -> None:
    write("a.yaml", ALONE)
    given = "run_dir=r/${seed}-${search.beam_size}-${data.cleaning.max_words}-${data.source_language}"
    assert run_dirs("a.yaml", given) == ["r/1-5-250-de"]
    assert run_dirs("a.yaml", given, "seed=3", "search.beam_size=2") == ["r/3-2-250-de"]
    assert refusal("a.yaml", "run_dir=${sed}").startswith("run_dir: Interpolation key 'sed' not found")


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    write("a.yaml", ALONE)
    overrides = ["data.path=~/text", "data.cache=~/kept", "run_dir=~/runs/a", "fine_tune.run=~/runs/b"]
    config = load_config("a.yaml", [*overrides, "data.val={source: '~/v.de', target: '~/v.en'}"])
    assert (config.data.path, config.data.cache) == ("/home/me/text", "/home/me/kept")
    assert (config.run_dir, config.fine_tune.run) == ("/home/me/runs/a", "/home/me/runs/b")
    assert load_config("a.yaml", ["tokenizer.path=~/spm.model"]).tokenizer.path == "/home/me/spm.model"
    (val,) = config.data.held_out()["data.val"]
    assert (val.source, val.target) == ("/home/me/v.de", "/home/me/v.en")
    train = "[{prefix: '~/p'}, {tsv: '~/t'}, {hub: '~/h'}, {hub: 'not~here'}]"
    corpora = load_config("a.yaml", ["data.path=null", f"data.train={train}", "data.val.prefix=v"]).data.train
    assert [corpus.prefix or corpus.tsv or corpus.hub for corpus in corpora] == [
        "/home/me/p", "/home/me/t", "/home/me/h", "not~here"
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/tmp/größe und maß", "a=b", "/x/y-z_1.0", "C+D@e"])
def test_paths_need_no_quotes(path: str) -> None:
    assert load_config("embedded", [f"data.path={path}"]).data.path == path


def test_text_with_special_characters_in_quotes(tmp_path: Path) -> None:
    config = load_config("embedded", ["data.path='a,b [c]'", r"run_dir='\${x}'"])
    assert (config.data.path, config.run_dir) == ("a,b [c]", "${x}")
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("text", ["null", "true", "12", "1e-3", "a: b", "\\${x}", "# no", " x ", "ü", "no"])
def test_any_text_survives_its_file(text: str, tmp_path: Path) -> None:
    config = load_config("embedded")
    config.data.path = text
    save_config(config, tmp_path / "c.yaml")
    assert read_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("override", "kind", "sentence"),
    [
        ("seed", UsageError, "'seed' is not an override: write key=value"),
        ("=3", UsageError, "'=3' is not an override: write key=value"),
        ("seed=1,2", UsageError, "an override names several values, but here each key takes one"),
        ("seed=interval(1,2)", UsageError, "the override seed=interval(1,2) names no values to try"),
        ("data.path=(a", ConfigError, "the override data.path=(a cannot be read: "),
        ("hydra.verbose=true", ConfigError, "the override hydra.verbose=true names no key"),
        ("hydra/launcher=x", ConfigError, "the override hydra/launcher=x names no key"),
        ("model@data=luong", ConfigError, "the override model@data=luong names no key"),
        (
            "model=loung",
            ConfigError,
            "there is no model=loung; nearest: luong; available: gnmt, luong, luong_paper, ",
        ),
        ("tokenizer=bpe", ConfigError, "tokenizer=bpe: there are no presets for tokenizer"),
        ("model=null", ConfigError, "model=null: "),
        ("model=[luong]", ConfigError, "model="),
        ("modle=luong", ConfigError, "modle is not a key of the configuration; nearest: model"),
        ("training.max_step=3", ConfigError, "training.max_step is not a key of the configuration; nearest: "),
        ("training.max_steps=abc", ConfigError, "training.max_steps=abc: expected a whole number or null"),
        ("training.average=worst", ConfigError, "training.average=worst: expected one of best, last"),
        ("training.average=best", ConfigError, "training.average=best needs training.keep_best of at least 2"),
        ("model.family=luong", ConfigError, "model.model_dim is not a key of model.family=luong"),
        ("seed.x=1", ConfigError, ""),
        ("data.cache=", ConfigError, "data.cache is empty"),
        ("fine_tune.checkpoint=0", ConfigError, "fine_tune.checkpoint belongs to a run to start from"),
        ("~nothing", ConfigError, ""),
        ("data=files", ConfigError, "data.train names no corpus: set data.path=FOLDER or data.train"),
    ],
)
def test_wrong_override_is_one_sentence(override: str, kind: type[NmtError], sentence: str) -> None:
    assert refusal("embedded", override, kind=kind).startswith(sentence)


def test_group_is_replaced_whole_even_in_a_resolved_file() -> None:
    config = load_config("embedded", ["model.dropout=0.3", "model.model_dim=128"])
    save_config(config, "resolved/config.yaml")
    replaced = load_config("resolved/config.yaml", ["model.dropout=0.25", "model=transformer_tiny"])
    assert replaced.model == load_config("embedded", ["model.dropout=0.25"]).model  # groups come first, then values
    assert load_config("resolved/config.yaml", ["model=rnnsearch_paper"]).model == RnnSearchConfig()
    assert load_config("resolved/config.yaml", ["search=greedy"]).model == config.model


def test_another_way_of_training_keeps_how_long_and_where() -> None:
    write("a.yaml", "defaults: [{model: luong}, {data: embedded}, {training: transformer}]\n"
          "training: {max_minutes: 30, threads: 1, clip_norm: 5}\n")  # fmt: skip
    training = load_config("a.yaml", ["training=rnn"]).training
    assert (training.max_minutes, training.threads, training.schedule.name) == (30, 1, "plateau")
    assert training.clip_norm == load_config("multi30k_rnnsearch").training.clip_norm == 1


# -- run directories and sweeps -------------------------------------------------------------------------------------


def run_dirs(config: str, *overrides: str) -> list[str | None]:
    return [job.run_dir for job in load_sweep(config, overrides)]


@pytest.mark.parametrize(
    ("overrides", "run_dir"),
    [
        ([], "runs/embedded"),
        (["model=rnnsearch", "training.max_minutes=30", "seed=2"],
         "runs/embedded-model=rnnsearch-training.max_minutes=30-seed=2"),
        (["+seed=2"], "runs/embedded-seed=2"),
        (["run_dir=here/it is", "seed=2"], "here/it is"),
        (["run_dir="], "runs/embedded"),
    ],
)  # fmt: skip
def test_run_dir(overrides: list[str], run_dir: str) -> None:
    assert run_dirs("embedded", *overrides) == [run_dir]


def test_run_dir_is_safe_short_and_distinct() -> None:
    names = [run_dirs("embedded", override)[0] for override in
             ("data.path=/a b/ü", "data.path=/a_b/ü", f"data.path={'x' * 300}", f"data.path={'x' * 301}")]  # fmt: skip
    assert len(set(names)) == 4
    for name in names:
        assert name is not None and re.fullmatch(r"runs/[A-Za-z0-9._=+-]{1,150}", name)


def test_sweep_is_every_combination_each_with_its_run_dir() -> None:
    jobs = load_sweep("embedded", ["model=luong,rnnsearch", "seed=range(1,3)", "training.max_steps=choice(5)"])
    assert [(job.model.family, job.seed) for job in jobs] == [
        ("luong", 1), ("luong", 2), ("rnnsearch", 1), ("rnnsearch", 2)
    ]  # fmt: skip
    assert all(job.training.max_steps == 5 for job in jobs)
    assert [job.run_dir for job in jobs][-1] == "runs/embedded-model=rnnsearch-seed=2-training.max_steps=5"
    assert run_dirs("embedded", "seed=1,2") == [load_config("embedded", [f"seed={n}"]).run_dir for n in (1, 2)]


def test_sweep_below_a_given_run_dir() -> None:
    assert run_dirs("embedded", "run_dir=out", "seed=1,2", "search.beam_size=3") == ["out/seed=1", "out/seed=2"]
    assert run_dirs("embedded", "run_dir=out", "search.beam_size=3") == ["out"]
    assert run_dirs("embedded", "run_dir=a,b") == ["a", "b"]


def test_a_runs_own_file_finds_the_run_also_when_moved() -> None:
    config = load_config("embedded", ["run_dir=runs/x"])
    save_config(config, "runs/x/config.yaml")
    Path("runs/x/checkpoints").mkdir()
    assert load_config("runs/x/config.yaml") == config
    assert run_dirs(str(Path("runs/x/config.yaml").resolve())) == ["runs/x"]
    assert run_dirs("runs/x/config.yaml", "seed=1,2") == ["runs/x-seed=1", "runs/x-seed=2"]
    Path("runs").rename("moved")
    assert run_dirs("moved/x/config.yaml") == ["moved/x"]
    assert run_dirs("moved/x/config.yaml", "run_dir=new") == ["new"]


# -- what loading leaves behind -------------------------------------------------------------------------------------


def test_nothing_is_written_or_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: Any) -> None:
    load_sweep("embedded", ["model=luong,rnnsearch", "seed=1,2"])
    with pytest.raises(ConfigError):
        load_config("embedded", ["model=nothing"])
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_read_config_names_the_file() -> None:
    save_config(load_config("embedded"), "c.yaml")
    write("c.yaml", Path("c.yaml").read_text("utf-8") + "sed: 3\n")
    with pytest.raises(ConfigError, match=r"^c\.yaml: sed is not a key of the configuration; nearest: seed"):
        read_config("c.yaml")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml could not be read"):
        read_config("nowhere.yaml")


def test_threads_compose_at_the_same_time() -> None:
    seeds = range(12)
    with ThreadPoolExecutor(6) as threads:
        configs = list(threads.map(lambda seed: load_config("embedded", [f"seed={seed}"]), seeds))
    assert [config.seed for config in configs] == list(seeds)
