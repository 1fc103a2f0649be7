"""Test scripts/benchmark_training.py: the FLOP it counts, the figures it computes and the page it writes."""

from __future__ import annotations

import copy
import itertools
import json
import sys
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
import pytest
import torch

from nmt.config.load import save_config
from nmt.config.mechanisms import MixerName, of_layer
from nmt.config.models import LuongConfig, ModelConfig, RnnEncDecConfig, TransformerConfig
from nmt.config.schema import Config
from nmt.data.batch import collate
from nmt.data.batching import Updates
from nmt.data.prepare import prepare
from nmt.models.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss
from tests.models.variants import REPRESENTATIVES, VARIANTS, tiny_model
from tests.training.tiny import RNN, TRANSFORMER, tiny_config

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import benchmark_training  # noqa: E402
from benchmarks import measure, reference_torch, worker  # noqa: E402
from benchmarks.results import BEGIN, END, figures, renewed, summarise  # noqa: E402

from nmt.models.flops import counted, forward_flops, terms, training_flops  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_time_for_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PEAK_SECONDS", 0.0)
    monkeypatch.setattr(measure, "SIZES", {"cpu": (8,)})


# -- FLOP -----------------------------------------------------------------------------------------------------------


def has(config: ModelConfig, key: str, *names: str) -> bool:
    """Return whether a key of a configuration names one of these mechanisms, for all layers or for one."""
    named = getattr(config, key, [])
    return bool({named} & {*names} if isinstance(named, str) else {*named} & {*names})


# A mixture computes its logits a second time in the backward pass, which the formulas do not count.
COUNTED = [name for name in REPRESENTATIVES if not has(VARIANTS[name], "alignment", "marginal")]
# The other variants also apply weights to pairs of positions, to layers or to states, and not only to tokens, or
# apply them in several layers.
OTHER_MIXERS = [name for name in get_args(MixerName) if name not in ("softmax", "ssru")]
OF_TOKENS = [
    name
    for name, config in VARIANTS.items()
    if not has(config, "alignment", "marginal", "coverage", "location_aware")
    and not has(config, "positions", "shaw", "t5", "learned")
    and not (isinstance(config, TransformerConfig) and (config.heads.talking or config.heads.removed))
    and not (isinstance(config, TransformerConfig) and (config.share_layers.encoder or config.share_layers.decoder))
    and not has(config, "decoder_cross", "transparent")
    and not has(config, "encoder_self", *OTHER_MIXERS)
    and not has(config, "decoder_self", *OTHER_MIXERS)
]


@cache
def flops_of(name: str) -> np.ndarray[Any, Any]:
    return training_flops(tiny_model(name))


@pytest.mark.parametrize("name", COUNTED)
def test_flops_are_those_of_a_real_training_pass(name: str) -> None:
    model, source, target = tiny_model(name).train(), 9, 23
    batch = collate([[4] * source] * 3, [[4] * target] * 3)
    with counted() as counter:
        batch_loss(model, batch, CPU, 0.1).smoothed.backward()
    expected = training_flops(model) @ terms(source, target)
    assert forward_flops(model, source, target, pairs=3) * 3 == pytest.approx(expected)
    # an RNN's initial state of zeros needs no gradient, so a few products are missing in the count
    assert counter.get_total_flops() / 3 == pytest.approx(expected, rel=1e-9 if "transformer" in name else 0.03)


@pytest.mark.parametrize("name", OF_TOKENS)
def test_every_weight_costs_six_operations_a_token(name: str) -> None:
    model = tiny_model(name)
    pair, source, target, *_ = flops_of(name)
    assert pair + source + target == pytest.approx(6 * multiplying_weights(model))


