"""From windows to figures, to ratios, to the JSON that keeps them and the table that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from benchmarks import page
from benchmarks.page import END, cell, markdown_table, spread

OURS = "nmt"
BEGIN = page.begin("benchmark_training.py")
PAGE = f"""# Training speed

How fast configurations train on real text. Each is measured by

```
python scripts/benchmark_training.py CONFIG.yaml|PRESET [key=value ...] [--reference] [--profile]
```

which trains with `nmt-train` itself and, with `--reference`, in turn with other programs of the same sizes on the same
data, one process for each window. Figures are the median and the range over the windows after a warm-up. Tokens are
without padding; memory is the process's peak; waiting is the share of the time that no batch was there. Utilisation is
the model's own arithmetic (`scripts/benchmarks/flops.py`; none for padding) over the fastest matrix product of the same
sitting. The last column is how many times as many target tokens a second nmt trains on, pair by pair of windows. What
the references are and how they batch: `scripts/benchmarks/reference_*.py`.

{BEGIN}
{END}
"""

Figures = dict[str, Any]  # name -> number, or None where it was not measured


def figures(window: Mapping[str, Any], flops: ArrayLike, peak: float) -> Figures:
    """Rates and shares of one window; `flops` are the model's coefficients, `peak` is in FLOP/s."""
    seconds, tokens = window["seconds"], window["source_tokens"] + window["target_tokens"]
    rate = float(np.dot(flops, window["terms"])) / seconds
    return {
        "target_tokens_per_second": window["target_tokens"] / seconds,
        "tokens_per_second": tokens / seconds,
        "padding": 1 - tokens / window["padded_tokens"],
        "data_wait": None if window["waited"] is None else window["waited"] / seconds,
        "peak_memory_mib": window["peak_memory_mib"],
        "peak_gpu_memory_mib": window["peak_gpu_memory_mib"],
        "gflops": rate / 1e9,
        "utilisation": rate / peak,
        "updates_per_second": window["updates"] / seconds,
    }


def summarise(systems: Mapping[str, Sequence[Figures]]) -> dict[str, Any]:
    """Each system's windows, their medians and ranges, and nmt's speed over each other's, window by window."""
    summary: dict[str, Any] = {"systems": {}, "ratios": {}}
    for name, windows in systems.items():
        kinds = {key: spread([window[key] for window in windows]) for key in windows[0]}
        summary["systems"][name] = {**kinds, "windows": list(windows)}
        if name != OURS:
            pairs = zip(systems[OURS], windows, strict=True)
            ratios = [ours["target_tokens_per_second"] / theirs["target_tokens_per_second"] for ours, theirs in pairs]
            summary["ratios"][name] = spread(ratios)
    return summary


def write(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put the entry under its name into the JSON at `path`, and renew the table in the page of the same name."""
    page.write(path, name, entry, PAGE, renewed)


def renewed(text: str, entries: Mapping[str, Any]) -> str:
    """The page with its tables between the two marks written anew; without marks they come at its end."""
    return page.between_marks(text, BEGIN, [table(entries), notes(entries), *profiles(entries)])


COLUMNS = [  # heading, figure, how to write it, whether with its range
    ("target tokens/s", "target_tokens_per_second", "{:,.0f}", True),
    ("source+target tokens/s", "tokens_per_second", "{:,.0f}", False),
    ("padding", "padding", "{:.0%}", False),
    ("waiting", "data_wait", "{:.1%}", False),
    ("memory, MiB", "peak_memory_mib", "{:,.0f}", False),
    ("GPU memory, MiB", "peak_gpu_memory_mib", "{:,.0f}", False),
    ("utilisation", "utilisation", "{:.0%}", False),
]


def table(entries: Mapping[str, Any]) -> str:
    """One row for each system of each entry, in Markdown; columns that no system has are left out."""
    all_systems = [system for entry in entries.values() for system in entry["systems"].values()]
    columns = [column for column in COLUMNS if any(system[column[1]] for system in all_systems)]
    rows = []
    for name, entry in entries.items():
        for system, summary in entry["systems"].items():
            cells = [cell(summary[key], form, ranged) for _, key, form, ranged in columns]
            rows.append([name, system, *cells, cell(entry["ratios"].get(system), "{:.2f}", True)])
    headings = ["", "system", *(heading for heading, *_ in columns), "nmt is faster by"]
    return markdown_table(headings, 2, rows)


def notes(entries: Mapping[str, Any]) -> str:
    """A line on each entry: how it was made, and on what."""
    return "".join(f"- {name}: {note(entry)}\n" for name, entry in entries.items())


def profiles(entries: Mapping[str, Any]) -> list[str]:
    """For each entry that has one, a table of the operators that take the time of an update."""
    return [profile_table(name, entry["profile"]) for name, entry in entries.items() if entry.get("profile")]


def profile_table(name: str, profile: Mapping[str, Any]) -> str:
    """The operators' shares of an update's time, without what they call."""
    rows = [(f"`{row['operator']}`", row["share"], f"{row['calls']:,.0f}") for row in profile["operators"]]
    rows += [("all others", profile["others"], ""), ("between operators", profile["between"], "")]
    lines = [f"Where the time goes in {name}, {profile['milliseconds']:,.0f} ms an update under the profiler:", ""]
    lines += ["| operator | share | calls an update |", "|---|---:|---:|"]
    lines += [f"| {operator} | {share:.1%} | {calls} |" for operator, share, calls in rows]
    return "\n".join(lines) + "\n"


def note(entry: Mapping[str, Any]) -> str:
    """Command, hardware and what the figures rest on."""
    environment, left_out = entry["environment"], entry["left_out"]
    peaks = ", ".join(f"{precision} {peak:,.0f} GFLOP/s" for precision, peak in entry["peak_gflops"].items())
    versions = ", ".join(f"{name} {environment[name]}" for name in ("torch", "transformers") if environment.get(name))
    sentence = (
        f"`{entry['command']}`; {environment['hardware']}, {environment['threads']} CPU thread(s), {versions}; "
        f"{entry['precision']}, {entry['parameters']:,} parameters, {entry['vocabulary']:,} pieces, "
        f"{entry['mflop_per_target_token']:.1f} MFLOP a target token; fastest matrix product: {peaks}"
    )
    return sentence + (f"; left out: {'; '.join(left_out)}" if left_out else "")
