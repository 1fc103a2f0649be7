"""Runs that somebody made to do harm: reading one writes nothing outside, tells no secret, and comes to an end."""

from __future__ import annotations

import io
import pickle
import re
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.torture import damage
from tests.torture.calls import run
from tests.torture.trials import READERS, Trials, call_of

SECRET = "do-not-tell-4711"
Malice = Callable[[Path, Random], None]


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def _edit(run_dir: Path, pattern: str, replacement: str) -> None:
    path = run_dir / "config.yaml"
    text, count = re.subn(pattern, lambda _: replacement, path.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert count, pattern
    path.write_text(text, "utf-8")


def test_set_outside(run_dir: Path, random: Random) -> None:
    """Name a test set so that its evaluation would be written outside the run."""
    corpus = re.search(r"^  path: (.*)$", (run_dir / "config.yaml").read_text("utf-8"), re.MULTILINE)
    assert corpus
    outside = random.choice(["../../../OUTSIDE", str(run_dir.parent / "OUTSIDE"), "..", "a/../../../OUTSIDE", "a\0b"])
    name = outside.encode("unicode_escape").decode()
    test = f'  test:\n    "{name}": {{prefix: {corpus[1]}/test}}'
    sets = f"  path: null\n  train: [{{prefix: {corpus[1]}/train}}]\n  val: {{prefix: {corpus[1]}/dev}}\n{test}"
    path = run_dir / "config.yaml"
    kept = re.sub(r"^  (train|val|test):.*\n(    .*\n|  - .*\n)*", "", path.read_text("utf-8"), flags=re.MULTILINE)
    path.write_text(kept, "utf-8")
    _edit(run_dir, r"^  path: .*$", sets)


def secret_of_the_reader(run_dir: Path, random: Random) -> None:
    """Ask for a variable of the reader's environment."""
    key = random.choice([r"^run_dir: .*$", r"^  source_language: .*$", r"^  path: .*$", r"^seed: .*$"])
    name = key.strip("^ $").split(":")[0]
    indent = "  " if key.startswith("^  ") else ""
    _edit(run_dir, key, f"{indent}{name}: ${{oc.env:TORTURE_SECRET}}")


def bomb_of_aliases(run_dir: Path, random: Random) -> None:
    """Let a few lines of YAML stand for billions of values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = run_dir / "config.yaml"
    path.write_text(path.read_text("utf-8") + "\n".join(lines) + "\n", "utf-8")


def deep_yaml(run_dir: Path, random: Random) -> None:
    depth = random.choice([500, 5_000, 100_000])
    _edit(run_dir, r"^seed: .*$", "seed: " + "[" * depth + "]" * depth)


def huge_yaml(run_dir: Path, random: Random) -> None:
    path = run_dir / "config.yaml"
    path.write_text(path.read_text("utf-8") + "# " + "x" * 50_000_000 + "\n", "utf-8")


def tag_of_python(run_dir: Path, random: Random) -> None:
    target = run_dir.parent / "OUTSIDE"
    _edit(run_dir, r"^seed: .*$", f'seed: !!python/object/apply:os.mkdir ["{target}"]')


def huge_number(run_dir: Path, random: Random) -> None:
    key = random.choice(["model_dim", "ffn_dim", "encoder_layers", "num_heads", "max_tokens", "beam_size"])
    indent = "    " if key == "max_tokens" else "  "
    _edit(run_dir, rf"^ +{key}: .*$", f"{indent}{key}: {10 ** random.choice([6, 9, 18])}")


def pickle_in_the_state(run_dir: Path, random: Random) -> None:
    """Put a pickle that runs code in the place of the training state."""
    for path in run_dir.glob("checkpoints/step-*/training_state.pt"):
        bad = pickle.dumps(Payload(run_dir.parent / "OUTSIDE"))
        if random.random() < 0.5:
            path.write_bytes(bad)
            continue
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, bad if name.endswith("data.pkl") else content)


def pointer_outside(run_dir: Path, random: Random) -> None:
    for name in ("best", "last"):
        outside = [b"../../../../etc", b"/etc/passwd", b"step-\xff\xfe", b"\0", b"step-99999999999", b"x" * 5_000_000]
        (run_dir / "checkpoints" / name).write_bytes(random.choice(outside))


def escape_sequences(run_dir: Path, random: Random) -> None:
    """Hide control sequences of terminals where messages quote a run's files."""
    bad = "\x1b]0;owned\x07\x1b[2J"
    if random.random() < 0.5:
        (run_dir / "checkpoints" / "best").write_text(f"step-{bad}\n", "utf-8")
        return
    quoted = bad.encode("unicode_escape").decode()
    _edit(run_dir, random.choice([r"^seed: .*$", r"^  family: .*$"]), f'"{quoted}": "{quoted}"')


def script_in_the_name(run_dir: Path, random: Random) -> None:
    """Name the run so that its name would be a script in a page."""
    run_dir.rename(run_dir.with_name("run<script>alert(1)<"))


WAYS: list[Malice] = [
    test_set_outside, secret_of_the_reader, bomb_of_aliases, deep_yaml, huge_yaml, tag_of_python, huge_number,
    pickle_in_the_state, pointer_outside, escape_sequences, script_in_the_name,
]  # fmt: skip


def malicious_run(trials: Trials, folder: Path, random: Random) -> str | None:
    """Prepare a malicious run, and read it."""
    run_dir = damage.copy(trials.place.run, folder / "inner" / "run")
    way, reader = random.choice(WAYS), random.choice(READERS)
    if way is test_set_outside:
        reader = "evaluate"
    way(run_dir, random)
    (run_dir,) = (path for path in run_dir.parent.iterdir() if path.name.startswith("run"))
    before = {path for path in folder.rglob("*") if not path.is_relative_to(run_dir)}
    call = call_of(trials, reader, run_dir)
    call = call._replace(environment={"TORTURE_SECRET": SECRET})
    outcome = run(call, limit=30, before=_with_little_memory)
    what = f"{way.__name__}, {reader}"
    allowed = {run_dir.parent / "report", run_dir.parent / "export"}
    written = [
        path for path in folder.rglob("*")
        if path not in before and not path.is_relative_to(run_dir) and not any(path.is_relative_to(a) for a in allowed)
    ]  # fmt: skip
    texts = [outcome.out, outcome.err, *(_text(path) for path in folder.rglob("*") if path.is_file())]
    if "Traceback" in outcome.err:
        return f"{what}: a traceback: {outcome.err[-3000:]}"
    if outcome.timed_out:
        return f"{what}: no end after {outcome.seconds:.0f} s"
    if outcome.status < 0:
        return f"{what}: ended by signal {-outcome.status}"
    if written:
        return f"{what}: wrote {', '.join(map(str, written))}"
    if any(SECRET in text for text in texts):
        return f"{what}: told a secret; stderr: {outcome.err[-600:]}"
    if "\x1b]" in outcome.err + outcome.out or "\x1b[2J" in outcome.err + outcome.out:
        return f"{what}: an escape sequence reaches the terminal: {outcome.err[-600:]!r}"
    pages = [path for folder in allowed for path in folder.rglob("*") if path.suffix in (".html", ".md")]
    if any("<script>alert" in _text(path) for path in pages):
        return f"{what}: a script reaches a page"
    return None


def _text(path: Path) -> str:
    return path.read_bytes()[: 1 << 20].decode("utf-8", "replace")


def _with_little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