def multiplying_weights(model: Seq2Seq) -> int:
    """Count the weights that each token is multiplied by: all matrices except embeddings and the attention vector v."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    weights = [
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.ndim == 2 and id(weight) not in tables and not name.endswith(".v.weight")
    ]
    tied = model.projection.weight.numel() if id(model.projection.weight) in tables else 0
    return sum(weights) + tied


def test_flops_of_attention_are_those_of_scores_and_contexts() -> None:
    for name in OF_TOKENS:
        config = VARIANTS[name]
        within_source, across, within_target = flops_of(name)[3:]
        if isinstance(config, TransformerConfig):
            layer = 3 * (2 * config.model_dim + 2 * config.model_dim)  # scores, contexts
            layers = range(config.decoder_layers)
            attending = sum(of_layer(config.decoder_self, index) == "softmax" for index in layers)
            expected = [layer * config.encoder_layers, layer * config.decoder_layers, layer * attending]
        elif isinstance(config, RnnEncDecConfig):
            expected = [0, 0, 0]
        else:
            luong = isinstance(config, LuongConfig)
            states = config.hidden_dim if luong else 2 * config.hidden_dim
            compared = config.hidden_dim if luong or config.score == "general" else config.attention_dim
            if config.score == "location" or config.alignment == "gaussian":  # which compare nothing
                compared = 0
            expected = [0, 3 * (2 * compared + 2 * states), 0]
        assert [within_source, across, within_target] == pytest.approx(expected, abs=1e-6), name


# -- windows ----------------------------------------------------------------------------------------------------------


def test_meter_counts_what_comes_after_the_warm_up() -> None:
    meter = measure.Meter(0.0, CPU)
    for _ in range(measure.WARM_UP_UPDATES):
        assert not meter.add([9, 9], [9, 9], 1000)
    assert meter.result is None
    assert meter.add([2, 3], [4, 1], 14)
    assert meter.result is not None
    counts = {key: meter.result[key] for key in ("updates", "source_tokens", "target_tokens", "padded_tokens")}
    assert counts == {"updates": 1, "source_tokens": 5, "target_tokens": 5, "padded_tokens": 14}
    assert meter.result["terms"] == [2, 5, 5, 4 + 9, 8 + 3, 16 + 1]
    assert meter.result["waited"] is None and meter.result["peak_memory_mib"] > 10
    window = meter.result | {"seconds": 2.0, "waited": 0.5}
    shown = figures(window, flops=[1, 10, 100, 0, 0, 0], peak=1e4)
    assert shown["target_tokens_per_second"] == 2.5 and shown["tokens_per_second"] == 5
    assert shown["padding"] == pytest.approx(4 / 14) and shown["data_wait"] == 0.25
    assert shown["gflops"] == pytest.approx((2 + 50 + 500) / 2 / 1e9)
    assert shown["utilisation"] == pytest.approx((2 + 50 + 500) / 2 / 1e4)


def specification(config: Config, folder: Path) -> dict[str, Any]:
    path = folder / "benchmark.yaml"
    save_config(benchmark_training.uninterrupted(config, folder / "benchmarked", 0.0), path)
    return {"config": str(path), "seconds": 0.0, "bf16": False}


@pytest.mark.parametrize("model", ["transformer", "luong"])
def test_nmt_trains_on_its_own_updates(model: str, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, **({"model": RNN} if model == "luong" else {}), training__max_steps=2)
    window = worker.main("nmt", specification(config, tmp_path))
    updates = Updates(prepare(config, lambda _: None).train, config.training.tokens_per_update, seed=config.seed)
    measured = [update for update, _ in zip(updates.iterate(), range(measure.WARM_UP_UPDATES + 1), strict=False)][-1]
    assert window["updates"] == 1
    for key in ("source_tokens", "target_tokens", "padded_tokens"):
        assert window[key] == getattr(measured, key), key
    assert window["terms"][0] == measured.sentences
    assert window["waited"] >= 0 and window["matrix_product_peak"] > 0
    assert not (tmp_path / "benchmarked" / "checkpoints").exists()


def test_plain_loop_keeps_the_budget_and_counts_its_padding(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    prepared, budget = prepare(config, lambda _: None), config.training.tokens_per_update
    pairs = reference_torch.read_pairs(prepared)
    batches, seen = iter(reference_torch.Pools(pairs, budget, seed=1)), []
    while len(seen) < len(pairs):
        rows = next(batches)
        seen += rows
        assert len(rows) * max(len(side) for row in rows for side in pairs[row]) <= budget
    assert sorted(seen) == list(range(len(pairs))), "an epoch has each pair exactly once"
    window = worker.main("torch", specification(config, tmp_path))
    size = window["terms"][0]
    assert window["source_tokens"] + window["target_tokens"] < window["padded_tokens"] <= 2 * budget
    assert window["padded_tokens"] % size == 0, "each pair is padded to the longest source plus the longest target"


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_plain_loop_has_the_sizes_of_the_configuration(norm: str) -> None:
    config = TransformerConfig(model_dim=16, ffn_dim=24, num_heads=2, encoder_layers=2, decoder_layers=1, norm=norm)
    theirs = reference_torch.PlainTransformer(config, 11, 11, longest=9)
    final_norms = 2 * 2 * config.model_dim  # nn.Transformer ends both stacks with a layer norm
    count = sum(parameter.numel() for parameter in theirs.parameters())
    config_count = sum(parameter.numel() for parameter in benchmark_training.build_model(config, 11, 11).parameters())
    assert count - (final_norms if norm == "post" else 0) == config_count


def test_marian_trains_with_the_trainer_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    window = worker.main("transformers", specification(tiny_config(tmp_path), tmp_path))
    assert 0 < window["source_tokens"] + window["target_tokens"] <= window["padded_tokens"]


# -- results ----------------------------------------------------------------------------------------------------------


def test_ratios_are_paired() -> None:
    ours, theirs = [100.0, 60.0, 90.0], [50.0, 20.0, 60.0]
    speeds = {"nmt": ours, "other": theirs}
    summary = summarise(
        {name: [{"target_tokens_per_second": speed} for speed in values] for name, values in speeds.items()}
    )
    assert summary["ratios"] == {"other": {"median": 2.0, "low": 1.5, "high": 3.0}}
    for name, values in speeds.items():
        spread = summary["systems"][name]["target_tokens_per_second"]
        assert spread == {"median": median(values), "low": min(values), "high": max(values)}


@pytest.fixture
def in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure each window in this process, and pretend that `transformers` is not installed."""

    def measured(system: Any, seconds: float) -> dict[str, Any]:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return worker.main(system.kind, specification(copy.deepcopy(system.config), folder))

    numbers = itertools.count()

    monkeypatch.setattr(benchmark_training, "measure", measured)
    monkeypatch.setattr(benchmark_training.importlib.util, "find_spec", lambda name: None)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_benchmark_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, output = tmp_path / "small.yaml", tmp_path / "results" / "speed.json"
    save_config(tiny_config(tmp_path), config)
    asked = [str(config), f"data.path={tmp_path / 'text'}", "--windows", "2", "--seconds", "0", "-o", str(output)]
    assert benchmark_training.main([*asked, "--reference", "--name", "both"]) == 0
    both = json.loads(output.read_text("utf-8"))["both"]
    assert list(both["systems"]) == ["nmt", "torch.nn.Transformer"]
    assert [len(system["windows"]) for system in both["systems"].values()] == [2, 2]
    ours, theirs = (system["windows"] for system in both["systems"].values())
    ratios = [a["target_tokens_per_second"] / b["target_tokens_per_second"] for a, b in zip(ours, theirs, strict=True)]
    assert both["ratios"]["torch.nn.Transformer"]["median"] == pytest.approx(np.mean(ratios))
    assert "transformers" in both["left_out"][0]
    assert str(tmp_path) not in output.read_text("utf-8"), "the results must not name folders of this machine"
    assert "data.path=FOLDER" in both["command"]

    page = output.with_suffix(".md")
    page.write_text("# Mine\n" + page.read_text("utf-8") + "\nMine as well.\n", "utf-8")
    assert benchmark_training.main([*asked, "--name", "alone"]) == 0
    entries = json.loads(output.read_text("utf-8"))
    assert list(entries) == ["both", "alone"] and entries["both"] == both
    text = page.read_text("utf-8")
    assert text.startswith("# Mine\n# How fast is training") and text.endswith("\nMine as well.\n")
    assert text.count("| both | nmt |") == text.count("| alone | nmt |") == 1
    assert renewed(text, entries) == text
    assert "| alone | nmt |" in capsys.readouterr().out


