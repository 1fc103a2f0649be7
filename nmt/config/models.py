"""The keys of each model family."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nmt.config.mechanisms import (
    AlignmentName,
    CoverageConfig,
    CrossName,
    MixerName,
    PositionName,
    RotaryConfig,
    ShawConfig,
    TransparentConfig,
    check_mechanisms,
    has_mechanism,
)
from nmt.config.ranges import Auto, Dimension, Layers, Range, Rate
from nmt.errors import require


def _check_tying(model: RnnEncDecConfig | RnnSearchConfig | LuongConfig, output: str) -> None:
    require(
        not model.tie_projection or getattr(model, output) == model.embedding_dim,
        f"model.tie_projection needs model.{output} equal to model.embedding_dim ({model.embedding_dim})",
    )


def dropouts(model: ModelConfig) -> list[float | str]:
    """Return every rate of dropout of a model, or auto, those of the mechanisms that it has among them."""
    found: list[float | str] = []
    for name, value in vars(model).items():
        if name.endswith("dropout"):
            found.append(value)
        elif dataclasses.is_dataclass(value) and has_mechanism(model, name):
            found += [rate for key, rate in vars(value).items() if key.endswith("dropout")]
    return found


@dataclass(kw_only=True)
class RnnEncDecConfig:
    """The RNN encoder-decoder with one fixed vector between them (Cho et al. 2014; Sutskever et al. 2014)."""

    family: Literal["rnn_encdec"] = "rnn_encdec"
    cell: Literal["gru", "lstm"] = "gru"
    embedding_dim: Dimension = 620
    hidden_dim: Dimension = 1000
    layers: Layers = 1
    bidirectional: bool = False
    context: Literal["every_step", "initial_state"] = "every_step"  # Cho et al. / Sutskever et al.
    maxout_dim: Dimension = 500  # the output layer of context=every_step
    reverse_source: bool = False
    dropout: Rate = 0.0
    share_embeddings: bool = False  # one matrix for source and target (needs a joint vocabulary)
    tie_projection: bool = False  # target embedding = output projection

    def check(self) -> None:
        """Refuse sizes that do not fit together."""
        _check_tying(self, "maxout_dim" if self.context == "every_step" else "hidden_dim")


@dataclass(kw_only=True)
class RnnSearchConfig:
    """RNNsearch: a bidirectional encoder, additive attention on s[t-1], a maxout output (Bahdanau et al. 2015)."""

    family: Literal["rnnsearch"] = "rnnsearch"
    cell: Literal["gru", "lstm"] = "gru"
    embedding_dim: Dimension = 620
    hidden_dim: Dimension = 1000  # each direction of the encoder; the decoder's state
    attention_dim: Dimension = 1000
    maxout_dim: Dimension = 500
    encoder_layers: Layers = 1
    score: Literal["general", "additive"] = "additive"
    alignment: AlignmentName = "soft"
    coverage: CoverageConfig = field(default_factory=CoverageConfig)
    doubly_stochastic: Annotated[float, Range(0, 1000)] = 0.0  # weight of the loss by which no source word is left out
    dropout: Rate = 0.0
    share_embeddings: bool = False
    tie_projection: bool = False

    def check(self) -> None:
        """Refuse sizes that do not fit together."""
        check_mechanisms(self)
        _check_tying(self, "maxout_dim")


@dataclass(kw_only=True)
class LuongConfig:
    """Global attention on h[t] with an attentional hidden state, with or without input feeding (Luong et al. 2015)."""

    family: Literal["luong"] = "luong"
    cell: Literal["gru", "lstm"] = "lstm"
    embedding_dim: Dimension = 1000
    hidden_dim: Dimension = 1000
    layers: Layers = 4
    bidirectional: bool = False  # the paper's encoder is not; each direction then has hidden_dim / 2
    score: Literal["dot", "general", "concat"] = "general"
    alignment: AlignmentName = "soft"
    coverage: CoverageConfig = field(default_factory=CoverageConfig)
    doubly_stochastic: Annotated[float, Range(0, 1000)] = 0.0  # weight of the loss by which no source word is left out
    input_feeding: bool = True
    reverse_source: bool = False
    dropout: Rate = 0.2
    share_embeddings: bool = False
    tie_projection: bool = False

    def check(self) -> None:
        """Refuse sizes that do not fit together."""
        require(
            not self.bidirectional or self.hidden_dim % 2 == 0, "model.hidden_dim must be even for model.bidirectional"
        )
        check_mechanisms(self)
        _check_tying(self, "hidden_dim")


@dataclass(kw_only=True)
class TransformerConfig:
    """The Transformer (Vaswani et al. 2017)."""

    family: Literal["transformer"] = "transformer"
    model_dim: Dimension = 512
    ffn_dim: Dimension = 2048
    num_heads: Dimension = 8
    encoder_layers: Layers = 6
    decoder_layers: Layers = 6
    norm: Literal["pre", "post"] = "post"
    positions: PositionName = "sinusoidal"
    rotary: RotaryConfig = field(default_factory=RotaryConfig)
    shaw: ShawConfig = field(default_factory=ShawConfig)
    encoder_self: MixerName | list[MixerName] = "softmax"  # of all layers, or a list with one for each
    decoder_self: MixerName | list[MixerName] = "softmax"
    decoder_cross: CrossName | list[CrossName] = "softmax"
    transparent: TransparentConfig = field(default_factory=TransparentConfig)  # for decoder_cross=transparent
    activation: Literal["relu", "gelu"] = "relu"
    dropout: Rate | Auto = 0.1  # auto: from 0.1 to 0.4, the more often the text is read
    attention_dropout: Rate = 0.0
    ffn_dropout: Rate = 0.0
    share_embeddings: bool = True  # one matrix for source and target (needs a joint vocabulary)
    tie_projection: bool = True  # target embedding = output projection

    def check(self) -> None:
        """Refuse sizes that do not fit together."""
        require(
            self.model_dim % self.num_heads == 0,
            f"model.model_dim={self.model_dim} is not divisible by model.num_heads={self.num_heads}",
        )
        check_mechanisms(self)


ModelConfig = RnnEncDecConfig | RnnSearchConfig | LuongConfig | TransformerConfig
MODEL_FAMILIES: dict[str, type[ModelConfig]] = {
    "rnn_encdec": RnnEncDecConfig,
    "rnnsearch": RnnSearchConfig,
    "luong": LuongConfig,
    "transformer": TransformerConfig,
}
