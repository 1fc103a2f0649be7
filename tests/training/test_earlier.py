"""Resuming runs that were started with an earlier version of nmt: they continue as that version would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from nmt.cli import train as command
from nmt.config.load import config_to_dict, read_config
from nmt.config.schema import SearchConfig
from nmt.errors import NmtError
from nmt.training.train import train
from tests.training.tiny import assert_same_run, events, tiny_config

pytestmark = pytest.mark.usefixtures("translated_from_the_start")
BEAM = {"training__validation_beam_size": 2}  # early versions validated with the beam size of search
LONGER = {"training__max_steps": 40, "training__validate_every": 20}
RULES = {"search__length_normalisation": "gnmt", "search__stop": "exact"}  # defaults of the search section at that time


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("earlier")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    train(tiny_config(folder, "whole", **BEAM, **LONGER, **RULES))
    assert events(folder / "whole", "validation")[-1]["chrf"] > 0
    return folder / "whole"


def begun_before(folder: Path, run: str, **rules: Any) -> Path:
    """Train half of a run, and rewrite its config.yaml as it was before validations had their own beam size."""
    config = tiny_config(folder, run, **BEAM, **RULES, **LONGER | {"training__max_steps": 20})
    train(config)
    values = config_to_dict(config)
    values["search"] |= {"draft": False, "cuda_graphs": False, **rules}
    del values["training"]["validation_beam_size"]
    file = folder / run / "config.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file


def test_the_same_configuration_continues_it(folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = begun_before(folder, "same")
    train(tiny_config(folder, "same", **LONGER))
    assert_same_run(folder / "same", whole)
    assert capsys.readouterr().err.count("other default rules") == 1
    assert read_config(file).training.validation_beam_size == 2
    assert file.read_text("utf-8").startswith("schema: 3\n")


def test_its_own_file_continues_it(folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = begun_before(folder, "own")
    assert command.main([str(file), "training.max_steps=40"]) == 0
    assert_same_run(folder / "own", whole)
    assert capsys.readouterr().err.count("other default rules") == 1


def test_rules_that_were_set_are_those_it_goes_on_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules that the configuration sets again are kept, and so is the old default of a rule that it leaves out."""
    file = begun_before(folder, "set", length_penalty=0.6)
    train(tiny_config(folder, "set", **LONGER, search__length_penalty=0.6, search__stop="exact"))
    search = read_config(file).search
    assert (search.length_normalisation, search.length_penalty, search.stop) == ("gnmt", 0.6, "exact")
    assert "other default rules" not in capsys.readouterr().err


def test_other_rules_than_either_are_refused(folder: Path) -> None:
    begun_before(folder, "other")
    with pytest.raises(NmtError, match=rf"\(search\.length_penalty is 0\.3, was {SearchConfig().length_penalty}\)"):
        train(tiny_config(folder, "other", **LONGER, search__length_penalty=0.3))
