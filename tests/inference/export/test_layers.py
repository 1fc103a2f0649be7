"""Test that an export computes the same as the model, and that a model that cannot be exported is refused."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import ctranslate2
import pytest
import torch
from torch import nn

from nmt.attention.heads import Heads
from nmt.attention.heads.qk_norm import RmsNorm
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.normalisers import Softmax
from nmt.attention.normalisers.sparsemax import Sparsemax
from nmt.attention.normalisers.talking_heads import TalkingHeads
from nmt.attention.patterns.sliding import SlidingWindow
from nmt.attention.positions import Positions
from nmt.attention.positions.sinusoidal import SinusoidalPositions
from nmt.config.models import TransformerConfig
from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.errors import ConfigError
from nmt.inference.engines.native import NativeEngine
from nmt.inference.export.ctranslate2 import write
from nmt.inference.export.current import Inexpressible
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from nmt.models.transformer import DecoderLayer
from nmt.runs.run import LoadedRun, load_run
from tests.models.variants import TRANSFORMER, VARIANTS
from tests.toy_run import made_up_lines, make_run, toy_tokenizer

SIZE = toy_tokenizer().source_size


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    return load_run(make_run(tmp_path_factory.mktemp("run") / "run"))


def model_of(config: Any) -> Seq2Seq:
    """Return a model with random weights, biases and norms, so that any mix-up of heads or layers is noticed."""
    torch.manual_seed(7)
    model = build_model(config, SIZE, SIZE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5).add_(0.2 * torch.randn_like(parameter))
    return model


def assert_computes_the_same(model: Seq2Seq, run: LoadedRun, folder: Path) -> None:
    """Compare the log-probabilities of every token of random targets, with PAD and BOS made impossible."""
    write(dataclasses.replace(run, model=model), folder)
    numbers = random.Random(3)
    sources = run.tokenizer.encode_source(made_up_lines(6, seed=6))
    targets = [[*(numbers.randrange(EOS + 1, SIZE) for _ in range(numbers.randrange(1, 15))), EOS] for _ in sources]
    bias = torch.zeros(SIZE) if model.projection.bias is None else model.projection.bias.detach().clone()
    bias[[PAD, BOS]] = float("-inf")
    model.projection.bias = nn.Parameter(bias)
    expected = NativeEngine(model).score(sources, targets, SearchConfig())
    names = run.tokenizer.source.names
    pieces = [[[names[id] for id in ids] for ids in each] for each in (sources, [ids[:-1] for ids in targets])]
    found = ctranslate2.Translator(str(folder), "cpu", compute_type="float32").score_batch(*pieces)
    for ours, theirs in zip(expected, found, strict=True):
        assert theirs.log_probs == pytest.approx(ours.token_log_probs, abs=1e-3, rel=1e-4)


def alternatives(field: dataclasses.Field[Any]) -> list[Any]:
    """Return values of an option other than the one in TRANSFORMER."""
    hint = get_type_hints(TransformerConfig)[field.name]
    value = TRANSFORMER.get(field.name, field.default)
    for member in (hint, *get_args(hint)):  # the option is a name, or a list of names with one per layer
        if get_origin(member) is Literal:
            return [one for one in get_args(member) if one != value]
    if dataclasses.is_dataclass(hint):  # settings of a mechanism, which only count if another option chooses it
        return []
    if isinstance(value, bool):
        return [not value]
    return [2 * value] if isinstance(value, int) else [value / 2 + 0.25]


OPTIONS = [(field.name, value) for field in dataclasses.fields(TransformerConfig) for value in alternatives(field)]
WRITTEN = {  # options that an export must support; others may be refused
    *("model_dim", "ffn_dim", "num_heads", "encoder_layers", "decoder_layers", "norm"),
    *("dropout", "attention_dropout", "ffn_dropout", "share_embeddings", "tie_projection"),
}
# values that an export must support, of options that have others
VALUES_WRITTEN = [
    *(("activation", name) for name in ("relu", "gelu", "swiglu", "geglu")),
    *(("positions", "learned"), ("normalisation", "rms")),
]


VARIANTS_WRITTEN = ("transformer-shared-layers", "transformer-learned", "transformer-rms", "transformer-swiglu")


@pytest.mark.parametrize(("name", "value"), OPTIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_every_option_is_written_or_refused(
    name: str, value: Any, norm: Literal["pre", "post"], run: LoadedRun, tmp_path: Path
) -> None:
    config = TransformerConfig(**(TRANSFORMER | {"norm": norm, name: value}))
    try:
        config.check()
    except ConfigError:
        pytest.skip("a configuration that cannot be")
    try:
        assert_computes_the_same(model_of(config), run, tmp_path / "export")
    except Inexpressible as refusal:
        assert name not in WRITTEN and (name, value) not in VALUES_WRITTEN, refusal


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_written_or_refused_by_a_module_s_name(variant: str, run: LoadedRun, tmp_path: Path) -> None:
    model = model_of(VARIANTS[variant])
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    try:
        assert_computes_the_same(model, run, tmp_path / "export")
    except Inexpressible as refusal:
        assert variant not in VARIANTS_WRITTEN, refusal
        told = str(refusal).partition("CTranslate2: ")[2].split(" ")
        assert told[0] in kinds, refusal
        assert not (tmp_path / "export").exists()
        if told[1] == "is":
            assert told[4].removesuffix(",") == kinds[told[0]]
    else:
        assert variant.startswith("transformer")


def test_what_no_configuration_has_is_written_as_it_is(run: LoadedRun, tmp_path: Path) -> None:
    def without_biases(model: Seq2Seq) -> None:
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm) and module is not model.projection:
                module.bias = None

    def with_a_biased_projection(model: Seq2Seq) -> None:
        model.projection.bias = nn.Parameter(torch.randn(SIZE))

    def unscaled(model: Seq2Seq) -> None:
        model.encoder.embedding.scale = model.decoder.embedding.scale = 1

    def with_another_epsilon(model: Seq2Seq) -> None:
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 0.3

    def scaled_in_one_stack(model: Seq2Seq) -> None:
        model.encoder.embedding.scale = 1

    def with_another_normalisation_in_places(model: Seq2Seq) -> None:
        residual = model.decoder.layers[0].mixer_residual
        residual.norm = nn.RMSNorm(16, eps=residual.norm.eps)

    for change in (
        without_biases, with_a_biased_projection, unscaled, with_another_epsilon, scaled_in_one_stack,
        with_another_normalisation_in_places,
    ):  # fmt: skip
        for norm in ("pre", "post"):
            config = TransformerConfig(**(TRANSFORMER | {"norm": norm, "encoder_layers": 1}))
            model = model_of(config)
            change(model)
            assert_computes_the_same(model, run, tmp_path / f"{change.__name__} {norm}")


class LinearAttention(SelfAttention):
    """A subclass with the same weights, which could compute something else."""


class Gated(DecoderLayer):
    pass


class LearnedPositions(SinusoidalPositions):
    pass


def replace(name: str, module: nn.Module) -> Callable[[Seq2Seq], None]:
    def change(model: Seq2Seq) -> None:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)

    return change


def option(name: str, **changes: object) -> Callable[[Seq2Seq], None]:
    def change(model: Seq2Seq) -> None:
        for key, value in changes.items():
            setattr(model.get_submodule(name), key, value)

    return change


TINY = TransformerConfig(**(TRANSFORMER | {"norm": "pre"}))
FOREIGN: list[tuple[Callable[[Seq2Seq], None], str]] = [
    (replace("decoder.layers.0.mixer", LinearAttention(16, Heads(16, 2), Positions())),
     "decoder.layers.0.mixer is of type LinearAttention, which CTranslate2 has no layer for"),
    (replace("encoder.layers.1.mixer", nn.GRU(16, 16)), "encoder.layers.1.mixer is of type GRU,"),
    (replace("decoder.layers.1.cross_attention", LinearAttention(16, Heads(16, 2), Positions())),
     "decoder.layers.1.cross_attention is of type LinearAttention,"),
    (replace("decoder.layers.1", Gated(TINY, 1)), "decoder.layers.1 is of type Gated,"),
    (replace("encoder.layers", nn.Sequential()), "encoder.layers is of type Sequential,"),
    (replace("decoder.layers.0.cross_attention", SelfAttention(16, Heads(16, 2), Positions())),
     "decoder.layers.0.cross_attention is of type SelfAttention,"),
    (replace("encoder.layers.1.mixer.heads.qk_norm", RmsNorm(8)),
     "encoder.layers.1.mixer.heads.qk_norm is of type RmsNorm,"),
    (replace("decoder.layers.0.cross_attention.heads", Heads(16, 2, 1)),
     "decoder.layers.0.cross_attention.heads has num_kv_heads=1, but the exported model has keys and values for each"),
    (replace("decoder.layers.0.mixer.pattern", SlidingWindow(2)),
     "decoder.layers.0.mixer.pattern is of type SlidingWindow,"),
    (replace("encoder.layers.1.mixer.normaliser", TalkingHeads(2, Softmax())),
     "encoder.layers.1.mixer.normaliser is of type TalkingHeads,"),
    (replace("encoder.layers.1.mixer.normaliser", Sparsemax()),
     "encoder.layers.1.mixer.normaliser is of type Sparsemax, which CTranslate2 has no layer for"),
    (replace("decoder.layers.1.cross_attention.normaliser", Sparsemax()),
     "decoder.layers.1.cross_attention.normaliser is of type Sparsemax,"),
    (replace("encoder.embedding.positions", LearnedPositions(16)),
     "encoder.embedding.positions is of type LearnedPositions"),
    (replace("decoder.embedding.positions", nn.Embedding(9, 16)), "decoder.embedding.positions is of type Embedding"),
    (replace("decoder.norm", nn.GroupNorm(2, 16)), "decoder.norm is of type GroupNorm,"),
    (replace("decoder.norm", nn.Identity()), "decoder.norm has pre=False, but another layer has True: CTranslate2"),
    (replace("decoder.layers.0.mixer_residual.norm", nn.GroupNorm(2, 16)),
     "decoder.layers.0.mixer_residual.norm is of type GroupNorm"),
    (replace("encoder.layers.0.feed_forward", nn.Linear(16, 16)), "encoder.layers.0.feed_forward is of type Linear"),
    (replace("encoder.layers.0.feed_forward.inner", nn.Bilinear(16, 1, 24)),
     "encoder.layers.0.feed_forward.inner is of type Bilinear"),
    (replace("encoder.layers.0.feed_forward.dropout", nn.ReLU()),
     "encoder.layers.0.feed_forward.dropout is of type ReLU"),
    (replace("encoder", nn.LSTM(16, 16)), "encoder is of type LSTM,"),
    (replace("projection", nn.Sequential()), "projection is of type Sequential,"),
    (replace("decoder.layers.0.gate", nn.Linear(16, 16)),
     "decoder.layers.0 has gate, which CTranslate2 does not support"),
    (replace("encoder.embedding.features", nn.Embedding(3, 16)), "encoder.embedding has features,"),
    (replace("memory", nn.Linear(16, 16)), "the model has memory,"),
    (option("decoder.layers.1", cross_attention=None),
     "decoder.layers.1 has no cross_attention, which CTranslate2's layer needs"),
    (lambda model: delattr(model.encoder.embedding, "scale"), "encoder.embedding has no scale,"),
    (option("encoder.layers.0.mixer", window=3), "encoder.layers.0.mixer has window,"),
    (option("decoder", scales=nn.Parameter(torch.ones(2))), "decoder has scales,"),
    (option("encoder.layers.0.feed_forward", activation=torch.tanh),
     "encoder.layers.0.feed_forward has activation=tanh, which CTranslate2 does not have"),
    (option("decoder.layers.1.feed_forward", activation=nn.functional.gelu),
     "decoder.layers.1.feed_forward has activation=GELU, but another layer has RELU: CTranslate2"),
    (option("decoder.layers.1.cross_attention.heads", num_heads=4, num_kv_heads=4),
     "decoder.layers.1.cross_attention.heads has num_heads=4, but another layer has 2"),
    (option("decoder.layers.1.mixer_residual.norm", eps=1e-3),
     "decoder.layers.1.mixer_residual.norm has eps=0.001, but another layer has 1e-05"),
    (option("encoder.layers.1.mixer_residual", pre=False),
     "encoder.layers.1.mixer_residual has pre=False, but another layer has True"),
    (option("encoder.embedding", scale=2.0), "encoder.embedding has scale=2.0, but CTranslate2 only has 1"),
    (option("encoder.embedding.embedding", max_norm=1.0), "encoder.embedding.embedding has max_norm"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), FOREIGN, ids=[sentence.partition(",")[0] for _, sentence in FOREIGN])
def test_what_has_no_writer_is_refused_by_name(
    change: Callable[[Seq2Seq], None], sentence: str, run: LoadedRun, tmp_path: Path
) -> None:
    model = model_of(TINY)
    change(model)
    with pytest.raises(Inexpressible) as refusal:
        write(dataclasses.replace(run, model=model), tmp_path / "export")
    assert str(refusal.value).startswith(f"{run.path} cannot be exported for CTranslate2: {sentence}")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "export").exists()


def test_another_model_than_an_encoder_with_a_decoder_is_refused(run: LoadedRun, tmp_path: Path) -> None:
    class Further(Seq2Seq):
        pass

    model = model_of(TINY)
    further = Further(model.encoder, model.decoder, model.projection)
    with pytest.raises(Inexpressible, match="the model is of type Further, which CTranslate2 has no layer for"):
        write(dataclasses.replace(run, model=further), tmp_path / "export")
