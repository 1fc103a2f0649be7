"""Check that all systems of a study are validated and tested on the same texts, with gold alignments that fit."""

from __future__ import annotations

from collections.abc import Sequence

from nmt.config.schema import Config
from nmt.config.typed import suggestion
from nmt.data.alignments import read_gold
from nmt.data.corpora import test_sets as corpora_of
from nmt.errors import ConfigError, NmtError
from nmt.evaluation.alignment_error import check_count
from nmt.evaluation.sets import EvaluationSet, sets_of
from nmt.study.plan import Variant
from nmt.study.results import digests_of
from nmt.study.study import Study


def common_data(study: Study, planned: Sequence[Variant], test_sets: Sequence[EvaluationSet]) -> dict[str, str]:
    """Return the digests of the validation text, the test sets and the gold alignments, the same for all variants.

    Raises NmtError, naming the system, if one has another validation text or test set, and if the gold alignments do
    not fit the test sets.
    """
    _check_gold(study, test_sets)
    first = planned[0].config
    digests = digests_of(first, list(test_sets), study.gold)
    found = {key: digest for key, digest in digests.items() if key.startswith(("data.val", "data.test.", "gold."))}
    for variant in planned[1:]:
        if digests_of(variant.config, [], {})["data.val"] != found["data.val"]:
            raise NmtError(f"systems.{variant.system} has another data.val than the others: a study compares on one")
        if _names_same_tests(variant.config, first):
            continue
        own = sets_of(variant.config, study.test_sets or None)
        if {each.name: each.digests for each in own} != {each.name: each.digests for each in test_sets}:
            raise NmtError(f"systems.{variant.system} has other test sets than the others: a study compares on one")
    return found


def _names_same_tests(config: Config, first: Config) -> bool:
    """Return whether two configurations name the same test sets, so that they need not be read again."""
    one, other = (
        (corpora_of(each.data), each.data.source_language, each.data.target_language) for each in (config, first)
    )
    return one == other


def _check_gold(study: Study, test_sets: Sequence[EvaluationSet]) -> None:
    """Raise an error for gold alignments of an unknown test set, or with another number of lines than it."""
    lines = {test_set.name: len(test_set.sources) for test_set in test_sets}
    for name, path in study.gold.items():
        if name not in lines:
            near = suggestion(name, lines, 1)
            raise ConfigError(f"gold.{name}: the test sets of the study are {', '.join(lines)}{near}")
        check_count(read_gold(path), lines[name], path)
