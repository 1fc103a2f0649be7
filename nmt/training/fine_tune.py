"""Fine-tuning: start training from the weights and the vocabulary of an earlier run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.config.data import DataConfig, TokenizerConfig
from nmt.config.load import config_to_flat
from nmt.config.schema import Config, FineTuneConfig
from nmt.config.typed import suggestion
from nmt.data.given_tokenizer import check_sampling, given_tokenizer
from nmt.data.tokenizer import Tokenizer
from nmt.errors import ConfigError, NmtError, require
from nmt.runs.checkpoints import CheckpointInfo, find_checkpoint, has_checkpoint
from nmt.runs.run import read_run_config
from nmt.runs.weights import give_weights

if TYPE_CHECKING:  # torch takes long to import and is not needed to check a configuration
    from torch import nn

# endings of model keys that do not affect what weights mean: dropout, weights of losses, sampling, values at the start
_OF_TRAINING = (
    "adaptive_span.initial",
    "adaptive_span.penalty",
    "dropout",
    "dropout_mask",
    "doubly_stochastic",
    "halting.initial",
    "halting.penalty",
    "hard.reinforce",
    "hard.entropy",
    "hard.baseline_decay",
    "hard.soft_share",
    "monotonic.offset",
    "monotonic.noise",
)


def inherit(config: Config) -> tuple[Config, Tokenizer | None]:
    """Return the configuration with the tokenizer section of the run in fine_tune.run, and that run's tokenizer.

    Once the new run has a checkpoint of its own, it takes both from its own directory and no longer needs the other
    run. Without fine_tune.run, the tokenizer is that of tokenizer.path, or None. Raises ConfigError if training cannot
    start from fine_tune.run, if the tokenizer or model of the configuration differs from that run's, or if the model
    has no part with a name in fine_tune.freeze.
    """
    assert config.run_dir, "load_config fills it in"
    own = Path(config.run_dir)
    goes_on = has_checkpoint(own)
    if config.fine_tune.run is None:
        return given_tokenizer(config, own if goes_on else None)
    base = Path(config.fine_tune.run)
    if own.resolve() == base.resolve():
        raise ConfigError(f"fine_tune.run={base} is the directory of this run itself: choose another by run_dir=OTHER")
    try:
        origin = own if goes_on else base
        theirs, tokenizer = read_run_config(origin), Tokenizer.load(origin / "tokenizer")
        if not goes_on:
            find_checkpoint(base, config.fine_tune.checkpoint)
    except NmtError as error:
        raise ConfigError(str(error) if goes_on else f"fine_tune.run: {error}") from error
    _refuse_new_tags(config.data, tokenizer, base)
    config = dataclasses.replace(config, tokenizer=_section(config.tokenizer, theirs.tokenizer, base))
    config.check(loaded=True)
    check_sampling(config, tokenizer, f"the vocabulary of fine_tune.run={base}")
    if not goes_on:
        _refuse_another_model(config, theirs, base)
    _check_parts(config, tokenizer)
    return config, tokenizer


def load_base(config: FineTuneConfig, model: nn.Module, log: Callable[[str], None]) -> CheckpointInfo | None:
    """Load the weights of fine_tune.run into the model and report it; return None if training starts from scratch."""
    if config.run is None:
        return None
    info = give_weights(model, config.run, config.checkpoint)
    log(f"starting from {info.path}")
    return info


def freeze(model: nn.Module, parts: Sequence[str], log: Callable[[str], None] = lambda sentence: None) -> None:
    """Freeze the weights of `parts`, which are dotted names of modules or weights, and report their number.

    A weight that is shared with another part is frozen there, too. Raises ConfigError if the model has no such part, or
    if no weights are left to train.
    """
    if not parts:
        return
    weights = dict(model.named_parameters(remove_duplicate=False))
    named: set[str] = set()
    for part in parts:
        inside = {name for name in weights if f"{name}.".startswith(f"{part}.")}
        if not inside:
            there = {name.rsplit(".", depth)[0] for name in weights for depth in range(name.count(".") + 1)}
            raise ConfigError(f"fine_tune.freeze: the model has no part {part}{suggestion(part, sorted(there))}")
        named |= inside
    for name in named:
        weights[name].requires_grad_(False)
    frozen = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    total = sum(weight.numel() for weight in model.parameters())
    if frozen == total:
        raise ConfigError(f"fine_tune.freeze={','.join(parts)} leaves nothing to train: freeze fewer parts")
    shared = [name for name, weight in weights.items() if not weight.requires_grad and name not in named]
    also = f", including {' and '.join(shared)} (shared with a frozen part)" if shared else ""
    log(f"fine_tune.freeze: {frozen:,} of {total:,} weights are frozen{also}")


def _section(given: TokenizerConfig, theirs: TokenizerConfig, base: Path) -> TokenizerConfig:
    """Return the tokenizer section, with the base run's values if the section or its vocab_size is not set."""
    filled = dataclasses.replace(given, vocab_size=theirs.vocab_size) if given.vocab_size == "auto" else given
    for key in ("path", "symbols"):
        require(
            not getattr(given, key) or filled == theirs,  # equal if copied from that run's config.yaml
            f"tokenizer.{key} cannot be combined with fine_tune.run={base}, whose tokenizer is used: leave one out",
        )
    return theirs if given == TokenizerConfig() else filled


def _check_parts(config: Config, tokenizer: Tokenizer) -> None:
    """Raise ConfigError if the model has no part with a name in fine_tune.freeze."""
    import torch

    from nmt.models.build import build_model

    with torch.device("meta"):  # creates names without allocating weights
        freeze(build_model(config.model, tokenizer.source_size, tokenizer.target_size), config.fine_tune.freeze)


def _refuse_new_tags(data: DataConfig, tokenizer: Tokenizer, base: Path) -> None:
    """Raise ConfigError if a corpus has a tag that is not in the base run's vocabulary."""
    for key, corpora in ({"data.train": data.train} | data.held_out()).items():
        for corpus in corpora:
            require(
                corpus.tag in (None, *tokenizer.tags),
                f"{key}: fine_tune.run={base} has no tag {corpus.tag} in its vocabulary, which cannot grow "
                f"(it has {', '.join(tokenizer.tags) or 'none'})",
            )


def _refuse_another_model(config: Config, theirs: Config, base: Path) -> None:
    """Raise ConfigError if the base run has another model or vocabulary, so that its weights do not fit."""
    now, there = config_to_flat(config), config_to_flat(theirs)
    keys = [
        key
        for key in there | now
        if key.startswith(("model.", "tokenizer."))
        and not key.endswith(_OF_TRAINING)
        and now.get(key) != there.get(key)
    ]
    if "model.family" in keys:  # then all other model keys differ, too
        keys = ["model.family", *(key for key in keys if not key.startswith("model."))]
    different = [f"{key} is {now.get(key, '(not set)')}, there {there.get(key, '(not set)')}" for key in keys]
    if different:
        raise ConfigError(
            f"fine_tune.run={base} has another model or vocabulary ({'; '.join(different)}): set these keys as in that "
            "run, or leave the tokenizer section out"
        )
