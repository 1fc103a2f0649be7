"""Measure one system that translates: loading, many sentences at once, and single sentences.

usage: python -m benchmarks.translating SPECIFICATION.json RESULT.json
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()  # taken before the imports, because they are a part of loading

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from benchmarks.memory import peak_memory_mib  # noqa: E402

if TYPE_CHECKING:
    from nmt.inference.engines.engine import Engine
    from nmt.inference.translator import Translator
    from nmt.runs.run import LoadedRun

WARM_UP = 32  # number of sentences
Answer = tuple[str, int]  # a translation and its number of tokens, including the end of sentence


def nmt(asked: dict[str, Any]) -> Callable[[list[str]], list[Answer]]:
    """Load the run in the toolkit itself and return a function that translates."""
    from nmt.inference.translator import Translator

    translator = Translator.load(
        asked["run"],
        asked["checkpoint"],
        asked["device"],
        asked["precision"],
        warn=lambda _: None,
        engine=asked["engine"],
        streams=asked["streams"],
    )
    return translating(translator, asked)


def transformers(asked: dict[str, Any]) -> Callable[[list[str]], list[Answer]]:
    """Load the weights of the run into a model of `transformers`."""
    from benchmarks.reference_marian import MarianEngine

    return elsewhere(MarianEngine, asked)


def opennmt(asked: dict[str, Any]) -> Callable[[list[str]], list[Answer]]:
    """Load the weights of the run into a model of OpenNMT-py."""
    from benchmarks.reference_opennmt import OpenNMTEngine

    return elsewhere(OpenNMTEngine, asked)


def ctranslate2(asked: dict[str, Any]) -> Callable[[list[str]], list[Answer]]:
    """Load the export of the run in CTranslate2 itself."""
    from benchmarks.reference_ctranslate2 import PlainCTranslate2

    return PlainCTranslate2(asked)


SYSTEMS = {"nmt": nmt, "ctranslate2": ctranslate2, "transformers": transformers, "OpenNMT-py": opennmt}


def elsewhere(engine: Callable[[LoadedRun], Engine], asked: dict[str, Any]) -> Callable[[list[str]], list[Answer]]:
    """Load the weights of the run into the engine of another program and return a function that translates."""
    from nmt.inference.translator import Translator
    from nmt.runs.run import load_run

    run = load_run(asked["run"], asked["checkpoint"])
    limit = run.config.data.cleaning.max_tokens
    translator = Translator(engine(run), run.tokenizer, run.config.search, limit, warn=lambda _: None)
    return translating(translator, asked)


def translating(translator: Translator, asked: dict[str, Any]) -> Callable[[list[str]], list[Answer]]:
    """Return a function that translates lines with a translator."""
    from nmt.config.load import override_search

    translator.search = override_search(translator.search, asked["search"])

    def translate(lines: list[str]) -> list[Answer]:
        found = [one.hypotheses[0] for one in translator.nbest(lines, beam_size=asked["beam_size"])]
        return [(one.text, len(one.tokens) + one.finished) for one in found]

    return translate


def main(asked: dict[str, Any], started: float) -> dict[str, Any]:
    """Load the system, translate all lines at once and then `single` of them one by one; return the measurements."""
    translate = SYSTEMS[asked["system"]](asked)
    loaded = time.perf_counter() - started
    text = Path(asked["source"]).read_bytes().decode()  # read_text would also end lines at carriage returns
    lines = text.removesuffix("\n").split("\n")[: asked["sentences"]]
    translate(lines[:WARM_UP])
    started = time.perf_counter()
    answers = translate(lines)
    seconds = time.perf_counter() - started
    memory = peak_memory_mib()
    latencies, same = [], 0
    for index in range(0, len(lines), max(1, len(lines) // max(1, asked["single"])))[: asked["single"]]:
        started = time.perf_counter()
        alone = translate([lines[index]])
        latencies.append(time.perf_counter() - started)
        same += alone[0][0] == answers[index][0]
    return {
        "load_seconds": loaded,
        "seconds": seconds,
        "sentences": len(lines),
        "tokens": sum(tokens for _, tokens in answers),
        "latencies": latencies,
        "same_alone": same / len(latencies) if latencies else None,
        "peak_memory_mib": memory,
        "texts": [text for text, _ in answers],
    }


if __name__ == "__main__":
    result = main(json.loads(Path(sys.argv[1]).read_text("utf-8")), STARTED)
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")
