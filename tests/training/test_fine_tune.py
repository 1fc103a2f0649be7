"""Fine-tuning: what is taken from the base run, what is frozen, and which configurations are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.checksums import seal
from nmt.cli.prepare import main as prepare_command
from nmt.cli.train import main as train_command
from nmt.config.load import config_from_dict, config_to_dict, read_config, save_config
from nmt.config.schema import Config
from nmt.data.tokenizer import Tokenizer
from nmt.errors import ConfigError, NmtError
from nmt.inference.translator import Translator
from nmt.models.contract import Decoded
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import find_checkpoint
from nmt.runs.run import load_run
from nmt.runs.weights import load_weights, save_weights
from nmt.training.average import average_checkpoints, take_average
from nmt.training.checkpoint import load_training_state
from nmt.training.fine_tune import freeze, inherit
from nmt.training.train import train
from tests.models.variants import REPRESENTATIVES, tiny_model
from tests.toy_run import made_up_lines
from tests.training.tiny import RNN, TRANSFORMER, assert_same_run, events, reversed_words, tiny_config

UNTIED = {**TRANSFORMER, "share_embeddings": False, "tie_projection": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trained runs, `base` (tied weights) and `untied`, and more text in other languages."""
    folder = tmp_path_factory.mktemp("fine_tune")
    train(tiny_config(folder, "base", training__max_steps=4, training__validate_every=2))
    train(tiny_config(folder, "untied", model=UNTIED, training__max_steps=2, training__validate_every=2))
    (folder / "more").mkdir()
    for seed, (split, count) in enumerate({"train": 60, "val": 6}.items(), start=7):
        lines = made_up_lines(count, seed=seed)
        (folder / "more" / f"{split}.cc").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "more" / f"{split}.dd").write_text("\n".join(reversed_words(lines)) + "\n", encoding="utf-8")
    return folder


def tuned_config(folder: Path, run: str, base: str = "base", **changes: Any) -> Config:
    """Return a configuration that fine-tunes one of the runs on the other text, without a tokenizer section."""
    values = config_to_dict(tiny_config(folder, run, **changes))
    if "tokenizer" not in {key.partition("__")[0] for key in changes}:
        del values["tokenizer"]
    values["data"] |= {"path": str(folder / "more"), "source_language": "cc", "target_language": "dd"}
    values["fine_tune"]["run"] = str(folder / base)
    return config_from_dict(values)


def recorded_origin(run: Path) -> Any:
    return json.loads((run / "environment.json").read_text("utf-8")).get("fine_tuned_from")


def last_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_weights(run, "last")[0]


def test_weights_and_vocabulary_are_those_of_the_run_it_starts_from(folder: Path) -> None:
    config = tuned_config(folder, "tuned", training__learning_rate=1e-12, training__max_steps=1)
    train(config)
    base, tuned = load_run(folder / "base", "best"), load_run(folder / "tuned", "last")
    for name, weight in base.model.state_dict().items():
        torch.testing.assert_close(tuned.model.state_dict()[name], weight, msg=name)
    assert tuned.tokenizer.fingerprint == base.tokenizer.fingerprint
    assert tuned.config.tokenizer == base.config.tokenizer, "config.yaml says what the vocabulary is"
    assert (tuned.config.data.source_language, tuned.config.data.target_language) == ("cc", "dd")
    info = find_checkpoint(folder / "base", "best")
    expected = {"run": str(folder / "base"), "checkpoint": info.name, "step": info.step}
    assert recorded_origin(folder / "tuned") == expected
    scratch = tiny_config(folder, "scratch", data=config_to_dict(config)["data"], training__max_steps=1)
    train(scratch)
    assert Tokenizer.load(folder / "scratch" / "tokenizer").fingerprint != base.tokenizer.fingerprint
    assert recorded_origin(folder / "scratch") is None


def test_the_checkpoint_to_start_from_is_chosen_as_in_translation(folder: Path) -> None:
    shutil.copytree(folder / "base", folder / "averaged")
    steps = [2, 4] if find_checkpoint(folder / "averaged", "best").step == 2 else [4]
    take_average(folder / "averaged", average_checkpoints(folder / "averaged", steps), steps)
    for checkpoint, name in ((None, "averaged-0000000004"), ("last", "step-0000000004"), (4, "step-0000000004")):
        run = f"from-{checkpoint}"
        config = tuned_config(folder, run, "averaged", training__max_steps=1)
        config.fine_tune.checkpoint = checkpoint
        train(config)
        assert recorded_origin(folder / run)["checkpoint"] == name
    config = tuned_config(folder, "from-none", "averaged")
    config.fine_tune.checkpoint = "3"
    with pytest.raises(ConfigError, match=r"fine_tune\.run: .*averaged has no checkpoint step-0000000003"):
        train(config)
    assert not (folder / "from-none").exists()


