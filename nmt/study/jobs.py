"""Work in jobs of a cluster (Slurm), by submitit, in place of processes of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nmt.errors import NmtError, UsageError
from nmt.extras import import_extra
from nmt.files import make_folder
from nmt.study.processes import Begun, Failure, Task, result_of

Cluster = Literal["slurm", "local"]
_POLL = 0.5  # seconds between two looks at the running jobs


@dataclass(frozen=True)
class Submitted:
    """A task as a job calls it."""

    task: Task

    def __call__(self) -> Any:
        """Return the result of the task, or a Failure."""
        return result_of(self.task)

    def checkpoint(self) -> Any:
        """Return what submitit starts in place of a job that was preempted or at its time limit: the same task."""
        return import_extra("submitit", "slurm").helpers.DelayedSubmission(self)


def executor_of(cluster: Cluster, folder: Path, threads: int, options: Mapping[str, int | str]) -> Any:
    """Return submitit's executor for a cluster; its files are in `folder`/jobs.

    local runs jobs on this machine, for tests. `options` are submitit's parameters, such as timeout_min and
    slurm_partition; without cpus_per_task, a job has `threads`. Raises NmtError if there is no such cluster here, and
    UsageError for an unknown option.
    """
    submitit = import_extra("submitit", "slurm")
    try:
        executor = submitit.AutoExecutor(folder=make_folder(folder / "jobs"), cluster=cluster)
    except (RuntimeError, ValueError) as error:
        raise NmtError(f"jobs cannot be submitted to {cluster} from here: {error}") from error
    try:
        executor.update_parameters(**{"name": "nmt-study", "cpus_per_task": threads, **options})
    except (NameError, TypeError, ValueError, AssertionError) as error:
        raise UsageError(f"submitit refuses the options of jobs: {str(error).splitlines()[0]}") from error
    return executor


def in_jobs(executor: Any, tasks: Sequence[Task], jobs: int, begun: Begun) -> Iterator[tuple[Task, Any]]:
    """Run tasks as jobs, at most `jobs` at a time, and yield each with its result, or a Failure, when it ends.

    `begun` is called when a job is submitted. A job that was preempted or reached its time limit is started again, and
    continues a training. If the caller stops early, the jobs are cancelled. If this process is killed, they go on.
    """
    waiting = list(reversed(tasks))
    running: list[tuple[Any, Task]] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop()
                make_folder(task.log.parent)
                running.append((_submitted(executor, task), task))
                begun(task)
            for pair in [pair for pair in running if pair[0].done()]:
                running.remove(pair)
                yield pair[1], _outcome(*pair)
            if running:
                time.sleep(_POLL)
    finally:
        for job, _ in running:
            job.cancel(check=False)


def _submitted(executor: Any, task: Task) -> Any:
    try:
        return executor.submit(Submitted(task))
    except RuntimeError as error:  # submitit's FailedJobError: sbatch refuses an option, such as a partition
        raise NmtError(f"{task.name} could not be submitted: {str(error).splitlines()[0]}") from error


def _outcome(job: Any, task: Task) -> Any:
    error = job.exception()
    if error is None:
        return job.result()
    return Failure(f"its job {job.job_id} ended without a result (see {task.log} and {job.paths.stderr})")
