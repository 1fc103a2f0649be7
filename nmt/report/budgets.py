"""What each system's training was given, and where systems under comparison were given more or less than others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nmt.config.ranges import settled
from nmt.report.systems import System

TOLERANCE = 0.1  # figures that lie no further apart than this share of the smaller one count as equal

LABELS = {
    "thread_minutes": "minutes x threads",
    "device_minutes": "minutes x devices",
    "updates": "updates",
    "tokens": "tokens",
    "parameters": "parameters",
}


@dataclass(frozen=True)
class Budget:
    """What a training was given; a figure that a run does not tell is left out."""

    figures: Mapping[str, float]  # by the keys of LABELS
    hardware: str | None = None


def budget_of(system: System) -> Budget | None:
    """Return what a run's own records say; None for a system that is a file.

    Minutes are wall clock, times the threads of a CPU or the number of other devices. Tokens are the updates times
    training.tokens_per_update, padding included.
    """
    if system.run is None:
        return None
    history, environment = system.history, system.environment
    figures: dict[str, float | None] = {
        "updates": history.updates,
        "tokens": history.updates and history.updates * settled(system.run.config.training.tokens_per_update),
        "parameters": system.parameters,
    }
    if history.minutes is not None and "cpu_threads" in environment:
        processes = environment.get("processes", 1)
        if environment.get("device", "cpu") == "cpu":
            figures["thread_minutes"] = history.minutes * processes * environment["cpu_threads"]
        else:
            figures["device_minutes"] = history.minutes * processes
    known = {key: figures[key] for key in LABELS if figures.get(key)}
    return Budget({key: float(value) for key, value in known.items() if value}, environment.get("hardware"))


def compare_budgets(systems: Sequence[System]) -> dict[str, Any]:
    """Return what differs, by how much, and a sentence that says so; its text is empty where budgets are equal.

    A figure is compared between the runs that tell it.
    """
    budgets = {system.name: budget_of(system) for system in systems}
    known = {name: budget for name, budget in budgets.items() if budget is not None}
    differences = []
    for key, label in LABELS.items():
        values = {name: budget.figures[key] for name, budget in known.items() if key in budget.figures}
        if not values:
            continue
        least, most = min(values, key=lambda name: values[name]), max(values, key=lambda name: values[name])
        if values[most] > values[least] * (1 + TOLERANCE):
            differences.append(
                {
                    "figure": key,
                    "label": label,
                    "least": {"system": least, "value": values[least]},
                    "most": {"system": most, "value": values[most]},
                    "ratio": values[most] / values[least],
                }
            )
    hardware = {name: budget.hardware for name, budget in known.items() if budget.hardware is not None}
    report: dict[str, Any] = {
        "tolerance": TOLERANCE,
        "systems": {name: None if budget is None else dict(budget.figures) for name, budget in budgets.items()},
        "differences": differences,
        "hardware": hardware if len(set(hardware.values())) > 1 else {},
        "unknown": [name for name, budget in budgets.items() if budget is None],
    }
    return report | {"sentence": _sentence(report) if len(systems) > 1 else ""}


def _sentence(report: Mapping[str, Any]) -> str:
    """What a reader has to know before the scores."""
    parts = [
        f"{entry['label']} {_value(entry['least']['value'])} ({entry['least']['system']}) to "
        f"{_value(entry['most']['value'])} ({entry['most']['system']}), {entry['ratio']:.1f} times"
        for entry in report["differences"]
    ]
    if report["hardware"]:
        parts.append("hardware " + ", ".join(f"{what} ({name})" for name, what in report["hardware"].items()))
    text = f"The systems had different budgets: {'; '.join(parts)}." if parts else ""
    if report["unknown"]:
        text += f" What the training of {', '.join(report['unknown'])} was given is not known."
    return text.strip()


def _value(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value:.1f}" if value < 100 and value % 1 else f"{value:,.0f}"
