"""Tests that evaluations are kept in the run, in one folder per text, and reused exactly as long as nothing changes."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

from nmt.checksums import seal
from nmt.config.load import read_config, save_config
from nmt.config.schema import Config, SearchConfig
from nmt.data.prepare import prepare
from nmt.errors import ConfigError, NmtError
from nmt.evaluation.evaluate import Evaluation, Settings, evaluate
from nmt.evaluation.kept import CANNOT_MATTER, scores_key, translation_key
from nmt.evaluation.metrics import METRICS, score
from nmt.evaluation.sets import EvaluationSet, set_from_files, sets_of
from nmt.inference.engines.shortlist import Shortlist
from nmt.runs.run import LoadedRun, load_run
from nmt.runs.weights import save_weights
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


@pytest.mark.parametrize("key", ["bleu", "signature", "seconds", "reference_sha256", "beam_size"])
def test_a_damaged_record_is_computed_again(run_dir: Path, key: str) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    first = evaluate(run, test_set, SETTINGS)
    path = first.folder / "scores.json"
    record = json.loads(path.read_text("utf-8"))
    if key == "signature":
        record["bleu"]["signature"] = record["bleu"]["signature"].replace("nrefs:1", "nrefs:3")
    elif key == "bleu":
        record["bleu"]["score"] += 1
    else:
        record[key] = 7
    path.write_text(json.dumps(record), "utf-8")
    again = evaluate(run, test_set, SETTINGS)
    assert not again.reused and again.scores == first.scores
    assert json.loads(path.read_text("utf-8")) == again.record


def test_a_record_of_an_earlier_version_has_no_digest(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    first = evaluate(run, test_set, SETTINGS)
    path = first.folder / "scores.json"
    record = json.loads(path.read_text("utf-8"))
    del record["record_sha256"]
    path.write_text(json.dumps(record), "utf-8")
    assert evaluate(run, test_set, SETTINGS).reused


def test_a_new_reference_is_scored_without_translating_again(run_dir: Path) -> None:
    run = load_run(run_dir)
    first = evaluate(run, EvaluationSet("other", SOURCES, REFERENCES), SETTINGS)
    again = evaluate(run, EvaluationSet("other", SOURCES, first.hypotheses), SETTINGS)
    assert again.reused and again.record["seconds"] == first.record["seconds"]
    assert again.record["chrf"]["score"] == pytest.approx(100)
    assert json.loads((again.folder / "scores.json").read_text()) == again.record


def test_other_metrics_are_computed_without_translating_again(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    two = evaluate(run, test_set, Settings(device="cpu", metrics=("bleu", "chrf")))
    assert not two.reused and "ter" not in two.record
    every = evaluate(run, test_set, SETTINGS)
    assert every.reused and every.record["seconds"] == two.record["seconds"]
    assert every.scores == {name: each.score for name, each in score(two.hypotheses, REFERENCES).items()}
    assert two.scores == {name: every.scores[name] for name in ("bleu", "chrf")}


def test_metrics_that_are_not_asked_for_are_kept(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(run_dir)
    test_set = EvaluationSet("other", SOURCES, REFERENCES, tags=["x", *[None] * (len(SOURCES) - 1)])
    run.tokenizer.tags["x"] = 4
    every = evaluate(run, test_set, SETTINGS)
    monkeypatch.setattr("nmt.evaluation.evaluate.score", lambda *arguments, **named: pytest.fail("scored again"))
    one = evaluate(run, test_set, Settings(device="cpu", metrics=("bleu",)))
    assert list(one.scores) == ["bleu"]
    assert json.loads((one.folder / "scores.json").read_text("utf-8")) == every.record
    assert evaluate(run, test_set, SETTINGS).record == every.record


def test_other_settings_weights_or_text_are_translated_anew(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    evaluate(run, test_set, SETTINGS)
    assert not evaluate(run, test_set, Settings(beam_size=1, device="cpu")).reused
    assert not evaluate(run, test_set, SETTINGS).reused, "the evaluation kept was of another beam"
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(0.1)
    save_weights(run.checkpoint.path / "model.safetensors", run.model)  # as if the run was trained again to this step
    seal(run.checkpoint.path)
    assert not evaluate(load_run(run_dir), test_set, SETTINGS).reused


def test_damaged_or_edited_hypotheses_are_not_trusted(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    first = evaluate(run, test_set, SETTINGS)
    write_lines(first.folder / "hypotheses.txt", ["edited"] * len(SOURCES))
    again = evaluate(run, test_set, SETTINGS)
    assert not again.reused and again.hypotheses == first.hypotheses


# -- the key ------------------------------------------------------------------------------------------------------


def other_value(field: Any, value: Any) -> Any:
    """Return a valid value of a search setting that differs from `value`."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return next(choice for choice in get_args(get_type_hints(SearchConfig)[field.name]) if choice != value)
    return value + 1


