"""The verdicts of a study: each system against the baseline, on each test set, by one rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nmt.evaluation.over_seeds import Difference, combined, compare_means, holm
from nmt.evaluation.sets import EvaluationSet
from nmt.evaluation.significance import (
    SAMPLES,
    Estimate,
    Statistics,
    bootstrap_p_value,
    estimate,
    randomisation_p_value,
    resample_counts,
)

LEVEL = 0.05
Word = Literal["better", "worse", "no difference found", "too few seeds"]
RULE = f"""\
A system is compared with the baseline, or with the system that the study names for it. It is
called *better* (*worse*) if its mean over the seeds is higher (lower) and p is below {LEVEL} after
Holm's correction for all comparisons of the study, also those whose runs are not finished. This p
is the larger one of the two below. So it is small only if neither chance in training nor the choice
of the test sentences is a likely cause of the difference:

1. over seeds: Welch's t-test of the scores of all seeds;
2. within a seed: the two systems of a seed are compared by paired bootstrap resampling and by
   approximate randomisation, and the larger p-value counts. It counts as 1 if their difference and
   the difference of the means have opposite signs. With several seeds, p is twice the median of
   these values (of an even number, the larger one in the middle), at most 1 (Meinshausen et al.
   2009).

With one seed there is no test over seeds: p is that within the seed, and the verdict is about these
two trained models, not about training them again. An ensemble of all seeds of a system is one
result: it is compared with the baseline of each seed, without a test over seeds, and the verdict is
about this ensemble. If the study has several seeds, but one of the two systems has fewer than two
finished runs, there is no verdict: *too few seeds*. In all other cases the verdict is *no
difference found*, which does not say that there is none."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a system, for one test set."""

    system: str
    against: str  # the system that it is compared with
    test_set: str
    seeds: list[int]  # those that both systems have; if `one_for_all`, all seeds of `against`
    one_for_all: bool  # whether the system has one result for all seeds
    means: Difference
    within: dict[int, tuple[float, float]]  # by seed: p by the paired bootstrap and by approximate randomisation
    p_value: float  # the one that decides, before the correction
    corrected: float  # after it
    word: Word

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict for JSON."""
        means = self.means
        return {
            "system": self.system,
            "against": self.against,
            "test_set": self.test_set,
            "seeds": self.seeds,
            "one_for_all_seeds": self.one_for_all,
            "difference": means.difference,
            "confidence_interval": means.confidence_interval,
            "p_over_seeds": means.welch_p_value,
            "p_permutation": means.permutation_p_value,
            "p_within_seeds": {
                seed: {"bootstrap": pair[0], "randomisation": pair[1]} for seed, pair in self.within.items()
            },
            "p": self.p_value,
            "p_holm": self.corrected,
            "verdict": self.word,
        }


def verdicts(
    rows: Mapping[tuple[str, int | None], Mapping[str, Any]],
    comparisons: Mapping[str, str],
    test_sets: Sequence[EvaluationSet],
    metric: str,
    languages: Mapping[str, str],
    seeds: int = 1,
) -> list[Verdict]:
    """Compare systems on each test set; a system that shares no seed with the other one is left out.

    `rows` are the rows of the finished runs by system and seed. A system with the seed None has one result for all
    seeds: it is compared with each run of the other, without a test over seeds. `comparisons` has, by system, the one
    that it is compared with, also for systems without a row; `languages` the target language of each test set; `seeds`
    is the number of seeds of the study.
    """
    found = []
    planned = len(comparisons) * len(test_sets)
    samples = SAMPLES * max(1, math.ceil(planned / 10))  # so that the least p stays below LEVEL after Holm's correction
    for test_set in test_sets:
        counts = resample_counts(len(test_set.references), samples)
        texts = test_set.references, languages[test_set.name], test_set.more_references
        estimates = {
            key: estimate(Statistics(metric, row["test"][test_set.name]["hypotheses"], *texts), counts)
            for key, row in rows.items()
        }
        for system, other in comparisons.items():
            compared = _compare(estimates, other, system, seeds)
            if compared is not None:
                found.append((system, other, test_set.name, *compared))
    missing = planned - len(found)
    corrected = holm([*(p_value for *_, p_value, _ in found), *[1.0] * missing])
    return [
        Verdict(
            *(system, other, name, list(within), (system, None) in rows, means, within, p_value, after),
            "too few seeds" if too_few else _word(means.difference, after),
        )
        for (system, other, name, means, within, p_value, too_few), after in zip(found, corrected, strict=False)
    ]


def _compare(
    estimates: Mapping[tuple[str, int | None], Estimate], baseline: str, system: str, seeds: int
) -> tuple[Difference, dict[int, tuple[float, float]], float, bool] | None:
    """Return the difference of the means, the p-values within seeds, the one that decides, and if seeds are too few.

    Returns None if the two systems have no seed in common.
    """
    scores: dict[str, list[float]] = {
        name: [each.score.score for (owner, _), each in estimates.items() if owner == name]
        for name in (baseline, system)
    }
    once = (system, None) in estimates
    own = {
        seed: (system, None if once else seed)
        for owner, seed in estimates
        if owner == baseline and seed is not None and (once or (system, seed) in estimates)
    }
    if not own:
        return None
    within = {}
    for seed in own:
        first, second = estimates[baseline, seed], estimates[own[seed]]
        within[seed] = (
            bootstrap_p_value(first, second),
            randomisation_p_value(first.statistics, second.statistics),
        )
    means = compare_means(scores[baseline], scores[system])
    agree = {
        seed: (estimates[own[seed]].score.score - estimates[baseline, seed].score.score) * means.difference > 0
        for seed in own
    }
    too_few = seeds > 1 and (len(scores[baseline]) < 2 or (len(scores[system]) < 2 and not once))
    p_within = combined([max(within[seed]) if agree[seed] else 1.0 for seed in own])
    p_value = 1.0 if too_few else max(p_within, means.welch_p_value or 0.0)
    return means, within, p_value, too_few


def _word(difference: float, p_value: float) -> Word:
    if p_value >= LEVEL or difference == 0:
        return "no difference found"
    return "better" if difference > 0 else "worse"
