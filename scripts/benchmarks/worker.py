"""Train one system for one measurement window.

usage: python -m benchmarks.worker SPECIFICATION.json RESULT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import profiled, reference_opennmt_training, reference_torch, reference_transformers, toolkit
from benchmarks.measure import Meter, matrix_product_peak
from nmt.config.load import read_config
from nmt.data.prepare import prepare
from nmt.device import choose_device

REFERENCES = {
    "torch": reference_torch.train,
    "transformers": reference_transformers.train,
    "opennmt": reference_opennmt_training.train,
}


def main(system: str, specification: dict[str, Any]) -> dict[str, Any]:
    """Train `system` ("nmt", "profile": nmt under a profiler, or one of REFERENCES) and return what was measured."""
    config = read_config(specification["config"])
    device = choose_device(config.training.device)
    if system == "profile":
        return profiled.train(specification["config"], device)
    meter = Meter(specification["seconds"], device)
    bf16 = specification["bf16"]
    if system == "nmt":
        toolkit.train(specification["config"], meter)
    else:
        if config.training.threads is not None:
            torch.set_num_threads(config.training.threads)
        REFERENCES[system](config, prepare(config, lambda _: None), device, bf16, meter)
    if meter.result is None:
        raise SystemExit("the training ended before the measurement was finished")
    peak = matrix_product_peak(device, torch.bfloat16 if bf16 else torch.float32)
    return meter.result | {"matrix_product_peak": peak, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(main(asked["system"], asked)), "utf-8")
