"""A training run in its directory: set up, continued or refused."""

from __future__ import annotations

import json
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
from nmt.files import atomic_write
from nmt.messages import on_terminal, tell
from nmt.models.build import build_model
from nmt.models.recurrent import Cell
from nmt.models.seq2seq import Seq2Seq
from nmt.progress import Pulse
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
    """Train what `config` describes in its run_dir, going on from the last checkpoint there.

    A run that has reached a limit is left as it is. Raises NmtError for what the user can mend, and SystemExit 130 or
    143 after Ctrl-C or SIGTERM, once a checkpoint is saved. Of several processes, each calls it with the same
    configuration, which is checked (`nmt.training.agreement`); only rank 0 need see run_dir.
    """
    world = world or World()
    pulse = Pulse(tell if world.is_main else _say_nothing)
    say = pulse.say
    config, tokenizer = inherit(config)
    check_agreement(config, world)
    assert config.run_dir, "load_config fills it in"
    run_dir = Path(config.run_dir)
    with own_directory(run_dir) if world.is_main else nullcontext():
        before, newest = world.on_main(partial(begun, run_dir, config, tell))
        known = auto.adopt(take_over(config, before), before) if before else config
        progress = newest.progress if newest else TrainingProgress()
        if progress.ended and (reason := end_reason(config.training, progress)):
            further = how_further(config.training, progress, run_dir, reason)
            say(f"{run_dir} is trained already: {reason} is reached; {further}")
            return
        say(f"run directory: {run_dir}")
        if kept := auto.told(config, known):
            say(f"{kept}, as this run has found before")
        limit_kernel_caches()
        reuse_memory()
        with pulse if world.is_main and not on_terminal() else nullcontext():
            prepared = _prepared(known, tokenizer, world, say)
            _train(known, run_dir, prepared, newest, world, pulse)


def _prepared(config: Config, tokenizer: Tokenizer | None, world: World, say: Say) -> Prepared:
    """The data of all processes; a tokenizer is given where none is to be trained."""
    if config.training.threads is not None:
        torch.set_num_threads(config.training.threads)
    world.on_main(partial(check_test_sets, config.data))
    live = world.is_main and on_terminal()
    prepared = world.in_turn(lambda: prepare(config, say, tokenizer, live))
    if any(fingerprints != prepared.fingerprints for fingerprints in world.gather(prepared.fingerprints)):
        raise NmtError(
            f"the machines have prepared different data from {config.data.path}: let them have the same files "
            "there, or put data.path and data.cache on a file system that all share"
        )
    return prepared


def _train(
    config: Config, run_dir: Path, prepared: Prepared, newest: Newest | None, world: World, pulse: Pulse
) -> None:
    """Build all that training needs and let the trainer run."""
    say = pulse.say
    device = world.own_device(choose_device(config.training.device))
    config = _resolved(config, prepared, device, newest is None, say)
    training = config.training
    torch.manual_seed(config.seed)
    model = build_model(config.model, prepared.tokenizer.source_size, prepared.tokenizer.target_size).to(device)
    base = load_base(config.fine_tune, model, say) if newest is None else None
    freeze(model, config.fine_tune.freeze, say)
    branch_random_state(world.rank)
    world.on_main(lambda: write_records(config, run_dir, prepared, model, device, base, world.size))
    if training.compile:
        _compile(model, device, say)
    updates = _updates(config, prepared, device, world, say)
    pulse.begins("trying whether the largest batches fit into memory")
    updates.tokens_per_device = _tokens_per_device(config, run_dir, Trial(updates, model, training, device), world)
    progress = newest.progress if newest else TrainingProgress()
    with closing(Monitor(run_dir, progress, pulse) if world.is_main else cast(Monitor, Silent())) as monitor:
        ratio = length_ratio(prepared.train, config.search.max_length_offset)
        validator = Validator(config, prepared, model, device, updates.tokens_per_device, world, monitor.say, ratio)
        iterate = partial(updates.iterate, say=monitor.say) if world.is_main else updates.iterate
        trainer = Trainer(training, run_dir, model, iterate, validator, monitor, device, world)
        if newest is not None:
            trainer.restore(newest)
            monitor.say(f"continuing {run_dir} from step {progress.step:,}")
        trainer.run()


def _updates(config: Config, prepared: Prepared, device: torch.device, world: World, say: Say) -> Updates:
    """This process's share of every update."""
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
    )


def _resolved(config: Config, prepared: Prepared, device: torch.device, new: bool, say: Say) -> Config:
    """The configuration with a number in place of each `auto`, which is told; so is a new run's warm-up without end."""
    resolved = auto.resolve(config, prepared, device.type)
    if found := auto.told(config, resolved):
        say(found)
    if new and (warning := auto.unreachable_peak(resolved, prepared, device.type)):
        say(warning)
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
        tell(
            f"training.tokens_per_device=auto: {found} of {config.training.tokens_per_update} fit into memory{changed}"
        )

    world.on_main(keep)
    return found


def _compile(model: Seq2Seq, device: torch.device, say: Say) -> None:
    """Compile the model's forward pass where that can be had; else say so and go on without."""
    if any(isinstance(module, torch.nn.RNNBase | Cell) for module in model.modules()):
        say("training.compile: recurrent models are trained without it")
        return
    try:
        torch.compile(torch.nn.functional.gelu)(torch.ones(2, device=device))
    except Exception as error:  # whatever a backend raises, training works without it
        reason = str(error).strip().partition("\n")[0]
        say(f"training.compile: torch.compile can't be had here ({reason}); training goes on without it")
        return
    model.compile(dynamic=True)


def _say_nothing(sentence: str) -> None:
    """For all processes but the one that tells the user."""
