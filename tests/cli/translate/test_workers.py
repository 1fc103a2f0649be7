"""Tests of nmt-translate with several processes: the workers of one command, and the processes of torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.translate.file_job import ENVIRONMENT, LINES, FileJob, finished, wait_for
from tests.training.ranks import ended, free_port


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> FileJob:
    return FileJob(tmp_path_factory.mktemp("job"))


def test_workers_write_what_one_process_writes(job: FileJob, tmp_path: Path) -> None:
    with job.started(tmp_path / "out.txt", "--workers", 2) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert (tmp_path / "out.txt").read_bytes() == job.expected
    assert f"{len(LINES)} lines in" in said
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of a command's workers, without the helper process of multiprocessing."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_a_killed_worker_ends_the_command_and_a_killed_command_its_workers(job: FileJob, tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    with job.started(output, "--workers", 2) as process:
        wait_for(output, 1, process)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert said.splitlines()[-1] == (
        "nmt-translate: error: a worker process was killed by SIGKILL, perhaps because memory ran out: "
        "try fewer --workers"
    )
    before = finished(output)
    assert before >= 1
    with job.started(output, "--workers", 2, "--resume") as process:
        wait_for(output, before + 1, process)
        workers = workers_of(process)
        process.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlive the command"
        time.sleep(0.05)
    assert job.call(output, "--resume") == 0
    assert output.read_bytes() == job.expected


def test_what_a_worker_cannot_do_is_said_by_the_command(
    job: FileJob, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("ba.\n")  # for one worker
    assert job.call(tmp_path / "out.txt", "-i", tmp_path / "in.txt", "--workers", 2, "--n-best", 4) == 2
    said = capfd.readouterr().err.splitlines()
    assert said[0].startswith("usage: nmt-translate RUN_DIR")
    assert said[1].startswith("nmt-translate: error: cannot return 4 hypotheses per line: ask for at least 1 and")
    assert len(said) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def torchrun(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "nmt.cli.translate", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=120)


def test_processes_of_torchrun_write_what_one_process_writes(job: FileJob, tmp_path: Path) -> None:
    done = torchrun(job.arguments(tmp_path / "out.txt"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_bytes() == job.expected
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_processes_of_torchrun_end_together(job: FileJob, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"ba.\n\x00\n")
    done = torchrun([*job.arguments(tmp_path / "out.txt"), "-i", str(tmp_path / "in.txt")])
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("nmt-translate: ")]
    assert len(said) == 1
    assert "in.txt, line 2 holds U+0000 (NUL) at byte 1 of the line" in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_processes_that_were_told_different_things_do_not_share_a_file(job: FileJob, tmp_path: Path) -> None:
    """Otherwise shards translated with different options would be joined into one output."""
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "nmt.cli.translate", *job.arguments(tmp_path / "out.txt")]
    processes = [
        subprocess.Popen(
            [*command, "--beam-size", size],
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, size in enumerate(["2", "3"])
    ]
    both = ended(processes, 120)
    assert [process.status for process in both] == [1, 1], both
    assert both[0].said == (
        "nmt-translate: error: the processes of this command were not started alike (--beam-size is 2 on rank 0, "
        "3 on rank 1): give all of them the same options\n"
    )
    assert both[1].said == ""
    assert not list(tmp_path.iterdir())


def test_a_process_that_waits_for_others_is_ended_by_a_signal(job: FileJob, tmp_path: Path) -> None:
    alone = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    command = [sys.executable, "-c", _SAYS_WHEN_IT_WAITS, *job.arguments(tmp_path / "out.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**ENVIRONMENT, **alone}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        time.sleep(0.3)
        process.terminate()
        assert process.wait(timeout=20) == -signal.SIGTERM


_SAYS_WHEN_IT_WAITS = """
import torch.distributed as dist
meet = dist.init_process_group
dist.init_process_group = lambda *known, **options: (print("waiting", flush=True), meet(*known, **options))
from nmt.cli.translate import main
raise SystemExit(main())
"""
