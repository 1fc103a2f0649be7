"""Turn rounds of translation into figures and ratios, and write them as JSON and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.page import END, cell, markdown_table, spread

BEGIN = page.begin("benchmark_translate.py")
PAGE = f"""# How fast is translation, compared with other programs?

## How it is measured

```
python scripts/benchmark_translate.py RUN_DIR --source FILE [--precision P ...] [--beam-size N ...] [--reference]
```

All programs translate the same raw text with the same weights: nmt in fp32 with its native engine and in int8 with
CTranslate2, and the other programs as their documentation recommends. Every round is a process of its own, which loads
the model, warms up, translates all sentences at once and then some of them one at a time. The systems take turns. The
table shows the median over the rounds, with the range in brackets:

- `2x1` in the name of a system means two batches searched in parallel, with one thread each;
- `the first is faster by` shows how many times as fast the first system of a group is, round by round;
- `same text` is the share of its translations that the other system has word for word.

Tokens per second, the slowest sentences and every single round are in
[translation_speed.json](translation_speed.json).

{BEGIN}
{END}
"""
COLUMNS = [  # heading, key of the figure, format, whether the range is shown
    ("sentences/s", "sentences_per_second", "{:,.1f}", True),
    ("one sentence, ms", "latency_ms", "{:,.1f}", True),
    ("memory, MiB", "peak_memory_mib", "{:,.0f}", False),
    ("load, s", "load_seconds", "{:.2f}", False),
]


def figures(window: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the rates, latencies in milliseconds and other figures of one round."""
    latencies = 1000 * np.array(window["latencies"])
    middle, high = np.percentile(latencies, (50, 95)).tolist() if latencies.size else (None, None)
    return {
        "sentences_per_second": window["sentences"] / window["seconds"],
        "tokens_per_second": window["tokens"] / window["seconds"],
        "latency_ms": middle,
        "latency_95_ms": high,
        "peak_memory_mib": window["peak_memory_mib"],
        "load_seconds": window["load_seconds"],
        "same_alone": window["same_alone"],
    }


def summarise(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return medians and ranges of each system, how much faster the first one is, and the shares of equal texts."""
    systems = {name: [figures(window) for window in windows] for name, windows in rounds.items()}
    (first, ours), *others = systems.items()
    texts = {name: windows[0]["texts"] for name, windows in rounds.items()}
    return {
        "systems": {
            name: {**{key: spread([one[key] for one in each]) for key in each[0]}, "rounds": each}
            for name, each in systems.items()
        },
        "ratios": {
            name: spread(
                [a["sentences_per_second"] / b["sentences_per_second"] for a, b in zip(ours, each, strict=True)]
            )
            for name, each in others
        },
        "shared": {name: shared(texts[first], texts[name]) for name, _ in others},
    }


def shared(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the share of translations that are equal."""
    return sum(one == other for one, other in zip(ours, theirs, strict=True)) / len(ours)


def write(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put `entry` under `name` into the JSON file at `path`, and update the page next to it."""
    page.write(path, name, entry, PAGE, renewed)


def renewed(text: str, entries: Mapping[str, Any]) -> str:
    """Return the page with its table between the two marks replaced."""
    lines = (f"# {name}, {entry['environment']['hardware']}\n{entry['command']}\n" for name, entry in entries.items())
    return page.between_marks(text, BEGIN, [table(entries), f"The commands:\n\n```\n{''.join(lines)}```\n"])


def table(entries: Mapping[str, Any]) -> str:
    """Return a table with one row for each system of each entry."""
    rows = []
    for name, entry in entries.items():
        for system, summary in entry["systems"].items():
            cells = [cell(summary[key], form, ranged) for _, key, form, ranged in COLUMNS]
            same = f"{entry['shared'][system]:.1%}" if system in entry["shared"] else ""
            rows.append([name, system, *cells, cell(entry["ratios"].get(system), "{:.2f}", True), same])
    headings = ["", "system", *(heading for heading, *_ in COLUMNS), "the first is faster by", "same text"]
    return markdown_table(headings, 2, rows)


def note(entry: Mapping[str, Any]) -> str:
    """Return the command, the hardware and other conditions of an entry, for the terminal."""
    environment = entry["environment"]
    programs = ("torch", "ctranslate2", "transformers", "OpenNMT-py")
    versions = ", ".join(f"{name} {environment[name]}" for name in programs if environment.get(name))
    sentence = (
        f"`{entry['command']}`; {environment['hardware']}, {versions}; {entry['model']}, {entry['parameters']:,} "
        f"parameters, checkpoint {entry['checkpoint']}; {entry['sentences']:,} sentences, "
        f"{'greedy' if entry['beam_size'] == 1 else 'beam ' + str(entry['beam_size'])}"
    )
    return sentence + (f"; left out: {'; '.join(entry['left_out'])}" if entry["left_out"] else "")
