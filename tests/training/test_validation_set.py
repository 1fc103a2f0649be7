"""The limits of a validation: it does not translate too much, too long or too early."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from nmt.config.schema import SearchConfig
from nmt.data.prepare import Prepared, prepare
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter
from nmt.models.build import build_model
from nmt.training import validation
from nmt.training.limits import Rank, Signals
from nmt.training.monitor import summary
from nmt.training.train import train
from nmt.training.trainer import Trainer
from nmt.training.validation import Validation, Validator
from nmt.training.validation_set import length_ratio, spread_over_each, unigram_entropy, validation_search
from tests.training.tiny import assert_same_run, events, tiny_config


def store_of(folder: Path, lengths: list[tuple[int, int]], target_id: int = 5) -> Store:
    """Return a store with pairs of the given numbers of source and target tokens."""
    folder.mkdir()
    with StoreWriter(folder, 9, 9, 1) as writer:
        for source, target in lengths:
            writer.add([4] * source, [target_id] * target, "a", "b", 0)
    return Store(folder)


def test_nearly_all_training_pairs_fit_the_length_bound_and_an_odd_one_does_not(tmp_path: Path) -> None:
    lengths = [(source, source + source // 3) for source in range(1, 41) for _ in range(50)]
    store = store_of(tmp_path / "store", [*lengths, (3, 39)])
    search = dataclasses.replace(SearchConfig(max_length_offset=4), max_length_ratio=5.0)
    bounded = validation_search(search, 1, length_ratio(store, search.max_length_offset))
    assert all(target <= bounded.longest(source) for source, target in lengths)
    assert bounded.longest(3) < 10
    assert any(target + 1 > bounded.longest(source) for source, target in lengths), "no looser than need be"


@pytest.mark.parametrize(("ratio", "expected"), [(None, 1.5), (9.0, 1.5), (1.25, 1.25), (0.1, 0.5), (-3.0, 0.5)])
def test_validation_searches_as_configured_but_for_beam_and_lengths(ratio: float | None, expected: float) -> None:
    search = SearchConfig(min_length_ratio=0.5, max_length_ratio=1.5, length_penalty=0.3, coverage_penalty=0.2)
    assert validation_search(search, 3, ratio) == dataclasses.replace(search, beam_size=3, max_length_ratio=expected)


def test_the_loss_of_frequencies_alone_is_their_entropy(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    with StoreWriter(folder, 9, 9, 1) as writer:
        for _ in range(1000):
            writer.add([4], [5, 6, 7, 8], "a", "b", 0)
            writer.add([4], [8, 7, 6, 5], "a", "b", 0)
    assert unigram_entropy(Store(folder), 9) == pytest.approx(math.log(4), rel=0.01)


def test_a_few_sentences_do_not_look_easy(tmp_path: Path) -> None:
    """A few sentences hardly repeat any token, and a single one may repeat none at all."""
    assert unigram_entropy(store_of(tmp_path / "one", [(1, 6)]), 3000) > math.log(3000) / 2


def test_chosen_sentences_are_spread_over_each_corpus() -> None:
    assert spread_over_each([9, 4], 3) == [0, 3, 6, 9, 10, 11]
    assert spread_over_each([2, 3], None) == [0, 1, 2, 3, 4]
    assert spread_over_each([2, 3], 5) == [0, 1, 2, 3, 4]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(tiny_config(tmp_path), lambda _: None)


def validator(folder: Path, prepared: Prepared, ratio: float | None = None) -> Validator:
    torch.manual_seed(1)
    config = tiny_config(folder)
    model = build_model(config.model, prepared.tokenizer.source_size, prepared.tokenizer.target_size)
    return Validator(config, prepared, model, torch.device("cpu"), length_ratio=ratio)


def test_nothing_is_translated_above_the_loss_of_frequencies_unless_asked(tmp_path: Path, prepared: Prepared) -> None:
    made = validator(tmp_path, prepared)
    early = made.validate(Signals())
    assert early.loss > made.unigram_loss
    assert early.translated is None
    assert "not translated yet: the loss is above" in summary(early)
    assert "BLEU" not in summary(early)
    assert early.rank == Rank(0.0, -early.loss), "as of a score by chance: the loss decides"
    always = made.validate(Signals(), always=True)
    assert always.translated is not None
    assert always.loss == early.loss
    made.unigram_loss = early.loss
    assert made.validate(Signals()).translated == always.translated


def test_far_above_the_loss_of_frequencies_a_part_is_enough(tmp_path: Path, prepared: Prepared) -> None:
    made = validator(tmp_path, prepared)
    made.loss_batches = [[row] for row in range(9)]
    whole = made.validate(Signals(), always=True)
    made.unigram_loss = whole.loss - 2
    part = made.validate(Signals())
    made.model.eval()
    tokens = sum(len(prepared.val.target(row)) for row in (0, 4, 8))
    with torch.no_grad():
        assert part.loss == pytest.approx(made.nll([[0, 4, 8]]) / tokens, rel=1e-5)
    assert (part.loss_sentences, whole.loss_sentences, part.sentences) == (3, 9, 9)
    assert "on 3 of 9 sentences" in summary(part)
    made.unigram_loss = whole.loss - 0.01
    near = made.validate(Signals())
    assert (near.loss, near.loss_sentences, near.translated) == (whole.loss, 9, None)


def test_translations_keep_to_the_bound(tmp_path: Path, prepared: Prepared) -> None:
    """An untrained model continues up to the maximum length."""
    lengths = {}
    for ratio in (0.0, None):
        made = validator(tmp_path, prepared, ratio)
        sources = [source for source, _ in made.lines]
        made.model.eval()
        lengths[ratio] = [len(each.hypotheses[0].tokens) for each in made.translator.nbest(sources)]
    assert max(lengths[0.0]) <= tiny_config(tmp_path).search.max_length_offset < max(lengths[None])


def test_a_trial_leaves_the_model_and_randomness_as_they_are(tmp_path: Path, prepared: Prepared) -> None:
    made = validator(tmp_path, prepared)
    made.model.train()
    before = torch.get_rng_state()
    assert made.estimate() > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert made.model.training


def floor_between(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the loss fall below that of word frequencies in the middle of a tiny training."""
    train(tiny_config(folder, "first", training__max_steps=8, training__validate_every=2))
    losses = [event["loss"] for event in events(folder / "first", "validation")]
    monkeypatch.setattr(validation, "unigram_entropy", lambda val, vocabulary: losses[1])


