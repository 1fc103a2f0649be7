"""Updates: their results do not depend on how they are split, and bad ones are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from nmt.attention.contract import LearnsFromUpdates
from nmt.config.schema import ScheduleConfig, TrainingConfig
from nmt.data.batch import Batch, collate
from nmt.data.batching import Update
from nmt.errors import NmtError
from nmt.evaluation.metrics import Score
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.weights import load_weights
from nmt.training.limits import Signals
from nmt.training.loss import batch_loss
from nmt.training.monitor import Monitor
from nmt.training.shown_attention import ShownAttention
from nmt.training.trainer import Trainer
from nmt.training.validation import Metric, Translated, Validation
from tests.models.variants import tiny_model
from tests.training.tiny import events

CPU = torch.device("cpu")
PAIRS = [([4] * n + [3], [5] * m + [3]) for n, m in [(1, 6), (2, 2), (7, 1), (3, 3), (5, 4)]]


def update(position: int, *splits: int) -> Update:
    """Return an update with all pairs, split into micro-batches of the given sizes."""
    batches: list[Batch] = []
    for size in splits or (len(PAIRS),):
        begun = sum(batch.src.shape[0] for batch in batches)
        pairs = PAIRS[begun : begun + size]
        batches.append(collate([source for source, _ in pairs], [target for _, target in pairs]))
    tokens = [sum(map(len, side)) for side in zip(*PAIRS, strict=True)]
    return Update(0, position, batches, tokens[0], tokens[1], sum(tokens), len(PAIRS))


class Finding(NamedTuple):
    """A stand-in for Validator that returns given results."""

    find: Callable[[], Validation]

    def validate(self, signals: Signals, always: bool = False) -> Validation:
        return self.find()

    def estimate(self) -> float:
        return 0.25


def found(bleu: float = 0.0, loss: float = 1.0, chrf: float = 0.0, ranked_by: Metric = "bleu") -> Validation:
    scores = Score("bleu", bleu, "nrefs:1"), Score("chrf", chrf, "nrefs:1")
    return Validation(loss, Translated(*scores, 9, []), 9, 9, 5.0, ShownAttention([], []), ranked_by)


def nothing() -> Validation:
    return found()


def trainer(folder: Path, *splits: int, variant: str = "rnnsearch", **config: Any) -> Trainer:
    def updates(epoch: int, position: int) -> Iterator[Update]:
        while True:
            yield update(position, *splits)
            position += 1

    model = tiny_model(variant).double()
    settings = TrainingConfig(**{"max_steps": 3, "learning_rate": 0.01, "patience": None, **config})
    settings.schedule.warmup_steps = 0
    folder.mkdir(exist_ok=True)
    return Trainer(settings, folder, model, updates, Finding(nothing), Monitor(folder), CPU)


def test_one_pass_equals_micro_batches_of_ragged_lengths(tmp_path: Path) -> None:
    runs = {splits: trainer(tmp_path / str(len(splits)), *splits) for splits in [(), (2, 3), (1, 1, 1, 1, 1)]}
    for run in runs.values():
        run.run()
    whole = runs.pop(())
    for split in runs.values():
        for (name, ours), theirs in zip(split.model.named_parameters(), whole.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, msg=name)
        assert split.window.metrics()["loss"] == pytest.approx(whole.window.metrics()["loss"], rel=1e-5)


def test_an_update_follows_the_gradient_of_the_mean_loss_of_a_token(tmp_path: Path) -> None:
    run = trainer(tmp_path, 2, 3, label_smoothing=0.1, clip_norm=None)
    model, batch = tiny_model("rnnsearch").double().train(), update(0).batches[0]
    logits = model.projection(model(batch.src, batch.src_mask, batch.tgt_in).hidden)
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.tgt_out.flatten(), ignore_index=0, label_smoothing=0.1
    )
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    seen: list[Any] = []
    run.optimizer.register_step_pre_hook(lambda *_: seen.extend(parameter.grad for parameter in run.model.parameters()))
    run.model.train()
    run.train_step(update(0, 2, 3))
    for ours, theirs in zip(seen, gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
    metrics = run.window.metrics()
    assert metrics["gradient_norm"] == pytest.approx(float(norm), rel=1e-4)
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_clipping_brings_the_norm_of_all_gradients_down(tmp_path: Path) -> None:
    run = trainer(tmp_path, clip_norm=1e-3)
    seen: list[Any] = []
    run.optimizer.register_step_pre_hook(lambda *_: seen.extend(parameter.grad for parameter in run.model.parameters()))
    run.train_step(update(0))
    assert float(torch.stack([gradient.norm() for gradient in seen]).norm()) == pytest.approx(1e-3, rel=1e-3)
    assert run.window.metrics()["gradient_norm"] > 0.1  # the norm before clipping is reported


class Learner(nn.Module, LearnsFromUpdates):
    """A part that keeps the losses of the last update in a buffer, and counts the updates."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(3, dtype=torch.float64))

    def after_update(self, losses: Mapping[str, torch.Tensor]) -> None:
        assert list(losses) == ["nll", "doubly_stochastic"]
        self.seen.copy_(torch.stack([self.seen[0] + 1, *losses.values()]))


