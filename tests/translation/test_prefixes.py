"""Translations that begin as told: every hypothesis has the prefix's tokens, and the score they are worth."""

from __future__ import annotations

import pytest

from nmt.translation.scoring import force
from tests.models.variants import VARIANTS
from tests.test_translate import LINES, make
from tests.toy_run import made_up_lines
from tests.translation.test_scoring import LONG, make_ensemble

PREFIXES = [*made_up_lines(4, seed=31, longest=2), "", "ba", "  loki ", "de" * 9, "Ω", "ba", "", "mu", ""]


@pytest.mark.parametrize("variant", [*VARIANTS, "ensemble"])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_every_hypothesis_begins_with_the_prefix(variant: str, beam_size: int) -> None:
    translator = make_ensemble(beam_size=beam_size) if variant == "ensemble" else make(variant, beam_size=beam_size)
    lines, prefixes = [*LINES[:9], LONG], [*PREFIXES[:9], "ba de"]
    encoded = [ids[:-1] for ids in translator.tokenizer.encode_target([prefix.strip() for prefix in prefixes])]
    assert min(map(len, encoded)) == 0 and max(map(len, encoded)) > 6
    nbest = translator.translate_nbest(lines, n_best=beam_size, prefixes=prefixes)
    for ids, one in zip(encoded, nbest, strict=True):
        assert 1 <= len(one.hypotheses) <= beam_size
        assert all(each.tokens[: len(ids)] == ids for each in one.hypotheses)
    chosen = [(segment, each) for one in nbest[:-1] for each in one.hypotheses for segment in each.segments]
    forced = force(
        translator.engine, [one.source_ids for one, _ in chosen], [one.target_ids for one, _ in chosen],
        translator.search,
    )  # fmt: skip
    for (_, hypothesis), worth in zip(chosen, forced, strict=True):
        assert hypothesis.log_prob == pytest.approx(worth.log_prob, abs=1e-4)
    for ids, one in zip(encoded, translator.sample(lines, 3, prefixes=prefixes), strict=True):
        assert all(each.tokens[: len(ids)] == ids for each in one.hypotheses)


def test_an_empty_prefix_asks_for_nothing() -> None:
    translator = make("transformer-pre")
    found = translator.translate_nbest(LINES, prefixes=["", " \t"] + ["ba"] * 2 + [""] * (len(LINES) - 4))
    free = translator.translate_nbest(LINES)
    assert [one.text for one in found[:2] + found[4:]] == [one.text for one in free[:2] + free[4:]]
    assert [one.text for one in found[2:4]] != [one.text for one in free[2:4]]


def test_only_the_first_segment_of_a_long_line_begins_with_the_prefix() -> None:
    translator = make("rnnsearch")
    (found,), (free,) = (translator.translate_nbest([LONG], prefixes=prefixes) for prefixes in (["muki"], None))
    first, *others = found.hypotheses[0].segments
    assert first.text.startswith("muki") and not free.text.startswith("muki")
    assert others == free.hypotheses[0].segments[1:]
