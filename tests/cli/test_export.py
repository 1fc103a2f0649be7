"""nmt-export and what nmt-translate makes of an export: the same answers, and refusals that say what to do."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import ctranslate2
import pytest

from nmt.cli import export, translate
from nmt.cli.answers import load_translator
from nmt.cli.translate_options import make_parser
from nmt.errors import UsageError
from nmt.training.checkpoint import save_checkpoint, set_pointer
from nmt.translate import Translator
from tests.export.exported import KINDS, LINES, exportable_model, make_exportable, tokenizer
from tests.toy_run import make_run

ROOT = Path(__file__).resolve().parents[2]
TIED, SEPARATE = "post relu shared tied", "pre gelu separate tied"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_exportable(tmp_path_factory.mktemp("export") / "run", TIED)
    assert export.main([str(run)]) == 0
    return run


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return shutil.copytree(exported, tmp_path / "run")


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str], str]]:
    """nmt-translate on LINES: its status, what it wrote and what it said."""

    def call(run: Path, *arguments: str) -> tuple[int, list[str], str]:
        source, target = tmp_path / "source.txt", tmp_path / "target.txt"
        source.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
        target.unlink(missing_ok=True)
        status = translate.main([str(run), "-i", str(source), "-o", str(target), *arguments])
        return status, target.read_text("utf-8").splitlines() if target.exists() else [], capsys.readouterr().err

    return call


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_those_of_the_native_engine(kind: str, tmp_path: Path, call) -> None:
    run = make_exportable(tmp_path / "run", kind)
    assert export.main([str(run), "--format", "ctranslate2"]) == 0
    status, answers, said = call(run, "--engine", "ctranslate2", "--beam-size", "1")
    assert (status, len(answers)) == (0, len(LINES))
    assert answers == call(run, "--device", "cpu", "--beam-size", "1")[1]
    assert "rules" not in said
    assert len(set(answers)) > 5


def test_a_beam_by_other_rules_than_the_runs_is_told_once(run: Path, call) -> None:
    sentence = "searches by its own rules: search.length_normalisation=power, search.stop=full"
    status, answers, said = call(run, "--engine", "ctranslate2", "--n-best", "2", "--precision", "int8")
    assert (status, said.count(sentence)) == (0, 1)
    assert [json.loads(answer)["source"] for answer in answers] == LINES
    for answer in answers:
        hypotheses = json.loads(answer)["hypotheses"]
        assert [one["score"] for one in hypotheses] == sorted((one["score"] for one in hypotheses), reverse=True)
    with (run / "config.yaml").open() as file:
        config = file.read()
    assert "length_normalisation: gnmt" in config and "stop: exact" in config
    (run / "config.yaml").write_text(config.replace("gnmt", "power").replace("stop: exact", "stop: full"))
    assert sentence not in call(run, "--engine", "ctranslate2")[2]


def test_the_folder_is_printed_and_its_record_names_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = make_exportable(tmp_path / "run", TIED), tmp_path / "elsewhere" / "model"
    save_checkpoint(run, 20, exportable_model(TIED, tokenizer(True)), {})
    command = [sys.executable, "-m", "nmt.cli.export", str(run), "--checkpoint", "last", "-o", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{folder}\n")
    assert done.stderr == f"nmt-export: {run}: exported step-0000000020\n"
    record = json.loads((folder / "nmt.json").read_text("utf-8"))
    assert (record["checkpoint"], record["step"]) == ("step-0000000020", 20)
    assert export.main([str(run), "-o", str(folder)]) == 0
    assert json.loads((folder / "nmt.json").read_text("utf-8"))["step"] == 12, "an older export is replaced"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert not (run / "exports").exists()
    capsys.readouterr()


def test_other_programs_can_use_the_folder_as_any_model_of_ctranslate2(exported: Path) -> None:
    words = tokenizer(True)
    translator = ctranslate2.Translator(str(exported / "exports" / "ctranslate2"), "cpu")
    (expected,) = Translator.load(exported, engine="ctranslate2").translate(LINES[:1], beam_size=1)
    (ids,) = words.encode_source(LINES[:1])
    (answer,) = translator.translate_batch([words.source_pieces(ids)], beam_size=1, max_decoding_length=len(ids) + 3)
    ids_of = {piece: id for id, piece in enumerate(words.target_pieces(range(words.target_size)))}
    assert words.decode_target([ids_of[piece] for piece in answer.hypotheses[0]]) == expected != ""


def newer(run: Path) -> None:
    save_checkpoint(run, 20, exportable_model(TIED, tokenizer(True)), {})
    set_pointer(run, "best", 20)


def retrained(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    model = exportable_model(TIED, tokenizer(True))
    model.projection.weight.data.mul_(1.5)
    save_checkpoint(run, 12, model, {})


def with_another_tokenizer(run: Path) -> None:
    shutil.rmtree(run / "tokenizer")
    tokenizer(False).save(run / "tokenizer")


@pytest.mark.parametrize(
    ("spoil", "arguments", "sentence"),
    [
        (lambda run: shutil.rmtree(run / "exports"), [],
         "{run} has not been exported for ctranslate2 yet: run {command}"),
        (newer, [], "{folder} was made of step-0000000012, and what is asked for is step-0000000020: run {command}"),
        (newer, ["--checkpoint", "12"], None),
        (newer, ["--checkpoint", "last"], "{folder} was made of step-0000000012, and what is asked for is "
                                          "step-0000000020: run {command} --checkpoint last"),
        (retrained, [], "{folder} is older than the run, whose weights or tokenizer are others now: run {command}"),
        (with_another_tokenizer, [], "{folder} is older than the run, whose weights or tokenizer are others now: run "
                                     "{command}"),
        (lambda run: (run / "exports" / "ctranslate2" / "nmt.json").write_text("{"), [],
         "{folder}/nmt.json is damaged: make the export again"),
        (lambda run: None, ["--beam-size", "1", "--device", "tpu"], "there is no tpu device here for CTranslate2"),
    ],
)  # fmt: skip
def test_an_export_that_is_not_of_the_run_as_it_is(
    run: Path, call, spoil: Callable[[Path], object], arguments: list[str], sentence: str | None
) -> None:
    spoil(run)
    status, _, said = call(run, "--engine", "ctranslate2", *arguments)
    if sentence is None:
        assert status == 0
        return
    told = sentence.format(
        run=run, folder=run / "exports" / "ctranslate2", command=f"nmt-export {run} --format ctranslate2"
    )
    assert status == 1
    assert said.startswith(f"nmt-translate: error: {told}")
    assert len(said.splitlines()) == 1


def test_ctranslate2_that_is_not_installed_is_one_sentence(
    run: Path, call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    sentence = "this needs the package ctranslate2, which is not installed: "
    sentence += "run pip install -e '.[ctranslate2]' in the folder of nmt's source\n"
    assert call(run, "--engine", "ctranslate2")[::2] == (1, f"nmt-translate: error: {sentence}")
    assert export.main([str(run)]) == 1
    assert capsys.readouterr().err == f"nmt-export: error: {sentence}"
    assert call(run, "--beam-size", "1", "--device", "cpu")[0] == 0


@pytest.mark.parametrize("variant", ["cho", "rnnsearch", "luong-general"])
def test_recurrent_models_are_refused(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", variant)
    assert export.main([str(run)]) == 1
    assert (
        f"{run} cannot be exported for CTranslate2, which translates with Transformers only" in capsys.readouterr().err
    )
    assert not (run / "exports").exists()


def test_a_folder_with_other_things_is_not_replaced(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    assert export.main([str(exported), "-o", str(tmp_path / "mine")]) == 0, "an empty one is"
    (tmp_path / "mine" / "nmt.json").unlink()
    (tmp_path / "mine" / "letter").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "mine", tmp_path / "file"):
        assert export.main([str(exported), "-o", str(path)]) == 1
        assert f"{path} is there and is no export" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter").read_text() == (tmp_path / "file").read_text() == "kept"
    assert export.main([str(exported), "--format", "onnx"]) == 2


def test_an_ensemble_is_refused(exported: Path) -> None:
    with pytest.raises(UsageError, match="an ensemble needs the native engine"):
        Translator.load([exported, exported], engine="ctranslate2")
    assert Translator.load([exported], engine="ctranslate2").translate([""]) == [""]


@pytest.mark.parametrize(("typed", "arguments", "streams"), [(True, [], 1), (False, [], 4), (True, ["-i", "file"], 4)])
def test_typed_lines_have_all_cores_to_themselves(
    exported: Path, monkeypatch: pytest.MonkeyPatch, typed: bool, arguments: list[str], streams: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: typed)
    given = make_parser().parse_intermixed_args([str(exported), "--engine", "ctranslate2", *arguments])
    assert load_translator(given).engine.streams == streams


def test_torch_is_not_imported(exported: Path) -> None:
    program = (
        "import sys; from nmt.cli.translate import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 10 * ('torch' in sys.modules) + 20 * ('hydra' in sys.modules))"
    )
    command = [sys.executable, "-c", program, str(exported), "--engine", "ctranslate2"]
    done = subprocess.run(command, cwd=ROOT, input=f"{LINES[0]}\n", capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr


def test_a_folder_is_replaced_only_where_one_can_be_made_beside_it(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_in(dir: Path) -> IO[bytes]:
        if Path(dir).name == "exports":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return TemporaryFile(dir=dir)

    monkeypatch.setattr("nmt.files.TemporaryFile", open_in)
    monkeypatch.setattr("nmt.run.load_run", lambda *arguments: pytest.fail("a run is loaded"))
    assert export.main([str(run)]) == 1
    assert "exports cannot be written" in capsys.readouterr().err
