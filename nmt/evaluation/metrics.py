"""BLEU, chrF and TER, computed by sacreBLEU, each with the signature that says how it was computed (Post 2018)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from nmt.config.languages import macrolanguage_of
from nmt.errors import NmtError, UsageError

Texts = Sequence[Sequence[str]]  # texts that correspond line by line

Metric = Literal["bleu", "chrf", "ter"]
METRICS: tuple[Metric, ...] = ("bleu", "chrf", "ter")
LABELS = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER"}  # chrF is sacreBLEU's default, chrF2 without word n-grams
_ASIAN = frozenset({"zh", "ja"})  # languages that sacreBLEU's TER can split into characters

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """A corpus score, unrounded, from 0 to 100 (TER may exceed 100)."""

    name: str
    score: float
    signature: str

    def to_dict(self) -> dict[str, Any]:
        """Return the score and signature as they are stored in scores.json and results.json."""
        return {"score": self.score, "signature": self.signature}


def metrics_in_order(wanted: str | Sequence[str] | None) -> tuple[Metric, ...]:
    """Return the wanted metrics (one name or several), each once, in the order of METRICS; all of them for None.

    Raises UsageError for an unknown name, and if none is wanted.
    """
    wanted = [wanted] if isinstance(wanted, str) else wanted
    unknown = [name for name in wanted or () if name not in METRICS]
    if unknown or (wanted is not None and not wanted):
        told = f"there is no metric {unknown[0]}" if unknown else "no metric is named"
        raise UsageError(f"{told}: choose from {', '.join(METRICS)}")
    return tuple(name for name in METRICS if wanted is None or name in wanted)


def build_metric(name: str, target_language: str = "") -> Any:
    """Return sacreBLEU's metric of this name with the default settings of the `sacrebleu` command.

    TER counts edits of words. Chinese and Japanese are written without spaces, so TER counts edits of characters and
    of runs of kana there (`sacrebleu --ter-asian-support --ter-normalized`). BLEU's tokenizer depends on the target
    language (`sacrebleu -l`), however its code is spelled: zh for Chinese, MeCab for Japanese and Korean. If MeCab is
    not installed, BLEU is computed on characters and a warning is logged. The signatures of BLEU and TER show these
    choices.
    """
    if name == "chrf":
        return CHRF()
    language = macrolanguage_of(target_language)
    if name == "ter":
        asian = language in _ASIAN
        return TER(normalized=asian, asian_support=asian)  # asian_support has no effect without normalized
    try:
        return BLEU(trg_lang=language)
    except RuntimeError:  # raised by sacreBLEU's MeCab tokenizers
        _note_characters(language)
        return BLEU(tokenize="char")


def tokenizers(target_language: str) -> str:
    """Return how BLEU and TER split text of this language, as text such as "13a" or "zh, TER of characters"."""
    bleu = str(build_metric("bleu", target_language).tokenizer_signature)
    return f"{bleu}, TER of characters" if build_metric("ter", target_language).asian_support else bleu


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    metrics: Sequence[str] = METRICS,
    target_language: str = "",
    more_references: Texts = (),
) -> dict[str, Score]:
    """Score detokenised hypotheses against their references.

    `more_references` holds further reference translations, each with one line for each hypothesis.
    """
    check_counts(hypotheses, references, "the hypotheses", "the references")
    texts = [references, *more_references]
    return {name: _corpus_score(name, hypotheses, texts, target_language) for name in metrics}


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], target_language: str = "") -> Score:
    """Compute corpus BLEU (Papineni et al. 2002) with sacreBLEU, case-sensitive and on detokenised text."""
    return score(hypotheses, references, ("bleu",), target_language)["bleu"]


def length_ratio(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str = "", more_references: Texts = ()
) -> float:
    """Return the number of hypothesis tokens divided by that of reference tokens, as in BLEU's brevity penalty.

    If a line has several references, the one closest in length counts.
    """
    texts = [list(text) for text in (references, *more_references)]
    result = build_metric("bleu", target_language).corpus_score(list(hypotheses), texts)
    return float(result.sys_len / max(result.ref_len, 1))


def sentence_bleu(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str = "", more_references: Texts = ()
) -> list[float]:
    """Compute BLEU of each sentence, with sacreBLEU's effective order, so that short sentences do not all score 0."""
    metric = build_metric("bleu", target_language)
    metric.effective_order = True
    return _sentence_scores(metric, hypotheses, [references, *more_references])


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str], more_references: Texts = ()) -> list[float]:
    """Compute chrF (Popovic 2015) of each sentence; for single sentences it is less noisy than BLEU."""
    return _sentence_scores(build_metric("chrf"), hypotheses, [references, *more_references])


def _sentence_scores(metric: Any, hypotheses: Sequence[str], references: Texts) -> list[float]:
    lines = zip(hypotheses, *references, strict=True)
    return [float(metric.sentence_score(hypothesis, texts).score) for hypothesis, *texts in lines]


def check_counts(first: Sequence[str], second: Sequence[str], first_name: str, second_name: str) -> None:
    """Raise NmtError if two texts have different numbers of lines or none at all; the names are for the message."""
    if len(first) != len(second):
        raise NmtError(
            f"{first_name} has {len(first):,} lines but {second_name} has {len(second):,}: "
            "they must correspond line by line"
        )
    if not first:
        raise NmtError(f"{first_name} and {second_name} have no lines: there is nothing to score")


def _corpus_score(name: str, hypotheses: Sequence[str], references: Texts, target_language: str) -> Score:
    metric = build_metric(name, target_language)
    result = metric.corpus_score(list(hypotheses), list(map(list, references)))
    return Score(name, float(result.score), str(metric.get_signature()))


_noted: set[str] = set()  # languages for which the warning has been logged


def _note_characters(language: str) -> None:
    """Warn, once per language, that BLEU is computed on characters because MeCab is missing."""
    if language not in _noted:
        _noted.add(language)
        logger.warning(
            "BLEU is computed on characters: sacreBLEU's tokenizer for %s needs MeCab (pip install 'sacrebleu[%s]')",
            language,
            language,
        )
