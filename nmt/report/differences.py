"""Find the sentences on which systems differ most, and mark the words that are not in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from nmt.config.languages import is_unspaced
from nmt.evaluation.metrics import sentence_bleu, sentence_chrf
from nmt.evaluation.sets import EvaluationSet

COUNT = 12


@dataclass(frozen=True)
class Span:
    """A part of a hypothesis whose words either all match the reference in this order, or do not."""

    text: str
    matched: bool


@dataclass(frozen=True)
class Answer:
    """The translation of a sentence by one system, with sentence scores and marked words."""

    system: str
    text: str
    bleu: float
    chrf: float
    spans: list[Span]


@dataclass(frozen=True)
class Difference:
    """A sentence and the translations by all systems."""

    line: int  # counted from 1
    source: str
    reference: str
    spread: float  # best chrF minus worst
    answers: list[Answer]


def largest_differences(
    systems: Sequence[tuple[str, Sequence[str]]],
    test_set: EvaluationSet,
    target_language: str = "",
    count: int = COUNT,
) -> list[Difference]:
    """Return the `count` sentences with the widest spread of sentence chrF between systems, the widest first.

    Scores use all references; words are marked by the first reference only.
    """
    references, more = test_set.references, test_set.more_references
    chrf = [sentence_chrf(hypotheses, references, more) for _, hypotheses in systems]
    spreads = [max(scores) - min(scores) for scores in zip(*chrf, strict=True)]
    order = sorted(range(len(references)), key=lambda index: (-spreads[index], index))
    differences = []
    for index in order[:count]:
        if spreads[index] <= 0:
            break
        reference = references[index]
        answers = [
            Answer(
                name,
                hypotheses[index],
                sentence_bleu([hypotheses[index]], [reference], target_language, [[text[index]] for text in more])[0],
                scores[index],
                mark(hypotheses[index], reference, target_language),
            )
            for (name, hypotheses), scores in zip(systems, chrf, strict=True)
        ]
        differences.append(Difference(index + 1, test_set.sources[index], reference, spreads[index], answers))
    return differences


def mark(hypothesis: str, reference: str, target_language: str = "") -> list[Span]:
    """Split a hypothesis into spans that match the reference and spans that do not.

    Hypothesis and reference are compared word by word, or character by character in a language without spaces.
    """
    joiner = "" if is_unspaced(target_language) else " "
    words, truth = (list(text) if not joiner else text.split() for text in (hypothesis, reference))
    spans = []
    position = 0
    for block in SequenceMatcher(None, words, truth, autojunk=False).get_matching_blocks():
        for part, matched in ((words[position : block.a], False), (words[block.a : block.a + block.size], True)):
            if part:
                spans.append(Span(joiner.join(part), matched))
        position = block.a + block.size
    return spans
