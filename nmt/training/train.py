"""Set up a training run in its run directory, or resume it, and train."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import cast

import torch

from nmt.config.load import take_over
from nmt.config.ranges import settled
from nmt.config.schema import Config
from nmt.data.batching import Updates
from nmt.data.corpora import check_test_sets
from nmt.data.mixture import Mixture
from nmt.data.prepare import Prepared, prepare
from nmt.data.sampling import SubwordSampling
from nmt.data.sources.source import Say
from nmt.data.tokenizer import Tokenizer
from nmt.device import branch_random_state, choose_device, is_cuda, limit_kernel_caches, reuse_memory
from nmt.errors import NmtError
from nmt.messages import on_terminal, tell
from nmt.models.build import build_model
from nmt.models.cells import Cell
from nmt.models.seq2seq import Seq2Seq
from nmt.progress import Pulse
from nmt.runs.environment import read_environment, write_environment
from nmt.training import auto
from nmt.training.agreement import check_agreement
from nmt.training.checkpoint import Newest
from nmt.training.distributed import World
from nmt.training.fine_tune import freeze, inherit, load_base
from nmt.training.limits import TrainingProgress, end_reason, how_further
from nmt.training.monitor import Monitor, Silent
from nmt.training.records import begun, own_directory, write_records
from nmt.training.trainer import Trainer
from nmt.training.trial import Trial
from nmt.training.validation import Validator
from nmt.training.validation_set import length_ratio


def train(config: Config, world: World | None = None) -> None:
    """Train the model that `config` describes in config.run_dir, resuming from the last checkpoint if there is one.

    A run that has already reached one of its limits is left unchanged. Raises NmtError for problems that the user can
    fix. After Ctrl-C or SIGTERM it saves a checkpoint and raises SystemExit (status 130 or 143). With several
    processes, each calls this function with the same configuration, which is checked (`nmt.training.agreement`); only
    rank 0 needs access to run_dir.
    """
    world = world or World()
    pulse = Pulse(tell if world.is_main else _say_nothing)
    say = pulse.say
    config, tokenizer = inherit(config)
    check_agreement(config, world)
    assert config.run_dir, "load_config fills it in"
    run_dir = Path(config.run_dir)
    with own_directory(run_dir) if world.is_main else nullcontext(_write_nothing) as check:
        before, newest = world.on_main(partial(begun, run_dir, config, tell))
        known = auto.adopt(take_over(config, before), before) if before else config
        progress = newest.progress if newest else TrainingProgress()
        if progress.ended and (reason := end_reason(config.training, progress)):
            further = how_further(config.training, progress, run_dir, reason)
            say(f"{run_dir} is trained already: {reason} is reached; {further}")
            return
        say(f"run directory: {run_dir}")
        if kept := auto.told(config, known):
            say(f"{kept} (chosen when this run started)")
        limit_kernel_caches()
        reuse_memory()
        with pulse if world.is_main and not on_terminal() else nullcontext():
            prepared = _prepared(known, tokenizer, world, say)
            _train(known, run_dir, prepared, newest, world, pulse, check)


def _prepared(config: Config, tokenizer: Tokenizer | None, world: World, say: Say) -> Prepared:
    """Prepare the data and check that all processes got the same; `tokenizer` is None if one has to be trained."""
    if config.training.threads is not None:
        torch.set_num_threads(config.training.threads)
    world.on_main(partial(check_test_sets, config.data))
    live = world.is_main and on_terminal()
    prepared = world.in_turn(lambda: prepare(config, say, tokenizer, live))
    if any(fingerprints != prepared.fingerprints for fingerprints in world.gather(prepared.fingerprints)):
        raise NmtError(
            f"the machines have prepared different data from {config.data.path}: make sure that all of them have the "
            "same files there, or put data.path and data.cache on a file system that they share"
        )
    return prepared


def _train(
    config: Config,
    run_dir: Path,
    prepared: Prepared,
    newest: Newest | None,
    world: World,
    pulse: Pulse,
    check: Callable[[], None],
) -> None:
    """Build the model, the updates, the validator and the trainer, and run the trainer.

    `check` is called before each write to the run directory, and raises NmtError if nothing may be written.
    """
    say = pulse.say
    device = world.own_device(choose_device(config.training.device))
    config = _resolved(config, prepared, device, newest is None, say)
    training = config.training
    torch.manual_seed(config.seed)
    model = build_model(config.model, prepared.tokenizer.source_size, prepared.tokenizer.target_size).to(device)
    base = load_base(config.fine_tune, model, say) if newest is None else None
    freeze(model, config.fine_tune.freeze, say)
    branch_random_state(world.rank)
    updates = _updates(config, prepared, device, world, say)  # before anything is written: it checks their size
    world.on_main(check)
    world.on_main(lambda: write_records(config, run_dir, prepared, model, device, base, world.size))
    if training.compile:
        _compile(model, device, say)
    pulse.begins("checking whether the largest batches fit into memory")
    updates.tokens_per_device = _tokens_per_device(
        config, run_dir, Trial(updates, model, training, device), world, check
    )
    progress = newest.progress if newest else TrainingProgress()
    with closing(Monitor(run_dir, progress, pulse, check) if world.is_main else cast(Monitor, Silent())) as monitor:
        ratio = length_ratio(prepared.train, config.search.max_length_offset)
        validator = Validator(config, prepared, model, device, updates.tokens_per_device, world, monitor.say, ratio)
        iterate = partial(updates.iterate, say=monitor.say) if world.is_main else updates.iterate
        trainer = Trainer(training, run_dir, model, iterate, validator, monitor, device, world, check)
        if newest is not None:
            trainer.restore(newest)
            monitor.say(f"continuing {run_dir} from step {progress.step:,}")
        trainer.run()


def _updates(config: Config, prepared: Prepared, device: torch.device, world: World, say: Say) -> Updates:
    """Return the iterator over updates, each of which holds this process's share of the batches."""
    training = config.training
    mixture = Mixture.of(config.data, prepared.train)
    mixture.tell(say)
    return Updates(
        prepared.train,
        settled(training.tokens_per_update),
        None if training.tokens_per_device == "auto" else training.tokens_per_device,
        config.seed,
        rank=world.rank,
        world_size=world.size,
        workers=training.workers,
        multiple=8 if is_cuda(device) else 1,
        pin=is_cuda(device),
        sampling=SubwordSampling.of(config, prepared.tokenizer),
        mixture=mixture,
        links=training.guided_attention.weight > 0,
    )


