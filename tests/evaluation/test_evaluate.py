"""Evaluations are kept in the run and used again exactly while nothing has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nmt.data.prepare import prepare
from nmt.errors import NmtError
from nmt.evaluation.evaluate import Settings, evaluate
from nmt.evaluation.metrics import METRICS, score
from nmt.evaluation.sets import EvaluationSet, set_from_files, sets_of
from nmt.run import load_run
from nmt.training.checkpoint import save_weights
from tests.evaluation.runs import REFERENCES, SOURCES, make_run, write_lines, write_texts

SETTINGS = Settings(device="cpu")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    write_texts(tmp_path)
    return make_run(tmp_path / "run", "rnnsearch", tmp_path)


def test_hypotheses_and_scores_are_written(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    evaluation = evaluate(run, test_set, SETTINGS)
    folder = run_dir / "evaluations" / "test"
    hypotheses = (folder / "hypotheses.txt").read_text(encoding="utf-8").split("\n")[:-1]
    record = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert len(hypotheses) == len(SOURCES) and hypotheses == evaluation.hypotheses
    expected = score(hypotheses, REFERENCES)
    assert {name: record[name] for name in METRICS} == {name: expected[name].to_dict() for name in METRICS}
    assert record["checkpoint"] == "step-0000000002"
    assert record["sentences"] == len(SOURCES)
    assert record["seconds"] > 0


def test_what_has_not_changed_is_used_again(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    first = evaluate(run, test_set, SETTINGS)
    again = evaluate(run, test_set, SETTINGS)
    assert not first.reused and again.reused
    assert again.record == first.record and again.hypotheses == first.hypotheses


def test_a_new_reference_is_scored_without_translating_again(run_dir: Path) -> None:
    run = load_run(run_dir)
    first = evaluate(run, EvaluationSet("other", SOURCES, REFERENCES), SETTINGS)
    again = evaluate(run, EvaluationSet("other", SOURCES, first.hypotheses), SETTINGS)
    assert again.reused and again.record["seconds"] == first.record["seconds"]
    assert again.record["chrf"]["score"] == pytest.approx(100)
    assert json.loads((again.folder / "scores.json").read_text()) == again.record


def test_other_settings_weights_or_text_are_translated_anew(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    evaluate(run, test_set, SETTINGS)
    assert not evaluate(run, test_set, Settings(beam_size=1, device="cpu")).reused
    assert not evaluate(run, test_set, SETTINGS).reused, "the evaluation kept was of another beam"
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(0.1)
    save_weights(run.checkpoint.path / "model.safetensors", run.model)  # as a run trained again to the same step
    assert not evaluate(load_run(run_dir), test_set, SETTINGS).reused


def test_damaged_or_edited_hypotheses_are_not_trusted(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    first = evaluate(run, test_set, SETTINGS)
    write_lines(first.folder / "hypotheses.txt", ["edited"] * len(SOURCES))
    again = evaluate(run, test_set, SETTINGS)
    assert not again.reused and again.hypotheses == first.hypotheses


def test_another_text_does_not_take_the_place_of_a_configured_set(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    same = evaluate(run, EvaluationSet("test", SOURCES, REFERENCES), SETTINGS)
    other = evaluate(run, EvaluationSet("test", SOURCES[:2], REFERENCES[:2]), SETTINGS)
    assert same.set_name == "test"
    assert other.set_name.startswith("test-")
    assert evaluate(run, test_set, SETTINGS).reused


def test_a_set_is_named_after_its_source_file(tmp_path: Path) -> None:
    source, reference = write_texts(tmp_path)
    assert set_from_files(source, reference) == EvaluationSet("text", SOURCES, REFERENCES)


def test_unequal_files_are_refused_with_both_counts(tmp_path: Path) -> None:
    source, reference = write_texts(tmp_path)
    write_lines(reference, REFERENCES[:4])
    with pytest.raises(NmtError, match=r"text\.de has 6 lines but .*text\.en has 4"):
        set_from_files(source, reference)
    write_lines(reference, [])
    with pytest.raises(NmtError, match=r"text\.en is empty"):
        set_from_files(source, reference)


def test_unknown_sets_are_refused_with_those_there_are(run_dir: Path) -> None:
    config = load_run(run_dir).config
    with pytest.raises(NmtError, match="no test set 'tset': this configuration has test"):
        sets_of(config, ["tset"])
    with pytest.raises(NmtError, match="wmt14/full has no language pair de-xx"):
        config.data.target_language = "xx"
        sets_of(config, ["wmt14/full"])


def test_a_set_of_sacrebleu_is_read_or_its_failed_download_is_one_sentence(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sacrebleu

    source, reference = write_texts(tmp_path)
    config = load_run(run_dir).config
    monkeypatch.setattr(sacrebleu, "get_source_file", lambda name, pair: str(source))
    monkeypatch.setattr(sacrebleu, "get_reference_files", lambda name, pair: [str(reference)])
    assert sets_of(config, ["wmt14/full"]) == [EvaluationSet("wmt14-full", SOURCES, REFERENCES)]

    def fail(name: str, pair: str) -> str:
        raise OSError("no network")

    monkeypatch.setattr(sacrebleu, "get_source_file", fail)
    with pytest.raises(NmtError, match=r"wmt14/full \(de-en\) could not be downloaded .no network.: give --source"):
        sets_of(config, ["wmt14/full"])


def test_lines_that_were_trained_on_are_told(run_dir: Path, tmp_path: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)  # the configuration's training text, too
    said: list[str] = []
    assert evaluate(run, test_set, SETTINGS, said.append).record["shared_with_training"] is None
    assert not any("training text" in line for line in said), "nobody knows without the prepared text"
    run.config.data.cache = str(tmp_path / "cache")
    run.config.tokenizer.vocab_size = 80
    fingerprints = prepare(run.config, lambda line: None).fingerprints
    (run_dir / "environment.json").write_text(json.dumps({"data": fingerprints}), encoding="utf-8")
    (run_dir / "evaluations" / "test" / "scores.json").unlink()
    for _ in range(2):  # translated, and used again
        said.clear()
        evaluation = evaluate(run, test_set, SETTINGS, said.append)
        warnings = [line for line in said if line.startswith("WARNING: data.test.test: 6 of 6 source lines (100%)")]
        assert len(warnings) == 1
    assert evaluation.reused
    assert evaluation.record["shared_with_training"] == {"lines": 6, "source": 6, "pair": 6}
    evaluate(run, EvaluationSet("other", ["Etwas anderes."], ["Something else."]), SETTINGS, said.append)
    assert not any("other:" in line for line in said)
