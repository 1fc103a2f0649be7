"""The plan of a study: the variants of each system, and the runs, with the configuration of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from nmt.config.compose import parse_override
from nmt.config.load import config_from_dict, config_to_dict, load_config
from nmt.config.schema import Config
from nmt.errors import ConfigError
from nmt.study.cost import Sizes, parameters_of
from nmt.study.study import Study, Value
from nmt.study.widths import width_for

_NOT_WITH_PATH = ("data.train", "data.val", "data.test")  # which data.path replaces
_UNSET = 10**9  # stands for the number of updates, where a schedule needs one, until the budget is known


@dataclass(frozen=True)
class Variant:
    """A system with one choice of the tuned values."""

    system: str
    number: int | None  # of the choice, from 1; None: the system is not tuned
    values: dict[str, Value]  # the choice: the value of each tuned key
    overrides: tuple[str, ...]  # all that distinguishes it from the base, with its width
    config: Config  # without the number of updates, the seed and the folder
    sizes: Sizes  # of the vocabularies

    @property
    def name(self) -> str:
        """The name in files and messages."""
        return self.system if self.number is None else f"{self.system}-try{self.number}"

    def run(self, name: str, folder: Path, seed: int, updates: int) -> Run:
        """Return the run of this variant with a seed and a number of updates."""
        return Run(name, self, self.with_updates(updates, seed, folder / "runs" / name))

    def with_updates(self, updates: int, seed: int, run_dir: Path) -> Config:
        """Return the configuration of a run; raises ConfigError if it cannot have so few updates."""
        training = replace(self.config.training, max_steps=updates)
        config = replace(self.config, training=training, seed=seed, run_dir=str(run_dir))
        try:
            return config_from_dict(config_to_dict(config))
        except ConfigError as error:
            raise ConfigError(f"{self.name}, with {updates:,} updates: {error}") from error


@dataclass(frozen=True)
class Run:
    """A training of a variant."""

    name: str
    variant: Variant
    config: Config


def variants(study: Study, find_sizes: Callable[[str, Config], Sizes]) -> list[Variant]:
    """Return the variants of all systems, in the order of the study.

    `find_sizes` returns the sizes of the vocabularies of a configuration with that name. Raises ConfigError, naming the
    system, for a configuration that is not valid, or if the numbers of parameters cannot be made equal.
    """
    plain = {system: _configured(study, system, overrides) for system, overrides in study.systems.items()}
    sizes = {system: find_sizes(system, config) for system, config in plain.items()}
    wanted = _wanted(study, plain, sizes)
    widened = {system: _widths(study, system, plain[system], sizes[system], wanted) for system in plain}
    found = []
    for system, overrides in study.systems.items():
        values = study.tuning.of(system) if study.tuning else {}
        choices: list[dict[str, Value]] = [dict(zip(values, each, strict=True)) for each in product(*values.values())]
        for number, choice in enumerate(choices, start=1):
            told = (*overrides, *widened[system], *(_override(*each) for each in choice.items()))
            config = _configured(study, system, told) if len(told) > len(overrides) else plain[system]
            name = number if study.tuning else None
            own = find_sizes(f"{system}-try{number}", config) if choice else sizes[system]
            if choice:
                _check_matched(study, system, choice, parameters_of(config, own), wanted)
            found.append(Variant(system, name, choice, told, config, own))
    return found


def _configured(study: Study, system: str, overrides: Sequence[str]) -> Config:
    """Return the configuration of a system, whose limits are those of the study."""
    limits = [f"training.max_steps={_UNSET}", f"training.threads={study.threads}"]
    limits += [f"training.{name}=null" for name in ("max_epochs", "max_minutes", "patience")]
    try:
        config = load_config(study.base, [*study.overrides, *overrides, *limits, "run_dir=unset"])
    except ConfigError as error:
        raise ConfigError(f"systems.{system}: {error}") from error
    for text in (*study.overrides, *overrides) if config.data.path is not None else ():
        if parse_override(text).key_or_group.startswith(_NOT_WITH_PATH):
            raise ConfigError(
                f"systems.{system}: {text} has no effect with data.path={config.data.path}: leave one out"
            )
    return config


def _override(key: str, value: Value) -> str:
    return f"{key}={str(value).lower() if isinstance(value, bool) else value}"


def _wanted(study: Study, configs: Mapping[str, Config], sizes: Mapping[str, Sizes]) -> int | None:
    """Return the number of parameters that all systems are to have; None if nothing is matched."""
    if study.match is None:
        return None
    return study.match.parameters or parameters_of(configs[study.first], sizes[study.first])


def _widths(study: Study, system: str, config: Config, sizes: Sizes, wanted: int | None) -> list[str]:
    """Return the overrides that give a system the wanted number of parameters."""
    match = study.match
    if match is None or wanted is None:
        return []
    count = parameters_of(config, sizes)
    if abs(count - wanted) <= match.tolerance * wanted:
        return []
    keys = match.widths.get(system)
    if keys is None:
        raise ConfigError(
            f"{system} has {count:,} parameters where {wanted:,} are to be matched: name a key of its width in "
            f"match.widths.{system}, such as [model.hidden_dim]"
        )
    width = width_for(config, keys, wanted, match.tolerance, sizes, system)
    return [f"{key}={width}" for key in keys]


def _check_matched(study: Study, system: str, choice: Mapping[str, Value], count: int, wanted: int | None) -> None:
    """Raise ConfigError if a system no longer has the wanted number of parameters with a choice of tuned values."""
    if study.match is not None and wanted is not None and abs(count - wanted) > study.match.tolerance * wanted:
        told = " ".join(_override(*each) for each in choice.items())
        raise ConfigError(
            f"{system} has {count:,} parameters with {told}, where {wanted:,} are to be matched: tune keys that leave "
            "the number of parameters as it is, or leave out match"
        )


def tries(study: Study, planned: Sequence[Variant], updates: Mapping[str, int], folder: Path) -> list[Run]:
    """Return the runs that try the tuned values, each for its share of the budget and with the first seed."""
    if study.tuning is None:
        return []
    share = study.tuning.share
    return [
        variant.run(variant.name, folder, study.seeds[0], max(1, round(share * updates[variant.name])))
        for variant in planned
    ]


def runs(study: Study, chosen: Sequence[Variant], updates: Mapping[str, int], folder: Path) -> list[Run]:
    """Return the runs that are compared: each chosen variant with each seed, all systems with one seed first."""
    return [
        variant.run(f"{variant.system}-seed{seed}", folder, seed, updates[variant.name])
        for seed in study.seeds
        for variant in chosen
    ]


def check_measurable(study: Study, planned: Sequence[Variant]) -> None:
    """Raise ConfigError if a budget is to become updates, but the size of an update is not known."""
    for variant in planned:
        if study.budget.updates is None and variant.config.training.tokens_per_update == "auto":
            raise ConfigError(
                f"{variant.name}: a budget in tokens or minutes needs updates of a known size: add "
                "training.tokens_per_update=NUMBER to overrides"
            )
