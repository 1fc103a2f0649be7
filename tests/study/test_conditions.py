"""Conditions of a study that nothing is trained for here: equal texts, gold, metrics, speeds, failed tries, budgets."""

from __future__ import annotations

import json
import math
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.config.load import load_config
from nmt.config.schema import Config
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import ConfigError, NmtError
from nmt.evaluation.metrics import METRICS, score
from nmt.evaluation.sets import sets_of
from nmt.study import plan, work
from nmt.study.cost import parameters_of
from nmt.study.processes import Begun, Carry, Failure, Task
from nmt.study.results import digests_of
from nmt.study.study import read_study
from nmt.training.health import DivergedForGood
from nmt.training.train import train
from tests.study.tiny import conducted, tables, write_study
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

Fails = Callable[[Config], bool]


def pretended(fails: Fails = lambda config: False, speed: float = 60.0, machine: str = "old") -> Carry:
    """Return a carrier whose trainings take no time, and whose translations are the references without a word."""

    def trained(config: Config, test_sets: Sequence[str] | None, gold: Any, metrics: Sequence[str]) -> Any:
        if fails(config):
            return Failure("the power was cut")
        test = {}
        for test_set in sets_of(config, test_sets or None) if test_sets != [] else ():
            hypotheses = [line.partition(" ")[2] or line for line in test_set.references]
            scores = {name: each.to_dict() for name, each in score(hypotheses, test_set.references, metrics).items()}
            test[test_set.name] = {**scores, "hypotheses": hypotheses, "aer": None}
        loss = abs(math.log10(config.training.learning_rate) + 2)
        environment = {"nmt": "1", "torch": "2", "hardware": "none", "cpu_threads": 1, "device": "cpu", "parameters": 9}
        validation = {"loss": loss, "bleu": 1.0}
        figures = {"updates": config.training.max_steps, "minutes": 0, "validation": validation}
        return {**figures, "environment": environment, "test": test}

    def measured(config: Config, seconds: float) -> dict[str, Any]:
        return {"updates_per_minute": speed, "measured_seconds": seconds, "machine": machine}

    def carry(tasks: Sequence[Task], jobs: int, begun: Begun) -> Iterator[tuple[Task, Any]]:
        for task in tasks:
            begun(task)
            known = {work.train_and_score: trained, work.updates_per_minute: measured}
            yield task, known.get(task.function, task.function)(*task.arguments)

    return carry


def test_all_systems_have_the_same_test_sets(tmp_path: Path) -> None:
    path = write_study(tmp_path, systems={"one": [], "two": []}, seeds=[1])
    for language in ("aa", "bb"):
        lines = (tmp_path / "text" / f"test.{language}").read_text("utf-8").splitlines(keepends=True)
        (tmp_path / f"other.{language}").write_text("".join(reversed(lines)), "utf-8")
        (tmp_path / f"same.{language}").write_text("".join(lines), "utf-8")
        for part in ("train", "val"):
            text = (tmp_path / "text" / f"{part}.{language}").read_text("utf-8")
            (tmp_path / f"{part}.{language}").write_text(text, "utf-8")

    def systems(test: str) -> dict[str, list[str]]:
        data = ["data.path=null", f"data.train=[{{prefix: {tmp_path}/train}}]", f"data.val={{prefix: {tmp_path}/val}}"]
        return {"one": [], "two": [*data, f"data.test={{test: {{prefix: {tmp_path / test}}}}}"]}

    path = write_study(tmp_path, systems=systems("other"), seeds=[1])
    with pytest.raises(NmtError, match=r"systems\.two has other test sets than the others"):
        conducted(path, tmp_path / "out", carry=pretended())
    path = write_study(tmp_path, systems=systems("same"), seeds=[1])
    assert len(conducted(path, tmp_path / "out", carry=pretended())["runs"]) == 2


@pytest.mark.parametrize(
    ("name", "lines", "sentence"),
    [
        ("tost", 8, r"gold\.tost: the test sets of the study are test; nearest: test"),
        ("test", 3, "gold.align has 3 lines of gold links for 8 sentence pairs"),
    ],
)
def test_gold_that_does_not_fit_is_refused_before_anything_is_trained(
    name: str, lines: int, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "gold.align").write_text("0-0\n" * lines, "utf-8")
    path = write_study(tmp_path, gold={name: "gold.align"})
    with pytest.raises(NmtError, match=sentence):
        conducted(path, tmp_path / "out", carry=pretended())
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_metric_that_is_added_is_computed_from_the_translations(tmp_path: Path) -> None:
    before = conducted(write_study(tmp_path, metrics=["bleu"]), tmp_path / "out", carry=pretended())
    assert list(before["runs"][0]["test"]["test"]) == ["bleu", "aer"]
    path = write_study(tmp_path, metrics=["bleu", "chrf", "ter"], metric="chrf")
    after = conducted(path, tmp_path / "out", carry=pretended())
    assert after["said"] == ["4 of 4 runs are finished already"]
    whole = conducted(path, tmp_path / "whole", carry=pretended())
    for run, expected in zip(after["runs"], whole["runs"], strict=True):
        assert {name: run["test"]["test"][name] for name in METRICS} == {
            name: expected["test"]["test"][name] for name in METRICS
        }
    assert "| test: BLEU / chrF / TER |" in tables(tmp_path / "out")


