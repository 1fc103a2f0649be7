"""Run a measurement in a process of its own, so that its memory and time are not mixed with anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nmt.errors import NmtError

SCRIPTS = Path(__file__).resolve().parents[1]
PLAIN = dict(os.environ)  # for programs other than nmt; taken before nmt.cli changes how threads wait


def measured_apart(name: str, module: str, specification: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """Return what `python -m module SPECIFICATION.json RESULT.json` measures; raise NmtError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        asked, result = Path(folder) / "specification.json", Path(folder) / "result.json"
        asked.write_text(json.dumps(specification), "utf-8")
        path = os.pathsep.join(filter(None, [str(SCRIPTS), environment.get("PYTHONPATH")]))
        process = subprocess.run(
            [sys.executable, "-m", module, str(asked), str(result)],
            env={**environment, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if process.returncode or not result.is_file():
            sys.stderr.write(process.stderr)
            raise NmtError(f"{name} could not be measured: its own messages are above")
        return json.loads(result.read_text("utf-8"))
