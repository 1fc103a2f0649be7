"""The reports of a run: TensorBoard, metrics.jsonl, plain lines and a live line."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nmt.data.batch import collate
from nmt.data.prepare import prepare
from nmt.evaluation.heads import HeadMeter
from nmt.evaluation.metrics import corpus_bleu, score
from nmt.inference.engines.native import NativeEngine
from nmt.inference.translator import Translator
from nmt.models.build import build_model
from nmt.runs.checkpoints import find_checkpoint, has_checkpoint
from nmt.training.checkpoint import load_training_state
from nmt.training.limits import Signals, TrainingProgress
from nmt.training.monitor import Monitor, summary
from nmt.training.train import train
from nmt.training.validation import Validator
from tests.training.tiny import events, killed_in, killed_in_update, tiny_config

METRICS = {
    "loss": 2.5, "nll": 2.0, "perplexity": 7.4, "learning_rate": 0.1, "gradient_norm": 0.7,
    "source_tokens_per_second": 1000.0, "target_tokens_per_second": 500.0, "padding": 0.1, "data_wait": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, translated_from_the_start: None) -> Path:
    """A run that was trained for 3 of its 6 updates and then resumed."""
    folder = tmp_path_factory.mktemp("monitor")
    for steps in (3, 6):
        train(tiny_config(folder, training__max_steps=steps))
    return folder / "run"


@pytest.fixture(scope="module")
def board(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def test_tensorboard_has_every_scalar_once_a_step(run: Path, board: EventAccumulator) -> None:
    names = ("loss", "perplexity", "learning_rate", "gradient_norm", "tokens_per_second")
    expected = {f"train/{name}" for name in names} | {
        f"validation/{name}" for name in ("loss", "perplexity", "bleu", "chrf")
    }
    heads = [f"{place}.0.{head}" for place in ("encoder_self", "decoder_self", "decoder_cross") for head in (0, 1)]
    expected |= {f"{name}/{head}" for name in ("entropy", "distance") for head in heads}
    assert set(board.Tags()["scalars"]) == expected
    assert [event.step for event in board.Scalars("train/loss")] == [2, 4, 6]
    for kind in ("train", "validation"):
        for name in ("loss", "perplexity"):
            told = [event[name] for event in events(run, kind)]
            assert [event.value for event in board.Scalars(f"{kind}/{name}")] == pytest.approx(told)
    for name in ("bleu", "chrf"):
        assert [event.value for event in board.Scalars(f"validation/{name}")] == pytest.approx(
            [event[name] for event in events(run, "validation")]
        )


def test_tensorboard_has_translations_of_fixed_sentences(run: Path, board: EventAccumulator) -> None:
    sources = (run.parent / "text" / "val.aa").read_text("utf-8").splitlines()
    shown = [tag for tag in board.Tags()["tensors"] if tag.startswith("translations/")]
    assert len(shown) == 4
    for tag in shown:
        texts = [event.tensor_proto.string_val[0].decode() for event in board.Tensors(tag)]
        assert len(texts) == 2
        assert any(f"| source | {source} |" in texts[0] and f"| source | {source} |" in texts[1] for source in sources)
        assert "| translation |" in texts[0]


def test_tensorboard_has_attention_maps_that_are_not_blank(board: EventAccumulator) -> None:
    tags = [tag for tag in board.Tags()["images"] if tag.startswith("attention/")]
    assert len(tags) == 2
    for tag in tags:
        images = board.Images(tag)
        assert len(images) == 2
        for image in images:
            pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB"))
            assert pixels.shape[0] > 30
            assert pixels.shape[1] > 30
            assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_a_validation_says_what_its_parts_say(tmp_path: Path) -> None:
    """BLEU equals sacreBLEU on the Translator's output, and the loss equals torch's, computed per sentence."""
    config = tiny_config(tmp_path, training__validation_sentences=5)
    prepared = prepare(config, lambda _: None)
    torch.manual_seed(3)
    model = build_model(config.model, prepared.tokenizer.source_size, prepared.tokenizer.target_size).train()
    validator = Validator(config, prepared, model, torch.device("cpu"))
    found = validator.validate(Signals(), always=True)
    assert model.training
    model.eval()
    assert found.translated
    sources, references = ((tmp_path / "text" / f"val.{side}").read_text("utf-8").splitlines() for side in ("aa", "bb"))
    chosen = [0, 1, 3, 5, 7]  # evenly spread over 9 sentences
    greedy = dataclasses.replace(config.search, beam_size=1)
    translator = Translator(NativeEngine(model), prepared.tokenizer, greedy, 99, warn=lambda _: None)
    translations = translator.translate([sources[row] for row in chosen])
    assert found.translated.bleu == corpus_bleu(translations, [references[row] for row in chosen], "bb")
    assert (found.translated.sentences, found.sentences) == (5, 9)
    assert "on 5 of 9 sentences" in summary(found)
    total = tokens = 0.0
    for row in chosen:
        target = torch.tensor(prepared.val.target(row).astype(int))
        src = torch.tensor(prepared.val.source(row).astype(int)).unsqueeze(0)
        tgt_in = torch.cat([torch.tensor([2]), target[:-1]]).unsqueeze(0)
        with torch.no_grad():
            logits = model.projection(model(src, torch.ones_like(src, dtype=torch.bool), tgt_in).hidden)[0]
        total += float(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
        tokens += len(target)
    assert found.loss == pytest.approx(total / tokens, rel=1e-5)
    meter = HeadMeter(model)
    meter.add(
        collate(*([side(row) for row in validator.mapped] for side in (prepared.val.source, prepared.val.target)))
    )
    for ours, theirs in zip(found.attention.heads, meter.measures(), strict=True):
        assert (ours.head, ours.importance) == (theirs.head, None)
        assert ours.entropy == pytest.approx(theirs.entropy, rel=1e-5)
        assert ours.distance == pytest.approx(theirs.distance, rel=1e-5)
    assert any(each.entropy > 0.1 for each in found.attention.heads)
    for attention in found.attention.maps:
        np.testing.assert_allclose(attention.weights.sum(1), 1, rtol=1e-5)
        assert attention.weights.shape == (len(attention.target_tokens), len(attention.source_tokens))


def test_later_lines_are_taken_back_and_half_a_line_too(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path)
    for step in (2, 4, 6):
        monitor.train(TrainingProgress(step=step), METRICS, None)
    monitor.end(TrainingProgress(step=6), "x", 1, "further")
    monitor.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "tr')
    Monitor(tmp_path, TrainingProgress(step=4, validated_step=4), io.StringIO()).close()
    assert [(event["event"], event["step"]) for event in events(tmp_path)] == [("train", 2), ("train", 4)]


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the steps and values of all curves in TensorBoard."""
    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    names = accumulator.Tags()["scalars"]
    return {name: [(event.step, event.value) for event in accumulator.Scalars(name)] for name in names}


