"""Turn measurement windows of training into figures and ratios, and write them as JSON and as a page."""

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
PAGE = f"""# How fast is training, compared with other programs?

## How it is measured

```
python scripts/benchmark_training.py CONFIG.yaml|PRESET [key=value ...] [--reference] [--profile]
```

This trains with `nmt-train` itself on real text. With `--reference` it takes turns with other programs that train a
model of the same size on the same data; `scripts/benchmarks/reference_*.py` shows what they are and how they make
batches. Every measurement window is a process of its own. The table shows the median over the windows after a warm-up,
with the range in brackets:

- tokens are counted without padding;
- `waiting` is the share of the time in which no batch was ready;
- `memory` is the peak memory of the process;
- `utilisation` is the arithmetic that the model needs (`nmt/models/flops.py`, nothing for padding), divided by
  the speed of the fastest matrix product in the same measurement;
- the last column shows how many times as many target tokens per second nmt trains on, window by window.

{BEGIN}
{END}
"""

Figures = dict[str, Any]  # name -> number, or None if it was not measured


def figures(window: Mapping[str, Any], flops: ArrayLike, peak: float) -> Figures:
    """Return rates and shares of one window; `flops` are the model's coefficients, `peak` is in FLOP/s."""
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
    """Return windows, medians and ranges of each system, and how much faster nmt is than each other system."""
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
    """Put `entry` under `name` into the JSON file at `path`, and update the page next to it."""
    page.write(path, name, entry, PAGE, renewed)


def renewed(text: str, entries: Mapping[str, Any]) -> str:
    """Return the page with its tables between the two marks replaced; without marks they are added at the end."""
    return page.between_marks(text, BEGIN, [table(entries), notes(entries), *profiles(entries)])


COLUMNS = [  # heading, key of the figure, format, whether the range is shown
    ("target tokens/s", "target_tokens_per_second", "{:,.0f}", True),
    ("source+target tokens/s", "tokens_per_second", "{:,.0f}", False),
    ("padding", "padding", "{:.0%}", False),
    ("waiting", "data_wait", "{:.1%}", False),
    ("memory, MiB", "peak_memory_mib", "{:,.0f}", False),
    ("GPU memory, MiB", "peak_gpu_memory_mib", "{:,.0f}", False),
    ("utilisation", "utilisation", "{:.0%}", False),
]


def table(entries: Mapping[str, Any]) -> str:
    """Return a table with one row for each system of each entry; columns that no system has are left out."""
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
    """Return the command and the hardware of each entry, in Markdown; the JSON has the rest."""
    lines = (f"# {name}, {entry['environment']['hardware']}\n{entry['command']}\n" for name, entry in entries.items())
    return f"The commands:\n\n```\n{''.join(lines)}```\n"


def profiles(entries: Mapping[str, Any]) -> list[str]:
    """Return a table of the operators that take the time of an update, for each entry with a profile."""
    return [profile_table(name, entry["profile"]) for name, entry in entries.items() if entry.get("profile")]


def profile_table(name: str, profile: Mapping[str, Any]) -> str:
    """Return a table with the share of each operator in the time of an update, without the operators it calls."""
    rows = [(f"`{row['operator']}`", row["share"], f"{row['calls']:,.0f}") for row in profile["operators"]]
    rows += [("all others", profile["others"], ""), ("between operators", profile["between"], "")]
    took = f"an update takes {profile['milliseconds']:,.0f} ms under the profiler"
    lines = [f"Where the time goes in {name} ({took}):", ""]
    lines += ["| operator | share of the time | calls per update |", "|---|---:|---:|"]
    lines += [f"| {operator} | {share:.1%} | {calls} |" for operator, share, calls in rows]
    return "\n".join(lines) + "\n"


def note(entry: Mapping[str, Any]) -> str:
    """Return the command, the hardware and other conditions of an entry, for the terminal."""
    environment, left_out = entry["environment"], entry["left_out"]
    peaks = ", ".join(f"{precision} {peak:,.0f} GFLOP/s" for precision, peak in entry["peak_gflops"].items())
    versions = ", ".join(f"{name} {environment[name]}" for name in ("torch", "transformers") if environment.get(name))
    sentence = (
        f"`{entry['command']}`; {environment['hardware']}, {environment['threads']} CPU thread(s), {versions}; "
        f"{entry['precision']}, {entry['parameters']:,} parameters, {entry['vocabulary']:,} pieces, "
        f"{entry['mflop_per_target_token']:.1f} MFLOP a target token; fastest matrix product: {peaks}"
    )
    return sentence + (f"; left out: {'; '.join(left_out)}" if left_out else "")
