"""The numbers that replace `auto`: chosen once, reported, kept on resuming, and equivalent to numbers set by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from nmt.config.load import config_to_flat, load_config, read_config
from nmt.config.schema import TrainingConfig
from nmt.data.prepare import prepare
from nmt.errors import NmtError
from nmt.training.auto import MOST_EPOCHS, Plan, Text, planned, resolve
from nmt.training.train import train
from tests.training.tiny import assert_same_run, killed_in_update, tiny_config

AUTO: dict[str, Any] = {
    "max_steps": 4, "tokens_per_update": "auto", "learning_rate": "auto", "validate_every": "auto",
    "validation_sentences": "auto", "device": "cpu", "threads": 1, "schedule": {"warmup_steps": "auto"},
}  # fmt: skip
BY_HAND = {"tokenizer": {"vocab_size": "auto"}, "training": AUTO}

MULTI30K = Text(sentences=29_000, tokens=480_000, longest=60)


def plan(text: Text = MULTI30K, weights: int = 6_000_000, **training: Any) -> Plan:
    return planned(TrainingConfig(**{"tokens_per_update": "auto", **training}), text, weights, "cpu")


# -- plans --------------------------------------------------------------------------------------------------------


def test_the_closest_limit_counts() -> None:
    by_minutes, by_steps, by_epochs = plan(max_minutes=15), plan(max_steps=700), plan(max_epochs=2)
    assert plan(max_minutes=15, max_steps=10**6, max_epochs=10**6) == by_minutes
    assert plan(max_minutes=10**6, max_steps=700).updates == by_steps.updates == 700
    assert by_epochs.updates * by_epochs.tokens_per_update == pytest.approx(2 * MULTI30K.tokens)
    assert plan(patience=5).updates == plan(max_epochs=MOST_EPOCHS).updates


@pytest.mark.parametrize("limits", [[{"max_minutes": n} for n in (1, 5, 15, 60)],
                                    [{"max_epochs": n} for n in (1, 3, 10, 50)]])  # fmt: skip
def test_a_longer_training_has_more_and_larger_updates(limits: list[dict[str, Any]]) -> None:
    plans = [plan(**limit) for limit in limits]
    assert sorted(plans) == plans
    assert [each.updates for each in plans] == sorted(each.updates for each in plans)


def test_a_larger_model_has_fewer_updates_in_the_same_minutes() -> None:
    assert plan(max_minutes=15, weights=60_000_000).updates < plan(max_minutes=15).updates


def test_the_longest_sentence_fits_into_an_update() -> None:
    long = MULTI30K._replace(longest=3_001)
    assert plan(long, max_minutes=1).tokens_per_update >= 3_001


def test_how_an_update_is_split_does_not_change_it() -> None:
    assert plan(max_minutes=1, tokens_per_device=20_000) == plan(max_minutes=1)


def test_updates_of_a_text_of_a_few_pairs_hold_no_more_than_it() -> None:
    few = Text(sentences=5, tokens=50, longest=12)
    assert plan(few, max_epochs=30).updates == 30


def test_what_is_set_stays() -> None:
    assert plan(max_minutes=15, tokens_per_update=777).tokens_per_update == 777


# -- trainings ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("auto")


@pytest.fixture(scope="module")
def begun(folder: Path) -> Path:
    """A run of four updates with `auto` for every key that allows it."""
    train(tiny_config(folder, "begun", **BY_HAND))
    return folder / "begun"


def test_numbers_are_told_in_one_line_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny_config(folder, "told", **BY_HAND))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("auto: ")]
    kept = config_to_flat(read_config(folder / "told" / "config.yaml"))
    assert len(told) == 1
    found = dict(pair.split("=") for pair in told[0].removeprefix("auto: ").split(", "))
    assert len(found) == 6
    assert {key: float(value) for key, value in found.items()} == {key: float(kept[key]) for key in found}


def test_training_is_that_of_the_same_numbers_set_by_hand(begun: Path, folder: Path) -> None:
    found = read_config(begun / "config.yaml")
    train(dataclasses.replace(found, run_dir=str(folder / "by_hand")))
    assert_same_run(begun, folder / "by_hand")


def test_a_run_that_goes_on_with_other_limits_keeps_its_numbers(begun: Path, folder: Path) -> None:
    before = config_to_flat(read_config(begun / "config.yaml"))
    train(tiny_config(folder, "begun", **BY_HAND | {"training": AUTO | {"max_steps": 400, "max_epochs": 3}}))
    after = config_to_flat(read_config(begun / "config.yaml"))
    different = {key for key in before if before[key] != after[key]}
    assert different == {"training.max_steps", "training.max_epochs"}


def test_another_number_than_the_one_found_is_refused(begun: Path, folder: Path) -> None:
    with pytest.raises(NmtError, match=r"training\.learning_rate is 0\.5, was "):
        train(tiny_config(folder, "begun", **BY_HAND | {"training": AUTO | {"learning_rate": 0.5}}))


def test_what_is_set_beside_auto_is_kept(folder: Path) -> None:
    own = {"learning_rate": 0.0123, "validation_sentences": 3, "schedule": {"warmup_steps": 2}}
    train(tiny_config(folder, "own", **BY_HAND | {"training": AUTO | own}))
    kept = config_to_flat(read_config(folder / "own" / "config.yaml"))
    assert (kept["training.learning_rate"], kept["training.validation_sentences"]) == (0.0123, 3)
    assert kept["training.schedule.warmup_steps"] == 2


def test_a_run_without_a_checkpoint_begins_anew_with_other_numbers(folder: Path) -> None:
    killed_in_update(tiny_config(folder, "killed", **BY_HAND | {"training": AUTO | {"max_steps": 40}}), 2)
    before = read_config(folder / "killed" / "config.yaml").training
    train(tiny_config(folder, "killed", **BY_HAND))
    after = read_config(folder / "killed" / "config.yaml").training
    assert before.schedule.warmup_steps > after.schedule.warmup_steps  # type: ignore[operator]


def test_the_data_of_auto_are_found_by_the_size_it_found(
    begun: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_config(begun / "config.yaml")
    capsys.readouterr()
    train(dataclasses.replace(found, run_dir=str(folder / "again")))
    assert "is prepared already" in capsys.readouterr().err


def test_a_warm_up_that_never_ends_is_told_with_what_to_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = AUTO | {"schedule": {"warmup_steps": 4000}}
    train(tiny_config(folder, "long", **BY_HAND | {"training": long}))
    told = capsys.readouterr().err
    assert "training.schedule.warmup_steps=4000 is more than the 4 updates" in told
    advised = int(told.partition("set training.schedule.warmup_steps=")[2].split()[0])
    train(tiny_config(folder, "short", **BY_HAND | {"training": AUTO | {"schedule": {"warmup_steps": advised}}}))
    assert "never reach its peak" not in capsys.readouterr().err


def test_fine_tuning_takes_the_vocabulary_that_was_found(begun: Path, folder: Path) -> None:
    train(tiny_config(folder, "tuned", **BY_HAND, fine_tune={"run": str(begun)}))
    sizes = [read_config(folder / run / "config.yaml").tokenizer.vocab_size for run in ("begun", "tuned")]
    assert sizes[0] == sizes[1] != "auto"


@pytest.mark.parametrize(("warmup", "counted"), [(4000, 4000), (2500, 2500), (10, 2000)])
def test_the_base_transformer_has_the_papers_peak(warmup: int, counted: int, folder: Path) -> None:
    model = {"family": "transformer", "model_dim": 512, "ffn_dim": 24, "num_heads": 2, "encoder_layers": 1,
             "decoder_layers": 1}  # fmt: skip
    training = AUTO | {"max_steps": 1, "schedule": {"warmup_steps": warmup}}
    train(tiny_config(folder, f"base-{warmup}", **BY_HAND | {"training": training}, model=model))
    peak = read_config(folder / f"base-{warmup}" / "config.yaml").training.learning_rate
    assert peak == pytest.approx(512**-0.5 * min(counted**-0.5, counted * counted**-1.5), rel=0.01)  # eq. 3


@pytest.mark.parametrize(("epochs", "dropout"), [(1, 0.11), (25, 0.25), (50, 0.4), (1000, 0.4)])
def test_dropout_follows_how_often_the_text_is_read(epochs: int, dropout: float, folder: Path) -> None:
    model = {"family": "transformer", "model_dim": 8, "ffn_dim": 8, "num_heads": 2, "encoder_layers": 1,
             "decoder_layers": 1, "dropout": "auto"}  # fmt: skip
    training = AUTO | {"max_steps": None, "max_epochs": epochs}
    config = tiny_config(folder, "dropout", **BY_HAND | {"training": training}, model=model)
    found = resolve(config, prepare(config, lambda line: None), "cpu")
    assert found.model.dropout == dropout
    assert resolve(found, prepare(found, lambda line: None), "cpu") == found, "what is set stays"


# -- presets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", ["transformer", "rnn"])
@pytest.mark.parametrize("model", ["transformer_tiny", "rnnsearch", "luong", "rnn_encdec"])
def test_presets_for_own_text_leave_every_number_to_it(training: str, model: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        f"defaults: [{{model: {model}}}, {{data: files}}, {{training: {training}}}, _self_]\n"
        "data: {source_language: de, target_language: en, path: my_text}\ntraining: {max_minutes: 30}\n"
    )
    config = load_config(str(path))
    left = [config.tokenizer.vocab_size, config.training.tokens_per_update, config.training.learning_rate]
    left += [config.training.validate_every, config.training.validation_sentences]
    assert set(left) == {"auto"}
    assert config.training.schedule.warmup_steps in ("auto", 0)
    assert math.isclose(config.training.max_minutes or 0, 30)
