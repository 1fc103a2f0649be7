"""Plans: runs, budgets, tuned values, widths that match parameters, and the studies that come with nmt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from nmt.config.load import load_config
from nmt.config.mechanisms import MixerName, has_mechanism
from nmt.config.schema import Config
from nmt.errors import ConfigError
from nmt.models.build import build_model
from nmt.resources import presets
from nmt.study import plan
from nmt.study.cost import Sizes, cost_of, parameters_of, sizes_from
from nmt.study.ensembles import check_sizes
from nmt.study.study import Study, read_study
from nmt.study.widths import width_for
from tests.study.tiny import write_study

SHIPPED = sorted(path.stem for path in (presets() / "study").glob("*.yaml"))


def find_sizes(name: str, config: Config) -> Sizes:
    return sizes_from(config) or (1000, 1000)


def planned(study: Study) -> list[plan.Variant]:
    return plan.variants(study, find_sizes)


def test_runs_are_systems_times_seeds(tmp_path: Path) -> None:
    study = read_study(str(write_study(tmp_path)))
    found = planned(study)
    runs = plan.runs(study, found, {variant.name: 6 for variant in found}, tmp_path)
    assert [run.name for run in runs] == ["transformer-seed1", "smaller-seed1", "transformer-seed2", "smaller-seed2"]
    assert [run.config.seed for run in runs] == [1, 1, 2, 2]
    assert [getattr(run.config.model, "ffn_dim") for run in runs] == [24, 12, 24, 12]  # noqa: B009
    assert {run.config.run_dir for run in runs} == {str(tmp_path / "runs" / run.name) for run in runs}
    assert plan.tries(study, found, {}, tmp_path) == []


def test_all_combinations_are_tried_for_an_equal_share(tmp_path: Path) -> None:
    values = {"training.learning_rate": [0.01, 0.02], "training.label_smoothing": [0.0, 0.1]}
    own = {"model.dropout": [0.0, 0.1, 0.2, 0.3]}
    tuning = {"values": values, "systems": {"smaller": own}, "share": 0.25}
    study = read_study(str(write_study(tmp_path, tuning=tuning)))
    found = planned(study)
    tries = plan.tries(study, found, {variant.name: 40 for variant in found}, tmp_path)
    chosen = [(run.config.training.learning_rate, run.config.training.label_smoothing) for run in tries[:4]]
    assert chosen == [(0.01, 0.0), (0.01, 0.1), (0.02, 0.0), (0.02, 0.1)]
    assert [getattr(run.config.model, "dropout") for run in tries[4:]] == own["model.dropout"]  # noqa: B009
    assert {run.config.training.max_steps for run in tries} == {10}
    assert {run.config.seed for run in tries} == {1}


FAMILIES: dict[str, tuple[list[str], list[str]]] = {
    "transformer": (["model=transformer_tiny"], ["model.ffn_dim"]),
    "model_dim": (["model=transformer_tiny"], ["model.model_dim"]),
    "rnnsearch": (["model=rnnsearch"], ["model.hidden_dim"]),
    "tied": (
        ["model=luong", "model.tie_projection=true", "model.share_embeddings=true", "model.bidirectional=true"],
        ["model.hidden_dim", "model.embedding_dim"],
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("wanted", [1_500_000, 7_000_000])
def test_widths_match_parameters(name: str, wanted: int) -> None:
    overrides, keys = FAMILIES[name]
    config = load_config("example", [*overrides, "training.max_steps=1"])
    width = width_for(config, keys, wanted, 0.01, (4000, 4000), name)
    widened = load_config("example", [*overrides, "training.max_steps=1", *(f"{key}={width}" for key in keys)])
    built = build_model(widened.model, 4000, 4000)
    count = sum(parameter.numel() for parameter in {id(each): each for each in built.parameters()}.values())
    assert count == parameters_of(widened, (4000, 4000))
    assert abs(count - wanted) <= 0.01 * wanted


@pytest.mark.parametrize(
    ("keys", "wanted", "sentence"),
    [
        (["model.ffn_dim"], 1000, r"no value of model.ffn_dim gives 1,000 parameters; the nearest, 1, gives "),
        (["model.ffn_dim.x"], 1000, r"no width works as model.ffn_dim.x .model.ffn_dim.x is not a key of this"),
        (["model.hidden_dim"], 2_000_000, "no width works as model.hidden_dim .model.hidden_dim is not a key of this"),
    ],
)
def test_numbers_that_cannot_be_matched_are_refused(keys: list[str], wanted: int, sentence: str) -> None:
    config = load_config("example", ["model=transformer_tiny", "training.max_steps=1"])
    with pytest.raises(ConfigError, match=f"match.widths.mine: {sentence}"):
        width_for(config, keys, wanted, 0.01, (4000, 4000), "mine")


def test_a_system_without_a_width_has_to_match_already(tmp_path: Path) -> None:
    wide = {"transformer": [], "wide": ["model.ffn_dim=200"]}
    with pytest.raises(ConfigError, match=r"wide has .* parameters where .* name a key of its width in match.widths"):
        planned(read_study(str(write_study(tmp_path, systems=wide, match={}))))
    widths = {"wide": ["model.ffn_dim"]}
    same = planned(read_study(str(write_study(tmp_path, systems=wide, match={"widths": widths}))))
    assert same[1].overrides == ("model.ffn_dim=200", "model.ffn_dim=24")


def test_a_text_that_data_path_replaces_is_refused(tmp_path: Path) -> None:
    systems = {"all": [], "cut": ["data.train=[{prefix: cut/train}]"]}
    study = read_study(str(write_study(tmp_path, systems=systems)))
    with pytest.raises(ConfigError, match=r"systems.cut: data.train=.* has no effect with data.path=.*: leave one out"):
        planned(study)


def test_a_budget_in_tokens_needs_updates_of_a_known_size(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"budget": {"core_minutes": 1}, "overrides": ["training.tokens_per_update=auto"]}
    study = read_study(str(write_study(tmp_path, **changes)))
    with pytest.raises(ConfigError, match="transformer: a budget in tokens or minutes needs updates of a known size"):
        plan.check_measurable(study, planned(study))


def test_flop_grow_with_the_model_and_the_update() -> None:
    small, wide, twice = (
        cost_of(load_config("demo_transformer", [override]), (500, 500)).flop or 0
        for override in ("model.ffn_dim=64", "model.ffn_dim=128", "training.tokens_per_update=1536")
    )
    standard = cost_of(load_config("demo_transformer"), (500, 500)).flop or 0
    assert small < wide < standard
    assert twice == pytest.approx(2 * standard)
    # a wider feed-forward block costs its weights once a token: 6 FLOP each, in 2 + 2 layers of 128 x 64 x 2 weights
    assert wide - small == pytest.approx(768 * 6 * 4 * 128 * 64 * 2)


def test_flop_of_every_mixer_can_be_counted() -> None:
    found = planned(read_study("every_mixer", ["model.model_dim=16", "model.ffn_dim=16"]))
    for mixer in get_args(MixerName):
        own = [variant for variant in found if has_mechanism(variant.config.model, mixer)]
        assert own, f"{mixer} is in no system of the study"
        assert all((cost_of(variant.config, (50, 50)).flop or 0) > 0 for variant in own)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_studies_that_come_with_nmt_can_be_planned(name: str) -> None:
    study = read_study(name)
    found = planned(study)
    plan.check_measurable(study, found)
    check_sizes(study, found)
    assert study.question.endswith("?")
    for variant in found:
        variant.with_updates(1000, 1, Path("run"))
    assert len({str(variant.config) for variant in found}) == len(found), "each system is another one"
