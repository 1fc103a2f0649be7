"""nmt-train: train a translation system from a configuration. Running the same command again continues the run."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.common import DONE, FAILED, Parser, check_stdout, run_command, sentence_of, several_processes
from nmt.errors import UsageError
from nmt.messages import tell

if TYPE_CHECKING:
    from nmt.config.schema import Config
    from nmt.training.distributed import World


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-train",
        "CONFIG.yaml|PRESET [key=value ...] [--multirun] [--cfg job]",
        "Train a translation system. The run is saved in the folder run_dir=PATH (default: a folder in runs/, named\n"
        "after the configuration and its overrides). Run the same command again to continue a run.",
        "example: nmt-train multi30k_de_en model=rnnsearch training.max_minutes=30 seed=2",
    )
    parser.add_config()
    several = "train one run for each combination of the values in overrides such as seed=1,2,3"
    parser.add_argument("-m", "--multirun", action="store_true", help=several)
    printed = "print the complete configuration, with all overrides applied, and exit without training"
    parser.add_argument("--cfg", choices=["job"], help=printed)
    return run_command(parser, _train, argv)


def _train(arguments: Namespace) -> int:
    if not several_processes():
        return _train_as(arguments, None)
    from nmt.training.distributed import joined

    with joined() as world:
        return _train_as(arguments, world)


def _train_as(arguments: Namespace, world: World | None) -> int:
    """Train as one of the processes that torchrun started (`world`), or as a single process (None)."""
    from nmt.config.load import config_to_yaml, load_sweep

    configs = load_sweep(arguments.config, arguments.overrides)
    if len(configs) > 1 and not arguments.multirun:
        raise UsageError("an override names several values: add --multirun to train them one after the other")
    if world is not None and (arguments.multirun or arguments.cfg):
        raise UsageError("--multirun and --cfg work in a single process only: run nmt-train without torchrun")
    if arguments.cfg or len(configs) > 1:
        check_stdout()
    if arguments.cfg:
        print("---\n".join(config_to_yaml(config) for config in configs), end="")
        return DONE

    from nmt.training.train import train

    if len(configs) == 1:
        train(configs[0], world)
        return DONE
    return _train_sweep(configs, arguments.overrides)


def _train_sweep(configs: Sequence[Config], overrides: Sequence[str]) -> int:
    """Train one run after the other and print a ranking of them."""
    from nmt.config.compose import expand
    from nmt.report.ranking import Job, ranking
    from nmt.training.train import train

    jobs = []
    for number, (config, job) in enumerate(zip(configs, expand(overrides), strict=True), start=1):
        tell(f"job {number} of {len(configs)}: {config.run_dir}", "nmt-train")
        failure = None
        try:
            train(config)
        except Exception as error:  # go on to the other jobs, which don't depend on this one
            if (failure := sentence_of(error)) is None:
                raise
            tell(f"{config.run_dir}: {failure}", "nmt-train: error")
        assert config.run_dir, "load_sweep has set it"
        jobs.append(Job(" ".join(job.chosen), Path(config.run_dir), failure))
    print(ranking(jobs))
    return FAILED if any(job.error for job in jobs) else DONE


if __name__ == "__main__":
    sys.exit(main())