def test_prepared_text_is_kept_apart_by_the_vocabulary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configs = {
        "scratch": tiny_config(folder, "p-scratch", data=config_to_dict(tuned_config(folder, "x"))["data"]),
        "base": tuned_config(folder, "p-base"),
        "untied": tuned_config(folder, "p-untied", "untied", model=UNTIED),
    }
    printed = {}
    for name, config in configs.items():
        save_config(config, folder / f"{name}.yaml")
        assert prepare_command([str(folder / f"{name}.yaml")]) == 0
        printed[name] = Path(capsys.readouterr().out.strip())
        assert not (folder / f"p-{name}").exists(), "preparation makes no run"
    assert printed["base"] == printed["untied"] != printed["scratch"], "both have the same vocabulary"
    fingerprints = {name: Tokenizer.load(path / "tokenizer").fingerprint for name, path in printed.items()}
    assert fingerprints["base"] == Tokenizer.load(folder / "base" / "tokenizer").fingerprint != fingerprints["scratch"]


@pytest.mark.parametrize("base", ["base", "untied"])
def test_frozen_weights_stay_bit_for_bit_and_the_others_learn(
    folder: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tuned_config(folder, f"frozen-{base}", base, model=UNTIED if base == "untied" else TRANSFORMER)
    config.fine_tune.freeze = ["encoder", "decoder.layers.0.mixer"]
    config.training.optimizer.weight_decay = 0.1
    train(config)
    before, after = load_weights(folder / base)[0], last_weights(folder / config.run_dir)
    frozen = ("encoder.", "decoder.layers.0.mixer.")
    shared = ("decoder.embedding.", "projection.") if base == "base" else ()
    for name, weight in before.items():
        assert torch.equal(after[name], weight) == name.startswith(frozen + shared), name
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fine_tune.freeze: ")]
    assert len(said) == 1
    also = "including decoder.embedding.embedding.weight and projection.weight (shared" in said[0]
    assert also == (base == "base"), "what is frozen because it is shared is named"
    state = load_training_state(find_checkpoint(folder / config.run_dir, "last"))["optimizer"]
    model = load_run(folder / config.run_dir).model
    freeze(model, config.fine_tune.freeze)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(state["state"]) == len(trained) < len(list(model.parameters()))
    moments = sorted(tuple(entry["exp_avg"].shape) for entry in state["state"].values())
    assert moments == sorted(tuple(parameter.shape) for parameter in trained)


def test_frozen_parts_still_have_dropout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    forward = Seq2Seq.forward

    def twice(self: Seq2Seq, src: torch.Tensor, src_mask: torch.Tensor, *more: Any, **options: Any) -> Decoded:
        if self.training:
            answers.append([self.encoder(src, src_mask).states for _ in range(2)])
        return forward(self, src, src_mask, *more, **options)

    config = tuned_config(folder, "dropout", training__max_steps=1)
    config.fine_tune.freeze = ["encoder"]
    monkeypatch.setattr(Seq2Seq, "forward", twice)
    train(config)
    assert answers and not any(torch.equal(*states) for states in answers)


@pytest.mark.parametrize("variant", REPRESENTATIVES)
def test_any_part_of_any_model_can_be_frozen(variant: str) -> None:
    reference = tiny_model(variant)
    for part, module in reference.named_modules():
        if not part or not list(module.parameters()):
            continue
        model, weights = tiny_model(variant), {id(weight) for weight in module.parameters()}
        freeze(model, [part])
        for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
            assert ours.requires_grad == (id(theirs) not in weights), part


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (["enconder"], r"fine_tune\.freeze: the model has no part enconder; nearest: encoder, "),
        (["encoder", "decoder.layer.0"], r"no part decoder\.layer\.0; nearest: decoder\.layers\.0, "),
        (["encoder.layers.0.mixer.drop"], "no part "),
        (["encoder", "decoder", "projection"], "leaves nothing to train"),
        ([""], "no part "),
    ],
)
def test_parts_that_cannot_be_frozen_are_refused_before_anything_is_prepared(
    folder: Path, parts: list[str], sentence: str
) -> None:
    config = tuned_config(folder, "refused")
    config.fine_tune.freeze = parts
    config.data.cache = str(folder / "nothing")
    with pytest.raises(ConfigError, match=sentence):
        train(config)
    assert not (folder / "refused").exists() and not (folder / "nothing").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model__ffn_dim": 32, "model__norm": "pre"}, r"\(model\.ffn_dim is 32, there 24; model\.norm is pre, there "),
        ({"model": RNN}, r"\(model\.family is luong, there transformer\)"),
        ({"tokenizer__vocab_size": 50}, r"\(tokenizer\.vocab_size is 50, there 60\)"),
        ({"tokenizer": {"algorithm": "char"}}, r"vocabulary \(tokenizer\.algorithm is char, there bpe\)"),
        ({"tokenizer__path": "x.model"}, r"tokenizer\.path cannot be combined with fine_tune\.run=.* leave one out"),
        ({"tokenizer": {"symbols": ["<b>"]}}, r"tokenizer\.symbols cannot be combined with fine_tune\.run="),
    ],
)
def test_another_model_or_vocabulary_is_refused_by_its_keys(
    folder: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        inherit(tuned_config(folder, "mismatch", **changes))


def test_options_of_the_training_loss_may_differ(folder: Path) -> None:
    options = {"adaptive_span": {"penalty": 0.5, "initial": 2.0}, "halting": {"penalty": 0.5, "initial": 0.3}}
    changed = {f"model__{name}": value for name, value in options.items()}
    config, _ = inherit(tuned_config(folder, "options", **changed))
    assert config.model.adaptive_span.penalty == config.model.halting.penalty == 0.5


def test_dropout_may_differ_and_the_tokenizer_section_may_be_repeated(folder: Path) -> None:
    given = tiny_config(folder).tokenizer
    config, tokenizer = inherit(tuned_config(folder, "same", model__dropout=0.4, tokenizer__vocab_size=60))
    assert (config.model.dropout, config.tokenizer) == (0.4, given)
    assert inherit(tuned_config(folder, "auto", tokenizer={"algorithm": "bpe"}))[0].tokenizer == given
    assert tokenizer is not None and tokenizer.source_size == 60


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (shutil.rmtree, r"fine_tune\.run: .*gone does not exist: give the directory of a run"),
        (lambda run: shutil.rmtree(run / "checkpoints"), r"fine_tune\.run: .*gone has no checkpoint yet"),
        (lambda run: shutil.rmtree(run / "tokenizer"), r"fine_tune\.run: .*gone/tokenizer has no tokenizer"),
        (lambda run: (save_weights(find_checkpoint(run).path / "model.safetensors", tiny_model("rnnsearch")),
                      seal(find_checkpoint(run).path)),
         r"gone: the weights of checkpoint .* do not fit config"),
    ],
)  # fmt: skip
def test_a_run_it_cannot_start_from_is_one_sentence(folder: Path, spoil: Callable[[Path], Any], sentence: str) -> None:
    shutil.rmtree(folder / "gone", ignore_errors=True)
    shutil.copytree(folder / "base", folder / "gone")
    spoil(folder / "gone")
    with pytest.raises(NmtError, match=sentence) as error:
        train(tuned_config(folder, "from-gone", "gone"))
    assert "\n" not in str(error.value)


