"""One measurement in a process of its own, so that memory and time are those of what is measured alone."""

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
PLAIN = dict(os.environ)  # imported before nmt.cli, which says how threads wait: for programs other than nmt


def measured_apart(name: str, module: str, specification: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """What `python -m module SPECIFICATION.json RESULT.json` measures; raises NmtError where it fails, with `name`."""
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
