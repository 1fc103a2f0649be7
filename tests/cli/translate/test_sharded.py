"""Tests of translating a file into a file: killing and resuming at any moment, and calls that are refused."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from argparse import Namespace
from pathlib import Path

import pytest

from nmt.cli.translate import sharded
from nmt.inference import shards
from nmt.inference.translator import Translator
from nmt.runs.checkpoints import set_pointer
from nmt.training.checkpoint import save_checkpoint
from tests.cli.translate.file_job import SHARDS, FileJob, finished, wait_for
from tests.toy_run import make_run, toy_model


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> FileJob:
    return FileJob(tmp_path_factory.mktemp("job"))


def test_killed_again_and_again_it_ends_as_undisturbed(
    job: FileJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, moments = tmp_path / "out.txt", random.Random(3)
    for number, status, count in [(signal.SIGKILL, -9, 1), (signal.SIGTERM, 143, 3), (signal.SIGINT, 130, 5)]:
        with job.started(output, "--resume") as process:
            wait_for(output, count, process)
            time.sleep(moments.random() * 0.1)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert process.returncode == status, said
        assert "Traceback" not in said
        assert not output.exists(), "the output is complete or absent"
        assert count <= finished(output) < SHARDS
        if status > 0:
            assert f"lines are translated and kept in {output}.parts: run the same command with --resume" in said
            assert said.splitlines()[-1] == f"nmt-translate: stopped by {number.name}"
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out.txt.parts").glob("shard-*")}
    joined: dict[str, int] = {}
    join = shards.Shards.join

    def note_and_join(self: shards.Shards, path: Path) -> None:
        joined.update({path.name: path.stat().st_mtime_ns for path in self.folder.glob("shard-*")})
        join(self, path)

    monkeypatch.setattr(shards.Shards, "join", note_and_join)
    assert job.call(output, "--resume") == 0
    assert output.read_bytes() == job.expected
    assert len(joined) == SHARDS
    assert kept.items() <= joined.items(), "what was finished is not done again"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_part_is_not_overwritten_and_not_mixed_with_another(
    job: FileJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, write = tmp_path / "out.txt", shards.Shards.write

    def disk_full_at_the_third(self: shards.Shards, index: int, answers: list[bytes]) -> None:
        if index == 2:
            raise OSError(28, "No space left on device", "shard")
        write(self, index, answers)

    monkeypatch.setattr(shards.Shards, "write", disk_full_at_the_third)
    assert job.call(output) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"nmt-translate: 200 of 900 lines are translated and kept in {output}.parts: "
        "run the same command with --resume to continue",
        "nmt-translate: error: shard: No space left on device",
    ]
    (tmp_path / "other.txt").write_text("ba.\n")
    other_run = make_run(tmp_path / "other", "rnnsearch")

    def refusal(*more: object, run: Path | None = None) -> str:
        assert job.call(output, *more, run=run) == 1
        sentence = capsys.readouterr().err.splitlines()[-1]
        assert sentence.startswith(f"nmt-translate: error: {output}.parts holds a part of an")
        return sentence

    assert "earlier translation: add --resume to continue it, or delete the folder" in refusal()
    assert "other translation, with another model: run the same command as before" in refusal("--resume", run=other_run)
    assert "with another source: run the same" in refusal("--resume", "-i", tmp_path / "other.txt")
    options = ("--beam-size", 2, "--on-error", "skip")
    assert "with another --on-error and another --beam-size: run the same" in refusal("--resume", *options)
    assert finished(output) == 2
    assert not output.exists()


def test_files_of_the_user_in_the_folder_of_parts_are_kept(
    job: FileJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out.txt.parts"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    assert job.call(tmp_path / "out.txt") == 1
    assert "but holds mine.txt, which is none of them: move it away, or choose" in capsys.readouterr().err
    assert (folder / "mine.txt").read_text() == "mine"
    (folder / "mine.txt").rename(folder / ".mine")
    assert job.call(tmp_path / "out.txt") == 1
    (folder / ".mine").unlink()
    assert job.call(tmp_path / "out.txt") == 0
    assert not folder.exists()


def test_a_shard_that_was_cut_short_is_translated_again_and_a_changed_job_refused(
    job: FileJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.txt").symlink_to("disk/target.txt")
    output, write = tmp_path / "disk" / "target.txt", shards.Shards.write

    def stopped_at_the_fourth(self: shards.Shards, index: int, answers: list[bytes]) -> None:
        if index == 3:
            raise OSError(28, "No space left on device", "shard")
        write(self, index, answers)

    with monkeypatch.context() as patch:
        patch.setattr(shards.Shards, "write", stopped_at_the_fourth)
        assert job.call(tmp_path / "out.txt") == 1
    shard, record = (tmp_path / "disk" / "target.txt.parts" / name for name in ("shard-0000001", "job.json"))
    os.truncate(shard, shard.stat().st_size * 2 // 3)
    as_it_was = record.read_text()
    record.write_text(json.dumps(json.loads(as_it_was) | {"lines_of_a_shard": 200}))
    assert job.call(tmp_path / "out.txt", "--resume") == 1
    assert f"{record} is missing or damaged, or was changed" in capsys.readouterr().err.splitlines()[-1]
    record.write_text(as_it_was)
    assert job.call(tmp_path / "out.txt", "--resume") == 0
    said = capsys.readouterr().err
    assert f"nmt-translate: {shard} is damaged: its lines are translated again" in said
    assert "200 of 900 lines are already translated" in said
    assert output.read_bytes() == job.expected
    assert (tmp_path / "out.txt").is_symlink()


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_by_its_name_is_written_to_and_not_replaced(
    job: FileJob, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    """In this test, standard output is a regular file that pytest has opened."""
    print("before", flush=True)
    assert job.call(Path(place)) == 0
    print("after", flush=True)
    assert capfd.readouterr().out == f"before\n{job.expected.decode()}after\n"


def test_all_is_translated_with_the_checkpoint_of_the_beginning(
    job: FileJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, load = make_run(tmp_path / "run"), sharded.load_translator

    def load_after_training_went_on(arguments: Namespace) -> Translator:
        save_checkpoint(run, 24, toy_model("transformer-post", seed=6), {"step": 24})
        set_pointer(run, "best", 24)
        return load(arguments)

    monkeypatch.setattr(sharded, "load_translator", load_after_training_went_on)
    assert job.call(tmp_path / "before.txt", "--checkpoint", "best", run=run) == 0
    assert (tmp_path / "before.txt").read_bytes() == job.expected
    monkeypatch.setattr(sharded, "load_translator", load)
    assert job.call(tmp_path / "after.txt", "--checkpoint", "best", run=run) == 0
    assert (tmp_path / "after.txt").read_bytes() != job.expected


def test_what_a_lost_process_was_at_is_translated_all_the_same(
    job: FileJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take = shards.Shards.take
    lost = {2, 5}

    def take_unless_lost(self: shards.Shards, index: int) -> bool:
        """Take a shard, unless it is one that another process took before it disappeared."""
        taken = take(self, index)
        return taken and not (index in lost and lost.discard(index) is None)

    monkeypatch.setattr(shards.Shards, "take", take_unless_lost)
    monkeypatch.setattr(sharded, "_SILENCE", 0.2)
    monkeypatch.setattr(sharded, "_LOOK", 0.05)
    assert job.call(tmp_path / "out.txt") == 0
    assert (tmp_path / "out.txt").read_bytes() == job.expected
    assert ": translating their shards here" in capsys.readouterr().err
    assert not lost