def test_a_run_does_not_start_from_itself(folder: Path) -> None:
    before = (folder / "base" / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"the directory of this run itself: choose another by run_dir=OTHER"):
        train(tuned_config(folder, "tuned/../base"))
    assert (folder / "base" / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("key", ["checkpoint", "freeze"])
def test_keys_that_mean_nothing_without_a_run_are_refused(folder: Path, key: str) -> None:
    values = config_to_dict(tiny_config(folder))
    values["fine_tune"] = {key: {"checkpoint": "best", "freeze": ["encoder"]}[key]}
    with pytest.raises(ConfigError, match=rf"fine_tune\.{key} belongs to a run to start from"):
        config_from_dict(values)


def test_a_resumed_run_ends_as_an_uninterrupted_one_though_the_other_has_gone(folder: Path) -> None:
    shutil.copytree(folder / "base", folder / "temporary")
    configs = {}
    for run, steps in (("whole", 6), ("resumed", 3)):
        configs[run] = tuned_config(folder, run, "temporary", training__max_steps=steps)
        configs[run].fine_tune.freeze = ["encoder.layers"]
        train(configs[run])
    origin = recorded_origin(folder / "resumed")
    shutil.rmtree(folder / "temporary")
    configs["resumed"].training.max_steps = 6
    train(configs["resumed"])
    assert_same_run(folder / "resumed", folder / "whole")
    assert recorded_origin(folder / "resumed") == origin == recorded_origin(folder / "whole")
    assert Translator.load(folder / "resumed", device="cpu").translate(["ba deki."])
    configs["resumed"].fine_tune.freeze = []
    with pytest.raises(NmtError, match=r"fine_tune\.freeze is \[\], was \['encoder\.layers'\]"):
        train(configs["resumed"])


def test_a_fine_tuned_run_can_be_fine_tuned_and_the_command_takes_it_all(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, base in (("first", "base"), ("second", "first")):
        save_config(tiny_config(folder, "unused", training__max_steps=2), folder / "my.yaml")
        arguments = [str(folder / "my.yaml"), f"run_dir={folder / run}", f"fine_tune.run={folder / base}",
                     f"data.path={folder / 'more'}", "data.source_language=cc", "data.target_language=dd",
                     "fine_tune.checkpoint=last", "fine_tune.freeze=[decoder.layers]"]  # fmt: skip
        assert train_command(arguments) == 0
        assert f"starting from {find_checkpoint(folder / base, 'last').path}" in capsys.readouterr().err
        assert read_config(folder / run / "config.yaml").fine_tune.freeze == ["decoder.layers"]
        assert events(folder / run)[-1]["event"] == "end"
    first, second = (last_weights(folder / run) for run in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first if name.startswith("decoder.layers"))
    assert not torch.equal(first["projection.weight"], second["projection.weight"])
    assert train_command([*arguments[:-1], "fine_tune.freeze=[decoder.layer]", f"run_dir={folder / 'third'}"]) == 1
    assert "nmt-train: error: fine_tune.freeze: the model has no part decoder.layer;" in capsys.readouterr().err
