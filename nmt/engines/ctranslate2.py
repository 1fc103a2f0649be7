"""The engine CTranslate2 (OpenNMT): a Transformer exported for it, searched by its compiled code, without torch.

It searches by its own rules. Beam search divides a log-probability by length ** alpha and ends a sentence once as many
hypotheses have finished as the beam is wide, which are search.length_normalisation=power and search.stop=full.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import EOS, Tokenizer
from nmt.engines.engine import Precision
from nmt.errors import NmtError, UsageError
from nmt.export.record import ExportRecord, find_export
from nmt.extras import import_extra
from nmt.run import read_run_config
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.penalties import LengthPenalty

COMPUTE_TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
OWN_RULES: dict[str, Any] = {"length_normalisation": "power", "stop": "full"}
_NEARLY_ZERO = 1e-9  # as alpha: 0 itself has another stopping rule, and no score shows the difference


class CTranslate2Engine:
    """Searches with an export of `nmt.export.ctranslate2`; see `nmt.engines.engine.Engine`.

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
        ctranslate2 = import_extra("ctranslate2")
        folder = Path(folder)
        self.positions = ExportRecord.read(folder).positions
        self._pieces, self._ids = _vocabularies(folder)
        kind, index = _choose_device(ctranslate2, device)
        compute_type = _compute_type(ctranslate2, kind, precision)
        threads = _threads()
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

    def adopt(self, options: SearchConfig) -> SearchConfig:
        """The options under this engine's own rules; a greedy search differs in none."""
        if options.coverage_penalty:
            raise NmtError("search.coverage_penalty needs the native engine: CTranslate2 has another formula for it")
        if options.min_length_ratio:
            raise NmtError("search.min_length_ratio needs the native engine: CTranslate2 has one least length a batch")
        if options.shortlist:
            raise NmtError(
                "search.shortlist needs the native engine: CTranslate2 has one vocabulary map a batch, in which "
                "sentences would depend on their company"
            )
        if options.draft:
            raise NmtError("search.draft needs the native engine: CTranslate2 takes one token a step")
        if options.cuda_graphs:
            raise NmtError("search.cuda_graphs needs the native engine: CTranslate2 records nothing")
        return options if options.beam_size == 1 else dataclasses.replace(options, **OWN_RULES)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Up to n_best hypotheses of each sentence of a batch, for options that `adopt` has returned."""
        if prefixes is not None and any(prefixes):
            raise NmtError("prefixes need the native engine: CTranslate2 leaves them out of its scores")
        limits = [options.longest(len(ids)) for ids in sources]
        longest = max(limits)
        if (most := max(longest, *map(len, sources))) > self.positions:
            raise NmtError(
                f"the export has positions for {self.positions} tokens, and search.max_length_ratio and "
                f"search.max_length_offset allow {most}: lower them, or make it again with nmt-export"
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
        return [
            [
                self._hypothesis(pieces, score * len(pieces) ** alpha, length_penalty)
                for pieces, score in zip(result.hypotheses, result.scores, strict=True)
            ]
            for result in results
        ]

    def _hypothesis(self, pieces: list[str], log_prob: float, length_penalty: LengthPenalty) -> Hypothesis:
        tokens = [self._ids[piece] for piece in pieces]
        finished = tokens[-1] == EOS
        return hypothesis(tokens[:-1] if finished else tokens, log_prob, length_penalty, finished)


def load_exported(
    run_dir: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: Precision | None = None,
    streams: int | None = None,
) -> tuple[CTranslate2Engine, Tokenizer, SearchConfig, int]:
    """What a translator with a run's export is made of: engine, tokenizer, search and the longest source.

    Raises NmtError for what `find_export` and the engine refuse, UsageError for an ensemble.
    """
    if not isinstance(run_dir, str | os.PathLike):
        if len(run_dir) > 1:
            raise UsageError("an ensemble needs the native engine: CTranslate2 searches with one model")
        (run_dir,) = run_dir
    config = read_run_config(run_dir)
    tokenizer = Tokenizer.load(Path(run_dir) / "tokenizer")
    folder = find_export(run_dir, "ctranslate2", checkpoint, tokenizer)
    engine = CTranslate2Engine(folder, device, precision or config.search.precision, streams)
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


def _choose_device(ctranslate2: Any, name: str) -> tuple[str, int]:
    """The kind and index of a device: auto is cuda where there is one, else cpu."""
    there = ctranslate2.get_cuda_device_count()
    kind, _, index = name.partition(":")
    if kind == "auto":
        kind = "cuda" if there else "cpu"
    number = int(index) if index.isdecimal() else 0
    if kind not in ("cpu", "cuda") or index not in ("", str(number)) or (kind == "cuda" and number >= there):
        raise NmtError(f"there is no {name} device here for CTranslate2: choose {'cuda or ' if there else ''}cpu")
    return kind, number


def _compute_type(ctranslate2: Any, device: str, precision: Precision) -> str:
    """CTranslate2's name of a precision; auto and native mean what they do for the native engine."""
    there = ctranslate2.get_supported_compute_types(device)
    if precision in ("auto", "native"):
        wanted = precision == "native" or device == "cuda"
        precision = "bf16" if wanted and "bfloat16" in there else "fp32"
    name = COMPUTE_TYPES[precision]
    if name not in there:
        raise NmtError(f"CTranslate2 does not compute in {precision} on this {device}: choose another --precision")
    return name


def _threads() -> int:
    """The cores that this process may use, or fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores) if asked.isdecimal() and int(asked) else cores