def test_a_tuned_value_must_not_change_the_number_of_parameters(tmp_path: Path) -> None:
    tuning = {"values": {"model.dropout": [0.0, 0.1]}, "systems": {"smaller": {"model.ffn_dim": [12, 200]}}}
    match = {"widths": {"smaller": ["model.ffn_dim"]}}
    study = read_study(str(write_study(tmp_path, match=match, tuning=tuning)))
    with pytest.raises(ConfigError, match=r"smaller has .* parameters with model\.ffn_dim=12, where .* to be matched"):
        plan.variants(study, lambda name, config: (60, 60))


def test_sizes_are_those_of_the_tokenizer_that_is_named(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    config = load_config(str(tmp_path / "base.yaml"), ["tokenizer.vocab_size=70", f"run_dir={tmp_path / 'first'}"])
    train(config)
    named = [f"tokenizer.path={tmp_path / 'first' / 'tokenizer'}"]
    study = read_study(str(path), named)
    variant = plan.variants(study, lambda name, config: work.vocabulary(config))[0]
    assert variant.sizes == (70, 70)
    own = variant.with_updates(2, 1, tmp_path / "second")
    train(own)
    trained = json.loads((tmp_path / "second" / "environment.json").read_text("utf-8"))["parameters"]
    assert trained == parameters_of(own, variant.sizes)
    assert work.tokens_per_update(own) == pytest.approx(work.tokens_per_update(config), rel=0.2)


TUNING = {"values": {"training.learning_rate": [0.5, 0.01]}, "share": 0.5}


def test_a_system_waits_for_a_value_that_could_not_be_tried(tmp_path: Path) -> None:
    path = write_study(tmp_path, tuning=TUNING, seeds=[1])

    def fails(config: Config) -> bool:
        return bool(config.run_dir) and "smaller-try2" in str(config.run_dir)

    first = conducted(path, tmp_path / "out", carry=pretended(fails))
    assert [run["system"] for run in first["runs"]] == ["transformer"]
    assert "power" in first["failures"]["smaller-try2"]
    again = conducted(path, tmp_path / "out", carry=pretended())
    assert [run["system"] for run in again["runs"]] == ["transformer", "smaller"]
    assert [each["chosen"] for each in again["tried"]["smaller"]] == [False, True]


def test_a_value_with_which_training_diverges_is_never_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(config: Config) -> None:
        raise DivergedForGood("training diverged")

    monkeypatch.setattr(work, "train", diverge)
    config = load_config(str(write_study(tmp_path).with_name("base.yaml")), [f"run_dir={tmp_path}/out/runs/x"])
    figures = work.train_and_score(config, [], {})
    assert figures["diverged"] == "training diverged"
    with pytest.raises(DivergedForGood):
        work.train_and_score(config, None, {})
    path = write_study(tmp_path, tuning=TUNING, seeds=[1], systems={"transformer": []})

    def carry(tasks: Sequence[Task], jobs: int, begun: Begun) -> Iterator[tuple[Task, Any]]:
        for task, result in pretended()(tasks, jobs, begun):
            yield task, (figures if task.name == "transformer-try2" else result)

    found = conducted(path, tmp_path / "out", carry=carry)
    assert [(each["chosen"], each["diverged"]) for each in found["tried"]["transformer"]] == [
        (True, False),
        (False, True),
    ]
    assert "| - | - | 6 | diverged |" in tables(tmp_path / "out")


def test_a_run_that_was_begun_with_another_budget_is_not_continued(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"systems": {"transformer": []}, "seeds": [1]}
    study = read_study(str(write_study(tmp_path, budget={"updates": 3}, **changes)))
    (variant,) = plan.variants(study, lambda name, config: (60, 60))
    (begun,) = plan.runs(study, [variant], {"transformer": 3}, tmp_path / "out")
    torch.manual_seed(1)
    train(begun.config)
    (more,) = plan.runs(study, [variant], {"transformer": 6}, tmp_path / "out")
    with pytest.raises(
        NmtError, match="transformer-seed1 was started with 3 updates, and now has a budget of 6: delete"
    ):
        work.train_and_score(more.config, [], {})
    assert work.train_and_score(begun.config, [], {})["updates"] == 3


def test_speeds_are_known_by_what_matters_to_them(tmp_path: Path) -> None:
    minutes = {"budget": {"core_minutes": 1, "measured_seconds": 5.0}}
    conducted(write_study(tmp_path, seeds=[1], **minutes), tmp_path / "out", carry=pretended())
    for folder in ("again", "tokens"):
        (tmp_path / folder).mkdir()
        shutil.copy(tmp_path / "out" / "speeds.json", tmp_path / folder)
    # another first seed, the same text in another folder, and other seconds
    shutil.copytree(tmp_path / "text", tmp_path / "moved")
    moved = [f"data.path={tmp_path / 'moved'}"]
    again = {"core_minutes": 1, "measured_seconds": 9.0}
    path = write_study(tmp_path, seeds=[7, 1], overrides=moved, budget=again)
    found = conducted(path, tmp_path / "again", carry=pretended(speed=120.0))
    assert {run["updates"] for run in found["runs"]} == {60}, "measured before"
    assert "60.0 updates per minute, measured for 5 seconds" in tables(tmp_path / "again")
    # a budget of another kind measures again
    path = write_study(tmp_path, seeds=[1], budget={"target_tokens": 500})
    by_tokens = conducted(path, tmp_path / "tokens", carry=pretended())
    assert by_tokens["conditions"]["speeds"]["transformer"].keys() == {"target_tokens_per_update"}


def test_speeds_of_different_machines_are_named(tmp_path: Path) -> None:
    systems: dict[str, list[str]] = {"one": []}
    for machine in ("old", "new"):
        path = write_study(tmp_path, systems=systems, seeds=[1], budget={"core_minutes": 1})
        conducted(path, tmp_path / "out", carry=pretended(machine=machine))
        told = " ".join(tables(tmp_path / "out").split())
        assert ("the budgets are not equal: one: old; two: new" in told) == (machine == "new")
        systems = {"one": [], "two": ["model.dropout=0.2"]}


def test_text_that_changes_while_a_run_is_trained_gives_no_row(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=[1])

    def carry(tasks: Sequence[Task], jobs: int, begun: Begun) -> Iterator[tuple[Task, Any]]:
        for task, result in pretended()(tasks, jobs, begun):
            if task.name == "smaller-seed1":
                for language in ("aa", "bb"):
                    with (tmp_path / "text" / f"train.{language}").open("a", encoding="utf-8") as file:
                        file.write("one more\n")
            yield task, result

    found = conducted(path, tmp_path / "out", carry=carry)
    assert [run["system"] for run in found["runs"]] == ["transformer"]
    assert "its text was changed meanwhile: delete" in found["failures"]["smaller-seed1"]


@pytest.mark.parametrize("damage", ['{"a-seed1": 5}', '{"b": {"x": 1}}'])
def test_damaged_results_are_told_in_one_sentence(tmp_path: Path, damage: str) -> None:
    path = write_study(tmp_path)
    (tmp_path / "results.json").write_text(damage, "utf-8")
    with pytest.raises(NmtError, match=r"results\.json is damaged"):
        conducted(path, tmp_path, carry=pretended())


def test_the_digests_are_of_all_that_a_run_is_trained_with(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    model, links, base = tmp_path / "own.model", tmp_path / "links.txt", tmp_path / "base"
    corpus = {"prefix": str(tmp_path / "text" / "train"), "alignments": str(links)}
    languages = {"source_language": "aa", "target_language": "bb", "cache": config.data.cache}
    data = {**languages, "train": [corpus], "val": {"prefix": str(tmp_path / "text" / "val")}}
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for seed in (1, 2, 2):
        lines = made_up_lines(200, seed=seed)
        model.write_bytes(train_tokenizer(config.tokenizer, lines, lines).models[0])
        links.write_text(f"{seed}-0\n" * 120, "utf-8")
        shutil.rmtree(base, ignore_errors=True)
        train(tiny_config(tmp_path, "base", seed=seed, training__max_steps=1))
        for key, other in {
            "tokenizer.path": tiny_config(tmp_path, tokenizer__path=str(model)),
            "fine_tune.run": tiny_config(tmp_path, fine_tune={"run": str(base)}),
            "data.train[0].alignments": tiny_config(tmp_path, data=data),
        }.items():
            found[key].append(digests_of(other, [], {}))
    for key, (first, second, third) in found.items():
        assert second == third
        assert {name for name in first if first[name] != second[name]} == {key}


def test_a_system_whose_speed_cannot_be_measured_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=[1], budget={"core_minutes": 1})

    def carry(tasks: Sequence[Task], jobs: int, begun: Begun) -> Iterator[tuple[Task, Any]]:
        for task, result in pretended()(tasks, jobs, begun):
            slow = task.function is work.updates_per_minute and task.name == "smaller"
            yield task, (Failure("5 seconds are too few") if slow else result)

    found = conducted(path, tmp_path / "out", carry=carry)
    assert [run["system"] for run in found["runs"]] == ["transformer"]
    assert found["failures"] == {"smaller": "5 seconds are too few"}
