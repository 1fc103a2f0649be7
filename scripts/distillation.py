"""Measure what a small model learns from the translations of a large one (Kim & Rush 2016).

usage: python scripts/distillation.py FOLDER [key=value ...] [--teachers RUN_DIR ...] [--updates N] [--seeds 1,2] [...]

FOLDER contains {train,val,TEST}.LANGUAGE, such as Multi30k. The teacher is an ensemble of the runs --teachers; without
them, one run is trained for each of --teacher-seeds. It translates the training sources with beam search. Then students
are trained, with the keys of --student and the same number of updates, on

  original   the training pairs
  distilled  the training sources with the translations of the teacher
  both       the training pairs and the distilled pairs

Speed is measured by nmt-evaluate on the test set while nothing else runs, with the beam of the configuration and
greedily. If the script is stopped, the same command continues. With other --updates or keys, choose another --runs
folder.
Writes docs/results/distillation.{md,json}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from experiment import Experiment, among, mean_and_deviation, numbers, parser

from nmt.config.data import CorpusConfig
from nmt.errors import NmtError

NAME = "distillation"
STUDENTS = {"original": "the training pairs", "distilled": "the teacher's translations", "both": "both"}
STUDENT = "model.model_dim=128,model.ffn_dim=512,model.encoder_layers=3,model.decoder_layers=1"


def main() -> None:
    options = parser(__doc__, NAME)
    options.add_argument(
        "--teachers",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN_DIR",
        help="runs that form the teacher (default: train it here)",
    )
    options.add_argument(
        "--teacher-seeds",
        type=numbers,
        default=[1],
        metavar="1,2,...",
        help="seeds of the teachers that are trained here (1)",
    )
    options.add_argument("--teacher-updates", type=int, help="updates of a teacher (default: --updates)")
    options.add_argument(
        "--student", default=STUDENT, help=f"configuration keys of a student, separated by commas ({STUDENT})"
    )
    options.add_argument("--beam-size", type=int, default=5, help="beam size of the teacher (5)")
    default = ",".join(STUDENTS)
    options.add_argument(
        "--students", type=among(STUDENTS), default=default, help=f"which students to train ({default})"
    )
    arguments = options.parse_intermixed_args()
    students = arguments.students
    try:
        experiment = Experiment(arguments)
        results = run(experiment, students)
    except NmtError as error:
        sys.exit(f"distillation.py: {error}")
    experiment.write(NAME, page(experiment, results), {"options": experiment.arguments, **results})


def run(experiment: Experiment, students: list[str]) -> dict[str, Any]:
    """Train and score everything, and return the figures of the teachers and, by seed, of each student."""
    options = experiment.options
    original = experiment.write_text("train", experiment.train_pairs())
    experiment.held_out("val"), experiment.held_out(str(experiment.test))  # before trainings run side by side
    updates = options.teacher_updates or options.updates
    with experiment.side_by_side() as jobs:
        teachers = options.teachers or list(
            jobs.map(
                lambda seed: experiment.train(f"teacher-{seed}", [original], seed, updates=updates),
                options.teacher_seeds,
            )
        )
        source = Path(f"{original.prefix}.{experiment.source}")
        beam = ["--beam-size", str(options.beam_size)]
        made = experiment.translate("distilled", teachers, source, experiment.target, beam)
        distilled = CorpusConfig(source=str(source), target=str(made), name="distilled")
        corpora = {"original": [original], "distilled": [distilled], "both": [original, distilled]}
        keys = options.student.split(",")
        trained = {
            (student, seed): jobs.submit(experiment.train, f"{student}-{seed}", corpora[student], seed, keys)
            for seed in options.seeds
            for student in students
        }
        for future in trained.values():
            future.result()
    return {  # scored one after the other, so that speeds are comparable
        "teachers": [figures(experiment, teacher) for teacher in teachers],
        "students": {
            student: {seed: figures(experiment, trained[student, seed].result()) for seed in options.seeds}
            for student in students
        },
    }


def figures(experiment: Experiment, run_dir: Path) -> dict[str, Any]:
    """Return the size of a run, and its scores and speed with the beam of its configuration and greedily."""
    environment = json.loads((run_dir / "environment.json").read_text("utf-8"))
    greedy = experiment.evaluate(run_dir, "--beam-size", "1")
    return {
        "run": str(run_dir),
        "parameters": environment["parameters"],
        "hardware": environment["hardware"],
        "greedy": greedy,
        "beam": experiment.evaluate(run_dir),
    }


def page(experiment: Experiment, results: dict[str, Any]) -> list[str]:
    options = experiment.options
    some = results["teachers"][0]
    rows = {"teacher": ("", results["teachers"])} | {
        student: (STUDENTS[student], list(by_seed.values())) for student, by_seed in results["students"].items()
    }
    lines = [
        "# Does a small model learn more from the translations of a large one?",
        "",
        "A large model (the teacher) translates the training sources, and small models (the students) are trained on "
        "its translations or on the original pairs. Distillation helps if `distilled` is better than `original`.",
        "",
        "| system | trained on | parameters | beam: BLEU | deviation | sentences/s | greedy: BLEU | deviation "
        "| sentences/s |",
        "|---|---|" + "---:|" * 7,
    ]
    for system, (text, runs) in rows.items():
        cells = [
            f"{mean_and_deviation([one[search]['bleu']['score'] for one in runs])} "
            f"| {sum(one[search]['sentences_per_second'] for one in runs) / len(runs):.1f}"
            for search in ("beam", "greedy")
        ]
        lines.append(f"| {system} | {text} | {runs[0]['parameters']:,} | {' | '.join(cells)} |")
    if len(results["teachers"]) > 1:
        lines += ["", "The teacher translates as an ensemble of its runs; its row is the mean of the single runs."]
    lines += [
        "",
        f"BLEU and sentences per second on {experiment.test}, {experiment.source} to {experiment.target}, with beam "
        f"{some['beam']['beam_size']} and greedily, mean over {len(options.seeds)} seed(s), on {some['hardware']}. "
        f"Each student is a smaller `{options.config}` after {options.updates:,} updates. The table was made by",
        "",
        "```",
        f"python scripts/distillation.py FOLDER {' '.join(experiment.arguments)}",
        "```",
        "",
        f"All scores with their signatures: [{NAME}.json]({NAME}.json).",
    ]
    return lines


if __name__ == "__main__":
    main()