def test_once_translated_always_translated_and_a_resumption_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor_between(monkeypatch, tmp_path)
    asked: list[bool] = []
    original = Validator.validate

    def note(self: Validator, signals: Signals, always: bool = False) -> Validation:
        asked.append(always)
        return original(self, signals, always)

    monkeypatch.setattr(Validator, "validate", note)
    train(tiny_config(tmp_path, "whole", training__max_steps=8, training__validate_every=2))
    assert asked == [False, False, True, True], "those after the first that was translated are, whatever the loss"
    for steps in (3, 5, 8):
        train(tiny_config(tmp_path, "parts", training__max_steps=steps, training__validate_every=2))
    assert asked[4:] == [False, False, False, True, True, True], "of steps 2 and 3; 4 and 5; 6 and 8"
    told = {event["step"]: event for event in events(tmp_path / "whole", "validation")}
    assert ["bleu" in told[step] for step in (2, 4, 6, 8)] == [False, True, True, True]
    assert "chrf" not in told[2]
    assert "signature" not in told[2]
    parts = {event["step"]: event for event in events(tmp_path / "parts", "validation")}
    for step, event in told.items():
        assert {key: parts[step].get(key) for key in ("loss", "bleu", "chrf")} == {
            key: event.get(key) for key in ("loss", "bleu", "chrf")
        }


def test_a_trial_of_the_validation_changes_no_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one run the validation is tried after each update, in the other never."""
    train(tiny_config(tmp_path, "never"))
    tried: list[int] = []
    original = Trainer._try_validation

    def note(self: Trainer) -> None:
        original(self)
        tried.append(self.progress.step)
        self.progress.validation_seconds = 0.0  # so that the trial is repeated

    monkeypatch.setattr(Trainer, "_try_validation", note)
    monkeypatch.setattr("nmt.training.limits._UNTRIED", 0.0)
    train(tiny_config(tmp_path, "often", training__max_minutes=60.0))
    assert tried == [1, 2, 3, 4, 5, 6]
    never, often = (events(tmp_path / run)[-1]["step"] for run in ("never", "often"))
    assert never == often
    assert_same_run(tmp_path / "never", tmp_path / "often")
