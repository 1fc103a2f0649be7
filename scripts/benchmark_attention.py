"""Measure time and memory of every mixer over the length of the sequence; write docs/results/attention_speed.*.

usage: python scripts/benchmark_attention.py [--longest 16384] [--only NAME ...] [--seconds 3]

For each mixer and length, one layer runs forward and backward on one sequence, in a process of its own, whose peak
memory is measured; a causal layer also takes single steps after a prefix of that length. A length is left out if the
one before took longer than --seconds or too much memory. The exponent of a mixer is the slope of its time over the
length, both in logarithms, from 2,048 tokens on: 1 if time grows in proportion, 2 if it grows with the square. The
memory allocator (glibc's) is told to keep what is freed. Otherwise it would return large tensors to the system, and
fresh memory costs more than some mixers: their exponents would be those of the allocator.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from textwrap import wrap
from typing import Any, get_args

import torch

from nmt.attention.mixers import make_mixer
from nmt.config.mechanisms import MixerName, Place
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError, is_out_of_memory
from nmt.files import atomic_write

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
DIM, HEADS = 256, 4
FROM = 2048  # the shortest length that the exponents are fitted to
LINEAR = 1.2  # the largest exponent of what counts as linear
STEPS = 20  # single steps that are measured
FULL = "softmax"
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_TOP_PAD_": str(2**28)}
Row = dict[str, Any]


def main() -> None:
    """Measure all mixers, each length in a process of its own, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=16384)
    parser.add_argument("--only", nargs="+", choices=get_args(MixerName), default=get_args(MixerName), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    if not os.environ.keys() >= KEEPING.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEPING)
    torch.set_num_threads(1)
    path = RESULTS / "attention_speed.json"
    found: dict[str, list[Row]] = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else {}
    for name in options.only:
        for key in ("encoder_self", "decoder_self"):
            if config_of(name, key) is not None:
                found[f"{name} {key}"] = measure_lengths(name, key, options.longest, options.seconds)
                context = multiprocessing.get_context("fork")  # so that this process keeps no memory for the next ones
                (writing := context.Process(target=write, args=[found])).start()
                writing.join()


def measure_lengths(name: str, key: str, longest: int, seconds: float) -> list[Row]:
    """Return the figures of one mixer for lengths 64, 128, 256 ..., as far as time and memory allow."""
    rows: list[Row] = []
    length = 64
    while length <= longest and (not rows or rows[-1]["seconds"] <= seconds):
        fits = not rows or 4 * rows[-1]["peak_mib"] < available_mib()  # at worst, memory grows with the square
        row = in_a_process(name, key, length) if fits else None
        if row is None:
            print(f"{name} {key}: {length:,} tokens are too many for the memory", flush=True)
            break
        rows.append(row)
        print(f"{name} {key}: {row}", flush=True)
        length *= 2
    return rows


def in_a_process(name: str, key: str, length: int) -> Row | None:
    """Return the figures of one mixer for one length, from a process of its own; None if the system killed it."""
    context = multiprocessing.get_context("fork")  # this process has imported torch, but computed nothing
    ours, theirs = context.Pipe(duplex=False)

    def send() -> None:
        try:
            theirs.send(measure(name, key, length))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            theirs.send(None)

    process = context.Process(target=send)
    process.start()
    theirs.close()
    try:
        row: Row | None = ours.recv()
    except EOFError:
        row = None
    process.join()
    if process.exitcode and process.exitcode > 0:
        raise SystemExit(f"{name} {key} with {length:,} tokens failed: see the error above")
    return row


def available_mib() -> float:
    """Return how much memory processes can still have, in MiB."""
    found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text("utf-8"))
    assert found is not None
    return int(found[1]) / 1024


def config_of(name: str, key: str, length: int = 64) -> TransformerConfig | None:
    """Return the configuration of a model with this mixer in one layer, which reads all of a text of this length.

    It is None if the mixer cannot be at that place.
    """
    config = TransformerConfig(model_dim=DIM, num_heads=HEADS, encoder_layers=1, decoder_layers=1)
    options = getattr(config, name, None)
    if hasattr(options, "max_length"):
        config = replace(config, **{name: replace(options, max_length=length)})
    config = replace(config, **{key: name})
    try:
        config.check()
    except ConfigError:
        return None
    return config


def measure(name: str, key: str, length: int) -> Row:
    """Return the time and memory of one layer for one length, measured in this process."""
    torch.manual_seed(1)
    config = config_of(name, key, length)
    assert config is not None, "checked before"
    place = Place(key, 0)  # type: ignore[arg-type]
    mixer = make_mixer(config, place).train()
    x = torch.randn(1, length, DIM, requires_grad=True)
    positions = torch.arange(length).unsqueeze(0)
    mask = None if place.causal else torch.ones(1, length, dtype=torch.bool)

    def update() -> None:
        output, _, _ = mixer(x, positions, mask)
        output.sum().backward()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = seconds_of(update)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    row = {
        "length": length,
        "seconds": median(seconds_of(update) for _ in range(max(1, min(9, int(3 / first))))),
        "peak_mib": peak / 1024,
    }
    if place.causal:
        with torch.no_grad():
            state = mixer.eval().init_state(1, x)
            for part, at in zip(x.split(1024, dim=1), positions.split(1024, dim=1), strict=True):
                _, state, _ = mixer(part, at, None, state)
            one, at = x[:, :1], positions[:, -1:] + 1
            row["step_seconds"] = median(seconds_of(lambda: mixer(one, at, None, state)) for _ in range(STEPS))
        row["state_bytes"] = mixer.state_bytes(length)
    return row


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def exponent(rows: list[Row], figure: str = "seconds") -> float | None:
    """Return the slope of the logarithm of a figure over that of the length, by least squares; None for one point."""
    points = [(math.log(row["length"]), math.log(row[figure])) for row in rows if row["length"] >= FROM]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def overtakes(rows: list[Row], full: list[Row]) -> int | None:
    """Return the least length from which on a mixer takes at most 90% of full attention's time, or None."""
    theirs = {row["length"]: row["seconds"] for row in full}
    found = None
    for row in reversed(rows):
        if row["length"] not in theirs:
            continue
        if row["seconds"] > 0.9 * theirs[row["length"]]:
            break
        found = row["length"]
    return found


