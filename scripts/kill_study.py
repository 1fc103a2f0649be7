"""Kill a study with SIGKILL at random moments, resume it, and compare its results with those of an undisturbed one.

usage: python scripts/kill_study.py STUDY.yaml|NAME [key=value ...] [--kills N] [--seed N] [--jobs N] [--folder DIR]

Each kill ends all processes of the study at once. The budget of the study must be in updates or target tokens, because
a measured speed is different each time. The report, results.json, study.json, speeds.json and the configurations of all
runs have to be equal byte for byte, except for the minutes of training and the name of the folder.
scripts/kill_study.yaml is a study of about a minute that does everything a study can do.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nmt.study.study import read_study

COMPARED = ("study.md", "study.json", "results.json", "speeds.json", "configs/*.yaml")
MINUTES = re.compile(rb'"minutes": [0-9.e+-]+')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="folder for the studies (default: a temporary one)")
    options = parser.parse_args()
    if read_study(options.study, options.overrides).budget.core_minutes is not None:
        parser.error("the budget of the study is in core_minutes, which become other updates each time")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        command = [sys.executable, "-m", "nmt.cli.study", options.study, *options.overrides]
        command += ["--jobs", str(options.jobs)]
        kills, starts, compared = kill_and_resume(command, folder, options.kills, random.Random(options.seed))
    print(f"{kills} kills, {starts} starts, {compared} studies: equal byte for byte")
    return 0


def kill_and_resume(command: list[str], folder: Path, kills: int, moments: random.Random) -> tuple[int, int, int]:
    """Conduct DIR/undisturbed, then DIR/killed-1 and so on with `kills` kills; return kills, starts and killed studies.

    Each kill comes at a random moment within the duration of the undisturbed study. If a study ends before all kills
    have happened, the next one is begun. Raises SystemExit if a study fails or differs from the undisturbed one.
    """
    if (folder / "undisturbed").exists():
        raise SystemExit(f"{folder} already contains studies: choose another --folder")
    started = time.monotonic()
    finish(start(command, folder / "undisturbed"), folder / "undisturbed")
    length = time.monotonic() - started
    done = starts = 0
    compared = 1
    while done < kills:
        place = folder / f"killed-{compared}"
        process = start(command, place)
        starts += 1
        moment = moments.uniform(0, length)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            print(f"kill {done}: after {moment:.1f} of {length:.1f} seconds", flush=True)
            continue
        finish(process, place)
        check(place, folder / "undisturbed")
        compared += 1
    place = folder / f"killed-{compared}"
    finish(start(command, place), place)
    check(place, folder / "undisturbed")
    return done, starts + 1, compared


def start(command: list[str], place: Path) -> subprocess.Popen[bytes]:
    """Start a study in a group of processes of its own, with its own prepared data, and log its output next to it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    arguments = [*command, f"data.cache={place}/cache", "-o", str(place)]
    with place.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True)


def finish(process: subprocess.Popen[bytes], place: Path) -> None:
    if process.wait():
        raise SystemExit(f"the study failed: see {place.with_suffix('.log')}")


def check(one: Path, other: Path) -> None:
    """Raise SystemExit if the results of two studies differ."""
    if different := compare(one, other):
        raise SystemExit(f"{one} differs from {other}: {', '.join(different)}")


def compare(one: Path, other: Path) -> list[str]:
    """Return the names of the files of results in which two studies differ."""
    ours, theirs = contents(one), contents(other)
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def contents(place: Path) -> dict[str, bytes]:
    """Return the content of each file of results, without minutes and without the name of the folder."""
    paths = [path for pattern in COMPARED for path in place.glob(pattern)]
    name = str(place).encode()
    return {
        str(path.relative_to(place)): MINUTES.sub(b"", path.read_bytes()).replace(name, b"FOLDER") for path in paths
    }


if __name__ == "__main__":
    sys.exit(main())
