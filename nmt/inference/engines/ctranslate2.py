"""The CTranslate2 engine: search with an exported Transformer by OpenNMT's compiled library, without torch."""

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
_NEARLY_ZERO = 1e-9  # used for length_penalty=0, which makes CTranslate2 stop by another rule; scores stay the same


class _Only(NamedTuple):
    """The only value of a search option that CTranslate2 supports."""

    value: object
    why: str  # completes the sentence "CTranslate2 ..."
    of_beams: bool = False  # True if the option makes no difference to greedy search


_ONLY = {
    "length_normalisation": _Only("power", "divides log-probabilities by length ** length_penalty", of_beams=True),
    "stop": _Only("full", "ends a sentence when as many hypotheses have finished as the beam is wide", of_beams=True),
    "coverage_penalty": _Only(0, "uses another formula for the coverage penalty"),
    "min_length_ratio": _Only(0, "has one minimum length for a whole batch"),
    "replace_unknown": _Only("none", "does not average attention over all layers and heads"),
    "shortlist": _Only(
        False, "has one list of words for a whole batch, so a translation would depend on the other sentences in it"
    ),
}


class CTranslate2Engine:
    """An engine that searches with an export by CTranslate2; see `nmt.inference.engines.engine.Engine`.

    Exports are made by `nmt.inference.export.ctranslate2`. As in the native engine, padding and begin of sentence have
    probability zero.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        device: str = "auto",
        precision: Precision = "auto",
        streams: int | None = None,
    ) -> None:
        """Load an export; on a CPU, `streams` batches are searched in parallel and share the cores equally.

        The default is one stream per core, which is fastest for many sentences. With one stream, a single sentence has
        all cores. Raises NmtError if CTranslate2 is not installed, does not have the device or precision, or cannot
        read the export.
        """
        ctranslate2, kind, index, compute_type = _choose_place(device, precision)
        folder = Path(folder)
        self.positions = ExportRecord.read(folder).positions
        self._pieces, self._ids = _vocabularies(folder)
        threads = available_threads()
        self.streams = 1 if kind == "cuda" else min(streams or threads, threads)
        try:
            self._translator = ctranslate2.Translator(
                os.fsencode(folder),
                device=kind,
                device_index=index,
                compute_type=compute_type,
                inter_threads=self.streams,
                intra_threads=threads // self.streams,
            )
        except (RuntimeError, ValueError) as error:
            raise NmtError(f"CTranslate2 cannot load {folder} ({error}): make it again with nmt-export") from error

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        """Do nothing: CTranslate2 divided the cores among the streams when the model was loaded."""
        return nullcontext(lambda: None)

    def check(self, options: SearchConfig) -> None:
        """Raise NmtError for search options that CTranslate2 does not support."""
        check_options(options)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return up to n_best hypotheses for each sentence of a batch; `options` must have passed `check`."""
        if prefixes is not None and any(prefixes):
            raise NmtError(f"prefixes need {_NATIVE}: CTranslate2 leaves them out of its scores")
        limits = [options.longest(len(ids)) for ids in sources]
        longest = max(limits)
        if (most := max(longest, *map(len, sources))) > self.positions:
            raise NmtError(
                f"the export has positions for {self.positions} tokens, but search.max_length_ratio and "
                f"search.max_length_offset allow {most}: lower them, or use {_NATIVE}"
            )
        found = self._search(sources, longest, options)
        # CTranslate2 has one length limit for a whole batch: sentences that reached their own limit are searched again
        # with that limit
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
        """Search with one length limit and return all hypotheses, not only the n best.

        The longest hypothesis of a sentence shows how many steps its search took.
        """
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
            return_end_token=True,  # so that it counts in the length
        )
        length_penalty = LengthPenalty.of(options)

        def made(pieces: list[str], score: float) -> Hypothesis:
            tokens = [self._ids[piece] for piece in pieces]
            # CTranslate2 returns only the score, the log-probability divided by length ** alpha
            log_prob, finished = score * len(pieces) ** alpha, tokens[-1] == EOS
            return hypothesis(tokens[:-1] if finished else tokens, log_prob, length_penalty, finished)

        return [list(map(made, result.hypotheses, result.scores)) for result in results]


def check_options(options: SearchConfig) -> None:
    """Raise NmtError for search options that CTranslate2 does not support."""
    for key, only in _ONLY.items():
        value = getattr(options, key)
        if value != only.value and not (only.of_beams and options.beam_size == 1):
            possible = str(only.value).lower()
            raise NmtError(
                f"search.{key}={str(value).lower()} needs {_NATIVE}, or choose search.{key}={possible}: "
                f"CTranslate2 {only.why}"
            )


def check_runs(run_dirs: Sequence[str | os.PathLike[str]], configs: Sequence[Config]) -> None:
    """Raise NmtError for runs that CTranslate2 cannot translate with, judging by their configurations alone."""
    if len(run_dirs) > 1:
        raise UsageError(f"an ensemble needs {_NATIVE}: CTranslate2 searches with one model")
    with _suggesting_native():
        check_family(run_dirs[0], configs[0])


@contextmanager
def _suggesting_native() -> Iterator[None]:
    """Add to the message of an Inexpressible error raised in the block that the native engine can be used instead."""
    try:
        yield
    except Inexpressible as error:
        raise NmtError(f"{error}: use {_NATIVE}") from error


def load_exported(
    run_dirs: Sequence[str | os.PathLike[str]],
    checkpoint: str | int | None,
    device: str,
    precision: Precision | None,
    streams: int | None,
    tell: Callable[[str], None],
) -> tuple[CTranslate2Engine, Tokenizer, SearchConfig, int]:
    """Load a run's export and return the engine, the tokenizer, the search settings and the maximum source length.

    The export is made first if it is missing or out of date; `tell` is then called with a message, see
    `current_export`. Raises NmtError for a run, device or precision that CTranslate2 does not support, and UsageError
    for an ensemble.
    """
    run_dir = run_dirs[0]
    config = read_run_config(run_dir)
    check_runs(run_dirs, [config])
    precision = precision or config.search.precision
    _choose_place(device, precision)  # raise an error before the export is made, which takes time
    tokenizer = Tokenizer.load(Path(run_dir) / "tokenizer")
    with _suggesting_native(), current_export(run_dir, config, checkpoint, tokenizer, tell) as folder:
        engine = CTranslate2Engine(folder, device, precision, streams)
    return engine, tokenizer, config.search, config.data.cleaning.max_tokens


def _vocabularies(folder: Path) -> tuple[list[str], dict[str, int]]:
    """Read an export's vocabularies; return the list of source pieces and a dict from target piece to id."""

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
    """Return the package ctranslate2, the kind and number of the device, and CTranslate2's name of the precision.

    device="auto" means cuda if there is a CUDA device, otherwise cpu. The precisions auto and native mean the same as
    for the native engine. Raises NmtError if CTranslate2 does not have the device or the precision.
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
    """Return the number of cores this process may use, or OMP_NUM_THREADS if that is lower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores) if asked.isdecimal() and int(asked) else cores
