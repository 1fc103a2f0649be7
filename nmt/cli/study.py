"""nmt-study: train several systems under equal conditions, and say by one rule which are better."""

from __future__ import annotations

import shutil
import sys
import tempfile
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.cli.common import DONE, FAILED, Parser, check_stdout, number, place, run_command
from nmt.config.ranges import Processes
from nmt.errors import NmtError, UsageError
from nmt.files import check_writable
from nmt.messages import tell, visible

if TYPE_CHECKING:
    from nmt.study.processes import Begun, Carry, Task
    from nmt.study.study import Study

say = partial(tell, speaker="nmt-study")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-study",
        "STUDY.yaml|NAME [key=value ...] -o DIR [--jobs N] [--submit slurm [--job-option KEY=VALUE ...]] "
        "[--dry-run | --report]",
        "Train several systems with several seeds under equal conditions, and test which are better than the\n"
        "baseline. Runs are saved in DIR/runs/, the report in DIR/study.md and DIR/study.json. Run the same command\n"
        "again to continue a study.",
        "example: nmt-study tiny -o runs/tiny",
    )
    parser.add_argument("study", metavar="STUDY.yaml|NAME", help="a study file, or the name of one that comes with nmt")
    overrides = "an override for all systems, after those of the study, such as data.path=FOLDER"
    parser.add_argument("overrides", metavar="key=value", nargs="*", default=[], help=overrides)
    parser.add_argument("-o", "--output", metavar="DIR", type=place, help="the folder of the study")
    jobs = "train this many runs at the same time; default: jobs of the study"
    parser.add_argument("--jobs", metavar="N", type=number(Processes), help=jobs)
    submit = "train each run in a job of its own: slurm submits to a Slurm cluster, local starts jobs on this machine"
    parser.add_argument("--submit", choices=["slurm", "local"], help=submit)
    option = "with --submit, an option of submitit, such as timeout_min=600 or slurm_partition=gpu; may be repeated"
    parser.add_argument("--job-option", metavar="KEY=VALUE", action="append", type=_option, default=[], help=option)
    dry = "print the runs with parameters, FLOP, and estimated updates and minutes, and exit without training"
    parser.add_argument("--dry-run", action="store_true", help=dry)
    report = "only write the report of the runs that are finished so far; works while the study is running, too"
    parser.add_argument("--report", action="store_true", help=report)
    return run_command(parser, _study, argv)


def _study(arguments: Namespace) -> int:
    check_stdout()
    from nmt.study.study import read_study

    study = read_study(arguments.study, arguments.overrides)
    if arguments.output is None and not arguments.dry_run:
        raise UsageError("name the folder of the study with -o DIR, or give --dry-run")
    if arguments.report and (arguments.dry_run or arguments.submit or arguments.jobs):
        raise UsageError("--report trains nothing and needs results: leave out --dry-run, --submit and --jobs")
    if arguments.dry_run and (arguments.submit or arguments.jobs):
        raise UsageError("--dry-run trains nothing: leave out --submit and --jobs")
    if arguments.job_option and arguments.submit is None:
        raise UsageError("--job-option needs --submit: without it there are no jobs")
    if arguments.output is not None:
        check_writable(arguments.output, folder=True)

    import torch

    torch.set_num_threads(1)  # this process only counts and compares
    return _list_runs(study) if arguments.dry_run else _conduct(study, arguments)


def _list_runs(study: Study) -> int:
    """Print what the study would train."""
    from nmt.study import plan
    from nmt.study.conduct import Conductor
    from nmt.study.ensembles import check_sizes
    from nmt.study.listing import table
    from nmt.study.processes import default_context, in_processes

    folder = Path(tempfile.mkdtemp(prefix="nmt-study-"))  # for logs, to which an error refers
    conductor = Conductor(study, folder, say, partial(in_processes, default_context()), jobs=1)
    try:
        planned = plan.variants(study, conductor.find_sizes)
        plan.check_measurable(study, planned)
        check_sizes(study, planned)
        print(visible(table(study, planned), "\n"))
    except NmtError:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    shutil.rmtree(folder)
    return DONE


def _conduct(study: Study, arguments: Namespace) -> int:
    """Train what is not trained yet, and write the report."""
    from nmt.study.conduct import Conductor
    from nmt.study.processes import default_context, in_processes
    from nmt.study.report import MARKDOWN, write_report

    folder = Path(arguments.output)
    carry: Carry = partial(in_processes, default_context())
    if arguments.submit:
        from nmt.study.jobs import executor_of, in_jobs

        carry = partial(in_jobs, executor_of(arguments.submit, folder, study.threads, dict(arguments.job_option)))
    if arguments.report:
        outcome = Conductor(study, folder, lambda sentence: None, partial(_finished_only, carry), jobs=1).outcome()
    else:
        outcome = Conductor(study, folder, say, carry, arguments.jobs or study.jobs).conduct()
    if not outcome.rows:
        raise NmtError(
            f"{folder} has no finished run" if arguments.report else f"no run could be trained: see {folder / 'logs'}"
        )
    print(visible(_told(write_report(outcome, folder)), "\n"))
    print(f"\nreport: {folder / MARKDOWN}")
    return FAILED if outcome.failures and not arguments.report else DONE


def _finished_only(carry: Carry, tasks: Sequence[Task], jobs: int, begun: Begun) -> Iterator[tuple[Task, Any]]:
    """Carry only the tasks that read vocabularies; for all others, yield that they are not finished."""
    from nmt.study import work
    from nmt.study.processes import Failure

    for task in tasks:
        if task.function in (work.vocabulary, work.fingerprint):
            yield from carry([task], jobs, begun)
        else:
            yield task, Failure("not finished")


def _option(text: str) -> tuple[str, int | str]:
    """Return the key and the value of KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not (key.isidentifier() and equals):
        raise ArgumentTypeError("expected KEY=VALUE, such as timeout_min=600")
    return key, int(value) if value.isdecimal() and len(value) < 10 else value


def _told(found: dict[str, Any]) -> str:
    """Return a table of each test set, and the runs that failed."""
    from nmt.report.table import format_table
    from nmt.study.page import verdict_table

    parts = [f"{name}\n{format_table(*verdict_table(found, each))}" for name, each in found["test_sets"].items()]
    parts += [f"missing: {name}: {sentence}" for name, sentence in found["failures"].items()]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
