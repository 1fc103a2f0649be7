"""The list that a dry run prints: the runs and ensembles of a study, with the cost of each."""

from __future__ import annotations

from collections.abc import Sequence

from nmt.report.table import format_table
from nmt.study.cost import NOMINAL_FLOPS, Cost, cost_of
from nmt.study.ensembles import names, told_members
from nmt.study.plan import Variant
from nmt.study.study import Study


def nominal_updates(study: Study, variant: Variant, cost: Cost) -> int | None:
    """Return the updates of a run as the study says, or about as many as a machine of nominal speed makes."""
    budget, size = study.budget, variant.config.training.tokens_per_update
    if budget.updates is not None:
        return budget.updates
    if size == "auto" or cost.flop is None:
        return None
    if budget.target_tokens is not None:
        return max(1, budget.target_tokens // size)
    return max(1, round((budget.core_minutes or 0) * 60 * NOMINAL_FLOPS / cost.flop))


def table(study: Study, planned: Sequence[Variant]) -> str:
    """Return the overrides of all systems, and a table of all runs with what they cost."""
    costs = {variant.name: cost_of(variant.config, variant.sizes) for variant in planned}
    header = ["run", "parameters", "GFLOP/update", "updates", "PFLOP", "core-minutes"]
    rows = []
    every = [(variant.name, study.tuning.share, variant) for variant in planned] if study.tuning else []
    firsts = {variant.system: variant for variant in reversed(planned)}
    for seed in study.seeds:
        every += [(f"{system}-seed{seed}", 1.0, firsts[system]) for system in study.systems]
    total = 0.0
    for name, share, variant in every:
        cost = costs[variant.name]
        updates = nominal_updates(study, variant, cost)
        updates = None if updates is None else max(1, round(share * updates))
        flop = None if updates is None or cost.flop is None else updates * cost.flop
        total += flop or 0.0
        rows.append(
            [
                name,
                f"{cost.parameters:,}",
                "-" if cost.flop is None else f"{cost.flop / 1e9:.1f}",
                "-" if updates is None else f"{updates:,}",
                "-" if flop is None else f"{flop / 1e15:.3f}",
                "-" if flop is None else f"{flop / NOMINAL_FLOPS / 60:.1f}",
            ]
        )
    trained = len(rows)
    for system, _, name, _ in names(study):
        parts = [costs[firsts[member].name].parameters for member in study.ensembles[system]]
        parameters = sum(parts) * (len(study.seeds) if len(parts) == 1 else 1)
        rows.append([name, f"{parameters:,}", "-", "-", "-", "-"])
    return "\n".join(
        [
            *(f"{variant.name}: {' '.join(variant.overrides) or 'the base as it is'}" for variant in planned),
            *(f"{name}: {told_members(members)}" for name, members in study.ensembles.items()),
            "",
            format_table(header, rows),
            "",
            f"{trained} runs, about {total / NOMINAL_FLOPS / 60:,.0f} core-minutes of training. FLOP are those of "
            "pairs of 20 + 20 tokens without padding;",
            f"minutes, and updates where the budget is not in updates, are those of a core with {NOMINAL_FLOPS:.1e} "
            "FLOP/s.",
        ]
    )
