"""The ensembles of a study: which runs translate together, and whether they fit together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from nmt.errors import ConfigError, NmtError
from nmt.runs.checkpoints import find_checkpoint
from nmt.study.plan import Run, Variant
from nmt.study.results import Rows
from nmt.study.study import Study

REASON = (
    "the models of an ensemble average the probabilities of the same tokens: give its systems the same tokenizer and "
    "training text, or leave one out"
)


@dataclass(frozen=True)
class Ensemble:
    """Runs whose models translate together."""

    system: str  # its name in the study
    seed: int | None  # of all its members; None: the members are all seeds of one system
    name: str  # of its row
    members: tuple[str, ...]  # the names of the runs
    runs: tuple[Run, ...]  # the members; without those of a system of which nothing could be trained

    def known(self, rows: Rows) -> dict[str, Any]:
        """Return the conditions stored with its row: the members, and a digest of the configuration of each.

        It is the configuration in the member's own row, if there is one, which may be of an earlier version of nmt.
        """
        digests = {f"members.{run.name}": _digest(rows.known(run.name, run.config)) for run in self.runs}
        return {"members": list(self.members), **digests}


def _digest(known: Mapping[str, Any]) -> str:
    text = json.dumps(known, sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def names(study: Study) -> list[tuple[str, int | None, str, tuple[str, ...]]]:
    """Return the system, the seed, the name of the row and the names of the members of each ensemble."""
    found: list[tuple[str, int | None, str, tuple[str, ...]]] = []
    for ensemble, systems in study.ensembles.items():
        if len(systems) == 1:
            seeds = "-".join(map(str, study.seeds))  # in the name, since the ensemble of more seeds is another one
            members = tuple(f"{systems[0]}-seed{seed}" for seed in study.seeds)
            found.append((ensemble, None, f"{ensemble}-seeds{seeds}", members))
            continue
        for seed in study.seeds:
            members = tuple(f"{system}-seed{seed}" for system in systems)
            found.append((ensemble, seed, f"{ensemble}-seed{seed}", members))
    return found


def told_members(systems: Sequence[str]) -> str:
    """Return what an ensemble consists of, in words."""
    if len(systems) == 1:
        return f"ensemble of all seeds of {systems[0]}"
    return f"ensemble of {', '.join(systems)}, with each seed"


def ensembles(study: Study, runs: Sequence[Run]) -> list[Ensemble]:
    """Return the ensembles of a study, given its runs."""
    by_name = {run.name: run for run in runs}
    return [
        Ensemble(system, seed, name, members, tuple(by_name[each] for each in members if each in by_name))
        for system, seed, name, members in names(study)
    ]


def check_sizes(study: Study, variants: Sequence[Variant]) -> None:
    """Raise ConfigError if systems of an ensemble have vocabularies of different sizes."""
    by_system = {variant.system: variant for variant in variants}
    for ensemble, systems in study.ensembles.items():
        found = [by_system[system] for system in systems if system in by_system]
        for other in found[1:]:
            if other.sizes != found[0].sizes:
                raise ConfigError(
                    f"ensembles.{ensemble}: {found[0].system} has vocabularies of {_sizes(found[0])} tokens and "
                    f"{other.system} of {_sizes(other)}; {REASON}"
                )


def _sizes(variant: Variant) -> str:
    return " and ".join(f"{size:,}" for size in variant.sizes)


def check_vocabularies(wanted: Sequence[Ensemble], fingerprint: Callable[[Variant], str]) -> None:
    """Raise ConfigError if members of an ensemble have different vocabularies; `fingerprint` returns a hash of one."""
    found: dict[str, str] = {}
    for ensemble in wanted:
        variants = {run.variant.system: run.variant for run in ensemble.runs}
        if len(variants) < 2:
            continue
        for system, variant in variants.items():
            if system not in found:
                found[system] = fingerprint(variant)
        first, *others = variants
        for other in others:
            if found[other] != found[first]:
                raise ConfigError(
                    f"ensembles.{ensemble.system}: {first} and {other} have different vocabularies of equal size; "
                    f"{REASON}"
                )


def untrained(wanted: Sequence[Ensemble]) -> set[str]:
    """Return the names of the members whose run directories are gone, or are not trained to the end."""
    return {run.name for ensemble in wanted for run in ensemble.runs if not _is_trained(run)}


def _is_trained(run: Run) -> bool:
    assert run.config.run_dir
    try:
        return find_checkpoint(run.config.run_dir, "last").step == run.config.training.max_steps
    except NmtError:
        return False
