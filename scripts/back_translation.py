"""Measure what back-translation gives: train on half of the pairs and on the target side of the other half.

usage: python scripts/back_translation.py FOLDER [key=value ...] [--updates N] [--seeds 1,2] [--jobs N] [...]

FOLDER contains {train,val,TEST}.LANGUAGE, such as Multi30k. For each seed, a system is trained from target to source on
every second pair. It translates the targets of the other pairs (Sennrich et al. 2016) with beam search, or by sampling
with --method sampling (Edunov et al. 2018). Then these systems are trained from source to target, with the same number
of updates:

  baseline   every second pair
  tagged     the same and the back-translated pairs, with the tag bt (Caswell et al. 2019)
  untagged   the same and the back-translated pairs without a tag
  oracle     all real pairs, as an upper bound

If the script is stopped, the same command continues. With other --updates or keys, choose another --runs folder.
Writes docs/results/back_translation.{md,json}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from experiment import Experiment, among, count_lines, mean_and_deviation, parser

from nmt.config.data import CorpusConfig
from nmt.errors import NmtError

NAME, TAG = "back_translation", "bt"
SYSTEMS = {
    "baseline": "half of the pairs",
    "tagged": f"and back-translations, tag `{TAG}`",
    "untagged": "and back-translations, no tag",
    "oracle": "all pairs",
}
METHODS = {"beam": [], "sampling": ["--sample", "1", "--seed", "1"]}


def main() -> None:
    options = parser(__doc__, NAME)
    options.add_argument("--method", choices=METHODS, default="beam", help="how to search for back-translations (beam)")
    default = "baseline,tagged,oracle"
    options.add_argument("--systems", type=among(SYSTEMS), default=default, help=f"which systems to train ({default})")
    arguments = options.parse_intermixed_args()
    systems = arguments.systems
    try:
        experiment = Experiment(arguments)
        results = run(experiment, systems, METHODS[arguments.method])
    except NmtError as error:
        sys.exit(f"back_translation.py: {error}")
    name = NAME if arguments.method == "beam" else f"{NAME}_{arguments.method}"
    lines = page(experiment, name, systems, results)
    experiment.write(name, lines, {"options": experiment.arguments, "systems": results})


def run(experiment: Experiment, systems: list[str], method: list[str]) -> dict[str, dict[int, Any]]:
    """Train and score everything, and return the scores of each system by seed."""
    pairs = experiment.train_pairs()
    first, second = (
        experiment.write_text(name, half) for name, half in (("first", pairs[::2]), ("second", pairs[1::2]))
    )
    experiment.held_out("val"), experiment.held_out(str(experiment.test))  # before trainings run side by side

    def back_translated(seed: int) -> CorpusConfig:
        turned = experiment.train(f"back-{seed}", [first], seed, turned=True)
        monolingual = Path(f"{second.prefix}.{experiment.target}")
        made = experiment.translate(f"back-{seed}", [turned], monolingual, experiment.source, method)
        return CorpusConfig(source=str(made), target=str(monolingual), name="back-translated")

    def train(system: str, seed: int, synthetic: CorpusConfig | None) -> tuple[str, int, Any]:
        more = [second] if system == "oracle" else []
        if synthetic is not None:
            synthetic.tag = TAG if system == "tagged" else None
            more = [synthetic]
        run_dir = experiment.train(f"{system}-{seed}", [first, *more], seed)
        return system, seed, experiment.evaluate(run_dir)

    with experiment.side_by_side() as jobs:
        seeds = experiment.options.seeds
        waiting = {}
        if {"tagged", "untagged"}.intersection(systems):
            waiting = {seed: jobs.submit(back_translated, seed) for seed in seeds}
        plain = [
            jobs.submit(train, system, seed, None) for seed in seeds for system in systems if "tagged" not in system
        ]
        made = {seed: future.result() for seed, future in waiting.items()}
        rest = [
            jobs.submit(train, system, seed, CorpusConfig(**vars(made[seed])))
            for seed in seeds
            for system in systems
            if "tagged" in system
        ]
        results: dict[str, dict[int, Any]] = {system: {} for system in systems}
        for future in (*plain, *rest):
            system, seed, scores = future.result()
            results[system][seed] = scores
    return results


def page(experiment: Experiment, name: str, systems: list[str], results: dict[str, dict[int, Any]]) -> list[str]:
    options = experiment.options
    some = results[systems[0]][options.seeds[0]]
    half = count_lines(experiment.text / f"first.{experiment.target}")
    lines = [
        "# Does back-translated text help?",
        "",
        f"Only half of the training pairs ({half:,}) are used as they are. Of the other half, only the target side is "
        "used: a model for the opposite direction translates it back into the source language. Back-translation helps "
        "if `tagged` is better than `baseline`. `oracle` has the real pairs of both halves and shows what is to be "
        "gained.",
        "",
        f"| system | trained on | {' | '.join(f'seed {seed}' for seed in options.seeds)} | mean | deviation |",
        "|---|---|" + "---:|" * (len(options.seeds) + 2),
    ]
    for system in systems:
        scores = [results[system][seed]["bleu"]["score"] for seed in options.seeds]
        each = " | ".join(f"{score:.2f}" for score in scores)
        lines.append(f"| {system} | {SYSTEMS[system]} | {each} | {mean_and_deviation(scores)} |")
    lines += [
        "",
        f"BLEU on {experiment.test}, {experiment.source} to {experiment.target}, beam {some['beam_size']}. Each system "
        f"is `{options.config}` after {options.updates:,} updates. The table was made by",
        "",
        "```",
        f"python scripts/back_translation.py FOLDER {' '.join(experiment.arguments)}",
        "```",
        "",
        f"All scores with their signatures: [{name}.json]({name}.json).",
    ]
    return lines


if __name__ == "__main__":
    main()
