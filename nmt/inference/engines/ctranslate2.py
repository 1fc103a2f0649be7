"""The engine CTranslate2 (OpenNMT): a Transformer exported for it, searched by its compiled code, without torch."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from nmt.config.schema import Config, SearchConfig
from nmt.data.tokenizer import EOS, Tokenizer
from nmt.errors import NmtError, UsageError
from nmt.extras import import_extra
from nmt.inference.engines.engine import Precision
from nmt.inference.export.current import Inexpressible, check_family, current_export
from nmt.inference.export.record import ExportRecord
from nmt.runs.run import read_run_config
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.penalties import LengthPenalty

COMPUTE_TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
_NATIVE = "the native engine (--engine native, --precision fp32 or bf16)"
_NEARLY_ZERO = 1e-9  # as alpha: 0 itself has another stopping rule, and no score shows the difference


class _Only(NamedTuple):
    """The one value that CTranslate2 has for a key of search."""

    value: object
    why: str
    of_beams: bool = False  # a greedy search is the same by any value


_ONLY = {
    "length_normalisation": _Only("power", "divides log-probabilities by length ** length_penalty", of_beams=True),
    "stop": _Only("full", "ends a sentence when as many hypotheses have finished as the beam is wide", of_beams=True),
    "coverage_penalty": _Only(0, "has another formula for what is left untranslated"),
    "min_length_ratio": _Only(0, "has one least length for a whole batch"),
    "shortlist": _Only(False, "has one list of words for a whole batch, so sentences would depend on their company"),
}


class CTranslate2Engine:
    """Searches with an export of `nmt.inference.export.ctranslate2`; see `nmt.inference.engines.engine.Engine`.

    Probabilities are those among the tokens that can be generated: padding and begin of sentence have none.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        device: str = "auto",
        precision: Precision = "auto",
        streams: int | None = None,
    ) -> None:
        """Load an export; `streams` batches are searched side by side, each with an equal share of the cores.

        streams=None: as many as cores, for many sentences; 1 is for one at a time, which then has all cores. Raises
        NmtError where CTranslate2 is not installed, has no such device or precision, or cannot read the export.
        """
        ctranslate2, kind, index, compute_type = _choose_place(device, precision)
        folder = Path(folder)
        self.positions = ExportRecord.read(folder).positions
        self._pieces, self._ids = _vocabularies(folder)
        threads = available_threads()
        self.streams = 1 if kind == "cuda" else min(streams or threads, threads)
        try:
            self._translator = ctranslate2.Translator(
                str(folder),
                device=kind,
                device_index=index,
                compute_type=compute_type,
                inter_threads=self.streams,
                intra_threads=threads // self.streams,
            )
        except (RuntimeError, ValueError) as error:
            raise NmtError(f"CTranslate2 cannot load {folder} ({error}): make it again with nmt-export") from error

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        """Nothing to do for a thread: the cores were shared out when the model was loaded."""
        return nullcontext(lambda: None)

    def check(self, options: SearchConfig) -> None:
        """Raise NmtError for options that CTranslate2 does not have; see `check_options`."""
        check_options(options)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Up to n_best hypotheses of each sentence of a batch, for options that `check` lets pass."""
        if prefixes is not None and any(prefixes):
            raise NmtError(f"prefixes need {_NATIVE}: CTranslate2 leaves them out of its scores")
        limits = [options.longest(len(ids)) for ids in sources]
        longest = max(limits)
        if (most := max(longest, *map(len, sources))) > self.positions:
            raise NmtError(
                f"the export has positions for {self.positions} tokens, and search.max_length_ratio and "
                f"search.max_length_offset allow {most}: lower them, or take {_NATIVE}"
            )
        found = self._search(sources, longest, options)
        # CTranslate2 has one limit a batch: what went on until a sentence's own or longer is searched again with that
        again: defaultdict[int, list[int]] = defaultdict(list)
        for row, (limit, hypotheses) in enumerate(zip(limits, found, strict=True)):
            if limit < longest and max(len(one.tokens) + one.finished for one in hypotheses) >= limit:
                again[limit].append(row)
        for limit, rows in again.items():
            for row, hypotheses in zip(rows, self._search([sources[row] for row in rows], limit, options), strict=True):
                found[row] = hypotheses
        return [([one for one in hypotheses if one.finished] or hypotheses)[:n_best] for hypotheses in found]

    def _search(
        self, sources: Sequence[Sequence[int]], max_length: int, options: SearchConfig
    ) -> list[list[Hypothesis]]:
        """All hypotheses that a search leaves, none longer than max_length: the last to finish says when it ended."""
        alpha = max(options.length_penalty, _NEARLY_ZERO)
        results = self._translator.translate_batch(
            [[self._pieces[id] for id in ids] for ids in sources],
            beam_size=options.beam_size,
            num_hypotheses=options.beam_size,
            length_penalty=alpha,
            max_decoding_length=max_length,
            min_decoding_length=0,
            max_input_length=0,  # no limit
            return_scores=True,
            return_end_token=True,  # and so counted in the length
        )
        length_penalty = LengthPenalty.of(options)

        def made(pieces: list[str], score: float) -> Hypothesis:
            tokens = [self._ids[piece] for piece in pieces]
            log_prob, finished = score * len(pieces) ** alpha, tokens[-1] == EOS
            return hypothesis(tokens[:-1] if finished else tokens, log_prob, length_penalty, finished)

        return [list(map(made, result.hypotheses, result.scores)) for result in results]


def check_options(options: SearchConfig) -> None:
    """Raise NmtError for a search that CTranslate2 does not have."""
    for key, only in _ONLY.items():
        value = getattr(options, key)
        if value != only.value and not (only.of_beams and options.beam_size == 1):
            possible = str(only.value).lower()
            raise NmtError(
                f"search.{key}={str(value).lower()} needs {_NATIVE}, or choose search.{key}={possible}: "
                f"CTranslate2 {only.why}"
            )


def check_runs(run_dirs: Sequence[str | os.PathLike[str]], configs: Sequence[Config]) -> None:
    """Raise NmtError for runs of these configurations that CTranslate2 cannot translate with, before they are read."""
    if len(run_dirs) > 1:
        raise UsageError(f"an ensemble needs {_NATIVE}: CTranslate2 searches with one model")
    with _offering_the_other():
        check_family(run_dirs[0], configs[0])


@contextmanager
def _offering_the_other() -> Iterator[None]:
    """Say, after what CTranslate2 has nothing for, which engine does."""
    try:
        yield
    except Inexpressible as error:
        raise NmtError(f"{error}: take {_NATIVE}") from error


def load_exported(
    run_dirs: Sequence[str | os.PathLike[str]],
    checkpoint: str | int | None,
    device: str,
    precision: Precision | None,
    streams: int | None,
    tell: Callable[[str], None],
) -> tuple[CTranslate2Engine, Tokenizer, SearchConfig, int]:
    """What a translator with a run's export is made of: engine, tokenizer, search and the longest source.

    `tell` is told of an export that has to be made; see `current_export`. Raises NmtError for a run, a device or a
    precision that CTranslate2 does not have, UsageError for an ensemble.
    """
    run_dir = run_dirs[0]
    config = read_run_config(run_dir)
    check_runs(run_dirs, [config])
    precision = precision or config.search.precision
    _choose_place(device, precision)  # before an export is made
    tokenizer = Tokenizer.load(Path(run_dir) / "tokenizer")
    with _offering_the_other(), current_export(run_dir, config, checkpoint, tokenizer, tell) as folder:
        engine = CTranslate2Engine(folder, device, precision, streams)
    return engine, tokenizer, config.search, config.data.cleaning.max_tokens


def _vocabularies(folder: Path) -> tuple[list[str], dict[str, int]]:
    """The source pieces by their ids, and the ids of the target pieces."""

    def read(name: str) -> list[str]:
        path = folder / f"{name}_vocabulary.json"
        pieces: list[str] = json.loads((path if path.is_file() else shared).read_text(encoding="utf-8"))
        return pieces

    shared = folder / "shared_vocabulary.json"
    try:
        source, target = read("source"), read("target")
    except (OSError, ValueError) as error:
        raise NmtError(f"{folder} has no vocabulary that can be read: make it again with nmt-export") from error
    return source, {piece: id for id, piece in enumerate(target)}


def _choose_place(device: str, precision: Precision) -> tuple[Any, str, int, str]:
    """Return the imported package, a device's kind and number, and CTranslate2's name of a precision.

    The device auto is cuda where there is one, else cpu; the precisions auto and native mean what they do for the
    native engine. Raises NmtError for what is not there.
    """
    ctranslate2 = import_extra("ctranslate2", "fast")
    cards = ctranslate2.get_cuda_device_count()
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = "cuda" if cards else "cpu"
    number = int(index) if index.isdecimal() else 0
    if kind not in ("cpu", "cuda") or index not in ("", str(number)) or (kind == "cuda" and number >= cards):
        raise NmtError(f"there is no {device} device here for CTranslate2: choose {'cuda or ' if cards else ''}cpu")
    there = ctranslate2.get_supported_compute_types(kind)
    if precision in ("auto", "native"):
        wanted = precision == "native" or kind == "cuda"
        precision = "bf16" if wanted and "bfloat16" in there else "fp32"
    if COMPUTE_TYPES[precision] not in there:
        others = " or ".join(name for name, compute_type in COMPUTE_TYPES.items() if compute_type in there)
        raise NmtError(f"CTranslate2 cannot compute in {precision} on this {kind}: choose {others}")
    return ctranslate2, kind, number, COMPUTE_TYPES[precision]


def available_threads() -> int:
    """Return how many cores this process may use, or fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores) if asked.isdecimal() and int(asked) else cores
