"""The keys of a study file, and reading one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from nmt.config.compose import parse_override
from nmt.config.names import check_name
from nmt.config.plain import parse, read_text, resolve
from nmt.config.ranges import Count, Positive, Processes, Range, Seed, Share
from nmt.config.typed import from_dict, keys, suggestion
from nmt.errors import ConfigError, UsageError, require
from nmt.evaluation.metrics import METRICS, Metric
from nmt.files import from_home
from nmt.resources import embedded_corpus, presets

Value = str | int | float | bool
Values = dict[str, list[Value]]  # the values to try of each key
OWN = {  # keys that the study sets
    "seed": "seeds",
    "run_dir": "-o",
    "training.max_steps": "budget",
    "training.max_epochs": "budget",
    "training.max_minutes": "budget",
    "training.patience": "budget",
    "training.threads": "threads",
}


@dataclass(kw_only=True)
class Budget:
    """The budget of each run: exactly one of the first three keys."""

    updates: Count | None = None  # updates of a run
    target_tokens: Count | None = None  # target tokens of a run, padding not counted
    core_minutes: Positive | None = None  # minutes of training times threads; becomes updates by the measured speed
    measured_seconds: Positive = 30.0  # seconds for which the speed of each system is measured, if it is needed


@dataclass(kw_only=True)
class Match:
    """Give all systems the same number of parameters, by changing a width of each."""

    parameters: Count | None = None  # the number; null: that of the baseline
    widths: dict[str, list[str]] = field(default_factory=dict)  # by system: keys that get one width, found by nmt-study
    tolerance: Annotated[float, Range(0, 0.5, above=True)] = 0.01  # largest difference, as a share of the number


@dataclass(kw_only=True)
class Tuning:
    """Equal tuning: each system tries the same number of values, each for the same share of a run's budget.

    With several keys, all combinations of their values are tried.
    """

    values: Values = field(default_factory=dict)  # by key: the values, for every system that `systems` lacks
    systems: dict[str, Values] = field(default_factory=dict)  # by system: its own keys and values, as many
    by: Literal["loss", "bleu"] = "loss"  # the score on the validation set by which a value is chosen
    share: Share = 0.25  # of a run's budget, for each value

    def of(self, system: str) -> Values:
        """Return the values that are tried for a system."""
        return self.systems.get(system, self.values)


@dataclass(kw_only=True)
class Study:
    """Systems to be compared, and the conditions that are the same for all of them."""

    base: str  # the configuration that all systems start from: a preset or a YAML file
    systems: dict[str, list[str]]  # by name: the overrides of each system
    ensembles: dict[str, list[str]] = field(default_factory=dict)  # by name: systems, or one for all its seeds
    question: str = ""  # what the study asks, for the report
    overrides: list[str] = field(default_factory=list)  # overrides of all systems
    baseline: str | None = None  # the system that the others are compared with; null: the first
    against: dict[str, str] = field(default_factory=dict)  # by system: another one that it is compared with instead
    seeds: list[Seed] = field(default_factory=lambda: [1])  # each system is trained once with each of them
    budget: Budget  # what each run may spend
    threads: Processes = 1  # CPU threads of each run
    jobs: Processes = 1  # runs at the same time
    match: Match | None = None  # numbers of parameters that are made equal; null: none
    tuning: Tuning | None = None  # values that are tried before; null: none
    test_sets: list[str] = field(default_factory=list)  # names of test sets, the most important first; none: all
    gold: dict[str, str] = field(default_factory=dict)  # by test set: file of gold word alignments
    metric: Literal["bleu", "chrf"] = "bleu"  # the score that the verdicts are about
    metrics: list[Metric] = field(default_factory=lambda: list(METRICS))  # all scores; TER is slow on very long lines

    @property
    def first(self) -> str:
        """The name of the baseline."""
        return self.baseline or next(iter(self.systems))

    @property
    def comparisons(self) -> dict[str, str]:
        """The system that each system and ensemble is compared with, for all but the baseline."""
        every = (*self.systems, *self.ensembles)
        return {name: self.against.get(name, self.first) for name in every if name != self.first}

    def check(self) -> None:
        """Raise ConfigError, naming the key, for values that do not fit together."""
        require(bool(self.systems), "systems names no system")
        for system, overrides in self.systems.items():
            check_name(f"systems.{system}", system)
            _check_overrides(f"systems.{system}", overrides)
        _check_overrides("overrides", self.overrides)
        if self.baseline is not None:
            self._check_system("baseline", self.baseline)
        for name, other in self.against.items():
            self._check_against(name, other)
        require(bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), "seeds should be different numbers")
        for name, members in self.ensembles.items():
            self._check_ensemble(name, members)
        given = [
            name for name in ("updates", "target_tokens", "core_minutes") if getattr(self.budget, name) is not None
        ]
        require(len(given) == 1, "budget needs exactly one of updates, target_tokens and core_minutes")
        require(len(set(self.test_sets)) == len(self.test_sets), "test_sets names a test set twice")
        require(len(set(self.metrics)) == len(self.metrics), "metrics names a score twice")
        require(self.metric in self.metrics, f"metrics lacks {self.metric}, which the verdicts are about: add it")
        for name in self.gold:
            known = not self.test_sets or name in self.test_sets
            require(known, f"gold.{name}: test_sets does not name it{suggestion(name, self.test_sets, 1)}")
        for system, widths in self.match.widths.items() if self.match else ():
            self._check_system("match.widths", system)
            require(bool(widths), f"match.widths.{system} names no key, such as [model.hidden_dim]")
        if self.tuning is not None:
            self._check_tuning(self.tuning)

    def _check_system(self, key: str, system: str) -> None:
        near = suggestion(system, self.systems, 1)
        require(system in self.systems, f"{key}: {system} is not one of systems ({', '.join(self.systems)}){near}")

    def _check_against(self, name: str, other: str) -> None:
        known = [*self.systems, *self.ensembles]
        require(name in known, f"against.{name}: it is not one of {', '.join(known)}{suggestion(name, known, 1)}")
        require(name != self.first, f"against.{name}: the baseline is compared with nothing: leave it out")
        require(name != other, f"against.{name}: a system cannot be compared with itself")
        self._check_system(f"against.{name}", other)

    def _check_ensemble(self, name: str, members: Sequence[str]) -> None:
        key = f"ensembles.{name}"
        check_name(key, name)
        require(name not in self.systems, f"{key}: systems has the same name: choose another one")
        require(bool(members), f"{key} names no system")
        for member in members:
            self._check_system(key, member)
        require(len(set(members)) == len(members), f"{key} names a system twice: name each once")
        require(
            len(members) > 1 or len(self.seeds) > 1,
            f"{key} names one system, which is an ensemble of its seeds, but there is one seed: give more seeds, or "
            "name several systems",
        )

    def _check_tuning(self, tuning: Tuning) -> None:
        for system in tuning.systems:
            self._check_system("tuning.systems", system)
        for values in (tuning.values, *tuning.systems.values()):
            _check_overrides("tuning", [f"{key}=1" for key in values])
            for key, each in values.items():
                require(bool(each), f"tuning: {key} has no values to try")
                require(len(set(map(str, each))) == len(each), f"tuning: {key} names a value twice")
                require(
                    tuning.by != "loss" or not key.startswith("tokenizer."),
                    f"tuning: {key} changes what a token is, so losses per token cannot be compared: set by: bleu",
                )
        counts = {system: number_of(tuning.of(system)) for system in self.systems}
        told = ", ".join(f"{count} for {system}" for system, count in counts.items())
        require(min(counts.values()) > 1, f"tuning should try at least two values for each system, and tries {told}")
        require(
            len(set(counts.values())) == 1,
            f"tuning should try as many values for each system, and tries {told}: give each system as many",
        )


def number_of(values: Values) -> int:
    """Return the number of combinations of the values of all keys; 0 if there are no keys."""
    count = 1 if values else 0
    for each in values.values():
        count *= len(each)
    return count


def _check_overrides(key: str, overrides: Sequence[str]) -> None:
    for text in overrides:
        try:
            override = parse_override(text)
        except UsageError as error:
            raise ConfigError(f"{key}: {error}") from error
        require(not override.is_sweep_override(), f"{key}: {text} names several values: give each its own system")
        value, name = override.value(), override.key_or_group
        for each in (name, *(f"{name}.{inner}" for inner in (value if isinstance(value, dict) else ()))):
            own = OWN.get(each)
            require(own is None, f"{key}: {text} is set by the study's key {own}: leave it out")


def read_study(name: str, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study: the YAML file of that path, or the study of that name that comes with nmt.

    `overrides` are added to those of all systems. Paths in the study may be relative to its file. Raises ConfigError
    for unknown keys and values that do not fit.
    """
    path = _locate(name)
    values = resolve(parse(read_text(path), path))
    try:
        _refuse_unknown(values)
        study = from_dict(Study, values, owner="a study")
        study.check()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    study.overrides += overrides
    study.check()
    study.base = _beside(study.base, path) if study.base.endswith((".yaml", ".yml")) else study.base
    # sacreBLEU's wmt14/full is the test set wmt14-full
    study.gold = {test_set.replace("/", "-"): _beside(file, path) for test_set, file in study.gold.items()}
    return study