def _resolved(config: Config, prepared: Prepared, device: torch.device, new: bool, say: Say) -> Config:
    """Return the configuration with a number in place of each `auto`, and report these numbers.

    For a new run, also warn if its warm-up is longer than the expected training.
    """
    resolved = auto.resolve(config, prepared, device.type)
    if found := auto.told(config, resolved):
        say(found)
    if new and (warning := auto.unreachable_peak(resolved, prepared, device.type)):
        say(warning)
    return resolved


def _tokens_per_device(
    config: Config, run_dir: Path, trial: Trial, world: World, check: Callable[[], None]
) -> int | None:
    """Return training.tokens_per_device after checking that the largest batches fit into memory.

    For `auto`, find the number by trial and record it in environment.json; several processes use the smallest number
    that any of them found. A resumed run first tries its recorded number, because splitting its updates differently
    would change how sums are rounded.
    """
    wanted = config.training.tokens_per_device
    if wanted != "auto":
        trial.check(wanted)
        return wanted
    environment = world.on_main(lambda: read_environment(run_dir))
    before = environment.get("tokens_per_device")
    found = min(world.gather(trial.find(before)))

    def keep() -> None:
        check()
        write_environment(run_dir, environment | {"tokens_per_device": found})
        changed = "" if before in (None, found) else f" (it was {before}: from now on sums are rounded differently)"
        tell(
            f"training.tokens_per_device=auto: {found} of the {config.training.tokens_per_update} tokens of an update "
            f"fit into memory at once{changed}"
        )

    world.on_main(keep)
    return found


def _compile(model: Seq2Seq, device: torch.device, say: Say) -> None:
    """Compile the model's forward pass; if that is not possible, say why and leave the model uncompiled."""
    if any(isinstance(module, torch.nn.RNNBase | Cell) for module in model.modules()):
        say("training.compile has no effect: recurrent models are trained without torch.compile")
        return
    try:
        torch.compile(torch.nn.functional.gelu)(torch.ones(2, device=device))
    except Exception as error:  # a backend may raise anything, and training works without compilation
        reason = str(error).strip().partition("\n")[0]
        say(f"training.compile: torch.compile does not work on this machine ({reason}); training continues without it")
        return
    model.compile(dynamic=True)


def _write_nothing() -> None:
    """Check nothing before a write: only the main process writes to the run directory."""


def _say_nothing(sentence: str) -> None:
    """Ignore a message: only the main process reports to the user."""
