"""Corpus scores through sacreBLEU, each with the signature that says how it was computed (Post 2018)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from nmt.config.languages import macrolanguage_of
from nmt.errors import NmtError

Texts = Sequence[Sequence[str]]  # whose lines answer each other

METRICS = ("bleu", "chrf", "ter")
LABELS = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER"}  # chrF: the plain chrF2 of sacreBLEU's default
_ASIAN = frozenset({"zh", "ja"})  # whose characters sacreBLEU's TER knows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """One corpus score, from 0 to 100 (TER may exceed it), not rounded."""

    name: str
    score: float
    signature: str

    def to_dict(self) -> dict[str, Any]:
        """The form in scores.json and results.json: score and signature."""
        return {"score": self.score, "signature": self.signature}


def build_metric(name: str, target_language: str = "") -> Any:
    """sacreBLEU's metric of this name with its default settings, as the `sacrebleu` command has them.

    TER counts edits of words; for Chinese and Japanese, which have no spaces, of characters, and of stretches of kana
    (`sacrebleu --ter-asian-support --ter-normalized`). BLEU's tokenizer follows the target language (`sacrebleu -l`),
    however its code is spelled: zh for Chinese, MeCab for Japanese and Korean; where MeCab is not installed,
    characters, and the log says so. The signatures name both.
    """
    if name == "chrf":
        return CHRF()
    language = macrolanguage_of(target_language)
    if name == "ter":
        asian = language in _ASIAN
        return TER(normalized=asian, asian_support=asian)  # the second does nothing without the first
    try:
        return BLEU(trg_lang=language)
    except RuntimeError:  # raised by sacreBLEU's MeCab tokenizers
        _note_characters(language)
        return BLEU(tokenize="char")


def tokenizers(target_language: str) -> str:
    """Return how BLEU and TER cut text of a language here: BLEU's tokenizer as its signature has it."""
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

    `more_references` are further texts that answer the hypotheses line by line, as `references` do.
    """
    check_counts(hypotheses, references, "the hypotheses", "the references")
    texts = [references, *more_references]
    return {name: _corpus_score(name, hypotheses, texts, target_language) for name in metrics}


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], target_language: str = "") -> Score:
    """Corpus BLEU (Papineni et al. 2002), cased and on detokenised text, as sacreBLEU computes it."""
    return score(hypotheses, references, ("bleu",), target_language)["bleu"]


def length_ratio(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str = "", more_references: Texts = ()
) -> float:
    """The tokens of the hypotheses over those of the references, as BLEU's brevity penalty counts them.

    Of several references of a line, it counts the one that is closest in length.
    """
    texts = [list(text) for text in (references, *more_references)]
    result = build_metric("bleu", target_language).corpus_score(list(hypotheses), texts)
    return float(result.sys_len / max(result.ref_len, 1))


def sentence_bleu(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str = "", more_references: Texts = ()
) -> list[float]:
    """BLEU of each sentence on its own, with sacreBLEU's effective order so that short sentences are not all zero."""
    metric = build_metric("bleu", target_language)
    metric.effective_order = True
    return _sentence_scores(metric, hypotheses, [references, *more_references])


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str], more_references: Texts = ()) -> list[float]:
    """chrF (Popovic 2015) of each sentence on its own: steadier than BLEU on a single sentence."""
    return _sentence_scores(build_metric("chrf"), hypotheses, [references, *more_references])


def _sentence_scores(metric: Any, hypotheses: Sequence[str], references: Texts) -> list[float]:
    lines = zip(hypotheses, *references, strict=True)
    return [float(metric.sentence_score(hypothesis, texts).score) for hypothesis, *texts in lines]


def check_counts(first: Sequence[str], second: Sequence[str], first_name: str, second_name: str) -> None:
    """Refuse texts that do not answer each other line by line, naming both counts and both texts."""
    if len(first) != len(second):
        raise NmtError(
            f"{first_name} has {len(first):,} lines but {second_name} has {len(second):,}: "
            "they must answer each other line by line"
        )
    if not first:
        raise NmtError(f"{first_name} and {second_name} have no lines: there is nothing to score")


def _corpus_score(name: str, hypotheses: Sequence[str], references: Texts, target_language: str) -> Score:
    metric = build_metric(name, target_language)
    result = metric.corpus_score(list(hypotheses), list(map(list, references)))
    return Score(name, float(result.score), str(metric.get_signature()))


_noted: set[str] = set()


def _note_characters(language: str) -> None:
    if language not in _noted:
        _noted.add(language)
        logger.warning(
            "BLEU is computed on characters: sacreBLEU's tokenizer for %s needs MeCab (pip install 'sacrebleu[%s]')",
            language,
            language,
        )
