"""Checkpoints: complete or absent, checked when they are read, and found by name."""

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

from nmt.errors import Damaged, NmtError
from nmt.runs.checkpoints import find_checkpoint, has_checkpoint, refuse_strangers, saved_steps, set_pointer
from nmt.runs.weights import load_weights
from nmt.training.average import delete_average, take_average
from nmt.training.checkpoint import delete_others, load_newest, load_training_state, save_checkpoint


class Tied(nn.Module):
    """A module of two layers that share a matrix, and a buffer that is not contiguous."""

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
    other.load_state_dict(weights)  # strict, so all names have to be there
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
    names = (
        "step-0000000003",
        str(tmp_path / "checkpoints" / "step-0000000003"),
        str(tmp_path / "checkpoints" / "last"),
    )
    assert [find_checkpoint(tmp_path, name).step for name in names] == [3, 3, 3]
    for wrong, said in (
        ("worst", "choose best"),
        (9, "1, 2, 3"),
        ("step", "choose best"),
        ("step-3", "choose best"),
        ("step-0000000009", "no checkpoint step-0000000009; it has checkpoints of steps 1, 2, 3"),
        ("averaged-0000000003", "no checkpoint averaged-0000000003"),
        (str(tmp_path / "other" / "checkpoints" / "step-0000000003"), "is no checkpoint of"),
    ):
        with pytest.raises(NmtError, match=said):
            find_checkpoint(tmp_path, wrong)
    with pytest.raises(NmtError, match="no checkpoint yet"):
        find_checkpoint(tmp_path / "elsewhere")


@pytest.mark.parametrize("junk", [b"\nmore", b"\xff\xfe", b" step-0000000002", b"7"], ids=str)
def test_a_damaged_pointer_is_named_in_one_line(tmp_path: Path, junk: bytes) -> None:
    save_checkpoint(tmp_path, 1, Tied(), {})
    best = tmp_path / "checkpoints" / "best"
    best.write_bytes(b"step-0000000001" + junk)
    for asked in (None, "best"):
        with pytest.raises(Damaged) as caught:
            find_checkpoint(tmp_path, asked)
        assert str(caught.value) == (
            f"{best} is damaged: it does not hold the name of a checkpoint's folder: name a step instead"
        )
    assert find_checkpoint(tmp_path, "last").step == 1


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
    (tmp_path / "checkpoints" / ".step-0000000004.ab_3defg.partial").mkdir()
    for half_written in (
        ".last.99999999.partial",
        "step-0000000003/.training_state.pt.99999999.partial",
        "step-0000000003/.checksums.json.99999999.partial",
    ):
        (tmp_path / "checkpoints" / half_written).write_text("x")
    delete_others(tmp_path, [1, 3])
    assert sorted(path.name for path in (tmp_path / "checkpoints").rglob("*")) == sorted([
        "last", "step-0000000001", "step-0000000003", *["checksums.json", "model.safetensors", "training_state.pt"] * 2,
    ])  # fmt: skip


def test_what_has_another_name_is_the_user_s_and_stays(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, Tied(), {})
    checkpoints = tmp_path / "checkpoints"
    copies = ["step-0000000001.bak", "step-1", "step-00000000001", "averaged-0000000001.bak", "step-notes"]
    for name in copies:
        shutil.copytree(checkpoints / "step-0000000001", checkpoints / name)
    others = ["step-notes.txt", ".notes.partial", ".step-notes.12.partial", "step-0000000003/.notes.12.partial"]
    for name in others:
        (checkpoints / name).write_text("mine")
    before = {path.relative_to(checkpoints) for path in checkpoints.rglob("*")}
    assert saved_steps(tmp_path) == [1, 2, 3]
    delete_others(tmp_path, [3])
    delete_average(tmp_path)
    refuse_strangers(tmp_path)
    gone = before - {path.relative_to(checkpoints) for path in checkpoints.rglob("*")}
    assert {path.parts[0] for path in gone} == {"step-0000000001", "step-0000000002"}
    assert saved_steps(tmp_path) == [3]


@pytest.mark.parametrize("name", ["step-0000000001", "averaged-0000000001"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_with_the_name_of_a_checkpoint_is_refused_and_stays(
    tmp_path: Path, name: str, kind: str
) -> None:
    save_checkpoint(tmp_path, 3, Tied(), {})
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "checkpoints" / name
    shutil.copytree(tmp_path / "checkpoints" / "step-0000000003", elsewhere)
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(elsewhere)
    with pytest.raises(NmtError, match=rf"{name} is a {kind}, and has the name of a checkpoint's folder"):
        refuse_strangers(tmp_path)
    delete_others(tmp_path, [3])
    delete_average(tmp_path)
    assert path.is_symlink() if kind == "link" else path.read_text() == "mine"
    assert len(list(elsewhere.iterdir())) == 3


@pytest.mark.parametrize("pointer", [None, b"", b"step-notes", b"averaged-0000000002", b"\xff\xfe"], ids=str)
def test_without_a_last_checkpoint_the_newest_is_gone_on_from_and_that_is_said(
    tmp_path: Path, pointer: bytes | None
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, Tied(step), {"value": step})
    last = tmp_path / "checkpoints" / "last"
    last.unlink() if pointer is None else last.write_bytes(pointer)
    assert has_checkpoint(tmp_path)
    said: list[str] = []
    newest = load_newest(tmp_path, said.append)
    assert (newest.step, newest.state["value"]) == (2, 2)
    assert said == [f"{last} names no checkpoint: continuing from the newest one, step 2"]
    assert last.read_text() == "step-0000000002\n"
    last.unlink()
    (tmp_path / "checkpoints" / "step-0000000002" / "training_state.pt").unlink()
    assert load_newest(tmp_path, said.append).step == 1, "a partial copy of the newest gives way as a damaged one does"


def test_weights_that_no_training_goes_on_from_are_refused_not_begun_anew(tmp_path: Path) -> None:
    assert not has_checkpoint(tmp_path)
    path = take_average(tmp_path, Tied().state_dict(keep_vars=True), [1, 2])
    assert has_checkpoint(tmp_path)
    with pytest.raises(NmtError, match=r"has no step-\.\.\. folder that training can continue from.*fine_tune"):
        load_newest(tmp_path, print)
    assert path.is_dir()


def test_without_pointers_a_checkpoint_is_found_by_its_step(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 12, Tied(), {})
    (tmp_path / "checkpoints" / "last").unlink()
    with pytest.raises(NmtError, match=r"has checkpoints, but none is marked as best or last: choose a step.* 12$"):
        find_checkpoint(tmp_path)
    assert find_checkpoint(tmp_path, 12).step == 12


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
        from nmt.errors import Damaged, NmtError
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
