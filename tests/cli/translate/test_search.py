"""Tests of nmt-translate with ensembles, n-best lists, samples, scores, prefixes and attention."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from nmt.cli import translate
from nmt.cli.translate import command
from nmt.config.data import TokenizerConfig
from nmt.config.load import save_config
from nmt.data.tokenizer import BOS, EOS
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import NmtError
from nmt.inference.hypotheses import Segment, TextHypothesis, Translation
from nmt.inference.shards import Shards
from nmt.inference.translated_attention import translated_pieces
from nmt.inference.translator import Translator
from nmt.inference.word_attention import END, PieceAttention, Selection, WordAttention, on_words
from nmt.search.distribution import Sampling
from tests.toy_run import made_up_lines, make_run, toy_config

LINES = [*made_up_lines(6, seed=8, longest=5), "", *made_up_lines(2, seed=9)]
LONG = " ".join(made_up_lines(8, seed=4))
TARGETS = [*made_up_lines(6, seed=18, longest=4), "", "Ω de.", "  ba ki"]


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.split("\n")[:-1]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: make_run(folder / name, name) for name in ("rnnsearch", "transformer-post", "cho")}


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]):
    def call(*arguments: object, lines: Sequence[str] = LINES) -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text(lines).encode())))
        status = translate.main(["--device", "cpu", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return Answer(status, out.decode(), err.decode())

    return call


def text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text(text(lines), encoding="utf-8")
    return path


def check_tokens(record: dict[str, Any]) -> None:
    assert len(record["tokens"]) == len(record["token_log_probs"])
    assert sum(record["token_log_probs"]) == pytest.approx(record["log_prob"], abs=1e-4)


def test_an_ensemble_of_an_rnn_and_a_transformer(runs: dict[str, Path], call) -> None:
    both = [runs["rnnsearch"], runs["transformer-post"]]
    found = call(*both, "--n-best", 1).out
    assert [json.loads(line)["hypotheses"][0]["text"] for line in found.splitlines()] == Translator.load(
        both, device="cpu"
    ).translate(LINES)
    assert len({found, *(call(run, "--n-best", 1).out for run in both)}) == 3  # texts or log-probabilities differ
    assert call(both[0], both[0]).out == call(both[0]).out


def test_runs_that_cannot_translate_together_are_refused_by_name(runs: dict[str, Path], call, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", "rnnsearch")
    config = toy_config("rnnsearch")
    config.data.source_language = "cc"
    save_config(config, other / "config.yaml")
    answer = call(runs["rnnsearch"], other)
    assert (answer.status, answer.err.count("\n")) == (1, 1)
    assert all(name in answer.err for name in (str(runs["rnnsearch"]), str(other), "aa-bb", "cc-bb"))
    other = make_run(tmp_path / "another", "rnnsearch")
    lines = made_up_lines(300, seed=2)
    train_tokenizer(TokenizerConfig(algorithm="bpe", vocab_size=60), lines, lines).save(other / "tokenizer")
    answer = call(runs["rnnsearch"], other)
    assert (answer.status, answer.err.count("\n")) == (1, 1)
    assert all(name in answer.err for name in (str(runs["rnnsearch"]), str(other), "vocabularies"))


def test_n_best_lists_have_the_log_probabilities_of_their_tokens(runs: dict[str, Path], call) -> None:
    for run in ([runs["cho"]], [runs["rnnsearch"], runs["transformer-post"]]):
        for record in call(*run, "--n-best", 2).records:
            for hypothesis in record["hypotheses"]:
                assert list(hypothesis) == ["text", "log_prob", "score", "finished", "tokens", "token_log_probs"]
                check_tokens(hypothesis)
                said = [piece for piece in hypothesis["tokens"] if piece != "</s>"]
                assert "".join(said).replace("▁", " ").strip() == hypothesis["text"].strip()


@pytest.mark.parametrize("size", [2, 2000])
def test_samples_are_the_translators(runs: dict[str, Path], call, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(command, "BLOCK", size)
    options = ["--temperature", 0.8, "--top-k", 20, "--top-p", 0.9, "--seed", 5]
    records = call(runs["rnnsearch"], "--sample", 3, *options).records
    meant = Translator.load(runs["rnnsearch"], device="cpu").sample(LINES, 3, Sampling(0.8, 20, 0.9, 5))
    assert [record["line"] for record in records] == list(range(1, len(LINES) + 1))
    assert [[one["text"] for one in record["hypotheses"]] for record in records] == [
        [one.text for one in each.hypotheses] for each in meant
    ]
    for record in records:
        for one in record["hypotheses"]:
            check_tokens(one)
    assert call(runs["rnnsearch"], "--sample", 3, *options[:-1], 6).records != records


def test_minimum_bayes_risk_decoding_answers_plain_text(runs: dict[str, Path], call) -> None:
    meant = Translator.load(runs["rnnsearch"], device="cpu").translate_mbr(LINES, 6, Sampling(seed=2))
    assert call(runs["rnnsearch"], "--mbr", 6, "--seed", 2).out == text([one.text for one in meant])


@pytest.mark.parametrize("from_files", [False, True])
@pytest.mark.parametrize("names", [["cho"], ["rnnsearch", "transformer-post"]])
def test_given_translations_are_scored(
    runs: dict[str, Path], call, tmp_path: Path, names: list[str], from_files: bool
) -> None:
    given = write(tmp_path / "given", TARGETS)
    places = ["-i", write(tmp_path / "in", LINES), "-o", tmp_path / "out"] if from_files else []
    answer = call(*(runs[name] for name in names), "--score", given, "--length-penalty", 0.5, *places)
    assert answer.status == 0
    if from_files:
        answer = answer._replace(out=(tmp_path / "out").read_text(encoding="utf-8"))
    translator = Translator.load([runs[name] for name in names], device="cpu")
    for record, one in zip(answer.records, translator.score(LINES, TARGETS, length_penalty=0.5), strict=True):
        assert (record["source"], record["translation"]) == (one.source, one.text)
        assert record["log_prob"] == pytest.approx(one.log_prob, abs=1e-4)
        assert record["score"] == pytest.approx(one.score, abs=1e-4)
        check_tokens(record)


@pytest.mark.parametrize("option", ["--score", "--prefix"])
@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("from_files", [False, True])
def test_texts_of_other_lengths_are_refused(
    runs: dict[str, Path], call, tmp_path: Path, option: str, change: int, from_files: bool
) -> None:
    beside = write(tmp_path / "beside", [*TARGETS, "ba."][: len(LINES) + change])
    places = ["-i", write(tmp_path / "in", LINES), "-o", tmp_path / "out"] if from_files else []
    answer = call(runs["cho"], option, beside, *places)
    assert answer.status == 1
    sentence = answer.err.splitlines()[-1]
    assert all(word in sentence for word in (str(beside), "lines", str(len(LINES) + change)))
    assert not from_files or answer.err == f"{sentence}\n", "before anything is translated"
    assert not (tmp_path / "out").exists()


def test_a_translation_does_not_go_on_with_other_prefixes(runs: dict[str, Path], call, tmp_path: Path) -> None:
    lines = made_up_lines(2100, seed=3, longest=1)
    source, output, beside = tmp_path / "in", tmp_path / "out", tmp_path / "prefixes"
    write(source, lines)
    write(beside, ["ba"] * len(lines))
    arguments = (runs["cho"], "-i", source, "-o", output, "--prefix", beside, "--beam-size", 1)
    written = Shards.write

    def fail(self: Shards, index: int, found: list[bytes]) -> None:
        if index == 1:
            raise NmtError("the disk is full")
        written(self, index, found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shards, "write", fail)
        assert call(*arguments).status == 1
    write(beside, ["de"] * len(lines))
    answer = call(*arguments, "--resume")
    assert (answer.status, output.exists()) == (1, False)
    assert "another --prefix" in answer.err
    write(beside, ["ba"] * len(lines))
    assert call(*arguments, "--resume").status == 0
    assert all(line.startswith("ba") for line in output.read_text().splitlines())


def test_prefixes_begin_translations(runs: dict[str, Path], call, tmp_path: Path) -> None:
    prefixes = ["ba", "", "lomu", "deki ba", "", "Ω", "ba", "mu ", ""]
    beside = write(tmp_path / "prefixes", prefixes)
    run = runs["transformer-post"]
    found = call(run, "--prefix", beside).out.split("\n")[:-1]
    assert found == [one.text for one in Translator.load(run, device="cpu").nbest(LINES, prefixes=prefixes)]
    assert [
        one.startswith(prefix.strip()) for one, prefix in zip(found, prefixes, strict=True) if prefix[:1] != "Ω"
    ] == ([True] * 5 + [False] + [True] * 2)
    for record, prefix in zip(call(run, "--sample", 2, "--prefix", beside).records[:4], prefixes, strict=False):
        assert all(one["text"].startswith(prefix) for one in record["hypotheses"])


@pytest.mark.parametrize("output", [[], ["-o", "out"]])
def test_alignments_are_those_of_the_hypotheses(
    runs: dict[str, Path], call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "BLOCK", 4)
    source = write(tmp_path / "in", LINES)
    for name in ("rnnsearch", "transformer-post"):
        wanted = ["--alignments", "links", "--attention", "attention"]
        answer = call(runs[name], "-i", source, *output, *wanted)
        assert answer.status == 0
        translated = Path("out").read_text(encoding="utf-8") if output else answer.out
        expected = Translator.load(runs[name], device="cpu").align(LINES)
        links = Path("links").read_text()
        assert links.splitlines() == [" ".join(f"{one}-{other}" for one, other in line) for line in expected]
        assert len(links) > 50
        records = [json.loads(line) for line in Path("attention").read_text(encoding="utf-8").splitlines()]
        assert [record["line"] for record in records] == list(range(1, len(LINES) + 1))
        for record, line, target in zip(records, LINES, translated.split("\n"), strict=False):
            assert (record["source"], record["target"]) == ([*line.split(), END], [*target.split(), END])
            assert [sum(row) for row in record["weights"]] == pytest.approx([1.0] * len(record["target"]), abs=1e-3)


@pytest.mark.parametrize("name", ["rnnsearch", "transformer-post"])
def test_attention_is_of_the_tokens_that_the_search_found(runs: dict[str, Path], name: str) -> None:
    """Encoding the text of a hypothesis can give other tokens; its attention is that of its own ones."""
    translator = Translator.load(runs[name], device="cpu")
    tokenizer, lines = translator.tokenizer, [line for line in LINES if line.strip()]
    translations = translator.nbest(lines)
    spelled_otherwise = 0
    for translation, found in zip(translations, pieces_of(translator, translations), strict=True):
        tokens = translation.hypotheses[0].tokens
        assert found.target.ids == [*tokens, EOS]
        spelled_otherwise += tokenizer.encode_target([translation.text])[0] != found.target.ids
        spans = [span for span in found.target.spans if span is not None]
        assert "".join(translation.text[slice(*span)] for span in spans) == translation.text
        model = translator.engine.model
        source, target = torch.tensor([found.source.ids]), torch.tensor([[BOS, *tokens]])
        weights = model.attention(source, torch.ones_like(source, dtype=torch.bool), target)[0]
        torch.testing.assert_close(torch.from_numpy(found.weights), Selection()(weights.detach()))
    assert spelled_otherwise, "otherwise the test shows nothing"


def test_a_failure_leaves_older_files_as_they_were(runs: dict[str, Path], call, tmp_path: Path) -> None:
    links = write(tmp_path / "links", ["older"])
    source = tmp_path / "in"
    source.write_bytes(b"ba.\n\xff\n")
    assert call(runs["rnnsearch"], "-i", source, "-o", tmp_path / "out", "--alignments", links).status == 1
    assert links.read_text() == "older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "links"]


def test_a_model_without_attention_is_refused(runs: dict[str, Path], call, tmp_path: Path) -> None:
    for option in ("--alignments", "--attention"):
        answer = call(runs["cho"], option, tmp_path / "links")
        assert (answer.status, answer.out, answer.err.count("\n")) == (1, "", 1)
        assert str(runs["cho"]) in answer.err and option in answer.err
        assert not (tmp_path / "links").exists()


def attention_of(
    translator: Translator, translations: list[Translation], languages: tuple[str, str] = ("aa", "bb")
) -> list[WordAttention]:
    """Return the attention between words with which these translations were produced."""
    return [on_words(pieces, languages) for pieces in pieces_of(translator, translations)]


def pieces_of(translator: Translator, translations: list[Translation]) -> list[PieceAttention]:
    return translated_pieces(translator.engine.model, translator.tokenizer, translations)


@pytest.mark.parametrize("name", ["rnnsearch", "transformer-post"])
def test_a_long_line_is_aligned_by_its_segments_in_words_of_the_line(runs: dict[str, Path], name: str) -> None:
    translator = Translator.load(runs[name], device="cpu")
    glued = "ki" * 60 + " ba."  # the first word is so long that it is cut into segments
    for translation in translator.nbest([LONG, glued]):
        segments = translation.hypotheses[0].segments
        assert len(segments) > 2
        (whole,) = attention_of(translator, [translation])
        assert whole.source_words == translation.source.split()
        assert whole.target_words == translation.text.split()
        assert whole.weights.sum(1).tolist() == pytest.approx([1.0] * len(whole.weights), abs=1e-4)
        alone = [Translation(one.source, [TextHypothesis(one.text, 0.0, 0.0, [], segments=[one])]) for one in segments]
        parts = attention_of(translator, alone)
        if translation.source == LONG:
            source = target = 0
            links = []
            for part in parts:
                links += [(source + one, target + other) for one, other in part.links]
                source, target = source + len(part.source_words), target + len(part.target_words)
            assert whole.links == sorted(links)


def test_odd_spaces_and_characters_shift_no_link_and_begin_the_output(
    runs: dict[str, Path], call, tmp_path: Path
) -> None:
    sources = ["ba\u00a0de ki.", "\u3000ba ▁ de", "Ω\u00a0Ψ ba", f"{LONG} ☃\u00a0ba"]
    prefixes = ["Świątek ba", "▁ ba\u00a0", "☃ de ", " Ω\u2009Ω"]
    texts = write(tmp_path / "in", sources), write(tmp_path / "begun", prefixes)
    links, out = tmp_path / "links", tmp_path / "out"
    assert call(runs["rnnsearch"], "-i", texts[0], "--prefix", texts[1], "-o", out, "--alignments", links).status == 0
    answers = out.read_text("utf-8").split("\n")[:-1]
    for source, prefix, answer, line in zip(sources, prefixes, answers, links.read_text().splitlines(), strict=True):
        assert answer.startswith(prefix)
        found = [tuple(map(int, link.split("-"))) for link in line.split()]
        assert sorted(target for _, target in found) == list(range(len(answer.split())))
        assert all(0 <= word < len(source.split()) for word, _ in found)


def test_segments_without_spaces_have_pieces_as_words(runs: dict[str, Path]) -> None:
    translator = Translator.load(runs["rnnsearch"], device="cpu")
    ids = translator.tokenizer.encode_source(["bade"])[0]
    segments = [Segment("bade", ids, "kilo", ids), Segment("bade", ids, "mu", ids)]
    translation = Translation("badebade", [TextHypothesis("kilomu", 0.0, 0.0, [], segments=segments)])
    (found,) = attention_of(translator, [translation], ("zh", "zh"))
    assert len(found.source_words) > 1 and "".join(found.source_words) == "badebade"
    assert "".join(found.target_words) == "kilomu"
    (found,) = attention_of(translator, [translation])
    assert (found.source_words, found.target_words) == (["badebade"], ["kilomu"])
    assert found.weights.shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sample", "2", "--n-best", "2"], "--n-best and --sample"),
        (["--mbr", "2", "--score", "f"], "--mbr and --score"),
        (["--sample", "2", "--beam-size", "2"], "--beam-size has no meaning with --sample"),
        (["--score", "f", "--beam-size", "2"], "--beam-size has no meaning with --score"),
        (["--mbr", "2", "--length-penalty", "1"], "--length-penalty has no meaning with --mbr"),
        (["--score", "f", "--prefix", "f"], "--prefix has no meaning with --score"),
        (["--temperature", "2"], "--temperature is an option of sampling"),
        (["--n-best", "2", "--top-k", "2"], "--top-k is an option of sampling"),
        (["--sample", "2", "--temperature", "0"], "has to be finite and at least 1e-06"),
        (["--sample", "2", "--temperature", "1e-50"], "a beam of 1"),
        (["--sample", "2", "--top-p", "1.5"], "1.5"),
        (["--sample", "0"], "0: expected a whole number from 1 to 10,000"),
        (["--sample", "2", "--engine", "ctranslate2"], "--sample needs the native engine: choose --engine native"),
        (["--sample", "2", "--precision", "int8"], "--sample needs the native engine: choose --engine native"),
        (["--prefix", "f", "--precision", "fp16"], "--prefix needs the native engine: choose --engine native"),
        (["--engine", "native", "--precision", "int8"], "the native engine computes in fp32 and bf16"),
        (["another_run", "--alignments", "f"], "--alignments takes one run"),
        (["--alignments", "f", "--resume"], "in one go"),
        (["--alignments", "f", "--attention", "./f"], "--attention f is the file that --alignments writes: choose"),
        (["--attention", "f", "--prefix", "f"], "--attention f is the file that --prefix reads: choose another file"),
        (["--score", "f", "-o", "f"], "-o f is the file that --score reads: choose another file"),
        (["-i", "f", "--alignments", "f"], "--alignments f is the input itself: choose another file"),
        (["-i", "f", "-o", "g", "--prefix", "/dev/null"], "--prefix /dev/null is a pipe or a device"),
    ],
)
def test_options_that_mean_nothing_together(
    runs: dict[str, Path], call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(runs["rnnsearch"], *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert sentence in answer.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
