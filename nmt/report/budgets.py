"""Compare the training budgets of systems: time, updates, tokens, parameters and hardware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nmt.config.ranges import settled
from nmt.report.systems import System

if TYPE_CHECKING:
    from nmt.runs.run import LoadedRun

TOLERANCE = 0.1  # values whose difference is at most this share of the smaller value count as equal

LABELS = {
    "thread_minutes": "minutes x threads",
    "device_minutes": "minutes x devices",
    "updates": "updates",
    "tokens": "tokens",
    "parameters": "parameters",
}


def compare_budgets(systems: Sequence[System]) -> dict[str, Any]:
    """Return the training budgets of the systems, the figures that differ, and a sentence for the report.

    Each figure is compared between the runs that recorded it; a difference of up to TOLERANCE is ignored. The sentence
    also names the systems whose budget is unknown. It is empty if there is nothing to say, or only one system.
    """
    budgets = {system.name: _figures(system, system.run) for system in systems if system.run is not None}
    differences = []
    for key, label in LABELS.items():
        values = {name: figures[key] for name, figures in budgets.items() if key in figures}
        if not values or max(values.values()) <= min(values.values()) * (1 + TOLERANCE):
            continue
        least, most = min(values, key=lambda name: values[name]), max(values, key=lambda name: values[name])
        differences.append(
            {
                "figure": key,
                "label": label,
                "least": {"system": least, "value": values[least]},
                "most": {"system": most, "value": values[most]},
                "ratio": values[most] / values[least],
            }
        )
    hardware = {system.name: told for system in systems if (told := system.environment.get("hardware")) is not None}
    report: dict[str, Any] = {
        "tolerance": TOLERANCE,
        "systems": {system.name: budgets.get(system.name) for system in systems},
        "differences": differences,
        "hardware": hardware if len(set(hardware.values())) > 1 else {},
        "unknown": [system.name for system in systems if system.run is None or system.history.updates is None],
    }
    return report | {"sentence": _sentence(report) if len(systems) > 1 else ""}


def _figures(system: System, run: LoadedRun) -> dict[str, float]:
    """Return the figures of a run's training budget, with the keys of LABELS; figures without a record are left out.

    Minutes are wall-clock minutes multiplied by the number of CPU threads, or by the number of GPUs if the run was
    trained on GPUs. Tokens are the number of updates times training.tokens_per_update, padding included.
    """
    history, environment = system.history, system.environment
    figures: dict[str, float | None] = {
        "updates": history.updates,
        "tokens": history.updates and history.updates * settled(run.config.training.tokens_per_update),
        "parameters": system.parameters,
    }
    if history.minutes is not None and "cpu_threads" in environment:
        processes = environment.get("processes", 1)
        if environment.get("device", "cpu") == "cpu":
            figures["thread_minutes"] = history.minutes * processes * environment["cpu_threads"]
        else:
            figures["device_minutes"] = history.minutes * processes
    return {key: float(value) for key in LABELS if (value := figures.get(key))}


def _sentence(report: Mapping[str, Any]) -> str:
    """Return the sentence about unequal or unknown budgets that the report shows before the scores."""
    parts = [
        f"{entry['label']} {_value(entry['least']['value'])} ({entry['least']['system']}) to "
        f"{_value(entry['most']['value'])} ({entry['most']['system']}), {entry['ratio']:.1f} times"
        for entry in report["differences"]
    ]
    if report["hardware"]:
        parts.append("hardware " + ", ".join(f"{what} ({name})" for name, what in report["hardware"].items()))
    text = f"The systems had different budgets: {'; '.join(parts)}." if parts else ""
    if report["unknown"]:
        text += f" The training budget of {', '.join(report['unknown'])} is not known."
    return text.strip()


def _value(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value:.1f}" if value < 100 and value % 1 else f"{value:,.0f}"
