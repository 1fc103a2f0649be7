"""Checkpoints: whole or absent, checked when read, found by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from nmt.errors import NmtError
from nmt.training.checkpoint import (
    delete_others,
    find_checkpoint,
    load_training_state,
    load_weights,
    save_checkpoint,
    set_pointer,
)


class Tied(nn.Module):
    """Two layers with one matrix, and a buffer that is no contiguous block."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(7, 4)
        self.projection = nn.Linear(4, 7)
        self.projection.weight = self.embedding.weight
        self.register_buffer("table", torch.randn(3, 5).T)


STATE = {"numbers": [1, 2.5, None], "nested": {"tensor": torch.arange(3)}, "text": "ü"}


def test_weights_and_state_come_back_and_tied_weights_are_stored_once(tmp_path: Path) -> None:
    model = Tied()
    path = save_checkpoint(tmp_path, 12, model, STATE)
    assert path == tmp_path / "checkpoints/step-0000000012"
    with safe_open(path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {"embedding.weight", "projection.bias", "table"}
    weights, info = load_weights(tmp_path)
    assert info.step == 12
    other = Tied(seed=1)
    other.load_state_dict(weights)  # strict
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    state = load_training_state(info)
    assert state["numbers"] == [1, 2.5, None]
    assert state["text"] == "ü"
    assert torch.equal(state["nested"]["tensor"], torch.arange(3))
    assert torch.load(path / "training_state.pt", weights_only=True)["text"] == "ü"


def test_a_checkpoint_is_found_by_pointer_or_step_and_best_comes_before_last(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, Tied(step), {})
    assert find_checkpoint(tmp_path).step == 3  # last
    set_pointer(tmp_path, "best", 2)
    assert find_checkpoint(tmp_path).step == 2
    assert find_checkpoint(tmp_path, "last").step == 3
    assert find_checkpoint(tmp_path, 1).step == find_checkpoint(tmp_path, "1").step == 1
    set_pointer(tmp_path, "averaged", 1)
    assert find_checkpoint(tmp_path).step == 1
    for wrong, said in (("worst", "choose best"), (9, "1, 2, 3"), ("step", "choose best")):
        with pytest.raises(NmtError, match=said):
            find_checkpoint(tmp_path, wrong)
    with pytest.raises(NmtError, match="no checkpoint yet"):
        find_checkpoint(tmp_path / "elsewhere")


def test_pointers_survive_a_copy_and_a_move(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", 1, Tied(), {})
    set_pointer(tmp_path / "a", "best", 1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a")
    weights, info = load_weights(tmp_path / "b", "best")
    assert info.path.is_relative_to(tmp_path / "b")
    assert torch.equal(weights["projection.weight"], Tied().projection.weight)


def test_only_those_kept_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, Tied(), {})
    (tmp_path / "checkpoints" / ".step-0000000004.x.partial").mkdir()
    delete_others(tmp_path, [1, 3])
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "last", "step-0000000001", "step-0000000003",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "training_state.pt"])
@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "garbage", "flipped"])
def test_damage_is_one_sentence_that_names_the_file(tmp_path: Path, name: str, how: str) -> None:
    file = save_checkpoint(tmp_path, 1, Tied(), {"tensor": torch.randn(500)}) / name
    data = bytearray(file.read_bytes())
    if how == "missing":
        file.unlink()
    elif how == "flipped":
        middle = data.rfind(b"PK\1\2") // 2 if name.endswith("pt") else len(data) - 40
        data[middle] ^= 0xFF
        file.write_bytes(data)
    else:
        file.write_bytes({"empty": b"", "truncated": bytes(data[:-30]), "garbage": b"\x93" * len(data)}[how])
    with pytest.raises(NmtError) as caught:
        load_weights(tmp_path)
        load_training_state(find_checkpoint(tmp_path))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_still_loads(tmp_path: Path) -> None:
    script = """
        import resource, sys
        import torch
        from nmt.errors import NmtError
        from nmt.training.checkpoint import save_checkpoint
        run_dir, limited = sys.argv[1:]
        model, small = torch.nn.Linear(300, 300), torch.nn.Linear(3, 3)
        big = torch.randn(300, 300)
        save_checkpoint(run_dir, 1, model, {"big": big})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save_checkpoint(run_dir, 2, *((model, {}) if limited == "weights" else (small, {"big": big})))
        except NmtError as error:
            print(error)
    """
    for limited in ("weights", "state"):
        run_dir = tmp_path / limited
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(run_dir), limited],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "step-0000000002 could not be saved" in done.stdout
        assert done.stdout.count("\n") == 1
        assert load_weights(run_dir)[1].step == 1
        assert load_training_state(find_checkpoint(run_dir))["big"].shape == (300, 300)
        assert [path.name for path in (run_dir / "checkpoints").iterdir() if path.is_dir()] == ["step-0000000001"]


def test_saving_the_last_step_again_replaces_its_state(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, Tied(), {"value": 1})
    save_checkpoint(tmp_path, 1, Tied(), {"value": 2})
    assert load_training_state(find_checkpoint(tmp_path))["value"] == 2
