"""Train the example of the README on text of your own, and record how good the system gets.

usage: python scripts/first_hour.py FOLDER --source de --target en --name Multi30k --pairs 3000 --minutes 5
       python scripts/first_hour.py ... --systems hand --by-hand training.learning_rate=2e-3 model.dropout=0.2

FOLDER contains {train,dev,test}.LANGUAGE, also as .gz (--val and --test give other names). In
docs/results/first_hour.json, rows with the same text, pairs, system and minutes are replaced, and first_hour.md is
written from it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from nmt.config.data import CorpusConfig
from nmt.config.load import config_to_flat, read_config
from nmt.data.sources import source_of
from nmt.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SYSTEMS = {
    "transformer": [],
    "rnnsearch": ["model=rnnsearch", "training=rnn"],
    "luong": ["model=luong", "training=rnn"],
    "rnn_encdec": ["model=rnn_encdec", "training=rnn"],
    "hand": [],  # a Transformer with the numbers of --by-hand
}
FOUND = ["tokenizer.vocab_size", "model.dropout", "training.tokens_per_update", "training.learning_rate",
         "training.schedule.warmup_steps", "training.validate_every", "training.validation_sentences"]  # fmt: skip
KEY = ("text", "pairs", "system", "minutes")


def main() -> None:
    """Write the text, train and score each system, and write the page."""
    options = arguments()
    folder = options.runs / f"{options.name}-{options.pairs or 'all'}"
    write_text(options, folder / "my_text")
    (folder / "my.yaml").write_text(readme_yaml(options.source, options.target), encoding="utf-8")
    for system in options.systems:
        row = {"text": options.name, "pairs": options.pairs, "system": system, "minutes": options.minutes}
        row["command"] = f"python scripts/first_hour.py FOLDER {shlex.join(words_without_runs(sys.argv[2:]))}"
        add(row | measure(options, folder, system))


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", required=True, help="name of the text in the table")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--val", default="dev", help="name of the validation set (dev)")
    parser.add_argument("--test", default="test", help="name of the test set (test)")
    parser.add_argument("--pairs", type=int, help="number of training pairs, drawn at random (default: all)")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["transformer", "rnnsearch", "luong"])
    parser.add_argument("--by-hand", nargs="+", default=[], metavar="key=value", help="overrides of the system `hand`")
    parser.add_argument(
        "--with", nargs="+", default=[], metavar="key=value", dest="more", help="overrides of all systems"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/first_hour"))
    options = parser.parse_args()
    if ("hand" in options.systems) != bool(options.by_hand):
        parser.error("--systems hand and --by-hand belong together")
    return options


def words_without_runs(words: list[str]) -> list[str]:
    """Return the words of the command line without the option --runs."""
    if "--runs" not in words:
        return words
    at = words.index("--runs")
    return words[:at] + words[at + 2 :]


def write_text(options: argparse.Namespace, folder: Path) -> None:
    """Write the files that the README asks for. Selected training pairs keep their order."""
    languages = (options.source, options.target)
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in (("train", "train"), ("val", options.val), ("test", options.test)):
        pairs = list(source_of(CorpusConfig(prefix=str(options.folder / name)), *languages).pairs(print))
        if split == "train" and options.pairs is not None:
            pairs = [pairs[index] for index in sorted(random.Random(1).sample(range(len(pairs)), options.pairs))]
        for language, lines in zip(languages, zip(*pairs, strict=True), strict=True):
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def readme_yaml(source: str, target: str) -> str:
    """Return the YAML example of the README with other languages."""
    found = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert found, "the README has an example"
    languages = ("source_language: de, target_language: en", f"source_language: {source}, target_language: {target}")
    assert languages[0] in found[1]
    return found[1].replace(*languages)


def measure(options: argparse.Namespace, folder: Path, system: str) -> dict[str, Any]:
    """Train and evaluate one system, and return the figures for its row."""
    run = f"runs/{system}-{options.minutes:g}"
    overrides = [*(SYSTEMS[system] or options.by_hand), f"training.max_minutes={options.minutes:g}", *options.more]
    command(folder, "nmt-train", "my.yaml", *overrides, f"run_dir={run}")
    (scores,) = json.loads(command(folder, "nmt-evaluate", run, "--json"))
    events = [json.loads(line) for line in (folder / run / "metrics.jsonl").read_text("utf-8").splitlines()]
    end = next(event for event in reversed(events) if event["event"] == "end")
    config = config_to_flat(read_config(folder / run / "config.yaml"))
    return {
        "overrides": overrides,
        "found": {key: config[key] for key in FOUND},
        "updates": end["step"],
        "ended_after": round(end["minutes"], 2),
        "val_loss": [round(event["loss"], 3) for event in events if event["event"] == "validation"],
        "bleu": scores["bleu"],
        "environment": json.loads((folder / run / "environment.json").read_text("utf-8")),
    }


def command(folder: Path, program: str, *words: str) -> str:
    """Run an installed command in a folder and return its output; exit if it fails."""
    print(f"$ {program} {' '.join(words)}", flush=True)
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *words], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{program} failed with status {done.returncode}")
    return done.stdout


def add(row: dict[str, Any]) -> None:
    """Add a row, replacing an earlier one with the same key, and write the page."""
    path = RESULTS / "first_hour.json"
    rows = json.loads(path.read_text("utf-8")) if path.is_file() else []
    rows = [other for other in rows if any(other[key] != row[key] for key in KEY)] + [row]
    rows.sort(
        key=lambda each: (each["text"], each["pairs"] or 10**9, each["minutes"], list(SYSTEMS).index(each["system"]))
    )
    with atomic_write(path) as file:
        json.dump(rows, file, indent=1)
    with atomic_write(RESULTS / "first_hour.md") as file:
        file.write(page(rows))


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page: the table, and what is needed to read it."""
    hand = {
        (row["text"], row["pairs"], row["minutes"]): row["bleu"]["score"] for row in rows if row["system"] == "hand"
    }
    hardware = ", ".join(dict.fromkeys(row["environment"]["hardware"] for row in rows))
    signature = ", ".join(dict.fromkeys(row["bleu"]["signature"] for row in rows))
    lines = [
        "# How good is a system after the first minutes, with nothing tuned?",
        "",
        "These are the systems of the README's example; only the languages and `training.max_minutes` were changed.",
        "Every number that depends on the text is found by `auto`",
        "([train.md](../train.md#numbers-found-from-your-text)). For comparison, `hand` is the same Transformer with",
        "these numbers set by hand for that text, and the last column shows how much of its BLEU `auto` reaches:",
        "",
        "| text | pairs | system | minutes | threads | updates | val loss: first, lowest, last | BLEU | of `hand` |",
        "|---|---:|---|---:|---:|---:|---|---:|---:|",
    ]
    for row in rows:
        loss, bleu = row["val_loss"], row["bleu"]["score"]
        tuned = hand.get((row["text"], row["pairs"], row["minutes"]))
        share = f"{bleu / tuned:.0%}" if tuned and row["system"] == "transformer" else ""
        lines.append(
            f"| {row['text']} | {row['pairs'] or 'all'} | {row['system']} | {row['minutes']:g} "
            f"| {row['environment']['cpu_threads']} | {row['updates']:,} "
            f"| {loss[0]:.2f}, {min(loss):.2f}, {loss[-1]:.2f} | {bleu:.2f} | {share} |"
        )
    lines += [
        "",
        f"BLEU is that of the test set of each text, with beam 5 (`{signature}`), on {hardware}.",
        "",
        "What `auto` found, and the loss of every validation: [first_hour.json](first_hour.json).",
        "",
        "The commands, where FOLDER contains the text; each one renews its rows of the table:",
        "",
        "```",
        *dict.fromkeys(row["command"] for row in rows),
        "```",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