@pytest.mark.parametrize("field", dataclasses.fields(SearchConfig), ids=lambda field: field.name)
def test_every_search_setting_is_in_the_key(field: Any, run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    Shortlist(torch.zeros(1, 1), torch.zeros(1), 1).save(run_dir, run.tokenizer)
    changed = dataclasses.replace(
        run.config.search, **{field.name: other_value(field, getattr(run.config.search, field.name))}
    )
    keys = [translation_key(run, test_set, search, torch.device("cpu")) for search in (run.config.search, changed)]
    assert (keys[0] == keys[1]) == (f"search.{field.name}" in CANNOT_MATTER)


def test_the_key_has_all_of_the_configuration_but_what_is_named(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)

    def key(**changes: Any) -> str:
        other = dataclasses.replace(run, config=dataclasses.replace(run.config, **changes))
        return translation_key(other, test_set, other.config.search, torch.device("cpu"))

    config = run.config
    changes: dict[str, Any] = {
        "model": dataclasses.replace(config.model, dropout=0.75),
        "data": dataclasses.replace(config.data, cleaning=dataclasses.replace(config.data.cleaning, max_tokens=7)),
        "tokenizer": dataclasses.replace(config.tokenizer, vocab_size=91),
        "training": dataclasses.replace(config.training, max_steps=9),
        "fine_tune": dataclasses.replace(config.fine_tune, run="elsewhere"),
        "search": dataclasses.replace(config.search, beam_size=7),
        "seed": 9,
        "run_dir": "elsewhere",
    }
    assert changes.keys() == {field.name for field in dataclasses.fields(Config)}
    for name, value in changes.items():
        assert (key(**{name: value}) == key()) == (name in CANNOT_MATTER), name


def test_text_tags_device_and_weights_are_in_the_key(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)

    def key(one: EvaluationSet = test_set, device: str = "cpu") -> str:
        return translation_key(run, one, run.config.search, torch.device(device))

    first = key()
    others = [
        key(dataclasses.replace(test_set, sources=test_set.sources[::-1])),
        key(test_set.tagged("x")),
        key(device="cuda"),
        key(device="mps"),  # computes in fp32, like the CPU
    ]
    with torch.no_grad():
        next(run.model.parameters()).add_(1)
    assert len({first, *others, key()}) == 6
    assert scores_key(first, run, test_set) != scores_key(first, run, dataclasses.replace(test_set, references=SOURCES))


def test_impossible_settings_are_refused_before_anything_is_translated(run_dir: Path) -> None:
    run = load_run(run_dir)
    with pytest.raises(ConfigError, match=r"search.beam_size=0: expected a whole number from 1"):
        evaluate(run, EvaluationSet("other", SOURCES, REFERENCES), Settings(beam_size=0, device="cpu"))


# -- the folders --------------------------------------------------------------------------------------------------


def kept(run: LoadedRun, test_set: EvaluationSet) -> Evaluation:
    """Evaluate a run on a text and check that the evaluation's folder belongs to that text."""
    found = evaluate(run, test_set, SETTINGS)
    record = json.loads((found.folder / "scores.json").read_text(encoding="utf-8"))
    assert record == found.record and test_set.digests.items() <= record.items()
    assert found.folder == run.path / "evaluations" / found.set_name
    return found


@pytest.mark.parametrize("name", ["../../../OUTSIDE", "/tmp/ABS", "..", "a/b", "\x1b[2J", "x" * 300])
def test_every_evaluation_is_in_the_run(run_dir: Path, name: str) -> None:
    """Whatever a text is called: names from files and tags are not checked before, as those of a configuration are."""
    run = load_run(run_dir)
    found = kept(run, EvaluationSet(name, SOURCES, REFERENCES))
    assert found.folder.resolve().parent == (run_dir / "evaluations").resolve()
    assert kept(run, EvaluationSet(name, SOURCES, REFERENCES)).folder == found.folder
    assert kept(run, EvaluationSet(name, SOURCES[1:], REFERENCES[1:])).folder != found.folder


def test_texts_share_no_folder_and_each_finds_its_own_again(run_dir: Path, tmp_path: Path) -> None:
    sources = {
        tmp_path / "news.2014.de": SOURCES[:1],
        tmp_path / "news.2015.de": SOURCES[1:2],
        tmp_path / "more" / "news.2014.de": SOURCES[2:3],  # the same name elsewhere
        tmp_path / "most" / "news.2014.txt": SOURCES[3:4],
        tmp_path / "text.de": SOURCES[4:5],
    }
    sets = []
    for path, lines in sources.items():
        sets.append(set_from_files(write_lines(path, lines), write_lines(path.with_suffix(".en"), REFERENCES[:1])))
    sets.append(dataclasses.replace(sets[0], references=REFERENCES[1:2]))  # only the reference differs
    sets.append(sets[0].tagged(None))
    run = load_run(run_dir)
    found = [kept(run, test_set) for test_set in sets]
    assert len({each.folder for each in found}) == len(sets) - 1, "the last one is the first one"
    assert found[0].set_name == "news.2014" and found[1].set_name == "news.2015"
    assert [each.reused for each in found] == [False] * 5 + [True] * 2
    again = [kept(load_run(run_dir), test_set) for test_set in reversed(sets)]
    assert [each.folder for each in reversed(again)] == [each.folder for each in found]
    assert all(each.reused for each in again)


def test_a_compressed_file_is_the_text_in_it(run_dir: Path, tmp_path: Path) -> None:
    source, reference = write_texts(tmp_path / "files")
    run = load_run(run_dir)
    plain = kept(run, set_from_files(source, reference))
    with gzip.open(tmp_path / "text.de.gz", "wt", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in SOURCES)
    compressed = kept(run, set_from_files(tmp_path / "text.de.gz", reference))
    assert compressed.folder == plain.folder and compressed.reused
    assert plain.set_name == "text"


def test_another_text_does_not_take_the_place_of_a_configured_set(run_dir: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)
    other = kept(run, EvaluationSet("test", SOURCES[:2], REFERENCES[:2]))
    same = kept(run, EvaluationSet("test", SOURCES, REFERENCES))
    assert same.set_name == "test"
    assert other.set_name.startswith("test-")
    assert kept(run, test_set).reused


def test_another_runs_test_set_does_not_take_the_name_of_a_runs_own(run_dir: Path, tmp_path: Path) -> None:
    texts = tmp_path / "more"
    write_lines(texts / "text.de", SOURCES[:3])
    write_lines(texts / "text.en", REFERENCES[:3])
    other = load_run(make_run(tmp_path / "second", "luong", texts))
    run = load_run(run_dir)
    (theirs,) = sets_of(other.config)
    assert theirs.name == "test"
    assert kept(run, theirs).set_name.startswith("test-")
    assert kept(run, sets_of(run.config)[0]).set_name == kept(other, theirs).set_name == "test"


def test_a_configured_set_that_changes_leaves_the_old_evaluation(run_dir: Path, tmp_path: Path) -> None:
    run = load_run(run_dir)
    old = kept(run, sets_of(run.config)[0])
    write_lines(tmp_path / "text.en", REFERENCES[::-1])
    new = kept(run, sets_of(run.config)[0])
    assert new.set_name == "test" and new.reused and new.hypotheses == old.hypotheses
    assert new.record["chrf"] != old.record["chrf"]
    before = kept(run, EvaluationSet("test", SOURCES, REFERENCES))
    assert before.reused and before.record == old.record and before.folder != new.folder


def test_a_run_whose_data_is_not_here_is_evaluated_on_files(run_dir: Path) -> None:
    config = read_config(run_dir / "config.yaml")
    config.data = dataclasses.replace(config.data, path="not/here", train=[], val=None, test={})
    save_config(config, run_dir / "config.yaml")
    run = load_run(run_dir)
    first = kept(run, EvaluationSet("test", SOURCES, REFERENCES))
    assert kept(run, EvaluationSet("test", SOURCES, REFERENCES)).folder == first.folder


def test_a_set_is_named_after_its_source_file(tmp_path: Path) -> None:
    source, reference = write_texts(tmp_path)
    assert set_from_files(source, reference) == EvaluationSet("text", SOURCES, REFERENCES)
    for file, name in (("news.2014.de", "news.2014"), ("a.de", "a"), (".de", ".de"), ("plain", "plain")):
        assert set_from_files(write_lines(tmp_path / file, SOURCES), reference).name == name


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
    monkeypatch.setattr(sacrebleu, "get_reference_files", lambda name, pair: [str(reference), str(source)])
    (two,) = sets_of(config, ["wmt14/full"])
    assert (two.references, two.more_references) == (REFERENCES, [SOURCES])
    monkeypatch.setattr(sacrebleu, "get_reference_files", lambda name, pair: [str(reference)])
    config.data.source_language, config.data.target_language = "deu_Latn", "en-GB"
    assert sets_of(config, ["wmt14/full"]) == [EvaluationSet("wmt14-full", SOURCES, REFERENCES)]

    def fail(name: str, pair: str) -> str:
        raise OSError("no network")

    monkeypatch.setattr(sacrebleu, "get_source_file", fail)
    with pytest.raises(NmtError, match=r"wmt14/full \(de-en\) could not be downloaded .no network.: give --source"):
        sets_of(config, ["wmt14/full"])


def test_lines_that_were_trained_on_are_told(run_dir: Path, tmp_path: Path) -> None:
    run = load_run(run_dir)
    (test_set,) = sets_of(run.config)  # this text is also the configuration's training text
    said: list[str] = []
    assert evaluate(run, test_set, SETTINGS, said.append).record["shared_with_training"] is None
    assert not any("training text" in line for line in said), "nobody knows without the prepared text"
    run.config.data.cache = str(tmp_path / "cache")
    run.config.tokenizer.vocab_size = 80
    fingerprints = prepare(run.config, lambda line: None).fingerprints
    (run_dir / "environment.json").write_text(json.dumps({"data": fingerprints}), encoding="utf-8")
    (run_dir / "evaluations" / "test" / "scores.json").unlink()
    for _ in range(2):  # translated the first time, reused the second time
        said.clear()
        evaluation = evaluate(run, test_set, SETTINGS, said.append)
        warnings = [line for line in said if line.startswith("WARNING: data.test.test: 6 of 6 source lines (100%)")]
        assert len(warnings) == 1
    assert evaluation.reused
    assert evaluation.record["shared_with_training"] == {"lines": 6, "source": 6, "pair": 6}
    evaluate(run, EvaluationSet("other", ["Etwas anderes."], ["Something else."]), SETTINGS, said.append)
    assert not any("other:" in line for line in said)
