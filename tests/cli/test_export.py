"""Tests of nmt-export and of nmt-translate with an export: equal translations, and errors that say what to do."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import ctranslate2
import pytest

import nmt
from nmt.attention.mixers.softmax import SelfAttention
from nmt.checksums import seal
from nmt.cli import export, translate
from nmt.cli.translate.answers import load_translator
from nmt.cli.translate.options import make_parser
from nmt.config.data import TokenizerConfig
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import UsageError
from nmt.inference.translator import Translator
from nmt.runs.checkpoints import set_pointer
from nmt.training.checkpoint import save_checkpoint
from tests.inference.export.exported import KINDS, LINES, exportable_model, make_exportable, tokenizer
from tests.toy_run import made_up_lines, make_run

ROOT = Path(__file__).resolve().parents[2]
TIED, SEPARATE = "post relu shared tied", "pre gelu separate tied"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_exportable(tmp_path_factory.mktemp("export") / "run", TIED)
    assert export.main([str(run)]) == 0
    return run


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    """Return a copy of the exported run that a test may damage."""
    return shutil.copytree(exported, tmp_path / "run")


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str], str]]:
    """Return a function that runs nmt-translate on LINES; it returns exit status, lines of output and stderr."""

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


def test_a_beam_by_rules_of_the_native_engine_is_refused_before_an_export_is_made(run: Path, call) -> None:
    shutil.rmtree(run / "exports")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("stop: full", "stop: exact"))
    status, _, said = call(run, "--precision", "int8")
    assert status == 1
    assert said.startswith(
        "nmt-translate: error: search.stop=exact needs the native engine (--engine native, --precision fp32 or bf16)"
    )
    assert said.count("\n") == 1 and not (run / "exports").exists()
    assert call(run, "--device", "cpu")[0] == 0
    assert call(run, "--precision", "int8", "--beam-size", "1")[0] == 0, "a greedy search is the same by both"
    status, answers, _ = call(run, "--precision", "int8", "--search", "stop=full", "--n-best", "2")
    assert (status, [json.loads(answer)["source"] for answer in answers]) == (0, LINES)
    for answer in answers:
        scores = [one["score"] for one in json.loads(answer)["hypotheses"]]
        assert scores == sorted(scores, reverse=True)


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
    lines = made_up_lines(300, seed=9)
    train_tokenizer(TokenizerConfig(algorithm="bpe", vocab_size=60), lines, lines).save(run / "tokenizer")


def fewer_positions(run: Path) -> None:
    record = run / "exports" / "ctranslate2" / "nmt.json"
    record.write_text(record.read_text().replace('"positions": 1024', '"positions": 8'))
    seal(record.parent)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "arguments", "checkpoint"),
    [
        (lambda run: shutil.rmtree(run / "exports"), [], 12),
        (newer, [], 20),
        (newer, ["--checkpoint", "last"], 20),
        (newer, ["--checkpoint", "12"], None),
        (retrained, [], 12),
        (with_another_tokenizer, [], 12),
        (fewer_positions, [], 12),
        (lambda run: (run / "exports" / "ctranslate2" / "nmt.json").write_text("{"), [], 12),
        (lambda run: flip_a_bit(run / "exports" / "ctranslate2" / "model.bin"), [], 12),
        (lambda run: flip_a_bit(run / "exports" / "ctranslate2" / "shared_vocabulary.json"), [], 12),
        (lambda run: (run / "exports" / "ctranslate2" / "checksums.json").unlink(), [], 12),
        (lambda run: os.utime(run / "checkpoints" / "step-0000000012" / "model.safetensors", (1, 1)), [], None),
    ],
)  # fmt: skip
def test_an_export_is_made_when_it_is_first_needed_and_renewed_with_the_run(
    run: Path, call, spoil: Callable[[Path], object], arguments: list[str], checkpoint: int | None
) -> None:
    spoil(run)
    folder = run / "exports" / "ctranslate2"
    command = ["--engine", "ctranslate2", "--beam-size", "1", *arguments]
    status, answers, said = call(run, *command)
    told = f"nmt-translate: exporting step-{checkpoint or 0:010d} for CTranslate2 to {folder}\n"
    assert (status, told in said, "exporting" in said) == (0, checkpoint is not None, checkpoint is not None)
    assert answers == call(run, "--engine", "native", "--device", "cpu", "--beam-size", "1", *arguments)[1]
    assert "exporting" not in call(run, *command)[2], "once is enough"
    assert [path.name for path in (run / "exports").iterdir()] == ["ctranslate2"]


def test_what_cannot_be_had_is_refused_before_an_export_is_made(run: Path, call) -> None:
    shutil.rmtree(run / "exports")
    for arguments, sentence in (
        (["--device", "tpu", "--engine", "ctranslate2"], "there is no tpu device here for CTranslate2"),
        (["--device", "cpu", "--precision", "fp16"], "CTranslate2 cannot compute in fp16 on this cpu"),
    ):
        status, _, said = call(run, *arguments)
        assert (status, said.count("\n")) == (1, 1)
        assert said.startswith(f"nmt-translate: error: {sentence}")
    status, _, said = call(run, "--engine", "ctranslate2", "--search", "precision=bf16")
    assert (status, said.splitlines()[-1]) == (
        2, "nmt-translate: error: --search precision is for the native engine: choose --precision bf16"
    )  # fmt: skip
    assert not (run / "exports").exists()


def test_a_folder_that_is_no_export_is_left_alone(run: Path, call) -> None:
    folder = run / "exports" / "ctranslate2"
    (folder / "nmt.json").unlink()
    status, _, said = call(run, "--precision", "int8")
    assert (status, f"{folder} exists and is not an export" in said) == (1, True)
    assert (folder / "model.bin").is_file()


def test_a_run_that_cannot_be_written_is_exported_to_a_temporary_folder(
    run: Path, call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def open_in(dir: Path) -> IO[bytes]:
        if run in (Path(dir), *Path(dir).parents):
            raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))
        return TemporaryFile(dir=dir)

    monkeypatch.setattr("nmt.files.TemporaryFile", open_in)
    monkeypatch.setattr("tempfile.tempdir", str(temporary := tmp_path / "temporary"))
    temporary.mkdir()
    status, expected, said = call(run, "--precision", "int8")
    assert (status, "exporting" in said) == (0, False), "what is there is taken"
    shutil.rmtree(run / "exports")
    status, answers, said = call(run, "--precision", "int8")
    assert (status, answers) == (0, expected)
    assert f"since {run / 'exports' / 'ctranslate2'} cannot be written" in said
    assert not (run / "exports").exists() and not list(temporary.iterdir())


def test_commands_at_the_same_time_make_one_export(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "exports")
    command = [sys.executable, "-m", "nmt.cli.translate", str(run), "--precision", "int8", "--beam-size", "1"]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    done = [each.communicate(f"{LINES[0]}\n".encode()) for each in running]
    assert [each.returncode for each in running] == [0] * 3, done
    assert len({out for out, _ in done}) == 1
    assert sum(b"exporting" in err for _, err in done) == 1
    assert [path.name for path in (run / "exports").iterdir()] == ["ctranslate2"]


def test_threads_at_the_same_time_make_one_export(run: Path) -> None:
    shutil.rmtree(run / "exports")
    told: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        loaded = [pool.submit(Translator.load, run, precision="int8", warn=told.append) for _ in range(3)]
        assert len({each.result().translate(LINES[0], beam_size=1) for each in loaded}) == 1
    assert [sentence.partition(" for ")[0] for sentence in told if "export" in sentence] == [
        "exporting step-0000000012"
    ]


def test_workers_wait_for_one_export(run: Path, call) -> None:
    shutil.rmtree(run / "exports")
    status, answers, _ = call(run, "--precision", "int8", "--beam-size", "1", "--workers", "2")
    assert (status, len(answers)) == (0, len(LINES))
    assert answers == call(run, "--precision", "int8", "--beam-size", "1")[1]
    assert [path.name for path in (run / "exports").iterdir()] == ["ctranslate2"]


def test_ctranslate2_that_is_not_installed_is_one_sentence(
    run: Path, call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    sentence = "this needs the package ctranslate2, which is not installed: "
    sentence += "run pip install -e '.[fast]' in the folder of nmt's source\n"
    for asked in (["--engine", "ctranslate2"], ["--precision", "int8"]):
        assert call(run, *asked)[::2] == (1, f"nmt-translate: error: {sentence}")
    assert export.main([str(run)]) == 1
    assert capsys.readouterr().err == f"nmt-export: error: {sentence}"
    assert call(run, "--beam-size", "1", "--device", "cpu")[0] == 0


@pytest.mark.parametrize("variant", ["cho", "rnnsearch", "luong-general"])
def test_recurrent_models_are_refused(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", variant)
    sentence = f"{run} cannot be exported for CTranslate2, which has no layers for model.family="
    assert export.main([str(run)]) == 1
    assert capsys.readouterr().err.startswith(f"nmt-export: error: {sentence}")
    assert translate.main([str(run), "--precision", "int8"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"nmt-translate: error: {sentence}") and said.count("\n") == 1
    assert said.endswith(": use the native engine (--engine native, --precision fp32 or bf16)\n")
    assert not (run / "exports").exists()


def test_a_layer_that_has_no_counterpart_is_named(tmp_path: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    class LinearAttention(SelfAttention):
        pass

    monkeypatch.setattr("nmt.attention.mixers.softmax.SelfAttention", LinearAttention)
    run = make_exportable(tmp_path / "run", TIED)
    status, _, said = call(run, "--precision", "int8")
    assert status == 1
    assert said.splitlines()[-1] == (
        f"nmt-translate: error: {run} cannot be exported for CTranslate2: encoder.layers.0.mixer is of type "
        "LinearAttention, which CTranslate2 has no layer for: use the native engine (--engine native, "
        "--precision fp32 or bf16)"
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
        assert f"{path} exists and is not an export" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter").read_text() == (tmp_path / "file").read_text() == "kept"
    assert export.main([str(exported), "--format", "onnx"]) == 2


def test_what_was_put_beside_an_export_is_not_deleted(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    assert export.main([str(exported), "-o", str(mine)]) == 0
    assert export.main([str(exported), "-o", str(mine)]) == 0, "an export alone is replaced"
    (mine / "joint.model").write_text("kept")
    assert export.main([str(exported), "-o", str(mine)]) == 1
    assert "has files that are not part of the export (joint.model)" in capsys.readouterr().err
    assert (mine / "joint.model").read_text() == "kept"


def test_an_ensemble_is_refused(exported: Path) -> None:
    for asked in ({"engine": "ctranslate2"}, {"precision": "int8"}):
        with pytest.raises(UsageError, match="an ensemble needs the native engine"):
            Translator.load([exported, exported], **asked)
    assert translate.main([str(exported), str(exported), "--precision", "int8"]) == 2
    assert Translator.load([exported], engine="ctranslate2").translate([""]) == [""]


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({}, "NativeEngine"),
        ({"precision": "auto"}, "NativeEngine"),
        ({"precision": "bf16"}, "NativeEngine"),
        ({"precision": "int8"}, "CTranslate2Engine"),
        ({"engine": "ctranslate2"}, "CTranslate2Engine"),
        ({"engine": "ctranslate2", "precision": "fp32"}, "CTranslate2Engine"),
        ({"engine": "native", "precision": "fp32"}, "NativeEngine"),
    ],
)
def test_the_precision_chooses_the_engine(exported: Path, asked: dict[str, Any], kind: str) -> None:
    assert type(nmt.load(exported, device="cpu", **asked).engine).__name__ == kind
    assert type(Translator.load(exported, device="cpu", **asked).engine).__name__ == kind
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    given = make_parser().parse_intermixed_args([str(exported), "--device", "cpu", *words])
    given.attention_files = {}
    assert type(load_translator(given).engine).__name__ == kind


def test_torch_is_not_imported(exported: Path) -> None:
    program = (
        "import sys; from nmt.cli.translate import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 10 * ('torch' in sys.modules) + 20 * ('hydra' in sys.modules))"
    )
    command = [sys.executable, "-c", program, str(exported), "--precision", "int8"]
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
    monkeypatch.setattr("nmt.runs.run.load_run", lambda *arguments: pytest.fail("a run is loaded"))
    assert export.main([str(run)]) == 1
    assert "exports cannot be written" in capsys.readouterr().err
