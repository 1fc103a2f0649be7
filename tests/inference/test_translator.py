"""Tests of the translator: order of lines, other lines in a batch, long and empty lines, scores, the model's mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.errors import ConfigError, UsageError
from nmt.inference.batches import batches
from nmt.inference.engines.native import NativeEngine
from nmt.inference.segment import split_to_fit
from nmt.inference.translator import Translator
from tests.models.variants import REPRESENTATIVES, log_probs_of
from tests.toy_run import MAX_TOKENS, made_up_lines, toy_config, toy_model, toy_tokenizer

LINES = [*made_up_lines(9, seed=3, longest=4), "", " \t ", "   ba  de ", "Ω"]


def make(
    variant: str = "transformer-post", warn: Callable[[str], None] = lambda _: None, **search: float
) -> Translator:
    config = dataclasses.replace(toy_config(variant).search, **search)
    return Translator(NativeEngine(toy_model(variant)), toy_tokenizer(), config, MAX_TOKENS, warn)


@pytest.mark.parametrize("variant", REPRESENTATIVES)
@pytest.mark.parametrize("beam_size", [1, 4])
def test_the_text_depends_on_the_line_alone(variant: str, beam_size: int) -> None:
    translator = make(variant, beam_size=beam_size)
    together = translator.nbest(LINES)
    assert [one.source for one in together] == LINES
    assert len({one.text for one in together}) > 3
    alone = make(variant, beam_size=beam_size)
    one_by_one = [alone.nbest([line])[0] for line in LINES]
    backwards = translator.nbest(LINES[::-1])[::-1]
    small_batches = make(variant, beam_size=beam_size, tokens_per_batch=25 * beam_size).nbest(LINES)
    for other in (one_by_one, backwards, small_batches):
        assert [one.text for one in together] == [one.text for one in other]
        torch.testing.assert_close([one.score for one in together], [one.score for one in other], rtol=0, atol=1e-4)
    assert translator.translate(LINES) == [one.text for one in together]


@pytest.mark.parametrize("variant", REPRESENTATIVES)
def test_the_score_is_the_forced_score(variant: str) -> None:
    translator = make(variant, beam_size=4)
    tokenizer, model = translator.tokenizer, translator.engine.model
    for translation in translator.nbest(LINES[:4], n_best=4, length_penalty=0.7):
        src = torch.tensor(tokenizer.encode_source([translation.source]))
        for one in translation.hypotheses:
            target = one.tokens + [EOS] * one.finished
            with torch.no_grad():
                decoded = model(src, torch.ones_like(src, dtype=torch.bool), torch.tensor([[BOS, *target[:-1]]]))
                log_probs = log_probs_of(model, decoded)[0]
            assert one.log_prob == pytest.approx(log_probs[range(len(target)), target].sum().item(), abs=1e-4)
            assert one.score == pytest.approx(one.log_prob / len(target) ** 0.7)
            assert one.text == tokenizer.decode_target(one.tokens)


def test_n_best_is_ordered_and_begins_with_the_best() -> None:
    translator = make(beam_size=4)
    best = translator.translate(LINES)
    for line, text, translation in zip(LINES, best, translator.nbest(LINES, n_best=4), strict=True):
        scores = [one.score for one in translation.hypotheses]
        assert translation.text == text
        assert scores == sorted(scores, reverse=True)
        assert len(scores) >= 2 or not line.strip()
    with pytest.raises(UsageError, match="cannot return 5 hypotheses"):
        translator.nbest(LINES, n_best=5)
    with pytest.raises(ConfigError, match="beam_size"):
        translator.translate(LINES, beam_size=0)


def test_an_empty_line_answers_an_empty_line() -> None:
    translator = make()
    assert translator.translate(["", " \t\u3000", "ba.", ""])[::2] == ["", translator.translate(["ba."])[0]]
    (empty,) = translator.nbest([""], n_best=3)
    assert [(one.text, one.log_prob, one.score, one.tokens) for one in empty.hypotheses] == [("", 0.0, 0.0, [])]
    assert translator.translate([]) == []


@pytest.mark.parametrize("variant", ["rnnsearch", "transformer-pre"])
def test_a_long_line_is_translated_in_segments_and_said_so(variant: str) -> None:
    told: list[str] = []
    translator = make(variant, told.append)
    long = " ".join(made_up_lines(8, seed=4))
    tokens = len(translator.tokenizer.encode_source([long])[0])
    segments = split_to_fit(long, lambda text: len(translator.tokenizer.encode_source([text])[0]) <= MAX_TOKENS, "en")
    assert len(segments) > 2
    parts = translator.nbest(segments)
    told.clear()
    short, translation = translator.nbest(["ba.", long], n_best=2, first_line=100)
    said = [sentence for sentence in told if "segments" in sentence]
    assert said == [
        f"line 101 has {tokens} tokens, more than the {MAX_TOKENS} the model was trained for: "
        f"it is translated in {len(segments)} segments"
    ]
    assert short.text == translator.translate(["ba."])[0]
    assert translation.text.split() == " ".join(part.text for part in parts).split()
    (joined,) = translation.hypotheses
    assert joined.log_prob == pytest.approx(sum(part.log_prob for part in parts), abs=1e-4)
    assert joined.tokens == [token for part in parts for token in part.hypotheses[0].tokens]


def test_no_piece_is_longer_than_the_model_was_trained_for() -> None:
    translator = make()
    seen: list[int] = []
    read = translator.engine.model.read
    translator.engine.model.read = lambda src, *rest: (seen.append(src.size(1)), read(src, *rest))[1]
    translator.translate(["badekilomu" * 40, " ".join(["ba"] * 100)])
    assert max(seen) <= MAX_TOKENS


def test_a_translation_without_end_is_kept_and_said_so() -> None:
    told: list[str] = []
    translator = make("rnnsearch", told.append)
    with torch.no_grad():
        translator.engine.model.projection.bias[EOS] = -1e4
    one, empty = translator.nbest(["ba de.", ""], first_line=7)
    length = len(translator.tokenizer.encode_source(["ba de."])[0]) + 3
    assert (len(one.hypotheses[0].tokens), one.hypotheses[0].finished) == (length, False)
    assert empty.hypotheses[0].finished
    assert len(told) == 1
    assert told[0].endswith("lines: 7")


@pytest.mark.parametrize("beam_size", [1, 3])
def test_padding_and_begin_of_sentence_are_never_generated(beam_size: int) -> None:
    translator = make("rnnsearch", beam_size=beam_size)
    with torch.no_grad():
        translator.engine.model.projection.bias[[PAD, BOS]] += 50.0
    for translation in translator.nbest(LINES):
        assert not {PAD, BOS} & set(translation.hypotheses[0].tokens)


def test_the_model_and_the_random_numbers_are_left_as_they_were() -> None:
    translator = make("rnnsearch")
    model = translator.engine.model.train()
    state = torch.get_rng_state()
    translator.translate(LINES)
    translator.score(LINES, LINES)
    translator.align(LINES)
    assert model.training
    assert all(module.training for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())
    src = torch.tensor([[4, 5, EOS]])
    model(src, src > 0, src).hidden.sum().backward()  # nothing of inference mode is left in the model
    assert model.projection.weight.grad is None
    assert next(model.encoder.parameters()).grad is not None


def test_dropout_is_off_even_for_a_model_in_training() -> None:
    translator = make("transformer-post")
    expected = translator.translate(LINES)
    for module in translator.engine.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.9
    translator.engine.model.train()
    assert translator.translate(LINES) == expected


def test_bf16_answers_every_line() -> None:
    translator = make(precision="bf16")
    exact = make().nbest(LINES)
    rough = translator.nbest(LINES)
    assert [bool(one.text) for one in rough][-4:-2] == [False, False]
    assert any(one.log_prob != other.log_prob for one, other in zip(exact, rough, strict=True))


def test_progress_adds_up_to_the_lines_that_say_something() -> None:
    done: list[int] = []
    make(tokens_per_batch=60).nbest(LINES, progress=done.append)
    assert len(done) > 1
    assert sum(done) == sum(bool(line.strip()) for line in LINES)


def test_batches_hold_every_index_once_within_the_budget() -> None:
    lengths = [5, 30, 1, 7, 7, 2, 12, 3]
    found = list(batches(lengths, 20))
    assert sorted(index for batch in found for index in batch) == list(range(8))
    assert found[0] == [1]  # longer than the budget: alone
    assert all(len(batch) * max(lengths[index] for index in batch) <= 20 for batch in found[1:])
    assert [lengths[index] for batch in found for index in batch] == sorted(lengths, reverse=True)
    assert list(batches([], 20)) == []


@pytest.mark.parametrize("streams", [1, 3])
def test_streams_share_the_cores_and_change_nothing(streams: int) -> None:
    together = make(beam_size=2, tokens_per_batch=30)
    expected = together.nbest(LINES)
    engine = together.engine
    assert isinstance(engine, NativeEngine)
    threads, seen, step = torch.get_num_threads(), [], engine.model.step
    torch.set_num_threads(6)
    try:
        engine.streams = streams
        engine.model.step = lambda *given: (seen.append(torch.get_num_threads()), step(*given))[1]
        found = together.nbest(LINES)
        assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {6 // streams}
    assert [one.text for one in found] == [one.text for one in expected]
    torch.testing.assert_close([one.score for one in found], [one.score for one in expected], rtol=0, atol=1e-4)