def write(found: Mapping[str, list[Row]]) -> None:
    """Write the figures, the page and the picture."""
    with atomic_write(RESULTS / "attention_speed.json") as file:
        json.dump({"dim": DIM, "heads": HEADS, "torch": torch.__version__, "rows": found}, file, indent=1)
    with atomic_write(RESULTS / "attention_speed.md") as file:
        file.write(page(found))
    draw(found, RESULTS / "attention_speed.png")


def page(found: Mapping[str, list[Row]]) -> str:
    """Return the page: a table for encoders and one for decoders."""
    lines = [
        "# From which length on is another mixer faster than attention?",
        "",
        f"One layer with {DIM} features and {HEADS} heads, forward and backward, on one sequence and one core in",
        f"fp32. Linear, with an exponent of at most {LINEAR}, are:",
        "",
    ]
    for key, place in (("encoder_self", "encoder"), ("decoder_self", "decoder")):
        slopes = {name.split()[0]: exponent(each) for name, each in found.items() if name.endswith(key)}
        linear = [f"`{name}`" for name, slope in slopes.items() if slope is not None and slope <= LINEAR]
        lines += wrap(
            f"in the {place}: {', '.join(linear) or 'none'}", 100, initial_indent="- ", subsequent_indent="  "
        )
    lines += [
        "",
        "The exponent is the slope of the time over the length, both in logarithms, from",
        f"{FROM:,} tokens on. `overtakes` is the length from which on a mixer takes at most 90% of the time of",
        f"`{FULL}`, which is torch's `scaled_dot_product_attention`. Memory is the peak that forward and",
        "backward add, with an allocator that keeps what is freed. Mixers that take long were not measured",
        f"at all lengths; `not by 8,192` says that a mixer had not overtaken `{FULL}` at 8,192 tokens, the",
        "longest length at which it was measured; `never` says the same of 16,384 tokens. If a mixer has an",
        "option `max_length`, it was set to the length of the sequence, so that all of it is read.",
        "",
        "![Time over length, both in logarithms](attention_speed.png)",
        "",
    ]
    for key, title in (("encoder_self", "In an encoder"), ("decoder_self", "In a decoder")):
        rows = {name.split()[0]: each for name, each in found.items() if name.endswith(key)}
        if rows:
            lines += [f"## {title}", "", *table(rows, key == "decoder_self"), ""]
    lines += ["```", "python scripts/benchmark_attention.py", "```", ""]
    return "\n".join(lines)


def table(rows: Mapping[str, list[Row]], steps: bool) -> list[str]:
    """Return the lines of a table with one row for each mixer."""
    shown = (256, FROM, 16384)
    heads = ["mixer", *(f"ms at {length:,}" for length in shown), "MiB at 16,384", "exponent", "overtakes"]
    if steps:
        heads += ["ms a step after 16,384", "state after 16,384, KiB"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, each in rows.items():
        by_length = {row["length"]: row for row in each}
        slope, since = exponent(each), overtakes(each, rows.get(FULL, []))
        cells = [f"`{name}`", *(cell(by_length, length, "seconds", 1000) for length in shown)]
        cells += [cell(by_length, 16384, "peak_mib", 1), "" if slope is None else f"{slope:.2f}"]
        longest = max(by_length)
        never = "never" if longest >= shown[-1] else f"not by {longest:,}"
        cells.append("" if name == FULL else f"{since:,}" if since else never)
        if steps:
            cells += [cell(by_length, 16384, "step_seconds", 1000), cell(by_length, 16384, "state_bytes", 1 / 1024)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cell(rows: Mapping[int, Row], length: int, figure: str, factor: float) -> str:
    """Return a figure at a length, or nothing if it was not measured."""
    return f"{rows[length][figure] * factor:,.2f}" if length in rows else ""


def draw(found: Mapping[str, list[Row]], path: Path) -> None:
    """Draw time over length, both in logarithms, for encoders and decoders side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.5), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2, sharey=True), ("encoder_self", "decoder_self"), strict=True):
        for number, (name, rows) in enumerate((n, r) for n, r in found.items() if n.endswith(key)):
            style = ("-", "--", ":", "-.")[number // 10]
            slope = exponent(rows)
            label = name.split()[0] + ("" if slope is None else f"  {slope:.2f}")
            width = 3 if name.startswith(f"{FULL} ") else 1.2
            axes.plot([row["length"] for row in rows], [row["seconds"] for row in rows], style, lw=width, label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(xlabel="tokens", title=key)
        axes.legend(fontsize=7, title="exponent", title_fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("seconds, forward and backward")
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)


if __name__ == "__main__":
    main()
