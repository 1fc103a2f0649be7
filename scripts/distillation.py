"""What a small model learns from a large one's translations (sequence-level distillation, Kim & Rush 2016).

usage: python scripts/distillation.py FOLDER [key=value ...] [--teachers RUN_DIR ...] [--updates N] [--seeds 1,2] [...]

FOLDER has {train,val,TEST}.LANGUAGE, such as Multi30k. The teacher, several runs as an ensemble where --teachers names
them, else one that is trained here for each of --teacher-seeds, translates the training sources by beam search. Then
students, each with the keys of --student and an equal number of updates:

  original   the training pairs
  distilled  their sources with the teacher's translations
  both       the training pairs and those

Speed is that of nmt-evaluate on the test set, with the beam of the configuration and greedy, while nothing else runs.
Stopped, the same command goes on; other --updates or keys want another --runs.
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
        "--teachers", type=Path, nargs="+", default=[], metavar="RUN_DIR", help="default: trained here"
    )
    options.add_argument(
        "--teacher-seeds", type=numbers, default=[1], metavar="1,2,...", help="of teachers trained (1)"
    )
    options.add_argument("--teacher-updates", type=int, help="default: --updates")
    options.add_argument("--student", default=STUDENT, help=f"the student's keys, commas between ({STUDENT})")
    options.add_argument("--beam-size", type=int, default=5, help="of the teacher's search (5)")
    default = ",".join(STUDENTS)
    options.add_argument("--students", type=among(STUDENTS), default=default, help=f"which to train ({default})")
    arguments = options.parse_intermixed_args()
    students = arguments.students
    try:
        experiment = Experiment(arguments)
        results = run(experiment, students)
    except NmtError as error:
        sys.exit(f"distillation.py: {error}")
    experiment.write(NAME, page(experiment, results), {"options": experiment.arguments, **results})


def run(experiment: Experiment, students: list[str]) -> dict[str, Any]:
    """Train and score everything: figures of the teachers and, by seed, of each student."""
    options = experiment.options
    original = experiment.write_text("train", experiment.train_pairs())
    experiment.held_out("val"), experiment.held_out(str(experiment.test))  # before several trainings want them at once
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
    return {  # one after the other, for their speed
        "teachers": [figures(experiment, teacher) for teacher in teachers],
        "students": {
            student: {seed: figures(experiment, trained[student, seed].result()) for seed in options.seeds}
            for student in students
        },
    }


def figures(experiment: Experiment, run_dir: Path) -> dict[str, Any]:
    """A run's size, and its scores and speed with the beam of its configuration and greedy."""
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
        "# Sequence-level distillation",
        "",
        f"`python scripts/distillation.py FOLDER {' '.join(experiment.arguments)}`: `{options.config}`, students of "
        f"{options.updates:,} updates with `{options.student}`, {experiment.source} to {experiment.target}, on "
        f"{some['hardware']}. BLEU and sentences a second on {experiment.test}, beam {some['beam']['beam_size']} and "
        f"greedy, mean over {len(options.seeds)} seed(s) (`{some['beam']['bleu']['signature']}`). "
        f"Figures: [{NAME}.json]({NAME}.json).",
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
        lines += ["", "The teacher translates as an ensemble of its runs; its row is the mean of them alone."]
    return lines


if __name__ == "__main__":
    main()
