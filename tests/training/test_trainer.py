"""Updates: what they compute however they are split, and when they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.config.schema import TrainingConfig
from nmt.data.batching import Batch, Update, collate
from nmt.errors import NmtError
from nmt.evaluation.metrics import Score
from nmt.training.checkpoint import find_checkpoint, load_weights
from nmt.training.monitor import Monitor
from nmt.training.trainer import Trainer
from nmt.training.validation import Validation
from tests.models.variants import tiny_model
from tests.training.tiny import events

CPU = torch.device("cpu")
PAIRS = [([4] * n + [3], [5] * m + [3]) for n, m in [(1, 6), (2, 2), (7, 1), (3, 3), (5, 4)]]


def update(position: int, *splits: int) -> Update:
    """All pairs as one update, cut into micro-batches of the given sizes."""
    batches: list[Batch] = []
    for size in splits or (len(PAIRS),):
        begun = sum(batch.src.shape[0] for batch in batches)
        pairs = PAIRS[begun : begun + size]
        batches.append(collate([source for source, _ in pairs], [target for _, target in pairs]))
    tokens = [sum(map(len, side)) for side in zip(*PAIRS, strict=True)]
    return Update(0, position, batches, tokens[0], tokens[1], sum(tokens), len(PAIRS))


def never() -> Validation:
    return Validation(1.0, Score("bleu", 0.0, ""), [], [])


def trainer(folder: Path, *splits: int, **config: Any) -> Trainer:
    def updates(epoch: int, position: int) -> Iterator[Update]:
        while True:
            yield update(position, *splits)
            position += 1

    model = tiny_model("rnnsearch").double()
    settings = TrainingConfig(**{"max_steps": 3, "learning_rate": 0.01, "patience": None, **config})
    settings.schedule.warmup_steps = 0
    return Trainer(settings, folder, model, updates, never, Monitor(folder), CPU)


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
    logits = model.projection(model(batch.src, batch.src_mask, batch.tgt_in))
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
    assert run.window.metrics()["gradient_norm"] > 0.1  # what is told is the norm before


@pytest.mark.parametrize("waits", [True, False], ids=["checked at once", "checked when read, as on a GPU"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_before_it_is_applied(tmp_path: Path, poison: float, waits: bool) -> None:
    run = trainer(tmp_path, max_steps=8, log_every=4, validate_every=2)
    run.waits = waits
    clip, good = Trainer._clip, []

    def poisoned() -> torch.Tensor:
        if run.progress.step == 2:
            good.extend(parameter.detach().clone() for parameter in run.model.parameters())
            next(run.model.parameters()).grad.flatten()[0] = poison  # type: ignore[union-attr]
        return clip(run)

    run._clip = poisoned  # type: ignore[method-assign]
    with pytest.raises(NmtError, match="gradient of update 3 is not finite"):
        run.run()
    assert find_checkpoint(tmp_path).step == 2
    for ours, (name, theirs) in zip(good, run.model.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        assert torch.equal(ours, load_weights(tmp_path, "last")[0][name]), name
    assert [event["step"] for event in events(tmp_path)] == [2]


def test_last_and_best_checkpoints_stay_and_patience_ends_the_run(tmp_path: Path) -> None:
    scores = iter([1.0, 5.0, 4.0, 3.0, 2.0])
    run = trainer(tmp_path, max_steps=None, patience=3, validate_every=2, checkpoint_every=4, keep_best=2)
    run.validate = lambda: Validation(1.0, Score("bleu", next(scores), "nrefs:1"), [], [])
    run.run()
    assert find_checkpoint(tmp_path, "best").step == 4
    assert find_checkpoint(tmp_path, "last").step == 10
    assert sorted(path.name[-2:] for path in (tmp_path / "checkpoints").glob("step-*")) == ["04", "06", "10"]
    assert [(event["bleu"], event["best"]) for event in events(tmp_path, "validation")] == [
        (1.0, True), (5.0, True), (4.0, False), (3.0, False), (2.0, False),
    ]  # fmt: skip
    assert events(tmp_path)[-1]["reason"] == "training.patience=3"


def test_best_metric_loss_ranks_by_the_least_loss(tmp_path: Path) -> None:
    losses = iter([2.0, 1.0, 3.0])
    run = trainer(tmp_path, max_steps=3, validate_every=1, best_metric="loss")
    run.validate = lambda: Validation(next(losses), Score("bleu", 0.0, ""), [], [])
    run.run()
    assert find_checkpoint(tmp_path, "best").step == 2
