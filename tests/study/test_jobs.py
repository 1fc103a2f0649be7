"""Tasks of studies as jobs of submitit, with its executor for the own machine: results, failures, ends and options."""

from __future__ import annotations

import operator
import os
import signal
import time
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from nmt.errors import NmtError, UsageError
from nmt.files import atomic_write
from nmt.study.jobs import executor_of, in_jobs
from nmt.study.processes import Failure, Task
from tests.forked import forked
from tests.study.tiny import conducted, tables, write_study

pytest.importorskip("submitit")


def local(folder: Path, **options: Any) -> Any:
    return executor_of("local", folder, 1, {"timeout_min": 5, **options})


def test_jobs_have_results_or_reasons(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "task.txt"
    tasks = [
        Task("sum", operator.add, [1, 2], log),
        Task("refused", executor_of, ["nowhere", tmp_path, 1, {}], log),
        Task("dies", os._exit, [3], log),
    ]
    begun: list[str] = []
    found = {
        task.name: result for task, result in in_jobs(local(tmp_path), tasks, 3, lambda each: begun.append(each.name))
    }
    assert begun == ["sum", "refused", "dies"]
    assert found["sum"] == 3
    assert isinstance(found["refused"], Failure) and "jobs cannot be submitted to nowhere" in found["refused"].sentence
    assert isinstance(found["dies"], Failure) and "ended without a result (see " in found["dies"].sentence


def test_jobs_are_cancelled_if_the_caller_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    tasks = [
        Task("long", _touch_sleep_touch, [begun, ended], tmp_path / "long.txt"),
        Task("short", operator.add, [1, 2], tmp_path / "short.txt"),
    ]
    executor = local(tmp_path)
    submit, jobs = executor.submit, []

    def kept(*call: Any) -> Any:
        jobs.append(submit(*call))
        return jobs[-1]

    monkeypatch.setattr(executor, "submit", kept)
    carried = in_jobs(executor, tasks, 2, lambda task: None)
    assert next(carried)[1] == 3
    while not begun.exists():
        time.sleep(0.05)
    carried.close()
    while not jobs[0].done():
        time.sleep(0.05)
    assert not ended.exists()


def _touch_sleep_touch(begun: Path, ended: Path) -> None:
    begun.touch()
    time.sleep(100)
    ended.touch()


def test_a_preempted_job_is_called_again(tmp_path: Path) -> None:
    number = tmp_path / "number"
    jobs = in_jobs(local(tmp_path), [Task("long", _sleep_once, [number], tmp_path / "log")], 1, lambda task: None)
    preempting = Thread(target=_preempt, args=[number])
    preempting.start()
    ((_, result),) = jobs
    preempting.join()
    assert result == "called again"


def _sleep_once(number: Path) -> str:
    """Write the number of this process, and sleep until it is preempted; return a text if that was done before."""
    if number.exists():
        return "called again"
    with atomic_write(number) as file:
        file.write(str(os.getpid()))
    time.sleep(60)
    return "slept"


def _preempt(number: Path) -> None:
    while not number.exists():
        time.sleep(0.05)
    os.kill(int(number.read_text()), signal.SIGUSR2)  # as Slurm does, because submitit asks it to


def test_a_study_in_jobs_is_the_same_study(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"systems": {"transformer": []}, "ensembles": {"both": ["transformer"]}}
    path = write_study(tmp_path, **changes)
    conducted(path, tmp_path / "jobs", carry=partial(in_jobs, local(tmp_path / "jobs")))
    conducted(path, tmp_path / "processes")
    assert tables(tmp_path / "jobs") == tables(tmp_path / "processes")


def test_unknown_options_and_clusters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"submitit refuses the options of jobs: .*minutes"):
        local(tmp_path, minutes=3)
    if os.environ.get("PATH") and not any((Path(each) / "srun").exists() for each in os.environ["PATH"].split(":")):
        with pytest.raises(NmtError, match="jobs cannot be submitted to slurm from here: "):
            executor_of("slurm", tmp_path, 1, {})
    outcome = forked("nmt-study", ["tiny", "-o", tmp_path / "out", "--job-option", "timeout_min=3"])
    assert outcome.status == 2 and "--job-option needs --submit" in outcome.err
    outcome = forked("nmt-study", ["tiny", "--dry-run", "--submit", "local"])
    assert outcome.status == 2 and "--dry-run trains nothing: leave out --submit and --jobs" in outcome.err


def test_a_job_that_the_cluster_refuses_is_told_in_one_sentence(tmp_path: Path) -> None:
    class Refusing:
        def submit(self, task: object) -> None:
            raise RuntimeError("sbatch: error: invalid partition specified: gpux\nsbatch: error: Batch job failed")

    task = Task("long", operator.add, [1, 2], tmp_path / "logs" / "long.txt")
    with pytest.raises(NmtError, match=r"^long could not be submitted: sbatch: .* partition specified: gpux$"):
        list(in_jobs(Refusing(), [task], 1, lambda task: None))
