"""Test that the CTranslate2 engine finds the same translations as the native engine under the same search rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ctranslate2
import pytest
import torch
from torch import nn

from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.errors import NmtError
from nmt.inference.engines.ctranslate2 import CTranslate2Engine
from nmt.inference.engines.native import NativeEngine
from nmt.inference.export.ctranslate2 import export
from nmt.inference.export.record import ExportRecord
from nmt.inference.translator import Translator
from nmt.runs.run import LoadedRun, load_run
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty
from tests.inference.export.exported import KINDS, LINES, make_exportable

GREEDY = SearchConfig(
    beam_size=1, length_normalisation="power", stop="full", max_length_ratio=2.0, max_length_offset=10
)


class Systems(NamedTuple):
    run: LoadedRun
    folder: Path
    engine: CTranslate2Engine
    sources: list[list[int]]


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory):
    @cache
    def systems(kind: str) -> Systems:
        run = load_run(make_exportable(tmp_path_factory.mktemp("run") / "run", kind))
        folder = export(run)
        return Systems(run, folder, CTranslate2Engine(folder, streams=1), run.tokenizer.encode_source(LINES))

    return systems


@pytest.fixture(params=KINDS)
def system(request: pytest.FixtureRequest, systems) -> Systems:
    return systems(request.param)


def native(system: Systems, *, without_banned: bool) -> NativeEngine:
    """Return the native engine of a system; with `without_banned`, a bias makes PAD and BOS impossible."""
    run = load_run(system.run.path)
    if without_banned:
        bias = torch.zeros(run.tokenizer.target_size)
        bias[[PAD, BOS]] = float("-inf")
        run.model.projection.bias = nn.Parameter(bias)
    return NativeEngine(run.model)


def assert_same(found: Sequence[Hypothesis], expected: Sequence[Hypothesis]) -> None:
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.finished for one in found] == [one.finished for one in expected]
    for key in ("log_prob", "score"):
        values = [getattr(one, key) for one in expected]
        assert [getattr(one, key) for one in found] == pytest.approx(values, rel=1e-4, abs=2e-3)


def test_greedy_search_says_the_same(system: Systems) -> None:
    options = dataclasses.replace(GREEDY, max_length_ratio=1.0)
    found = system.engine.search(system.sources, options, 1)
    expected = native(system, without_banned=True).search(system.sources, options, 1)
    as_trained = native(system, without_banned=False).search(system.sources, options, 1)
    for (ours,), (theirs,), (trained,) in zip(found, expected, as_trained, strict=True):
        assert_same([ours], [theirs])
        assert ours.tokens == trained.tokens
    finished = [one.finished for (one,) in found]
    assert any(finished) and not all(finished)
    assert len({tuple(one.tokens) for (one,) in found}) > 5


@pytest.mark.parametrize("beam_size", [2, 5])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_beam_search_says_the_same(system: Systems, beam_size: int, alpha: float) -> None:
    options = dataclasses.replace(GREEDY, beam_size=beam_size, length_penalty=alpha)
    found = system.engine.search(system.sources, options, beam_size)
    expected = native(system, without_banned=True).search(system.sources, options, beam_size)
    compared = 0
    for ids, ours, theirs in zip(system.sources, found, expected, strict=True):
        before_the_limit = max(len(one.tokens) + one.finished for one in theirs) < options.longest(len(ids))
        if before_the_limit and len(theirs) == beam_size:
            assert_same(ours, theirs)
            compared += 1
    assert compared >= 10
    best = system.engine.search(system.sources, options, 1)
    assert [answer[:1] for answer in found] == [answer[:1] for answer in best]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_engines_agree_under_the_shared_rules(kind: str, seed: int, tmp_path: Path) -> None:
    """Check that the best hypotheses are equal, or have equal scores where rounding made another one win."""
    run = load_run(make_exportable(tmp_path / "run", kind, seed=seed))
    system = Systems(run, folder := export(run), CTranslate2Engine(folder, streams=1), [])
    exact = native(system, without_banned=True)
    sources = run.tokenizer.encode_source(LINES)
    compared = different = 0
    for beam_size, alpha in ((1, 1.0), (5, 1.0), (5, 0.6)):
        options = dataclasses.replace(GREEDY, beam_size=beam_size, length_penalty=alpha, max_length_ratio=4.0)
        found, expected = (engine.search(sources, options, beam_size) for engine in (system.engine, exact))
        for ids, ours, theirs in zip(sources, found, expected, strict=True):
            if not all(one.finished for one in (*ours, *theirs)):
                continue  # at the maximum length CTranslate2 also returns unfinished hypotheses
            compared += 1
            if ours[0].tokens != theirs[0].tokens:
                different += 1
                pair = [[*best.tokens, EOS] for best in (ours[0], theirs[0])]
                scores = [one.score(LengthPenalty.of(options)) for one in exact.score([ids, ids], pair, options)]
                assert scores[0] == pytest.approx(scores[1], abs=1e-3)
            assert ours[0].score == pytest.approx(theirs[0].score, abs=1e-3)
    assert compared >= 30 and different <= compared / 50


@pytest.mark.parametrize("beam_size", [1, 3])
def test_what_is_found_for_a_sentence_does_not_depend_on_the_others(systems, beam_size: int) -> None:
    system = systems("pre gelu separate tied")
    for ratio in (0.5, 2.0):  # with 0.5 many sentences reach their own limit, which is lower than the batch's
        options = dataclasses.replace(GREEDY, beam_size=beam_size, max_length_ratio=ratio)
        together = system.engine.search(system.sources, options, beam_size)
        reached = [
            row
            for row, answer in enumerate(together)
            if len(answer[0].tokens) == options.longest(len(system.sources[row]))
        ]
        assert ratio == 2.0 or len(reached) > 5
        for ids, answer in zip(system.sources, together, strict=True):
            (alone,) = system.engine.search([ids], options, beam_size)
            assert_same(answer, alone)
            assert all(len(one.tokens) + one.finished <= options.longest(len(ids)) for one in answer)


def test_streams_share_the_cores(systems, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = systems("post relu shared tied").folder  # made before ctranslate2.Translator is replaced
    asked = []

    class Translator:
        def __init__(self, *_: object, **options: object) -> None:
            asked.append((options["inter_threads"], options["intra_threads"]))

    monkeypatch.setattr(ctranslate2, "Translator", Translator)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for streams, said in ((None, 8), (1, 1), (2, 2), (99, 8)):
        assert CTranslate2Engine(folder, "cpu", streams=streams).streams == said
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert CTranslate2Engine(folder, "cpu").streams == 2
    assert asked == [(8, 1), (1, 8), (2, 4), (8, 1), (2, 1)]


def test_batches_side_by_side_are_put_together_again(systems, monkeypatch: pytest.MonkeyPatch) -> None:
    system = systems("post relu shared tied")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(3), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    lines = [*LINES, "", LINES[0]]
    options = dataclasses.replace(GREEDY, tokens_per_batch=30)
    answers = []
    for streams in (1, 3):
        engine = CTranslate2Engine(system.folder, "cpu", streams=streams)
        told: list[int] = []
        translator = Translator(engine, system.run.tokenizer, options, 24, warn=lambda _: None)
        answers.append(translator.nbest(lines, progress=told.append))
        assert engine.streams == streams and len(told) > 5 and sum(told) == len(LINES) + 1
    assert [one.text for one in answers[0]] == [one.text for one in answers[1]]
    assert answers[1][0].text == answers[1][-1].text != answers[1][-2].text == ""


def test_int8_computes_in_int8_and_says_nearly_the_same(systems) -> None:
    system = systems("post relu shared tied")
    engine = CTranslate2Engine(system.folder, "cpu", "int8", streams=1)
    found = engine.search(system.sources, GREEDY, 1)
    exact = system.engine.search(system.sources, GREEDY, 1)
    log_probs = [[answer[0].log_prob for answer in answers] for answers in (found, exact)]
    assert log_probs[0] != log_probs[1]
    assert sum(ours[0].tokens == theirs[0].tokens for ours, theirs in zip(found, exact, strict=True)) >= 20


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"coverage_penalty": 0.2}, "search.coverage_penalty=0.2 {native}, or choose search.coverage_penalty=0: "),
        ({"min_length_ratio": 0.5}, "search.min_length_ratio=0.5 {native}, or choose search.min_length_ratio=0: "),
        ({"shortlist": True}, "search.shortlist=true {native}, or choose search.shortlist=false: "),
        ({"stop": "exact", "beam_size": 2}, "search.stop=exact {native}, or choose search.stop=full: "),
        ({"length_normalisation": "gnmt", "beam_size": 2},
         "search.length_normalisation=gnmt {native}, or choose search.length_normalisation=power: "),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused(systems, options: dict[str, Any], sentence: str) -> None:
    system = systems("post relu shared tied")
    asked = dataclasses.replace(GREEDY, **options)
    translator = Translator(system.engine, system.run.tokenizer, asked, 24)
    for search in (lambda: system.engine.check(asked), lambda: translator.translate(LINES[:1])):
        with pytest.raises(NmtError) as refusal:
            search()
        assert str(refusal.value).startswith(
            sentence.format(native="needs the native engine (--engine native, --precision fp32 or bf16)")
        )


def test_a_greedy_search_is_the_same_under_every_rule_of_beams(systems) -> None:
    system = systems("post relu shared tied")
    asked = dataclasses.replace(GREEDY, stop="exact", length_normalisation="gnmt", length_penalty=0.6)
    system.engine.check(asked)
    found = system.engine.search(system.sources, asked, 1)
    expected = native(system, without_banned=True).search(system.sources, asked, 1)
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)


def test_limits_of_an_export(systems) -> None:
    system = systems("post relu shared tied")
    positions = ExportRecord.read(system.folder).positions
    found = system.engine.search([[5, 3]], dataclasses.replace(GREEDY, max_length_offset=positions - 4), 1)
    assert found[0][0].tokens
    with pytest.raises(NmtError, match=f"the export has positions for {positions} tokens"):
        system.engine.search([[5, 3]], dataclasses.replace(GREEDY, max_length_offset=positions - 3), 1)
    with pytest.raises(NmtError, match="prefixes need the native engine"):
        system.engine.search([[5, 3]], GREEDY, 1, [[7]])


@pytest.mark.parametrize("device", ["mps", "cuda:99", "cuda:first", "tpu"])
def test_devices_it_does_not_have(systems, device: str) -> None:
    with pytest.raises(NmtError, match=f"there is no {device} device here for CTranslate2: choose "):
        CTranslate2Engine(systems("post relu shared tied").folder, device)


def test_a_precision_it_does_not_have(systems, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = systems("post relu shared tied").folder
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda _: {"float32"})
    with pytest.raises(NmtError, match=r"CTranslate2 cannot compute in int8 on this cpu: choose fp32$"):
        CTranslate2Engine(folder, "cpu", "int8")
    assert CTranslate2Engine(folder, "cpu", "native").search([[5, 3]], GREEDY, 1)


def test_an_export_that_is_damaged(systems, tmp_path: Path) -> None:
    folder = export(systems("post relu shared tied").run, tmp_path / "damaged")
    (folder / "model.bin").write_bytes(b"no")
    with pytest.raises(NmtError, match=r"CTranslate2 cannot load .*damaged .*make it again with nmt-export"):
        CTranslate2Engine(folder, "cpu")
    (folder / "shared_vocabulary.json").write_text("[")
    with pytest.raises(NmtError, match=r"damaged has no vocabulary that can be read"):
        CTranslate2Engine(folder, "cpu")
    (folder / "nmt.json").unlink()
    with pytest.raises(NmtError, match="damaged is no export of nmt"):
        CTranslate2Engine(folder, "cpu")