def test_a_part_learns_from_the_losses_of_each_update_however_it_is_split(tmp_path: Path) -> None:
    """The losses are those of the whole update, per target token; what is learned is in the checkpoint."""
    batch = update(0).batches[0]
    for number, splits in enumerate([(), (2, 3), (1, 1, 1, 1, 1)]):
        run = trainer(tmp_path / str(number), *splits, variant="rnnsearch-doubly-stochastic", learning_rate=1e-9)
        part = run.model.decoder.part = Learner()
        run.run()
        loss = batch_loss(run.model, batch, CPU)
        wanted = torch.stack([loss.nll, *loss.terms]) / int((batch.tgt_out != 0).sum())
        torch.testing.assert_close(part.seen, torch.cat((torch.tensor([3.0]), wanted)).double(), rtol=1e-5, atol=0)
        assert torch.equal(load_weights(tmp_path / str(number), "last")[0]["decoder.part.seen"], part.seen)


@pytest.mark.parametrize("waits", [True, False], ids=["checked at once", "checked when read, as on a GPU"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_before_it_is_applied(tmp_path: Path, poison: float, waits: bool) -> None:
    run = trainer(tmp_path, max_steps=8, log_every=4, validate_every=2, max_rollbacks=0)
    run.waits = waits
    clip, good = Trainer._clip, []

    def poisoned() -> torch.Tensor:
        if run.progress.step == 2:
            good.extend(parameter.detach().clone() for parameter in run.model.parameters())
            next(run.model.parameters()).grad.flatten()[0] = poison  # type: ignore[union-attr]
        return clip(run)

    run._clip = poisoned  # type: ignore[method-assign]
    with pytest.raises(
        NmtError, match=r"update 3 \(number 3 of epoch 1: 5 sentences of up to 8 source and 7 target tokens\)"
    ):
        run.run()
    assert find_checkpoint(tmp_path).step == 2
    for ours, (name, theirs) in zip(good, run.model.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        assert torch.equal(ours, load_weights(tmp_path, "last")[0][name]), name
    assert [event["step"] for event in events(tmp_path)] == [2]


@pytest.mark.parametrize("good", [0, 2], ids=["from the start", "from a checkpoint"])
@pytest.mark.parametrize("waits", [True, False], ids=["checked at once", "checked when read, as on a GPU"])
def test_after_a_bad_update_training_goes_back_and_on_with_a_lower_rate(tmp_path: Path, waits: bool, good: int) -> None:
    """A run with one bad update equals a run whose rate was lowered at the checkpoint before it."""
    runs = {}
    for name in ("poisoned", "lowered"):
        run = runs[name] = trainer(tmp_path / name, max_steps=6, validate_every=2, checkpoint_every=2, log_every=1)
        run.waits, clip, begun = waits, Trainer._clip, []

        def changed(run: Trainer = run, clip: Any = clip, begun: list[int] = begun, name: str = name) -> torch.Tensor:
            if run.progress.step == good and name == "lowered":
                run.schedule.lowered = 0.5
            if run.progress.step == good + 1 and name == "poisoned" and not begun:
                begun.append(1)
                next(run.model.parameters()).grad.flatten()[0] = float("nan")  # type: ignore[union-attr]
            return clip(run)

        run._clip = changed  # type: ignore[method-assign]
        run.run()
    for (name, ours), theirs in zip(
        runs["poisoned"].model.named_parameters(), runs["lowered"].model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    (rollback,) = events(tmp_path / "poisoned", "rollback")
    assert (rollback["step"], rollback["learning_rate_factor"]) == (good, 0.5)
    assert f"update {good + 2} (number {good + 2} of epoch 1" in rollback["diagnosis"]
    steps = [event["step"] for event in events(tmp_path / "poisoned", "train")]
    assert steps == [1, 2, 3, 4, 5, 6], "what was told of the updates that were lost is taken back"


def test_each_way_back_to_the_start_lowers_the_rate_further(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_steps=4, validate_every=4, max_rollbacks=3)

    def fails_above_a_quarter() -> torch.Tensor:
        if run.progress.step == 1 and run.schedule.lowered > 0.25:
            next(run.model.parameters()).grad.flatten()[0] = float("nan")  # type: ignore[union-attr]
        return Trainer._clip(run)

    run._clip = fails_above_a_quarter  # type: ignore[method-assign]
    run.run()
    assert [event["learning_rate_factor"] for event in events(tmp_path, "rollback")] == [0.5, 0.25]
    assert (run.progress.step, run.progress.rollbacks) == (4, 2)


def test_a_loss_that_explodes_is_found_though_finite_and_the_run_ends_after_its_rollbacks(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_steps=60, validate_every=10, learning_rate=0.01, max_rollbacks=2)
    step = Trainer.train_step

    def explode(update: Update) -> None:
        if run.progress.step == 12:
            with torch.no_grad():
                run.model.projection.weight.mul_(300.0)
        step(run, update)

    run.train_step = explode  # type: ignore[method-assign]
    with pytest.raises(
        NmtError, match=r"diverged again after 2 rollback\(s\).*sentences of up to 8 source.*learning_rate"
    ):
        run.run()
    assert [event["learning_rate_factor"] for event in events(tmp_path, "rollback")] == [0.5, 0.25]
    assert find_checkpoint(tmp_path, "last").step == 10


def test_an_additional_loss_below_zero_is_no_divergence(tmp_path: Path) -> None:
    run = trainer(tmp_path, variant="rnnsearch-doubly-stochastic", learning_rate=1e-6)
    run.model.decoder.doubly_stochastic = -100.0
    run.run()
    assert run.window.metrics()["loss"] < -10


def test_the_moving_average_is_what_its_equation_says(tmp_path: Path) -> None:
    """v_t = d_t v_{t-1} + (1 - d_t) w_t with d_t = min(d, (1 + t) / (10 + t)) is what is validated and saved."""
    run = trainer(tmp_path, max_steps=4, validate_every=4, ema_decay=0.4)
    expected = [weight.detach().clone() for weight in run.model.parameters()]
    step, validated = Trainer.train_step, []

    def follow(update: Update) -> None:
        step(run, update)
        decay = min(0.4, (1 + run.progress.step) / (10 + run.progress.step))
        for mean, weight in zip(expected, run.model.parameters(), strict=True):
            mean.mul_(decay).add_(weight.detach(), alpha=1 - decay)

    def validate() -> Validation:
        validated.extend(weight.detach().clone() for weight in run.model.parameters())
        return nothing()

    run.train_step = follow  # type: ignore[method-assign]
    run.validator = Finding(validate)
    run.run()
    saved, _ = load_weights(tmp_path, "last")
    for (name, weight), mean, seen in zip(run.model.named_parameters(), expected, validated, strict=True):
        torch.testing.assert_close(seen, mean)
        assert torch.equal(saved[name], seen), name
        assert not torch.equal(weight, seen), "training goes on with the weights themselves"


@pytest.mark.parametrize(("scores", "taken"), [((3.0, 5.0, 4.0, 6.0), True), ((3.0, 5.0, 4.0, 4.5), False)])
def test_the_average_of_the_best_is_taken_if_it_is_better(
    tmp_path: Path, scores: tuple[float, ...], taken: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    coming = iter(scores)
    run = trainer(tmp_path, max_steps=6, validate_every=2, keep_best=2, average="best")
    run.validator = Finding(lambda: found(next(coming)))
    run.run()
    (event,) = events(tmp_path, "average")
    assert (event["steps"], event["taken"], event["bleu"]) == ([4, 6], taken, scores[-1])
    said = capsys.readouterr().err
    assert f"BLEU {scores[-1]:.2f}  chrF 0.00  ({'taken' if taken else 'not taken'})\n" in said
    assert "the best checkpoint, of step 4: loss 1.000  BLEU 5.00\n" in said
    ours, info = load_weights(tmp_path)
    assert info.averaged == taken
    if taken:
        parts = [load_weights(tmp_path, step)[0] for step in (4, 6)]
        for name, weight in ours.items():
            torch.testing.assert_close(weight, (parts[0][name] + parts[1][name]) / 2)


def test_last_and_best_checkpoints_stay_and_patience_ends_the_run(tmp_path: Path) -> None:
    scores = iter([1.0, 5.0, 4.0, 3.0, 2.0])
    run = trainer(tmp_path, max_steps=None, patience=3, validate_every=2, checkpoint_every=4, keep_best=2)
    run.validator = Finding(lambda: found(next(scores)))
    run.run()
    assert find_checkpoint(tmp_path, "best").step == 4
    assert find_checkpoint(tmp_path, "last").step == 10
    assert sorted(path.name[-2:] for path in (tmp_path / "checkpoints").glob("step-*")) == ["04", "06", "08", "10"]
    assert [(event["bleu"], event["best"]) for event in events(tmp_path, "validation")] == [
        (1.0, True), (5.0, True), (4.0, False), (3.0, False), (2.0, False),
    ]  # fmt: skip
    assert events(tmp_path)[-1]["reason"] == "training.patience=3"


@pytest.mark.parametrize(
    ("ranked_by", "best"), [("loss", 2), ("bleu", 3), ("chrf", 4)], ids=["the least loss", "BLEU", "chrF"]
)
def test_checkpoints_are_ranked_by_the_metric_of_the_validation(tmp_path: Path, ranked_by: Metric, best: int) -> None:
    coming = iter([(1.0, 2.0, 1.0), (1.0, 1.0, 2.0), (2.0, 3.0, 1.5), (1.5, 2.0, 2.5)])
    run = trainer(tmp_path, max_steps=4, validate_every=1)
    run.validator = Finding(lambda: found(*next(coming), ranked_by))
    run.run()
    assert find_checkpoint(tmp_path, "best").step == best


def test_while_scores_tie_a_lower_loss_is_better_and_a_run_whose_loss_falls_no_more_ends(tmp_path: Path) -> None:
    losses = iter([3.0, 2.5, 2.0, 1.5, 1.6, 1.5, 9.0])
    run = trainer(
        tmp_path, max_steps=None, patience=2, validate_every=1, keep_best=2, keep_last=1,
        schedule=ScheduleConfig(name="plateau", plateau_patience=2),
    )  # fmt: skip
    run.validator = Finding(lambda: found(bleu=0.0, loss=next(losses)))
    run.run()
    assert [event["best"] for event in events(tmp_path, "validation")] == [True, True, True, True, False, False]
    assert events(tmp_path)[-1]["reason"] == "training.patience=2"
    assert find_checkpoint(tmp_path, "best").step == 4
    assert sorted(path.name[-2:] for path in (tmp_path / "checkpoints").glob("step-*")) == ["04", "06"], "4 before 6"
    assert run.schedule.factor == 0.5, "the plateau schedule waited for the same validations"


def test_a_score_decides_before_the_loss_and_what_looks_the_same_is_the_same() -> None:
    assert found(bleu=10.01, loss=5.0).rank > found(bleu=10.0, loss=1.0).rank
    assert found(bleu=10.004, loss=5.0).rank < found(bleu=9.996, loss=4.0).rank, "both are shown as 10.00"
    assert found(bleu=0.67, loss=3.1).rank < found(bleu=0.0, loss=2.7).rank, "below one point a score is chance"
    assert found(bleu=1.0, loss=3.1).rank > found(bleu=0.99, loss=2.7).rank
    assert found(chrf=2.0, bleu=9.0, ranked_by="chrf").rank < found(chrf=3.0, bleu=1.0, ranked_by="chrf").rank
    assert found(loss=1.0001, ranked_by="loss").rank > found(loss=1.0002, bleu=50.0, ranked_by="loss").rank


@pytest.mark.parametrize(("loss", "taken"), [(0.9, True), (1.1, False)])
def test_an_average_that_ties_is_taken_for_a_lower_loss(tmp_path: Path, loss: float, taken: bool) -> None:
    losses = iter([1.2, 1.0, loss])
    run = trainer(tmp_path, max_steps=4, validate_every=2, keep_best=2, average="best")
    run.validator = Finding(lambda: found(loss=next(losses)))
    run.run()
    assert load_weights(tmp_path)[1].averaged == taken
