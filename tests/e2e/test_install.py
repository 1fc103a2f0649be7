"""Tests that `pip install .` and `pip install -e .` provide commands, presets and the embedded corpus in any folder."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "train",
    "prepare",
    "translate",
    "evaluate",
    "compare",
    "align",
    "heads",
    "average",
    "export",
    "shortlist",
    "study",
)


@pytest.mark.parametrize("options", [[], ["-e"]], ids=["plain", "editable"])
def test_install(options: list[str], tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    # the dependencies of nmt, but not nmt itself, come from this environment, so that nothing is downloaded
    purelib = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for folder in filter(os.path.isdir, site.getsitepackages()):  # on Debian some of them do not exist
        for entry in Path(folder).iterdir():
            if not entry.name.startswith(("nmt", "_editable_impl_nmt")):
                (borrowed / entry.name).symlink_to(entry)
    (Path(purelib) / "borrowed.pth").write_text(f"{borrowed}\n")
    source = ROOT
    if not options:  # build in a copy, because building writes files next to the sources
        source = tmp_path / "source"
        ignored = shutil.ignore_patterns(".git", ".venv", "*_cache", "__pycache__")
        shutil.copytree(
            ROOT,
            source,
            ignore=lambda folder, names: ignored(folder, names) | ({"runs"} if Path(folder) == ROOT else set()),
        )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", "--no-build-isolation", *options, str(source)], check=True)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def call(*command: object) -> str:
        return subprocess.check_output([str(part) for part in command], cwd=elsewhere, env=clean, text=True)

    for name in COMMANDS:
        assert call(environment / "bin" / f"nmt-{name}", "--help").startswith("usage: nmt-")
    shown = call(environment / "bin" / "nmt-train", "demo_transformer", "--cfg", "job")
    assert "family: transformer" in shown
    code = (
        "import json, nmt, nmt.resources; corpus = nmt.resources.embedded_corpus(); "
        "print(json.dumps([nmt.__file__, str(corpus), len((corpus / 'dev.de').read_text().splitlines())]))"
    )
    package, corpus, lines = json.loads(call(python, "-c", code))
    assert lines == 1000
    assert Path(package).is_relative_to(ROOT if options else purelib)
    assert Path(corpus).is_relative_to(ROOT if options else purelib)
