"""A training run in its directory: set up, continued or refused."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch

import nmt
from nmt.config.load import config_to_flat, read_config, save_config
from nmt.config.ranges import settled
from nmt.config.schema import Config
from nmt.data.batching import Updates
from nmt.data.corpora import check_test_sets
from nmt.data.mixture import Mixture
from nmt.data.prepare import Prepared, prepare
from nmt.data.sampling import SubwordSampling
from nmt.data.tokenizer import Tokenizer
from nmt.device import branch_random_state, choose_device, describe_hardware, limit_kernel_caches, reuse_memory
from nmt.errors import NmtError
from nmt.files import atomic_write, kept_if_filled, locked
from nmt.models.build import build_model
from nmt.models.recurrent import Cell
from nmt.models.seq2seq import Seq2Seq
from nmt.progress import Pulse
from nmt.resources import PACKAGE
from nmt.training import auto
from nmt.training.agreement import check_agreement
from nmt.training.checkpoint import CheckpointInfo, Newest, has_checkpoint, load_newest, refuse_strangers
from nmt.training.distributed import World
from nmt.training.fine_tune import freeze, inherit, load_base
from nmt.training.limits import Progress, end_reason, how_further
from nmt.training.monitor import Monitor, Silent, tells_of_checkpoints
from nmt.training.trainer import Trainer
from nmt.training.trial import Trial
from nmt.training.validation import Validator
from nmt.training.validation_set import length_ratio

Say = Callable[[str], None]

# What may differ from the run that is continued: limits, logging, what is kept, and where the work is done.
_MAY_CHANGE = {"run_dir", "data.workers"} | {
    f"training.{key}"
    for key in ("max_steps", "max_epochs", "max_minutes", "patience", "log_every", "keep_best", "keep_last", "average",
                "max_rollbacks", "rollback_factor", "device", "threads", "workers")
}  # fmt: skip


def train(config: Config, world: World | None = None) -> None:
    """Train what `config` describes in its run_dir, going on from the last checkpoint there.

    A run that has reached a limit is left as it is. Raises NmtError for what the user can mend, and SystemExit 130 or
    143 after Ctrl-C or SIGTERM, once a checkpoint is saved. Of several processes, each calls it with the same
    configuration, which is checked (`nmt.training.agreement`); only rank 0 need see run_dir.
    """
    world = world or World()
    pulse = Pulse(_say) if world.is_main else None
    say = pulse.say if pulse else _say_nothing
    config, tokenizer = inherit(config)
    check_agreement(config, world)
    assert config.run_dir, "load_config fills it in"
    run_dir = Path(config.run_dir)
    with alone(run_dir) if world.is_main else nullcontext():
        known, newest = world.on_main(partial(_begun, run_dir, config))
        if newest and (reason := _finished(config, Progress.from_state_dict(newest.state["progress"]))):
            say(f"{run_dir} is trained already: {reason} is reached; {how_further(config.training, run_dir, reason)}")
            return
        say(f"run directory: {run_dir}")
        with pulse if pulse and not sys.stderr.isatty() else nullcontext():
            _train(config, known, run_dir, newest, tokenizer, world, say, pulse)


def _begun(run_dir: Path, config: Config) -> tuple[Config, Newest | None]:
    """The configuration with what the run has found for each `auto`, and the checkpoint to go on from, if there is one.

    Refuses a run of another configuration, and a run directory of which only a part is there: training is never begun
    anew where it has been before.
    """
    refuse_strangers(run_dir)
    if not has_checkpoint(run_dir):
        _refuse_lost_checkpoints(run_dir)
        return _continued(run_dir, config), None
    _refuse_missing_records(run_dir)
    return _continued(run_dir, config), load_newest(run_dir, _say)


def _train(
    config: Config,
    known: Config,
    run_dir: Path,
    newest: Newest | None,
    tokenizer: Tokenizer | None,
    world: World,
    say: Say,
    pulse: Pulse | None,
) -> None:
    """Build all that training needs and let the trainer run; a tokenizer is given where none is to be trained.

    `known` is the configuration with what an earlier process has found for each `auto`: data are prepared without,
    as they were before anything was found.
    """
    limit_kernel_caches()
    reuse_memory()
    training = config.training
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    device = world.own_device(choose_device(training.device))
    live = world.is_main and sys.stderr.isatty()
    world.on_main(partial(check_test_sets, config.data))
    prepared = world.in_turn(lambda: prepare(config, say, tokenizer, live))
    if any(fingerprints != prepared.fingerprints for fingerprints in world.gather(prepared.fingerprints)):
        raise NmtError(
            f"the machines have prepared different data from {config.data.path}: let them have the same files "
            "there, or put data.path and data.cache on a file system that all share"
        )
    torch.manual_seed(config.seed)
    model = build_model(config.model, prepared.tokenizer.source_size, prepared.tokenizer.target_size).to(device)
    config = _resolved(known, prepared, model, device, say)
    training = config.training
    base = load_base(config.fine_tune, model, say) if newest is None else None
    freeze(model, config.fine_tune.freeze, say)
    branch_random_state(world.rank)
    world.on_main(lambda: _write_records(config, run_dir, prepared, model, device, base, world.size))
    if training.compile:
        _compile(model, device, say)
    mixture = Mixture.of(config.data, prepared.train)
    mixture.tell(say)
    updates = Updates(
        prepared.train,
        settled(training.tokens_per_update),
        None if training.tokens_per_device == "auto" else training.tokens_per_device,
        config.seed,
        rank=world.rank,
        world_size=world.size,
        workers=training.workers,
        multiple=8 if device.type == "cuda" else 1,
        pin=device.type == "cuda",
        sampling=SubwordSampling.of(config, prepared.tokenizer),
        mixture=mixture,
    )
    if pulse is not None:
        pulse.begins("trying whether the largest batches fit into memory")
    updates.tokens_per_device = _tokens_per_device(config, run_dir, Trial(updates, model, training, device), world)
    progress = Progress() if newest is None else Progress.from_state_dict(newest.state["progress"])
    with closing(Monitor(run_dir, progress, pulse=pulse) if world.is_main else Silent()) as monitor:
        ratio = length_ratio(prepared.train, config.search.max_length_offset)
        validator = Validator(config, prepared, model, device, updates.tokens_per_device, world, monitor.say, ratio)
        iterate = partial(updates.iterate, say=monitor.say) if world.is_main else updates.iterate
        trainer = Trainer(training, run_dir, model, iterate, validator, monitor, device, world)
        if newest is not None:
            trainer.restore(newest.weights, newest.state)
            monitor.say(f"continuing {run_dir} from step {progress.step:,}")
        trainer.run()


def _resolved(config: Config, prepared: Prepared, model: Seq2Seq, device: torch.device, say: Say) -> Config:
    """The configuration with a number in place of each `auto`, which is told, as is a warm-up that is too long."""
    resolved = auto.resolve(config, prepared, model, device.type)
    for sentence in (auto.told(config, resolved), auto.unreachable_peak(resolved, prepared, model, device.type)):
        if sentence:
            say(sentence)
    return resolved


def _tokens_per_device(config: Config, run_dir: Path, trial: Trial, world: World) -> int | None:
    """training.tokens_per_device, once it is tried; for auto what is found, which environment.json keeps.

    Of what several processes find it is the least. A run that goes on begins with what it has had, since another split
    of its updates would round differently.
    """
    wanted = config.training.tokens_per_device
    if wanted != "auto":
        trial.check(wanted)
        return wanted
    path = run_dir / "environment.json"
    environment = world.on_main(lambda: json.loads(path.read_text(encoding="utf-8")))
    before = environment.get("tokens_per_device")
    found = min(world.gather(trial.find(before)))

    def keep() -> None:
        with atomic_write(path) as file:
            json.dump(environment | {"tokens_per_device": found}, file, indent=2)
        changed = "" if before in (None, found) else f" (it was {before}: from here on sums are rounded differently)"
        _say(
            f"training.tokens_per_device=auto: {found} of {config.training.tokens_per_update} fit into memory{changed}"
        )

    world.on_main(keep)
    return found


# -- the run directory ---------------------------------------------------------------------------------------------


def _continued(run_dir: Path, config: Config) -> Config:
    """The configuration with what a run has found for each `auto`; as it is where there is no run yet.

    Refuses to continue a run whose configuration differs in more than limits, patience and logging.
    """
    path = run_dir / "config.yaml"
    if not path.exists():
        return config
    saved = read_config(path)
    config = auto.adopt(config, saved)
    before, now = (config_to_flat(each) for each in (saved, config))
    may_change = set(_MAY_CHANGE)
    schedule = config.training.schedule
    if schedule.name in ("linear", "cosine") and schedule.horizon is None:
        may_change.remove("training.max_steps")  # it is the schedule's horizon
    missing = "(not set)"
    different = [
        f"{key} is {now.get(key, missing)}, was {before.get(key, missing)}"
        for key in sorted(before.keys() | now.keys())
        if key not in may_change and before.get(key, missing) != now.get(key, missing)
    ]
    if different:
        raise NmtError(
            f"{run_dir} holds a run of another configuration ({'; '.join(different)}): "
            "choose another folder with run_dir=OTHER, or give the configuration it was begun with"
        )
    return config


def _refuse_missing_records(run_dir: Path) -> None:
    """Refuse to go on where nothing tells whether configuration, data and vocabulary are those of the checkpoints."""
    if missing := [name for name in ("config.yaml", "environment.json", "tokenizer") if not (run_dir / name).exists()]:
        raise NmtError(
            f"{run_dir} has checkpoints but no {' and no '.join(missing)}, so nothing tells whether this is the same "
            "run: copy what is missing there as well, or choose another folder with run_dir=OTHER"
        )


def _refuse_lost_checkpoints(run_dir: Path) -> None:
    """Refuse to begin anew where metrics.jsonl tells of a training that had checkpoints."""
    if tells_of_checkpoints(run_dir):
        raise NmtError(
            f"{run_dir}/metrics.jsonl tells of a training whose checkpoints are not there: copy them there, choose "
            "another folder with run_dir=OTHER, or delete metrics.jsonl to begin anew here"
        )


def _finished(config: Config, progress: Progress) -> str | None:
    """The limit at which a run has ended, its last validation done; None for one that is to go on."""
    return end_reason(config.training, progress) if progress.ended else None


def _write_records(
    config: Config,
    run_dir: Path,
    prepared: Prepared,
    model: Seq2Seq,
    device: torch.device,
    base: CheckpointInfo | None,
    processes: int,
) -> None:
    """config.yaml, the tokenizer and environment.json; refuses to continue on other data."""
    environment = {
        "nmt": nmt.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hardware": describe_hardware(device),
        "processes": processes,
        "cpu_threads": torch.get_num_threads(),  # of each
        "device": device.type,
        "git_commit": _git_commit(),
        "data": prepared.fingerprints,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "length_ratio": length_ratio(prepared.train, config.search.max_length_offset),  # nmt-average validates with it
    }
    path = run_dir / "environment.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and has_checkpoint(run_dir) else environment
    if before["data"] != environment["data"]:
        raise NmtError(
            f"the data of {run_dir} have changed since its training began: restore them, or choose another folder "
            "with run_dir=OTHER"
        )
    environment |= {key: before[key] for key in ("fine_tuned_from", "tokens_per_device") if key in before}
    if base is not None:
        environment["fine_tuned_from"] = {"run": config.fine_tune.run, "checkpoint": base.name, "step": base.step}
    with atomic_write(path) as file:
        json.dump(environment, file, indent=2)
    prepared.tokenizer.save(run_dir / "tokenizer")
    save_config(config, run_dir / "config.yaml")


@contextmanager
def alone(run_dir: Path) -> Iterator[None]:
    """Make a run directory this process's own, and refuse one that another process is training, or averaging, in.

    One that was not there is gone again when the block fails and has left nothing in it.
    """
    refusal = f"another process is training in {run_dir}: wait for it, or choose run_dir=OTHER"
    with kept_if_filled(run_dir), locked(run_dir / ".lock", refusal):
        yield


def _git_commit() -> str | None:
    """The commit of the checkout that the package runs from; None for an installed package."""
    git = partial(subprocess.run, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    try:
        if Path(git(["git", "rev-parse", "--show-toplevel"]).stdout.strip()) != PACKAGE.parent:
            return None
        return str(git(["git", "rev-parse", "HEAD"]).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return None


def _compile(model: Seq2Seq, device: torch.device, say: Say) -> None:
    """Compile the model's forward pass where that can be had; else say so and go on without."""
    if any(isinstance(module, torch.nn.RNNBase | Cell) for module in model.modules()):
        say("training.compile: recurrent models are trained without it, their time loops being written out")
        return
    try:
        torch.compile(torch.nn.functional.gelu)(torch.ones(2, device=device))
    except Exception as error:  # whatever a backend raises, training works without it
        reason = str(error).strip().partition("\n")[0]
        say(f"training.compile: torch.compile can't be had here ({reason}); training goes on without it")
        return
    model.compile(dynamic=True)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _say_nothing(sentence: str) -> None:
    """For all processes but the one that tells the user."""