def _locate(name: str) -> Path:
    path, folder = Path(from_home(name)), presets() / "study"
    if path.is_file():
        return path
    known = sorted(each.stem for each in folder.glob("*.yaml"))
    if name in known:
        return folder / f"{name}.yaml"
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: give the YAML file of the study")
    if path.suffix or len(path.parts) > 1:
        raise ConfigError(f"there is no file {name}")
    raise ConfigError(f"there is no study {name}{suggestion(name, known, 1)}; available: {', '.join(known)}")


def _beside(file: str, path: Path) -> str:
    """Return a path that a study names: as it is, or beside the study, or in the embedded corpus (embedded/NAME)."""
    given = Path(from_home(file))
    places = [given, path.parent / given]
    if given.parts[:1] == ("embedded",):
        places.append(embedded_corpus() / Path(*given.parts[1:]))
    return str(next((place for place in places if place.is_file()), given))


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    """Raise ConfigError, with the nearest names, for a key that a study or a section of it does not have."""
    sections: dict[str, Any] = {"budget": Budget, "match": Match, "tuning": Tuning}
    for prefix, cls in {"": Study, **sections}.items():
        given = values.get(prefix) if prefix else values
        known = [each.name for each in fields(cls)]
        for name in given if isinstance(given, Mapping) else ():
            if name not in known:
                full = f"{prefix}.{name}" if prefix else str(name)
                near = suggestion(full, [*keys(Study), *sections]) or f": there are {', '.join(known)}"
                raise ConfigError(f"{full} is not a key of a study{near}")
