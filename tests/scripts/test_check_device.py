"""Test scripts/check_device.py: it passes on the CPU, reports wrong results, and refuses unknown arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention

from nmt.inference.engines import native
from nmt.kernels import flex
from nmt.training.loss import Loss, batch_loss

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import check_device

FEW = ["cho", "luong-dot-plain", "transformer-pre"]


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """Restore the torch settings that the script changes."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = tf32


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_cpu_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_device.main(["cpu", "--variants", *FEW]) == 0
    *variants, summary = lines(capsys)
    assert [line.split()[:2] for line in variants] == [[name, "passed"] for name in FEW]
    assert summary.startswith("3 variants on ") and summary.endswith(": all passed")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_wrong_loss_is_reported_for_its_precision_alone(
    precision: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one of the two precisions, the loss and its gradients are 4% too high."""

    def too_high(model: Any, *rest: Any, **options: Any) -> Loss:
        loss = batch_loss(model, *rest, **options)
        wrong = model.projection.weight.dtype == torch.float32
        wrong = wrong and torch.is_autocast_enabled("cpu") == (precision == "bf16")
        return loss._replace(smoothed=loss.smoothed * 1.04) if wrong else loss

    monkeypatch.setattr(check_device, "batch_loss", too_high)
    assert check_device.main(["cpu", "--variants", *FEW[:2]]) == 1
    *variants, summary = lines(capsys)
    for name, line in zip(FEW, variants, strict=False):
        assert line.split()[:2] == [name, "FAILED"]
        assert f"{precision} loss by 0.0" in line and line.count("fp32 loss") + line.count("bf16 loss") == 1
        assert "nll" not in line
        gradients = "by 0.04 (at most 0.001); fp32 gradient of" in line and line.split()[-3] == "and"
        assert gradients == (precision == "fp32")
    assert summary.endswith(f": 2 failed: {FEW[0]}, {FEW[1]}")


@pytest.mark.parametrize("what", ["greedy search", "beam search"])
def test_a_score_that_does_not_belong_to_its_text_is_reported(
    what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = what.replace(" ", "_")
    search = getattr(native, name)

    def overrated(*given: Any, **options: Any) -> Any:
        found = search(*given, **options)
        found[0][0] = found[0][0]._replace(score=found[0][0].score + 0.2)
        return found

    monkeypatch.setattr(native, name, overrated)
    assert check_device.main(["cpu", "--variants", "cho"]) == 1
    line = lines(capsys)[0]
    assert f"fp32 score of {what} by 0.2 (at most 0.0001)" in line and f"bf16 score of {what} by 0.2 (" in line


def test_an_error_in_one_variant_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model = check_device.tiny_model

    def broken(name: str) -> Any:
        model = tiny_model(name)
        if name == "cho":
            model.decoder.output.projection = torch.nn.Linear(1, 1)
        return model

    monkeypatch.setattr(check_device, "tiny_model", broken)
    assert check_device.main(["cpu", "--variants", *FEW[:2]]) == 1
    first, second, _ = lines(capsys)
    assert first.startswith("cho ") and "FAILED  RuntimeError: mat1 and mat2" in first and "passed" in second


@pytest.mark.parametrize("device", ["cuda", "fake"])
def test_a_missing_device_is_refused(
    device: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert check_device.main([device]) == 1
    said = capsys.readouterr()
    sentence = {"cuda": "there is no cuda device here", "fake": "fake needs a build of torch with CUDA"}[device]
    assert said.out == "" and said.err.count("\n") == 1 and sentence in said.err


@pytest.fixture
def small_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tensors small and let torch compute FlexAttention by plain operations."""
    for size, value in {"LENGTH": 140, "HEADS": 2, "KV_HEADS": 1, "HEAD_DIM": 4}.items():
        monkeypatch.setattr(check_device.pattern_kernels, size, value)
    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


def test_patterns_are_compared_and_timed(capsys: pytest.CaptureFixture[str], small_patterns: None) -> None:
    names = ["bigbird-encoder", "window_global-decoder", "sliding-512"]
    assert check_device.main(["cpu", "--patterns", "--variants", *names]) == 0
    *found, timed, summary = lines(capsys)
    assert [line.split()[:2] for line in (*found, timed)] == [[name, "passed"] for name in names]
    assert all(0 < float(line.split()[2]) < 1 for line in found)
    assert re.findall(r"(flex|mask|dense|windowed).*? [\d.]+ ms", timed) == ["flex", "mask", "dense", "windowed"]
    assert summary.startswith("3 variants on ") and summary.endswith(": all passed")


def test_a_wrong_mask_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_patterns: None
) -> None:
    attention = flex.pattern_attention

    def wider(query: Any, key: Any, value: Any, positions: Any, allows: Any, name: Any, **options: Any) -> Any:
        return attention(query, key, value, positions, lambda i, j, n: (i - j).abs() <= 65, "wider", **options)

    monkeypatch.setattr(flex, "pattern_attention", wider)
    assert check_device.main(["cpu", "--patterns", "--variants", "sliding-decoder"]) == 1
    assert re.search(r"FAILED  torch.float32 contexts differ by 0\.\d+ \(at most 1e-05\)", lines(capsys)[0])


def test_patterns_have_no_values_without_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_device.main(["fake", "--patterns"]) == 2
    assert "choose cpu or cuda" in capsys.readouterr().err


def test_unknown_variants_and_devices_are_refused_with_the_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_device.main(["cpu", "--variants", "cho", "choo"]) == 2
    assert "there is no variant choo: choose from cho, " in capsys.readouterr().err
    assert check_device.main(["cpu", "--patterns", "--variants", "cho"]) == 2
    assert "there is no variant cho: choose from sliding-encoder, " in capsys.readouterr().err
    assert check_device.main(["tpu"]) == 2
    assert "there is no device tpu: choose cpu, cuda or fake" in capsys.readouterr().err