def told(run: Path) -> list[tuple[str, int]]:
    return [(event["event"], event["step"]) for event in events(run)]


def test_curves_have_no_duplicates_after_a_kill_before_the_first_checkpoint(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, training__log_every=1)
    killed_in_update(config, 3)
    assert told(tmp_path / "run") == [("train", 1), ("train", 2)]
    assert not has_checkpoint(tmp_path / "run")
    train(config)
    shown = curves(tmp_path / "run")
    for kind, count in (("train", 6), ("validation", 2)):
        expected = [(event["step"], pytest.approx(event["loss"])) for event in events(tmp_path / "run", kind)]
        assert shown[f"{kind}/loss"] == expected
        assert len(expected) == count


def test_a_validation_that_was_not_saved_is_shown_once_and_the_training_before_it_stays(tmp_path: Path) -> None:
    """The run is killed after its last validation, when the checkpoint of that step has already been saved."""
    config = tiny_config(
        tmp_path, training__max_steps=4, training__log_every=1, training__checkpoint_every=2,
        training__average="last",
    )  # fmt: skip
    killed_in(config, "nmt.training.trainer.Trainer.save", "arguments[0].progress.validated_step == 4")
    assert told(tmp_path / "run")[-2:] == [("train", 4), ("validation", 4)]
    assert load_training_state(find_checkpoint(tmp_path / "run", "last"))["progress"]["validated_step"] == 3
    train(config)
    shown = curves(tmp_path / "run")
    assert [step for step, _ in shown["validation/loss"]] == [3, 4]
    for name in ("loss", "learning_rate"):
        expected = [(event["step"], pytest.approx(event[name])) for event in events(tmp_path / "run", "train")]
        assert shown[f"train/{name}"] == expected
        assert [step for step, _ in expected] == [1, 2, 3, 4]