def test_a_page_without_marks_keeps_its_text() -> None:
    text = renewed("By hand.\n", {})
    assert text.startswith(f"By hand.\n\n{BEGIN}\n") and text.endswith(f"{END}\n")


def test_a_model_without_a_counterpart_has_no_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "rnn.yaml"
    save_config(tiny_config(tmp_path, model={**RNN, "cell": "gru"}), config)
    assert benchmark_training.main([str(config), "--reference"]) == 2
    assert "only its LSTM with input feeding is measured" in capsys.readouterr().err
    assert benchmark_training.main([str(config), "--reference-config", "benchmark_transformer"]) == 2
    assert "give both" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_recurrent_model_is_compared_with_a_transformer_and_profiled(tmp_path: Path) -> None:
    models = {"recurrent": RNN, "transformer": {**TRANSFORMER, "model_dim": 64}}  # with very different costs per token
    for name, model in models.items():
        save_config(tiny_config(tmp_path, model=model), tmp_path / f"{name}.yaml")
    recurrent, transformer = (tmp_path / f"{name}.yaml" for name in models)
    output = tmp_path / "speed.json"
    asked = [str(recurrent), "--reference", "--reference-config", str(transformer), "--profile", "--name", "beside"]
    assert benchmark_training.main([*asked, "--windows", "1", "--seconds", "0", "-o", str(output)]) == 0
    entry = json.loads(output.read_text("utf-8"))["beside"]
    assert list(entry["systems"]) == ["nmt", "torch.nn.Transformer (transformer)"]
    ours, theirs = (system["windows"][0] for system in entry["systems"].values())
    flops = [
        training_flops(benchmark_training.build_model(tiny_config(tmp_path, model=model).model, 60, 60))
        for model in models.values()
    ]
    assert "--reference-config transformer.yaml" in entry["command"] and str(tmp_path) not in entry["command"]
    for window, own, other in (
        (ours, *flops),
        (theirs, *flops[::-1]),
    ):  # the FLOP of each system are those of its own model
        a_token = 1e9 * window["gflops"] / window["target_tokens_per_second"]
        source = window["tokens_per_second"] / window["target_tokens_per_second"] - 1
        linear = [coefficients[1] * source + coefficients[2] for coefficients in (own, other)]
        assert abs(a_token - linear[0]) < abs(a_token - linear[1]) / 4
    profile = entry["profile"]
    shares = [operator["share"] for operator in profile["operators"]]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0
    assert sum(shares) + profile["others"] + profile["between"] == pytest.approx(1)
    assert any(operator["operator"].startswith("aten::") for operator in profile["operators"])
    page = output.with_suffix(".md").read_text("utf-8")
    assert "Where the time goes in beside" in page and f"`{profile['operators'][0]['operator']}`" in page
