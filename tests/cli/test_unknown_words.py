"""Tests of search.replace_unknown in the commands: training, nmt-translate, nmt-evaluate and nmt-shortlist."""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nmt.cli import translate
from nmt.cli.shortlist import main as shortlist
from nmt.cli.translate.answers import load_translator
from nmt.cli.translate.options import make_parser
from nmt.config.load import load_config, read_config, save_config
from nmt.config.schema import SearchConfig
from nmt.errors import ConfigError, NmtError
from nmt.evaluation.evaluate import Evaluation, Settings, evaluate
from nmt.evaluation.sets import EvaluationSet
from nmt.inference.translator import Translator
from nmt.runs.run import load_run, run_fingerprint
from nmt.training.learn_dictionary import learn_dictionary
from nmt.training.train import train
from nmt.training.validation_set import validation_search
from tests.toy_run import made_up_lines
from tests.training.tiny import RNN, tiny_config

LINES = [*made_up_lines(20, seed=6, longest=4), "", "Świątek, ba Ω"]
WORDS = {"algorithm": "word", "vocab_size": 14}
SEARCH = {"beam_size": 2, "max_length_ratio": 1.0, "max_length_offset": 3, "replace_unknown": "copy"}
Call = Callable[..., tuple[int, list[str], str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    train(tiny_config(folder, model=RNN, tokenizer=WORDS, search=SEARCH))
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run in another folder; its data stay where they were."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    def call(*arguments: object) -> tuple[int, list[str], str]:
        """Run nmt-translate on LINES; return exit status, output lines and stderr."""
        capfdbinary.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in LINES).encode())))
        status = translate.main(["--device", "cpu", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return status, out.decode().splitlines(), err.decode()

    return call


def asks_for(run: Path, how: str) -> Path:
    """Set search.replace_unknown in a run's config.yaml."""
    config = read_config(run / "config.yaml")
    config.search.replace_unknown = how  # type: ignore[assignment]
    save_config(config, run / "config.yaml")
    return run


def copied(texts: Sequence[str], known: set[str]) -> set[str]:
    return {word for text in texts for word in text.split() if word not in known}


def test_the_run_says_how_and_every_way_agrees(run: Path, call: Call, tmp_path: Path) -> None:
    status, texts, _ = call(run)
    assert status == 0 and not any("⁇" in text for text in texts)
    before = call(run, "--search", "replace_unknown=none")[1]
    assert sum("⁇" in text for text in before) > 5
    translator = Translator.load(run, device="cpu")
    known = {piece.removeprefix("▁") for piece in translator.tokenizer.target.names}
    assert copied(texts, known) and copied(texts, known) <= {word for line in LINES for word in line.split()}
    assert translator.translate(LINES) == texts
    lists = [json.loads(line)["hypotheses"] for line in call(run, "--n-best", 2)[1]]
    assert [each[0]["text"] for each in lists] == texts
    assert "▁<unk>" in {token for each in lists for one in each for token in one["tokens"]}
    assert not any("⁇" in one["text"] for each in lists for one in each)
    links = tmp_path / "links.txt"
    assert call(run, "--alignments", links)[1] == texts
    ends = [max(int(link.split("-")[1]) for link in line.split()) + 1 if line else 0 for line in
            links.read_text("utf-8").split("\n")[:-1]]  # fmt: skip
    assert ends == [len(text.split()) for text in texts]


@pytest.mark.parametrize("workers", [1, 2])
def test_from_file_to_file(run: Path, call: Call, tmp_path: Path, workers: int) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    assert call(run, "-i", source, "-o", output, "--workers", workers)[0] == 0
    assert output.read_text("utf-8").splitlines() == call(run)[1]


def test_a_dictionary_of_the_run(run: Path, call: Call) -> None:
    options = ("--search", "replace_unknown=dictionary")
    status, texts, error = call(run, *options)
    assert (status, texts) == (1, [])
    assert error.startswith(
        f"nmt-translate: error: search.replace_unknown=dictionary needs {run}/dictionary.tsv, which"
    )
    with pytest.raises(NmtError, match=r"needs .* which is not there"):  # before a line is read
        load_translator(make_parser().parse_args([str(run), *options, "--device", "cpu"]))
    copies = call(run)[1]
    fingerprint = run_fingerprint(run)
    translator = Translator.load(run, device="cpu")
    known = {piece.removeprefix("▁") for piece in translator.tokenizer.target.names}
    unknown = copied(copies, known)
    (run / "dictionary.tsv").write_text("".join(f"{word}\t<{word}>\n" for word in unknown), encoding="utf-8")
    assert run_fingerprint(run) != fingerprint
    expected = [" ".join(f"<{word}>" if word in unknown else word for word in text.split()) for text in copies]
    assert call(run, *options)[1] == expected
    assert call(run)[1] == copies
    (run / "dictionary.tsv").write_text("a b\n", encoding="utf-8")
    status, texts, error = call(run, *options)
    assert (status, texts) == (1, [])
    assert f"{run}/dictionary.tsv, line 1: " in error


def test_evaluation(run: Path) -> None:
    def evaluated() -> Evaluation:
        return evaluate(load_run(run), EvaluationSet("some", LINES, LINES), Settings(device="cpu"))

    texts = evaluated().hypotheses
    assert texts == Translator.load(run, device="cpu").translate(LINES)
    assert evaluated().reused
    asks_for(run, "dictionary")
    with pytest.raises(NmtError, match=r"dictionary.tsv, which is not there"):
        evaluated()
    for word in ("Sviatek", "Swiatek"):
        (run / "dictionary.tsv").write_text(f"Świątek\t{word}\n", encoding="utf-8")
        again = evaluated()
        assert not again.reused
        assert again.hypotheses == [text.replace("Świątek", word) for text in texts]
        assert evaluated().reused
    asks_for(run, "none")
    assert any("⁇" in text for text in evaluated().hypotheses)


def test_validation_copies() -> None:
    """A dictionary is made after training, and the choice of a checkpoint must not depend on it."""
    for how, meant in {"none": "none", "copy": "copy", "dictionary": "copy"}.items():
        search = SearchConfig(replace_unknown=how)  # type: ignore[arg-type]
        assert validation_search(search, 1, None).replace_unknown == meant


def test_training_with_a_dictionary_to_come(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, model=RNN, tokenizer=WORDS, search=SEARCH | {"replace_unknown": "dictionary"}))
    assert read_config(tmp_path / "run" / "config.yaml").search.replace_unknown == "dictionary"


# -- learning a dictionary -------------------------------------------------------------------------------------------


def test_a_dictionary_is_learned(run: Path, call: Call, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert shortlist([str(run), "--dictionary"]) == 0
    out, err = (text.decode() for text in capfdbinary.readouterr())
    assert out == f"{run}/dictionary.tsv\n"
    entries = [line.split("\t") for line in (run / "dictionary.tsv").read_text("utf-8").splitlines()]
    assert f"{len(entries)} words have a translation" in err
    # the words of both languages are the same
    assert len(entries) > 20 and sum(source == target for source, target in entries) > 0.9 * len(entries)
    assert entries == sorted(entries)
    assert call(run, "--search", "replace_unknown=dictionary")[0] == 0
    assert shortlist([str(run), "--dictionary", "--best", "4"]) == 2
    assert "--best has no meaning with --dictionary" in capfdbinary.readouterr().err.decode()


def test_words_are_learned_without_punctuation_and_only_clear_ones() -> None:
    pairs = [("Maus, Hund", "dog, mouse"), ("Hund!", "dog!"), ("Katze.", "cat."), ("»Katze« Maus", "mouse »cat«"),
             ("...", "..."), ("Maus", "..."), ("...", "dog")]  # fmt: skip
    learned = learn_dictionary(pairs)
    assert learned == {"Hund": "dog", "Katze": "cat", "Maus": "mouse"}
    assert list(learned) == sorted(learned)
    assert learn_dictionary([("a b c d e f g h", "s t u v w x y z")] * 3) == {}
    rng = random.Random(1)
    draws = [[rng.randrange(6) for _ in range(4)] for _ in range(300)]
    particles = [(" ".join(f"a{n} PTCL" for n in draw), " ".join(f"b{n}" for n in draw)) for draw in draws]
    assert learn_dictionary(particles) == {f"a{n}": f"b{n}" for n in range(6)}, "a particle has no counterpart"


# -- what is refused before data are read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            [],
            "search.replace_unknown=copy replaces whole words, but tokenizer.algorithm=unigram cuts words into pieces",
        ),
        (["tokenizer.algorithm=word", "model=rnn_encdec"], "needs attention to find the source word, but model.family"),
        (["search.replace_unknown=yes"], "search.replace_unknown"),
    ],
)
def test_configurations_that_cannot_work(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config("embedded", ["search.replace_unknown=copy", *overrides])


def test_a_given_tokenizer_of_pieces_is_refused_before_training(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, "base", model=RNN))
    given = {"path": str(tmp_path / "base")}
    with pytest.raises(NmtError, match=r"search.replace_unknown=copy replaces whole words, but the vocabulary has"):
        train(tiny_config(tmp_path, model=RNN, tokenizer=given, search=SEARCH))
    assert not (tmp_path / "run" / "checkpoints").exists()
