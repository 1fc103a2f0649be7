"""Tests of every command with --tag, on a small run that was trained on text with and without tags."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from nmt.cli import align, evaluate, translate
from nmt.cli.translate.options import make_parser
from nmt.cli.translate.sharded import _options
from nmt.config.data import CorpusConfig, DataConfig
from nmt.config.load import read_config, save_config
from nmt.config.schema import Config
from nmt.data.batch import collate
from nmt.data.tokenizer import EOS
from nmt.errors import ConfigError, NmtError
from nmt.evaluation.metrics import corpus_bleu
from nmt.inference.engines.native import NativeEngine
from nmt.inference.scoring import force
from nmt.inference.translator import Translator
from nmt.runs.run import load_run
from nmt.training.train import train
from nmt.training.validation_set import validation_search
from tests.toy_run import made_up_lines
from tests.training.tiny import events, tiny_config

SOURCES = made_up_lines(12, seed=50)
REFERENCES = made_up_lines(12, seed=51)
LONG = " ".join(made_up_lines(12, seed=52))  # several times as long as the model was trained for


def tagged_config(folder: Path) -> Config:
    """Return a configuration with two kinds of text: reversed with the tag `turn`, and copied without a tag."""
    config = tiny_config(folder, training__max_steps=30, training__validate_every=30, tokenizer__vocab_size=61)
    text = folder / "text"
    shutil.copy(text / "train.aa", text / "same.aa")
    shutil.copy(text / "train.aa", text / "same.bb")
    for name, lines in (("test.aa", SOURCES), ("test.bb", REFERENCES)):
        (text / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    train, same, val, test = (str(text / name) for name in ("train", "same", "val", "test"))
    config.data = DataConfig(
        source_language="aa",
        target_language="bb",
        train=[CorpusConfig(prefix=train, tag="turn"), CorpusConfig(prefix=same, weight=0.5, name="plain")],
        val=[CorpusConfig(prefix=val, tag="turn"), CorpusConfig(prefix=val)],
        test={
            "mixed": [CorpusConfig(prefix=test, tag="turn"), CorpusConfig(prefix=val)],
            "turned": CorpusConfig(prefix=test, tag="turn"),
            "plain": CorpusConfig(prefix=val),
        },
        cache=str(folder / "cache"),
    )
    config.data.cleaning.max_tokens = 40
    config.check()
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, translated_from_the_start: None) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    config = tagged_config(folder)
    train(config)
    return Path(str(config.run_dir))


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.load(run, device="cpu", warn=lambda _: None)


def answers(
    run: Path, lines: list[str], *options: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> list[str]:
    stdin = io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in lines).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert translate.main([str(run), "--device", "cpu", *options]) == 0, capfd.readouterr().err
    return capfd.readouterr().out.splitlines()


# -- training -----------------------------------------------------------------------------------------------------


def test_validation_has_a_score_for_each_tag(run: Path) -> None:
    (validation,) = events(run, "validation")
    translator = Translator.load(run, device="cpu", warn=lambda _: None)
    length_ratio = json.loads((run / "environment.json").read_text("utf-8"))["length_ratio"]
    translator.search = validation_search(translator.search, 1, length_ratio)
    sides = [(run.parent / "text" / f"val.{language}").read_text("utf-8").splitlines() for language in ("aa", "bb")]
    turned, plain = (translator.translate(sides[0], tag=tag, beam_size=1) for tag in ("turn", None))
    by_tag = {"turn": corpus_bleu(turned, sides[1]).score, "": corpus_bleu(plain, sides[1]).score}
    assert validation["bleu_by_tag"] == pytest.approx(by_tag)
    assert validation["bleu"] == pytest.approx(corpus_bleu(turned + plain, sides[1] * 2).score)


def test_a_run_does_not_go_on_with_other_weights(run: Path) -> None:
    config = read_config(run / "config.yaml")
    config.data.train[1].weight, config.training.max_steps = 2, 60
    with pytest.raises(NmtError, match=r"another configuration \(data\.train is"):
        train(config)


def test_no_tag_can_be_added_to_a_vocabulary(run: Path, tmp_path: Path) -> None:
    config = tagged_config(tmp_path)
    config.fine_tune.run, config.run_dir = str(run), str(tmp_path / "finer")
    config.data.train[1].tag = "new"
    with pytest.raises(ConfigError, match=r"has no tag new in its vocabulary, which cannot grow \(it has turn\)"):
        train(config)


# -- translation --------------------------------------------------------------------------------------------------


def test_the_tag_is_the_first_source_id(translator: Translator) -> None:
    found = {tag: translator.nbest(SOURCES, tags=tag) for tag in ("turn", None)}
    for tag, translations in found.items():
        for line, one in zip(SOURCES, translations, strict=True):
            (segment,) = one.hypotheses[0].segments
            assert (
                segment.source_ids == translator.tokenizer.tag_ids(tag) + translator.tokenizer.encode_source([line])[0]
            )
    assert [one.log_prob for one in found["turn"]] != [one.log_prob for one in found[None]]
    mixed = translator.nbest(SOURCES[:2], tags=["turn", None])
    assert [one.text for one in mixed] == [found["turn"][0].text, found[None][1].text]


def test_each_segment_of_a_long_line_has_the_tag(translator: Translator) -> None:
    (translation,) = translator.nbest([LONG], tags="turn", token_scores=True)
    segments = translation.hypotheses[0].segments
    assert len(segments) > 1
    assert "".join(segment.source for segment in segments) == LONG
    for segment in segments:
        assert segment.source_ids[0] == translator.tokenizer.tags["turn"]
        assert len(segment.source_ids) <= translator.max_tokens
    scores = translation.hypotheses[0].token_scores
    assert sum(score.log_prob for score in scores) == pytest.approx(translation.log_prob, abs=1e-3)


def test_given_translations_are_scored_with_the_tag(translator: Translator) -> None:
    tokenizer, engine = translator.tokenizer, cast(NativeEngine, translator.engine)
    for tag in ("turn", None):
        ids = [tokenizer.tag_ids(tag) + line for line in tokenizer.encode_source(SOURCES)]
        forced = force(engine, ids, tokenizer.encode_target(REFERENCES), translator.search)
        scored = [one.log_prob for one in translator.score(SOURCES, REFERENCES, tags=tag)]
        assert scored == pytest.approx([one.log_prob for one in forced], abs=1e-5)
    assert scored != pytest.approx([one.log_prob for one in translator.score(SOURCES, REFERENCES, tags="turn")])


def test_nmt_translate(
    run: Path,
    translator: Translator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def said(*options: str) -> list[str]:
        return answers(run, SOURCES, *options, monkeypatch=monkeypatch, capfd=capfd)

    assert said("--tag", "turn") == translator.translate(SOURCES, tag="turn")
    assert said() == translator.translate(SOURCES)
    int8 = ["--precision", "int8", "--beam-size", "1", "--n-best", "1"]
    assert said("--tag", "turn", *int8) != said(*int8)
    (tmp_path / "given").write_text("".join(f"{line}\n" for line in REFERENCES), encoding="utf-8")
    forced = translator.score(SOURCES, REFERENCES, tags="turn")
    scored = [json.loads(line)["log_prob"] for line in said("--tag", "turn", "--score", str(tmp_path / "given"))]
    assert scored == pytest.approx([one.log_prob for one in forced], abs=1e-5)
    (tmp_path / "begun").write_text("".join(f"{line.split()[0]}\n" for line in REFERENCES), encoding="utf-8")
    begun = [json.loads(line) for line in said("--tag", "turn", "--prefix", str(tmp_path / "begun"), "--n-best", "1")]
    prefixes = [line.split()[0] for line in REFERENCES]
    for line, one in zip(begun, translator.nbest(SOURCES, prefixes=prefixes, tags="turn"), strict=True):
        assert line["hypotheses"][0]["text"] == one.text
        assert line["hypotheses"][0]["log_prob"] == pytest.approx(one.log_prob, abs=1e-4)
    samples = translator.sample(SOURCES, 2, tags="turn")
    drawn = [json.loads(line)["hypotheses"] for line in said("--tag", "turn", "--sample", "2")]
    assert [[one["text"] for one in of_line] for of_line in drawn] == [
        [one.text for one in of_line.hypotheses] for of_line in samples
    ]


def test_another_tag_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ba\n")))
    assert translate.main([str(run), "--tag", "fr"]) == 1
    assert "the model does not know the tag 'fr': its tags are turn" in capfd.readouterr().err
    always = tmp_path / "always"
    shutil.copytree(run, always)
    config = read_config(always / "config.yaml")
    config.data.train = config.data.train[:1]
    config.data.val, config.data.test = cast(list[CorpusConfig], config.data.val)[:1], {}
    save_config(config, always / "config.yaml")
    assert translate.main([str(always)]) == 1
    assert "all text that this model was trained on had a tag: give one of turn (--tag TAG)" in capfd.readouterr().err
    source, target = (str(run.parent / "text" / f"test.{language}") for language in ("aa", "bb"))
    for command, words in ((align, ["--target", target]), (evaluate, ["--reference", target])):
        assert command.main([str(always), "--source", source, *words, "--device", "cpu"]) == 1
        assert "give one of turn" in capfd.readouterr().err
    Translator.load([run, always], device="cpu").check_tags("turn")


def test_shards_of_another_tag_are_not_gone_on_with(run: Path) -> None:
    words = [str(run), "-i", "text.aa", "-o", "out"]
    with_tag, without = (_options(make_parser().parse_args([*words, *more]), ()) for more in (["--tag", "turn"], []))
    assert with_tag == without | {"--tag": "turn"}
    assert with_tag != without


def test_ctranslate2_searches_with_the_tag(run: Path, translator: Translator) -> None:
    pytest.importorskip("ctranslate2")
    from nmt.inference.export.ctranslate2 import export

    export(load_run(run))
    exported = Translator.load(run, device="cpu", engine="ctranslate2", warn=lambda _: None)
    for tag in ("turn", None):
        ours, theirs = (one.translate(SOURCES, beam_size=1, tag=tag) for one in (translator, exported))
        assert ours == theirs


# -- attention ----------------------------------------------------------------------------------------------------


def test_alignments_leave_the_tag_out(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = (run.parent / "text" / f"test.{language}" for language in ("aa", "bb"))
    words = ["--source", str(source), "--target", str(target), "--device", "cpu"]
    assert align.main([str(run), *words, "--tag", "turn"]) == 0
    links = capfd.readouterr().out.splitlines()
    loaded = load_run(run)
    for line, reference, of_line in zip(SOURCES, REFERENCES, links, strict=True):
        pairs = [tuple(map(int, link.split("-"))) for link in of_line.split()]
        assert sorted(place for _, place in pairs) == list(range(len(reference.split())))
        assert max(place for place, _ in pairs) < len(line.split())
    attention = tmp_path / "attention.jsonl"
    made = answers(run, SOURCES, "--tag", "turn", "--attention", str(attention), monkeypatch=monkeypatch, capfd=capfd)
    found = [one.hypotheses[0].tokens for one in Translator.load(run, device="cpu").nbest(SOURCES, tags="turn")]
    for line, text, tokens, row in zip(SOURCES, made, found, attention.read_text("utf-8").splitlines(), strict=True):
        record = json.loads(row)
        weights = np.array(record["weights"])
        assert record["source"] == [*line.split(), "</s>"]
        assert weights.sum(1) == pytest.approx(np.ones(len(text.split()) + 1), abs=1e-3)
        tokenizer = loaded.tokenizer
        ids = [tokenizer.tags["turn"], *tokenizer.encode_source([line])[0]]
        batch = collate([ids], [[*tokens, EOS]])
        forced = loaded.model.attention(batch.src, batch.src_mask, batch.tgt_in)[0, -1].mean(0).detach().numpy()
        assert weights[-1, -1] == pytest.approx(forced[-1, 0] + forced[-1, -1], abs=1e-4), "tag and end together"


# -- evaluation ---------------------------------------------------------------------------------------------------


def evaluated(capfd: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert evaluate.main([*words, "--device", "cpu", "--json"]) == 0
    entries: list[dict[str, Any]] = json.loads(capfd.readouterr().out)
    return entries


def test_scores_of_each_tag_are_those_of_its_lines_alone(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mixed, turned, plain = evaluated(capfd, str(run))
    assert mixed["tags"].keys() == {"turn", ""}
    for metric in ("bleu", "chrf", "ter"):
        assert mixed["tags"]["turn"][metric] == turned[metric] == turned["tags"]["turn"][metric]
        assert mixed["tags"][""][metric] == plain[metric]
    assert (mixed["sentences"], mixed["tags"]["turn"]["sentences"]) == (12 + 9, 12)
    assert "tags" not in plain
    kept = json.loads((run / "evaluations" / "mixed" / "scores.json").read_text("utf-8"))
    assert kept["tags"] == mixed["tags"]
    assert evaluate.main([str(run), "--test-set", "mixed", "--device", "cpu"]) == 0
    captured = capfd.readouterr()
    assert "using the translations" in captured.err
    assert "mixed, turn" in captured.out and "mixed, no tag" in captured.out


def test_a_tag_that_is_given_has_an_evaluation_of_its_own(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (turned,) = evaluated(capfd, str(run), "--test-set", "turned")
    source, target = (str(run.parent / "text" / f"test.{language}") for language in ("aa", "bb"))
    (given,) = evaluated(capfd, str(run), "--source", source, "--reference", target, "--tag", "turn")
    assert (given["test_set"], given["bleu"]) == ("test-turn", turned["bleu"])
    (same,) = evaluated(capfd, str(run), "--test-set", "turned", "--tag", "turn")
    assert same["test_set"] == "turned"
    (plain,) = evaluated(capfd, str(run), "--test-set", "plain", "--tag", "turn")
    assert plain["test_set"] == "plain-turn"
    assert evaluate.main(["--hypothesis", target, "--reference", target, "--tag", "turn"]) == 2


def test_a_run_from_before_there_were_tags(run: Path, tmp_path: Path) -> None:
    """A configuration of version 1, from before there were keys for tags, is still valid and describes the same run."""
    old = tiny_config(tmp_path, run="old", training__max_steps=2, training__validate_every=2)
    train(old)
    path = Path(str(old.run_dir)) / "config.yaml"
    text = path.read_text("utf-8")
    for line in ("schema: 3\n", "  temperature: null\n"):
        assert line in text
        text = text.replace(line, "")
    path.write_text(text, encoding="utf-8")
    train(old)  # finds the run complete and raises no error
    assert Translator.load(path.parent, device="cpu").translate(["ba."])
