"""The trial of the largest batches: they are large enough, leave no trace, and are handled if they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.config.schema import TrainingConfig
from nmt.data.batch import Batch
from nmt.data.batching import Updates
from nmt.data.store import Store
from nmt.data.tokenizer import BOS, PAD
from nmt.errors import NmtError
from nmt.models.seq2seq import Seq2Seq
from nmt.training import train as train_module
from nmt.training import trial as trial_module
from nmt.training.loss import Loss, batch_loss
from nmt.training.train import train
from nmt.training.trial import Trial
from tests.data.test_batching import make_store, same, take
from tests.models.variants import tiny_model
from tests.training.tiny import assert_same_run, tiny_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trial")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    rng = np.random.default_rng(0)
    source = rng.gamma(4, 4, 600).astype(int) + 2
    target = np.maximum(source + rng.normal(0, 3, 600).astype(int), 2)
    return make_store(folder / "store", list(zip(source.tolist(), target.tolist(), strict=True)))


def size(batch: Batch) -> int:
    return len(batch.src) * max(batch.src.size(1), batch.tgt_out.size(1))


# -- the largest batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize(
    ("budget", "split"), [(100, None), (500, None), (500, 100), (4096, None), (4096, 777), (10**6, None)]
)
@pytest.mark.parametrize("world_size", [1, 3])
def test_no_batch_of_an_epoch_exceeds_the_largest(
    store: Store, budget: int, split: int | None, multiple: int, world_size: int
) -> None:
    ranks = [
        Updates(store, budget, split, multiple=multiple, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    largest = ranks[0].largest(split)
    lengths = [max(batch.src.size(1) for batch in largest), max(batch.tgt_out.size(1) for batch in largest)]
    tokens = max(batch.src.numel() + batch.tgt_out.numel() for batch in largest)
    cells = max(len(batch.src) * (batch.src.size(1) + batch.tgt_out.size(1)) ** 2 for batch in largest)
    shares = [update for updates in ranks for update in take(updates, len(updates.epoch(0)))]
    found = [batch for share in shares for batch in share.batches]
    for batch in found:
        assert batch.src.size(1) <= lengths[0] and batch.tgt_out.size(1) <= lengths[1]
        assert batch.src.numel() + batch.tgt_out.numel() <= 1.05 * tokens
        assert len(batch.src) * (batch.src.size(1) + batch.tgt_out.size(1)) ** 2 <= 1.05 * cells
    assert lengths == [max(batch.src.size(1) for batch in found), max(batch.tgt_out.size(1) for batch in found)]
    assert all(size(batch) <= (split or budget) for batch in largest), "the sampler would not form it"
    if budget == 500 and world_size == 1:
        assert tokens < 1.2 * max(batch.src.numel() + batch.tgt_out.numel() for batch in found), "nor is it far off"


def test_the_largest_batches_are_full_of_valid_ids(store: Store) -> None:
    ids = {id for row in range(len(store)) for id in (*store.source(row).tolist(), *store.target(row).tolist())}
    for batch in Updates(store, 500, multiple=8).largest(None):
        assert batch.src_mask.all() and batch.src_mask.shape == batch.src.shape
        assert set(batch.src.flatten().tolist()) | set(batch.tgt_out.flatten().tolist()) <= ids - {PAD}
        assert (batch.tgt_in[:, 0] == BOS).all() and torch.equal(batch.tgt_in[:, 1:], batch.tgt_out[:, :-1])
        assert {tensor.dtype for tensor in batch[:5]} == {torch.int64, torch.bool}


# -- without a trace ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"rdrop": 1.0, "ema_decay": 0.9, "precision": "bf16"}], ids=["plain", "all"])
@pytest.mark.parametrize("variant", ["cho", "rnnsearch", "luong-general", "transformer-post"])
def test_the_trial_leaves_no_trace(folder: Path, variant: str, settings: dict[str, Any]) -> None:
    path = folder / "few"
    few = Store(path) if path.exists() else make_store(path, [(3, 5), (9, 4), (2, 2), (7, 8)])
    model = tiny_model(variant, vocabulary=20).eval()
    updates = Updates(few, 20)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before, random = take(updates, 8), torch.get_rng_state()
    config = TrainingConfig(tokens_per_update=20, **settings)
    for split in (None, 9):
        Trial(updates, model, config, CPU).check(split)
    assert Trial(updates, model, config, CPU).find(None) == 20
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    assert all(same(one, other) for one, other in zip(take(updates, 8), before, strict=True))


def test_a_run_is_the_same_without_a_trial(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny_config(folder, "tried"))
    monkeypatch.setattr(Trial, "check", lambda self, tokens: None)
    train(tiny_config(folder, "not-tried"))
    assert_same_run(folder / "tried", folder / "not-tried")


# -- what does not fit --------------------------------------------------------------------------------------------


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


def small_memory(monkeypatch: pytest.MonkeyPatch, tokens: int, error: Exception = ERRORS[0]) -> list[Batch]:
    """Let the trial run out of memory for batches with more padded tokens; return the list of batches it tries."""
    tried: list[Batch] = []

    def loss(model: Seq2Seq, batch: Batch, *rest: Any) -> Loss:
        tried.append(batch)
        if size(batch) > tokens:
            raise error
        return batch_loss(model, batch, *rest)

    monkeypatch.setattr(trial_module, "batch_loss", loss)
    return tried


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python"])
def test_out_of_memory_is_one_sentence(folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = small_memory(monkeypatch, 100, error)
    with pytest.raises(NmtError) as refused:
        train(tiny_config(folder, "refused"))
    sentences, source, target = len(tried[0].src), tried[0].src.size(1), tried[0].tgt_out.size(1)
    assert sentences > 1
    assert str(refused.value) == (
        f"a batch of {sentences} sentences with {source} source and {target} target tokens each, which may occur "
        "in training, does not fit into memory (cpu): set training.tokens_per_device to less than 150, or to auto, or "
        "lower data.cleaning.max_tokens"
    )
    assert not (folder / "refused" / "checkpoints").exists()


def test_other_errors_are_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_memory(monkeypatch, 100, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(tiny_config(folder, "broken", training__tokens_per_device="auto"))


# -- training.tokens_per_device=auto ------------------------------------------------------------------------------


def recorded(run: Path) -> int:
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    assert isinstance(environment["tokens_per_device"], int)
    return int(environment["tokens_per_device"])


def test_auto_halves_an_update_until_it_fits_and_a_run_keeps_its_split(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"training__tokens_per_device": "auto"}
    with monkeypatch.context() as patch:
        small_memory(patch, 80)
        train(tiny_config(folder, "auto", **changes))
        assert "auto: 75 of the 150 tokens of an update fit into memory at once\n" in capsys.readouterr().err
        train(tiny_config(folder, "continued", **changes, training__max_steps=3))
    assert recorded(folder / "continued") == 75
    tried = small_memory(monkeypatch, 10**9)  # more memory than at the start
    train(tiny_config(folder, "continued", **changes))
    assert recorded(folder / "continued") == 75
    assert max(map(size, tried)) <= 75
    assert_same_run(folder / "continued", folder / "auto")
    train(tiny_config(folder, "number", training__tokens_per_device=75))
    assert_same_run(folder / "number", folder / "auto")


def test_auto_leaves_an_update_whole_that_fits(folder: Path) -> None:
    train(tiny_config(folder, "whole"))
    train(tiny_config(folder, "auto-whole", training__tokens_per_device="auto"))
    assert recorded(folder / "auto-whole") == 150
    assert_same_run(folder / "auto-whole", folder / "whole")


def test_auto_goes_on_in_less_memory_and_says_that_it_rounds_differently(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"training__tokens_per_device": "auto"}
    train(tiny_config(folder, "smaller", **changes, training__max_steps=3))
    small_memory(monkeypatch, 80)
    train(tiny_config(folder, "smaller", **changes))
    assert "fit into memory at once (it was 150: from now on sums are rounded differently)" in capsys.readouterr().err
    assert recorded(folder / "smaller") == 75


def test_auto_ends_where_one_sentence_does_not_fit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = Updates(store, 500)
    tried = small_memory(monkeypatch, 10)
    with pytest.raises(NmtError, match=r"a batch of one sentence .*\(cpu\): lower data.cleaning.max_tokens$"):
        Trial(updates, tiny_model("cho"), TrainingConfig(tokens_per_update=500), CPU).find(None)
    assert [size(batch) for batch in tried][-1] == max(updates.longest())
    assert sorted(map(size, tried), reverse=True) == [size(batch) for batch in tried]


def test_the_loss_of_validation_keeps_to_what_was_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []

    class Validator(train_module.Validator):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            seen.append(arguments[4])
            longer = np.maximum(self.store.source_lengths, self.store.target_lengths)
            assert all(len(rows) * longer[rows].max() <= arguments[4] for rows in self.loss_batches)

    monkeypatch.setattr(train_module, "Validator", Validator)
    small_memory(monkeypatch, 80)
    for split in ("auto", 60):
        train(tiny_config(folder, f"validated-{split}", training__tokens_per_device=split, training__max_steps=1))
    assert seen == [75, 60]
