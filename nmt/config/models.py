"""The keys of each model family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nmt.errors import require


def _check_tying(model: RnnEncDecConfig | RnnSearchConfig | LuongConfig, output: str) -> None:
    require(
        not model.tie_projection or getattr(model, output) == model.embedding_dim,
        f"model.tie_projection needs model.{output} equal to model.embedding_dim ({model.embedding_dim})",
    )


def dropouts(model: object) -> dict[str, float]:
    """Every rate of dropout that a model may have; 0 for those it has no key for."""
    return {name: getattr(model, name, 0.0) for name in ("dropout", "attention_dropout", "ffn_dropout")}


def _check_dropout(model: object) -> None:
    for name, value in dropouts(model).items():
        require(0.0 <= value < 1.0, f"model.{name} must be from 0 to below 1")


@dataclass(kw_only=True)
class RnnEncDecConfig:
    """The RNN encoder-decoder with one fixed vector between them (Cho et al. 2014; Sutskever et al. 2014)."""

    family: Literal["rnn_encdec"] = "rnn_encdec"
    cell: Literal["gru", "lstm"] = "gru"
    embedding_dim: int = 620
    hidden_dim: int = 1000
    layers: int = 1
    bidirectional: bool = False
    context: Literal["every_step", "initial_state"] = "every_step"  # Cho et al. / Sutskever et al.
    maxout_dim: int = 500  # the output layer of context=every_step
    reverse_source: bool = False
    dropout: float = 0.0
    share_embeddings: bool = False  # one matrix for source and target (needs a joint vocabulary)
    tie_projection: bool = False  # target embedding = output projection

    def check(self) -> None:
        """Refuse sizes and rates out of range."""
        require(self.layers >= 1, "model.layers must be at least 1")
        _check_dropout(self)
        _check_tying(self, "maxout_dim" if self.context == "every_step" else "hidden_dim")


@dataclass(kw_only=True)
class RnnSearchConfig:
    """RNNsearch: a bidirectional encoder, additive attention on s[t-1], a maxout output (Bahdanau et al. 2015)."""

    family: Literal["rnnsearch"] = "rnnsearch"
    cell: Literal["gru", "lstm"] = "gru"
    embedding_dim: int = 620
    hidden_dim: int = 1000  # each direction of the encoder; the decoder's state
    attention_dim: int = 1000
    maxout_dim: int = 500
    encoder_layers: int = 1
    score: Literal["general", "additive"] = "additive"
    dropout: float = 0.0
    share_embeddings: bool = False
    tie_projection: bool = False

    def check(self) -> None:
        """Refuse sizes and rates out of range."""
        require(self.encoder_layers >= 1, "model.encoder_layers must be at least 1")
        _check_dropout(self)
        _check_tying(self, "maxout_dim")


@dataclass(kw_only=True)
class LuongConfig:
    """Global attention on h[t] with an attentional hidden state, with or without input feeding (Luong et al. 2015)."""

    family: Literal["luong"] = "luong"
    cell: Literal["gru", "lstm"] = "lstm"
    embedding_dim: int = 1000
    hidden_dim: int = 1000
    layers: int = 4
    bidirectional: bool = False  # the paper's encoder is not; each direction then has hidden_dim / 2
    score: Literal["dot", "general", "concat"] = "general"
    input_feeding: bool = True
    reverse_source: bool = False
    dropout: float = 0.2
    share_embeddings: bool = False
    tie_projection: bool = False

    def check(self) -> None:
        """Refuse sizes and rates out of range."""
        require(self.layers >= 1, "model.layers must be at least 1")
        require(
            not self.bidirectional or self.hidden_dim % 2 == 0, "model.hidden_dim must be even for model.bidirectional"
        )
        _check_dropout(self)
        _check_tying(self, "hidden_dim")


@dataclass(kw_only=True)
class TransformerConfig:
    """The Transformer (Vaswani et al. 2017)."""

    family: Literal["transformer"] = "transformer"
    model_dim: int = 512
    ffn_dim: int = 2048
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    norm: Literal["pre", "post"] = "post"
    activation: Literal["relu", "gelu"] = "relu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    ffn_dropout: float = 0.0
    share_embeddings: bool = True  # one matrix for source and target (needs a joint vocabulary)
    tie_projection: bool = True  # target embedding = output projection

    def check(self) -> None:
        """Refuse sizes and rates out of range."""
        require(
            self.num_heads >= 1 and self.model_dim % self.num_heads == 0,
            f"model.model_dim={self.model_dim} is not divisible by model.num_heads={self.num_heads}",
        )
        require(self.model_dim % 2 == 0, "model.model_dim must be even for sinusoidal positions")
        require(self.encoder_layers >= 1 and self.decoder_layers >= 1, "model needs at least one layer on each side")
        _check_dropout(self)


ModelConfig = RnnEncDecConfig | RnnSearchConfig | LuongConfig | TransformerConfig
MODEL_FAMILIES: dict[str, type[ModelConfig]] = {
    "rnn_encdec": RnnEncDecConfig,
    "rnnsearch": RnnSearchConfig,
    "luong": LuongConfig,
    "transformer": TransformerConfig,
}