def test_a_rollback_to_the_start_takes_all_back_and_a_restart_the_rollback_too(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path)
    for step in (2, 4):
        monitor.train(TrainingProgress(step=step), METRICS, None)
    monitor.went_back(TrainingProgress(rollbacks=1), "a bad update", 0.5)
    assert told(tmp_path) == [("rollback", 0)]
    monitor.train(TrainingProgress(step=2, rollbacks=1), METRICS | {"loss": 1.5}, None)
    monitor.close()
    assert curves(tmp_path)["train/loss"] == [(2, 1.5)]
    Monitor(tmp_path).close()
    assert told(tmp_path) == [], "no checkpoint knows of the rollback"
    assert curves(tmp_path) == {} or not any(curves(tmp_path).values())


@pytest.mark.parametrize(
    ("targets", "wanted", "taken"),
    [
        (["ki ba.", "lo."], "bleu", "chrf"),
        (["ki ba.", "lo.", "mu de ki."], "bleu", "bleu"),
        (["ki ba.", "lo."], "loss", "loss"),
        (["ki ba.", "lo."], "chrf", "chrf"),
    ],
)
def test_where_bleu_cannot_rise_chrf_ranks_which_is_said(
    tmp_path: Path, targets: list[str], wanted: str, taken: str
) -> None:
    config = tiny_config(tmp_path, training__best_metric=wanted)
    for side in ("aa", "bb"):
        (tmp_path / "text" / f"val.{side}").write_text("".join(f"{line}\n" for line in targets), encoding="utf-8")
    prepared = prepare(config, lambda _: None)
    model = build_model(config.model, prepared.tokenizer.source_size, prepared.tokenizer.target_size)
    said: list[str] = []
    validator = Validator(config, prepared, model, torch.device("cpu"), say=said.append)
    found = validator.validate(Signals(), always=True)
    assert found.ranked_by == taken
    assert found.translated
    scores = {"bleu": found.translated.bleu.score, "chrf": found.translated.chrf.score, "loss": -found.loss}
    assert found.rank == pytest.approx((scores[taken], -found.loss), abs=0.005)
    assert [sentence.partition(":")[0] for sentence in said] == ["training.best_metric=bleu"] * (wanted != taken)
    translations = validator.translator.translate([source for source, _ in validator.lines])
    assert found.translated.chrf == score(translations, targets, ("chrf",))["chrf"]


def test_infinity_is_null_in_json(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path)
    monitor.train(TrainingProgress(step=1), {**METRICS, "perplexity": float("inf")}, None)
    monitor.close()
    assert events(tmp_path)[0]["perplexity"] is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_live_line_and_a_pipe_plain_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        monkeypatch.setattr("sys.stderr", stream)
        monitor = Monitor(tmp_path)
        if monitor.due():
            rates = {"source_tokens_per_second": 2345.0, "target_tokens_per_second": 3333.0}
            monitor.show(TrainingProgress(step=1234), {"loss": 2.345, **rates}, 3700.0)
        monitor.train(TrainingProgress(step=1234), METRICS, 61.0)
        monitor.say("news")
        monitor.close()
    assert terminal.getvalue().startswith("\r\x1b[Kstep 1,234  epoch 1  loss 2.345  5,678 tokens/s  1:01:40 left")
    assert terminal.getvalue().endswith("\r\x1b[Knews\n\r\x1b[K")
    assert terminal.getvalue().count("\n") == 1
    assert "\r" not in pipe.getvalue()
    lines = pipe.getvalue().splitlines()
    assert lines[0].startswith("step 1,234  epoch 1  loss 2.500")
    assert lines[0].endswith("1,500 tokens/s  1:01 left")
