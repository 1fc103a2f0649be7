"""Several processes train like a single one, and stop and fail together."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import HashStore, PrefixStore

from nmt.config.load import save_config
from nmt.config.schema import Config
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.weights import load_weights
from nmt.training.alarm import Alarm
from nmt.training.checkpoint import load_training_state
from nmt.training.distributed import World
from nmt.training.train import train
from tests.training import rank_gradients, rank_silent, rank_training
from tests.training.rank_gradients import CASES, gradients
from tests.training.ranks import ALONE, ROOT, WAIT, WAIT_IN_SILENCE, Ended, ended, free_port, launched, start, started
from tests.training.tiny import assert_same_run, events, tiny_config

LOST = "another process of this training has ended without an error message"
SILENT = "process 1 of this training has not responded for 5 seconds"
UNMET = "the 2 processes of WORLD_SIZE did not find each other"
NO_ANSWER = rf"{UNMET} \(no answer for \d+ seconds: one is stopped or out of reach\): start them with torchrun"
# Settings with which results depend neither on random numbers nor on additional validations. The gradients of the
# biases of keys consist of rounding errors only; without a larger epsilon, Adam would make them as large as any other.
STILL = {
    "model__dropout": 0.0, "training__schedule": {"name": "constant", "warmup_steps": 2},
    "training__optimizer": {"eps": 1e-3}, "training__subword_sampling": 0.1, "training__ema_decay": 0.9,
    "training__average": "last", "training__checkpoint_every": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, translated_from_the_start: None) -> Path:
    return tmp_path_factory.mktemp("distributed")


def written(config: Config) -> Path:
    """Write a configuration to a file and return its path."""
    path = Path(f"{config.run_dir}-{config.training.max_steps}.yaml")
    save_config(config, path)
    return path


def by_two(*jobs: object, others: tuple[object, ...] | None = None) -> list[Ended]:
    """Run jobs in two processes; rank 1 runs `others` instead, if given."""
    return launched(rank_training.main, [jobs, jobs if others is None else others])


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("gradients") / "gradients.pt"
    ended = launched(rank_gradients.main, [[file]] * 2)
    assert [process.status for process in ended] == [0, 0], ended
    found: dict[str, Any] = torch.load(file)
    return found


@pytest.mark.parametrize("name", CASES)
def test_two_processes_two_accumulations_and_one_pass_take_the_same_gradients(
    of_two_processes: dict[str, Any], name: str
) -> None:
    """Gradients are sums, not means of means: for uneven shares, for one sentence, and for a process without any."""
    for split in (of_two_processes[name], gradients(name, World(), whole=False)):
        for number, (ours, theirs) in enumerate(zip(split, gradients(name, World(), whole=True), strict=True)):
            assert ours.keys() == theirs.keys()
            for key, gradient in theirs.items():
                tolerance = 1e-6 + 3e-5 * float(gradient.abs().max())  # rounding of large terms that cancel out
                torch.testing.assert_close(
                    ours[key], gradient, rtol=1e-4, atol=tolerance, msg=f"update {number}: {key}"
                )


@pytest.fixture(scope="module")
def together(folder: Path) -> list[Ended]:
    """The results of several trainings by two processes, one after the other."""
    auto = {"training__tokens_per_device": "auto"}
    jobs = [
        written(tiny_config(folder, "still", training__max_steps=2, **STILL)),
        written(tiny_config(folder, "whole")),
        written(tiny_config(folder, "continued", training__max_steps=3)),
        written(tiny_config(folder, "continued")),
        f"{written(tiny_config(folder, 'stopped'))}:terminated:1",
        written(tiny_config(folder, "stopped")),
        f"{written(tiny_config(folder, 'unvalidated'))}:terminated in validation:1",
        written(tiny_config(folder, "unvalidated")),
        f"{written(tiny_config(folder, 'poisoned'))}:poisoned:1",
        f"{written(tiny_config(folder, 'split', training__max_steps=1, **auto))}:short of memory:1",
    ]
    config = tiny_config(folder, "elsewhere")  # rank 1 writes nothing, and does not see rank 0's files here
    others = [str(job).replace("whole", "elsewhere") for job in jobs]
    written(config)
    ended = by_two(*jobs, others=tuple(others))
    assert [process.status for process in ended] == [0, 0], ended
    return ended


def test_two_processes_train_as_one_and_the_next_may_be_another_number(folder: Path, together: list[Ended]) -> None:
    """A run with 2, then 1, then 2 processes ends with the weights of a single process and has equal validations."""
    train(tiny_config(folder, "still", training__max_steps=4, **STILL))
    by_two(written(tiny_config(folder, "still", **STILL)))
    train(tiny_config(folder, "still-alone", **STILL))
    ours, theirs = (load_weights(folder / run, "last") for run in ("still", "still-alone"))
    assert ours[1].step == theirs[1].step == 6
    for name, weight in theirs[0].items():
        torch.testing.assert_close(ours[0][name], weight, rtol=1e-3, atol=1e-5, msg=name)
    for kind, keys in {
        "train": ("loss", "gradient_norm"),
        "validation": ("loss", "bleu"),
        "average": ("loss",),
    }.items():
        last, alone = events(folder / "still", kind)[-1], events(folder / "still-alone", kind)[-1]
        assert [last[key] for key in keys] == pytest.approx([alone[key] for key in keys], rel=1e-4), kind


def test_a_run_of_two_processes_continues_bit_for_bit(folder: Path, together: list[Ended]) -> None:
    for run in ("continued", "stopped", "unvalidated"):
        assert_same_run(folder / run, folder / "whole")


def test_each_process_draws_its_own_dropout(folder: Path, together: list[Ended]) -> None:
    first, second = load_training_state(find_checkpoint(folder / "whole", "last"))["random"]
    assert not torch.equal(first["cpu"], second["cpu"])


def test_a_signal_to_one_process_stops_all_once_rank_0_has_saved(together: list[Ended]) -> None:
    for process in together:
        assert process.said.count("left with 143") == 2
    assert "stopped at step 5" in together[0].said
    assert "stopped at step 3" in together[0].said  # the resumed run validates again


def test_only_rank_0_writes_and_speaks(folder: Path, together: list[Ended]) -> None:
    assert not (folder / "elsewhere").exists()
    assert set(together[1].said.splitlines()) == {"left with 143"}
    assert together[0].said.count("done at step 6") == 5


def test_the_batches_of_all_are_as_small_as_one_process_needs_them(folder: Path, together: list[Ended]) -> None:
    assert json.loads((folder / "split" / "environment.json").read_text("utf-8"))["tokens_per_device"] == 75
    assert "training.tokens_per_device=auto: 75 of the 150 tokens of an update fit into memory" in together[0].said


def test_a_loss_that_is_bad_on_one_process_sends_all_back(folder: Path, together: list[Ended]) -> None:
    (rollback,) = events(folder / "poisoned", "rollback")
    assert rollback["step"] == 3
    assert "update 5 " in rollback["diagnosis"]
    assert find_checkpoint(folder / "poisoned", "last").step == 6


@pytest.mark.parametrize(
    ("mishap", "rank", "statuses"),
    [("refused", 1, [1, 1]), ("refused in saving", 0, [1, 1]), ("killed", 1, [1, -9]), ("killed", 0, [-9, 1])],
)
def test_what_ends_one_process_ends_the_other_and_is_said_once(
    folder: Path, mishap: str, rank: int, statuses: list[int]
) -> None:
    config = tiny_config(folder, f"{mishap}-{rank}".replace(" ", "-"))
    ended = by_two(f"{written(config)}:{mishap}:{rank}")
    assert [process.status for process in ended] == statuses, ended
    errors = [line for process in ended for line in process.said.splitlines() if "error" in line]
    assert len(errors) == 1, ended
    assert ("this process can go on no more" if mishap.startswith("refused") else LOST) in errors[0]
    assert not any("Traceback" in process.said for process in ended)


def test_processes_of_different_configurations_do_not_train(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "one")
    others: dict[str, Any] = {"seed": 2, "model__dropout": 0.2} | {
        f"training__{key}": value for key, value in {"learning_rate": 0.1, "max_steps": 7, "validate_every": 2}.items()
    }
    other = tiny_config(tmp_path, "other", **others)
    jobs = [[written(config)], [written(other)]]
    ended = launched(rank_training.main, jobs, WAIT_IN_SILENCE)
    assert [process.status for process in ended] == [1, 1], ended
    (said,) = [line for process in ended for line in process.said.splitlines()]
    assert said.startswith(
        "ranks: error: the processes of this training were not started alike (model.dropout is 0.1 on rank 0, 0.2 on "
        "rank 1; seed is 1 on rank 0, 2 on rank 1; training.learning_rate is 0.01 on rank 0, 0.1 on rank 1; "
        "training.max_steps is 6 on rank 0, 7 on rank 1; training.validate_every is 3 on rank 0, 2 on rank 1): start"
    )
    assert not (tmp_path / "one").exists(), "nothing was begun"


def test_what_torchrun_s_processes_are_told_wrongly_is_said_once(folder: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "nmt.cli.train", str(written(tiny_config(folder, "mistaken"))), "model.dropoot=1"]
    environment = {**ALONE, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True, timeout=WAIT)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("nmt-train: error: ")]
    assert "dropoot" in said


def test_torchrun_restarts_what_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**ALONE, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    arguments = ["--max-restarts", "1", "-m", "tests.training.rank_restart", "error", str(tmp_path / "done")]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stdout) == (0, "[0, 1], rank 0\n"), done.stderr
    assert "the first attempt fails" in done.stderr


def test_torchrun_restarts_on_several_machines(tmp_path: Path) -> None:
    """Of two torchruns, only the one whose process was killed is sure to count the restart."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "test"]
    environment = {**ALONE, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    arguments = ["--max-restarts", "2", "-m", "tests.training.rank_restart", "killed", str(tmp_path / "done")]
    machines = [
        subprocess.Popen([*command, *meeting, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        said = [machine.communicate(timeout=WAIT)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()  # torchrun then ends its processes
            machine.wait()
    assert [machine.returncode for machine in machines] == [0, 0]
    assert sorted(said) == ["", "[0, 1], rank 0\n"]


@pytest.mark.parametrize(
    ("ranks", "silent", "where", "sentence"),
    [
        (2, 1, "turn", SILENT),
        (3, 2, "collective", "(process 2 of this training has not responded|another process of this training)"),
        (2, 0, "turn", LOST),  # rank 0 hosts the store, which stops with it
        (2, 0, "collective", LOST),
        (2, 0, "joining", LOST),
        (2, 1, "joining", f"({SILENT}|{UNMET})"),
        (2, 0, "meeting", NO_ANSWER),
    ],
)
def test_a_process_that_falls_silent_is_not_waited_for(ranks: int, silent: int, where: str, sentence: str) -> None:
    """A suspended process keeps its connections, like a machine that vanished. Another one reports it, and all end."""
    found = launched(rank_silent.main, [[silent, where]] * ranks, WAIT_IN_SILENCE, silent)
    assert found[silent].status == -signal.SIGKILL, "it was only stopped"
    said = "".join(process.said for process in found)
    assert [process.status for rank, process in enumerate(found) if rank != silent] == [1] * (ranks - 1), said
    assert said.count("nmt-train: error: ") == len(re.findall(f"nmt-train: error: {sentence}", said)) == 1, said
    assert "Traceback" not in said and "terminate" not in said


def test_a_store_that_never_answers_is_not_waited_for() -> None:
    """Even the first call has a time limit: the system accepts connections for a process that is suspended."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        process = start("tests.training.rank_silent", [0, "alone"], 1, 2, mute.getsockname()[1])
        (alone,) = ended([process], WAIT_IN_SILENCE)
    assert alone.status == 1
    assert re.fullmatch(f"nmt-train: error: {NO_ANSWER}.*\n", alone.said)


def test_who_cannot_leave_ends_all_the_same() -> None:
    first, second = ended(started("tests.training.rank_silent", [[1, "leaving"]] * 2), WAIT_IN_SILENCE)
    assert (first, second.status) == (Ended(0, ""), 1)
    assert second.said.startswith(f"nmt-train: error: {LOST}")


def test_a_test_of_silence_has_a_limit_of_its_own() -> None:
    """The helper kills the processes that still wait, and shows their output."""
    says = "import signal, sys; print('here', file=sys.stderr, flush=True)"
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
        for script in (says, f"{says}; signal.pause()", f"{says}; signal.pause()")
    ]
    with pytest.raises(pytest.fail.Exception, match=r"process \[1, 2\] of 3 .*'here\\n', 'here\\n', 'here\\n'"):
        ended(processes, 3)
    assert [process.returncode for process in processes] == [0, -9, -9]


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_in_one_of_three_is_said_once(failing: int) -> None:
    """Rank 0 hosts the store, so it stays until all processes know of the failure."""
    processes = ended(started("tests.training.rank_silent", [[failing, "error"]] * 3), WAIT_IN_SILENCE)
    assert [process.status for process in processes] == [1] * 3, processes
    assert [process.said.count("nmt-train: error: this one fails") for process in processes] == [
        rank == failing for rank in range(3)
    ], processes
    assert sum(process.said.count("error") for process in processes) == 1, processes


def test_a_process_that_was_stopped_itself_accuses_nobody() -> None:
    """Silence is measured by counting checks, and a suspended process makes none."""
    alarm = Alarm(HashStore(), 0, 2, 30.0, keeps_store=True)
    assert [alarm._silent() for _ in range(60)] == [None] * 60, "a look is half a second"
    assert alarm._silent() == 1
    alarm = Alarm(store := HashStore(), 0, 2, 30.0, keeps_store=True)
    other = PrefixStore("alarm", store)
    for _ in range(3):
        assert [alarm._silent() for _ in range(50)] == [None] * 50
        other.add("alive 1", 1)


def test_the_alarm_leaves_no_thread_in_a_call_of_the_store() -> None:
    """A thread that is still in such a call when the interpreter ends would abort the process."""
    asked = threading.Event()

    class Slow(HashStore):
        def add(self, key: str, number: int) -> int:
            asked.set()
            time.sleep(0.5)
            return super().add(key, number)

    alarm = Alarm(HashStore(), 1, 2, 30.0, keeps_store=False)
    alarm._store = Slow()
    with alarm.watched():
        assert asked.wait(30)
    assert not [thread.name for thread in threading.enumerate() if thread.name in ("alarm", "limit")]
