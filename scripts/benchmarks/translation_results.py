"""From rounds of translation to figures, to ratios, to the JSON that keeps them and the table that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.page import END, cell, markdown_table, spread

BEGIN = page.begin("benchmark_translate.py")
PAGE = f"""# Translation speed

How fast a trained system translates, beside other programs with the same weights: raw text to raw text, in fp32 by
the native engine and in int8 by CTranslate2, and by the other programs as their documentation uses them.

```
python scripts/benchmark_translate.py RUN_DIR --source FILE [--precision P ...] [--beam-size N ...] [--reference]
```

Every round is a process of its own, which loads, warms up, translates all sentences at once and then some of them one
at a time. Figures are the median and the range over the rounds, which the systems take in turn. STREAMSxTHREADS: how
many batches are searched side by side, and by how many threads each. The last columns say how many times as fast the
first system of a group is (pair by pair of rounds), and the share of its translations that the other has word for word.
What else was measured (tokens a second, tails of latency, every round) is in the JSON file beside this page.

{BEGIN}
{END}
"""
COLUMNS = [  # heading, figure, how to write it, whether with its range
    ("sentences/s", "sentences_per_second", "{:,.1f}", True),
    ("one sentence, ms", "latency_ms", "{:,.1f}", True),
    ("memory, MiB", "peak_memory_mib", "{:,.0f}", False),
    ("load, s", "load_seconds", "{:.2f}", False),
]


def figures(window: Mapping[str, Any]) -> dict[str, float | None]:
    """Rates, latencies in milliseconds and the rest of one round."""
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
    """Each system's rounds, their medians and ranges, the first one's speed over each other's, and what they share."""
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
    """The share of translations that are the same."""
    return sum(one == other for one, other in zip(ours, theirs, strict=True)) / len(ours)


def write(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put the entry under its name into the JSON at `path`, and renew the table in the page of the same name."""
    page.write(path, name, entry, PAGE, renewed)


def renewed(text: str, entries: Mapping[str, Any]) -> str:
    """The page with its table between the two marks written anew."""
    notes = "".join(f"- {name}: {note(entry)}\n" for name, entry in entries.items())
    return page.between_marks(text, BEGIN, [table(entries), notes])


def table(entries: Mapping[str, Any]) -> str:
    """One row for each system of each entry, in Markdown."""
    rows = []
    for name, entry in entries.items():
        for system, summary in entry["systems"].items():
            cells = [cell(summary[key], form, ranged) for _, key, form, ranged in COLUMNS]
            same = f"{entry['shared'][system]:.1%}" if system in entry["shared"] else ""
            rows.append([name, system, *cells, cell(entry["ratios"].get(system), "{:.2f}", True), same])
    headings = ["", "system", *(heading for heading, *_ in COLUMNS), "the first is faster by", "same text"]
    return markdown_table(headings, 2, rows)


def note(entry: Mapping[str, Any]) -> str:
    """Command, hardware and what the figures rest on."""
    environment = entry["environment"]
    programs = ("torch", "ctranslate2", "transformers", "OpenNMT-py")
    versions = ", ".join(f"{name} {environment[name]}" for name in programs if environment.get(name))
    sentence = (
        f"`{entry['command']}`; {environment['hardware']}, {versions}; {entry['model']}, {entry['parameters']:,} "
        f"parameters, checkpoint {entry['checkpoint']}; {entry['sentences']:,} sentences, "
        f"{'greedy' if entry['beam_size'] == 1 else 'beam ' + str(entry['beam_size'])}"
    )
    return sentence + (f"; left out: {'; '.join(entry['left_out'])}" if entry["left_out"] else "")
