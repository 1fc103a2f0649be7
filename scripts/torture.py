"""Kill, starve and deceive every command for a given time: `python scripts/torture.py [--minutes M] [--seed S]`.

Builds a small run, then repeats random trials: commands killed at a random moment and run again, damaged runs and
prepared data, malicious runs, few file handles, full disks, closed streams, readers beside a training. A trial passes
if the command gives the right answer, or one sentence that names the file. Prints each failure with the argument that
repeats it alone, and the numbers of trials and failures; exits with status 1 if there was a failure.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.torture import every, malice, stress, trials, workplace  # noqa: E402
from tests.torture.calls import import_commands  # noqa: E402

KINDS: dict[str, tuple[trials.Trial, int]] = {  # with the share of each
    "killed": (trials.killed, 6),
    "damaged_run": (trials.damaged_run, 14),
    "damaged_store": (trials.damaged_store, 6),
    "malicious_run": (malice.malicious_run, 4),
    "starved": (stress.starved, 4),
    "read_while_training": (stress.read_while_training, 1),
    "moved_while_training": (stress.moved_while_training, 1),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill, starve and deceive every command for a given time.")
    parser.add_argument("--minutes", type=float, default=5, help="default: 5")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial; default: 1")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    parser.add_argument("--trial", metavar="KIND:SEED", help="repeat one trial")
    parser.add_argument("--every-file", action="store_true", help="damage every file in every way, once, and no more")
    arguments = parser.parse_args()
    import_commands()
    with TemporaryDirectory(prefix="torture-") as folder:
        place = workplace.build(Path(folder) / "place")
        ready = trials.prepare(place, Path(folder) / "answers")
        if arguments.trial:
            kind, seed = arguments.trial.split(":")
            failure = attempt(ready, kind, int(seed))
            return report(Counter({kind: 1}), [] if failure is None else [failure])
        if arguments.every_file:
            return every_file(ready)
        counts: Counter[str] = Counter()
        failures: list[str] = []
        seed, end = arguments.seed, time.monotonic() + 60 * arguments.minutes
        weights = [KINDS[kind][1] for kind in arguments.kinds]
        while time.monotonic() < end:
            (kind,) = Random(seed).choices(arguments.kinds, weights)
            failure = attempt(ready, kind, seed)
            counts[kind] += 1
            seed += 1
            if failure is not None:
                failures.append(failure)
        return report(counts, failures)


def every_file(ready: trials.Trials) -> int:
    """Damage every file in every way, print what went wrong, and return the exit status."""
    folder = ready.place.folder.parent / "trial"
    found = [*every.of_run(ready, folder, every.all_ways), *every.of_store(ready, folder, every.all_ways)]
    failures = list(filter(None, found))
    print(*failures, f"every file in every way: {len(found)} trials, {len(failures)} failures", sep="\n")
    return 1 if failures else 0


def attempt(ready: trials.Trials, kind: str, seed: int) -> str | None:
    """Make one trial; print and return what went wrong with the argument that repeats it."""
    folder = workplace.fresh(ready.place.folder.parent / "trial")
    failure = KINDS[kind][0](ready, folder, Random(f"{kind}:{seed}"))
    if failure is None:
        return None
    named = f"--trial {kind}:{seed}  {failure}"
    print(named, flush=True)
    return named


def report(counts: Counter[str], failures: list[str]) -> int:
    """Print the numbers of trials and failures, and return the exit status."""
    for kind, count in sorted(counts.items()):
        failed = sum(failure.startswith(f"--trial {kind}:") for failure in failures)
        print(f"{kind:22} {count:6,} trials {failed:6,} failures")
    print(f"{'together':22} {counts.total():6,} trials {len(failures):6,} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
