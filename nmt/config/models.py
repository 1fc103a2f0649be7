"""The configuration keys under `model`: one dataclass for each model family.

The comments of the fields are the reference that users read in docs/configuration.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nmt.config.heads import check_heads_used, check_removed
from nmt.config.layers import check_halting, check_sharing
from nmt.config.mechanisms import (
    AlignmentName,
    CellName,
    CrossName,
    MixerName,
    NormaliserName,
    PositionName,
    ScoreName,
    check_mechanisms,
    has_mechanism,
)
from nmt.config.options.normalisers import EntmaxConfig, TopKConfig
from nmt.config.options.recurrent import (
    CoverageConfig,
    GaussianConfig,
    HardConfig,
    LocalMConfig,
    LocalPConfig,
    LocationAwareConfig,
    LocationConfig,
    MonotonicConfig,
)
from nmt.config.options.transformer import (
    AdaptiveSpanConfig,
    AverageConfig,
    BigBirdConfig,
    BlocksConfig,
    ConvolutionConfig,
    DilatedConfig,
    FixedGaussianConfig,
    HaltingConfig,
    HardCodedConfig,
    HeadsConfig,
    LearnedConfig,
    LinformerConfig,
    LshConfig,
    MambaConfig,
    NystroemConfig,
    PerformerConfig,
    RotaryConfig,
    ShareLayersConfig,
    ShawConfig,
    SlidingConfig,
    StridedConfig,
    SynthesizerConfig,
    T5Config,
    TransparentConfig,
    WindowGlobalConfig,
)
from nmt.config.ranges import Auto, Dimension, Layers, Range, Rate
from nmt.errors import require


def _check_tying(model: RecurrentConfig, output: str) -> None:
    require(
        not model.tie_projection or getattr(model, output) == model.embedding_dim,
        f"model.tie_projection needs model.{output} equal to model.embedding_dim ({model.embedding_dim})",
    )


def _check_connections(model: RecurrentConfig, layers: str) -> None:
    """Raise ConfigError for a connection between layers if there is one layer; `layers` is the key of their number."""
    for key in ("residual", "layer_norm"):
        require(
            not getattr(model, key) or getattr(model, layers) > 1,
            f"model.{key}=true is about how a layer is connected with the one below, and there is one layer: set "
            f"model.{layers} above 1",
        )


def dropouts(model: ModelConfig) -> list[float | str]:
    """Return all dropout rates of a model, with those of the mechanisms that it uses; a rate may be `auto`."""
    found: list[float | str] = []
    for name, value in vars(model).items():
        if name.endswith("dropout"):
            found.append(value)
        elif dataclasses.is_dataclass(value) and (name == "heads" or has_mechanism(model, name)):
            found += [rate for key, rate in vars(value).items() if key.endswith("dropout")]
    return found


@dataclass(kw_only=True)
class RnnEncDecConfig:
    """The RNN encoder-decoder, which encodes the source as one fixed vector (Cho et al. 2014; Sutskever et al. 2014).

    With context=every_step the decoder gets the vector at every step (Cho et al.), with context=initial_state only as
    its first state (Sutskever et al.).
    """

    family: Literal["rnn_encdec"] = "rnn_encdec"
    cell: CellName = "gru"  # kind of the recurrent units (docs/attention.md)
    embedding_dim: Dimension = 620  # size of a word embedding
    hidden_dim: Dimension = 1000  # size of the decoder's state and of each direction of the encoder
    layers: Layers = 1  # layers of the encoder, and of the decoder
    bidirectional: bool = False  # the encoder also reads the source backwards
    context: Literal["every_step", "initial_state"] = "every_step"  # when the decoder gets the vector
    maxout_dim: Dimension = 500  # size of the maxout layer before the output; only with context=every_step
    reverse_source: bool = False  # the encoder reads the source backwards; no effect if all layers read both ways
    residual: bool = False  # add the input of each layer, from the second on, to its output
    layer_norm: bool = False  # normalise the output of each layer for the layer above
    dropout: Rate = 0.0  # dropout rate of embeddings, between layers, and before the output projection
    dropout_mask: Literal["step", "sentence"] = "step"  # a new mask at each step, or one for all steps of a sentence
    share_embeddings: bool = False  # one embedding matrix for source and target; needs tokenizer.joint=true
    tie_projection: bool = False  # use the target embeddings as output projection, whose input has to be of their size

    def check(self) -> None:
        """Raise ConfigError if sizes do not fit together."""
        _check_connections(self, "layers")
        _check_tying(self, "maxout_dim" if self.context == "every_step" else "hidden_dim")


@dataclass(kw_only=True)
class RnnSearchConfig:
    """RNNsearch: a bidirectional encoder, additive attention with s[t-1], a maxout output (Bahdanau et al. 2015).

    docs/attention.md describes the values of score, alignment and normaliser.
    """

    family: Literal["rnnsearch"] = "rnnsearch"
    cell: CellName = "gru"  # kind of the recurrent units (docs/attention.md)
    embedding_dim: Dimension = 620  # size of a word embedding
    hidden_dim: Dimension = 1000  # size of the decoder's state and of each direction of the encoder
    attention_dim: Dimension = 1000  # size of the hidden layer in score=additive
    maxout_dim: Dimension = 500  # size of the maxout layer before the output
    encoder_layers: Layers = 1  # layers of the encoder; the decoder has one
    score: ScoreName = "additive"  # how decoder and source states are compared
    location: LocationConfig = field(default_factory=LocationConfig)  # options of score=location
    alignment: AlignmentName = "soft"  # what attention makes of the scores
    local_m: LocalMConfig = field(default_factory=LocalMConfig)  # options of alignment=local_m
    local_p: LocalPConfig = field(default_factory=LocalPConfig)  # options of alignment=local_p
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)  # options of alignment=gaussian
    coverage: CoverageConfig = field(default_factory=CoverageConfig)  # options of alignment=coverage
    location_aware: LocationAwareConfig = field(default_factory=LocationAwareConfig)  # options of this alignment
    hard: HardConfig = field(default_factory=HardConfig)  # options of alignment=hard
    monotonic: MonotonicConfig = field(default_factory=MonotonicConfig)  # options of alignment=monotonic
    normaliser: NormaliserName = "softmax"  # how scores become weights
    entmax: EntmaxConfig = field(default_factory=EntmaxConfig)  # options of normaliser=entmax
    top_k: TopKConfig = field(default_factory=TopKConfig)  # options of normaliser=top_k
    doubly_stochastic: Annotated[float, Range(0, 1000)] = 0.0  # weight of a loss for even source attention; 0: off
    residual: bool = False  # add the input of each layer, from the second on, to its output
    layer_norm: bool = False  # normalise the output of each layer for the layer above
    dropout: Rate = 0.0  # dropout rate of embeddings, between layers, and before the output projection
    dropout_mask: Literal["step", "sentence"] = "step"  # a new mask at each step, or one for all steps of a sentence
    share_embeddings: bool = False  # one embedding matrix for source and target; needs tokenizer.joint=true
    tie_projection: bool = False  # use the target embeddings as output projection; needs maxout_dim = embedding_dim

    def check(self) -> None:
        """Raise ConfigError if sizes or mechanisms do not fit together."""
        check_mechanisms(self)
        _check_connections(self, "encoder_layers")
        _check_tying(self, "maxout_dim")


@dataclass(kw_only=True)
class LuongConfig:
    """Global attention with h[t] and an attentional hidden state, with or without input feeding (Luong et al. 2015).

    docs/attention.md describes the values of score, alignment and normaliser.
    """

    family: Literal["luong"] = "luong"
    cell: CellName = "lstm"  # kind of the recurrent units (docs/attention.md)
    embedding_dim: Dimension = 1000  # size of a word embedding
    hidden_dim: Dimension = 1000  # size of the recurrent states
    layers: Layers = 4  # layers of the encoder, and of the decoder
    bidirectional: bool = False  # the encoder (not the paper's) reads in both directions, with hidden_dim / 2 for each
    bidirectional_layers: Literal["all", "first"] = "all"  # which encoder layers model.bidirectional applies to
    score: ScoreName = "general"  # how decoder and source states are compared
    location: LocationConfig = field(default_factory=LocationConfig)  # options of score=location
    alignment: AlignmentName = "soft"  # what attention makes of the scores
    local_m: LocalMConfig = field(default_factory=LocalMConfig)  # options of alignment=local_m
    local_p: LocalPConfig = field(default_factory=LocalPConfig)  # options of alignment=local_p
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)  # options of alignment=gaussian
    coverage: CoverageConfig = field(default_factory=CoverageConfig)  # options of alignment=coverage
    location_aware: LocationAwareConfig = field(default_factory=LocationAwareConfig)  # options of this alignment
    hard: HardConfig = field(default_factory=HardConfig)  # options of alignment=hard
    monotonic: MonotonicConfig = field(default_factory=MonotonicConfig)  # options of alignment=monotonic
    normaliser: NormaliserName = "softmax"  # how scores become weights
    entmax: EntmaxConfig = field(default_factory=EntmaxConfig)  # options of normaliser=entmax
    top_k: TopKConfig = field(default_factory=TopKConfig)  # options of normaliser=top_k
    doubly_stochastic: Annotated[float, Range(0, 1000)] = 0.0  # weight of a loss for even source attention; 0: off
    input_feeding: bool = True  # feed the attentional hidden state into the next step
    reverse_source: bool = False  # the encoder reads the source backwards; no effect if all layers read both ways
    residual: bool = False  # add the input of each layer, from the second on, to its output
    layer_norm: bool = False  # normalise the output of each layer for the layer above
    dropout: Rate = 0.2  # dropout rate of embeddings, between layers, and before the output projection
    dropout_mask: Literal["step", "sentence"] = "step"  # a new mask at each step, or one for all steps of a sentence
    share_embeddings: bool = False  # one embedding matrix for source and target; needs tokenizer.joint=true
    tie_projection: bool = False  # use the target embeddings as output projection; needs hidden_dim = embedding_dim

    def check(self) -> None:
        """Raise ConfigError if sizes or mechanisms do not fit together."""
        require(
            not self.bidirectional or self.hidden_dim % 2 == 0, "model.hidden_dim must be even for model.bidirectional"
        )
        require(
            self.bidirectional or self.bidirectional_layers == "all",
            f"model.bidirectional_layers={self.bidirectional_layers} needs model.bidirectional=true",
        )
        check_mechanisms(self)
        _check_connections(self, "layers")
        _check_tying(self, "hidden_dim")


@dataclass(kw_only=True)
class TransformerConfig:
    """The Transformer (Vaswani et al. 2017).

    docs/attention.md describes the values of positions, encoder_self, decoder_self, decoder_cross and normaliser.
    """

    family: Literal["transformer"] = "transformer"
    model_dim: Dimension = 512  # size of the embeddings and of each layer's output
    ffn_dim: Dimension = 2048  # size of the hidden layer in the feed-forward blocks, also of those with gates
    num_heads: Dimension = 8  # attention heads per layer; they divide model_dim among them
    encoder_layers: Layers = 6  # layers of the encoder
    decoder_layers: Layers = 6  # layers of the decoder
    share_layers: ShareLayersConfig = field(default_factory=ShareLayersConfig)  # which layers have the same weights
    halting: HaltingConfig = field(default_factory=HaltingConfig)  # whether positions halt before the last layer
    norm: Literal["pre", "post"] = "post"  # normalisation before (pre) or after (post) each block
    normalisation: Literal["layer", "rms"] = "layer"  # what this normalisation is: of layers, or by root mean square
    positions: PositionName = "sinusoidal"  # how the model knows the order of the tokens
    learned: LearnedConfig = field(default_factory=LearnedConfig)  # options of positions=learned
    rotary: RotaryConfig = field(default_factory=RotaryConfig)  # options of positions=rotary
    shaw: ShawConfig = field(default_factory=ShawConfig)  # options of positions=shaw
    t5: T5Config = field(default_factory=T5Config)  # options of positions=t5
    heads: HeadsConfig = field(default_factory=HeadsConfig)  # options of the heads
    encoder_self: MixerName | list[MixerName] = "softmax"  # encoder self-attention: one for all layers or one per layer
    decoder_self: MixerName | list[MixerName] = "softmax"  # decoder self-attention: one for all layers or one per layer
    mamba: MambaConfig = field(default_factory=MambaConfig)  # options of the mixer mamba
    light_conv: ConvolutionConfig = field(default_factory=ConvolutionConfig)  # options of the mixer light_conv
    dynamic_conv: ConvolutionConfig = field(default_factory=ConvolutionConfig)  # options of the mixer dynamic_conv
    synthesizer_random: SynthesizerConfig = field(default_factory=SynthesizerConfig)  # options of this mixer
    synthesizer_dense: SynthesizerConfig = field(default_factory=SynthesizerConfig)  # options of this mixer
    performer: PerformerConfig = field(default_factory=PerformerConfig)  # options of the mixer performer
    average: AverageConfig = field(default_factory=AverageConfig)  # options of the mixer average
    decoder_cross: CrossName | list[CrossName] = "softmax"  # attention to the source: for all layers, or one per layer
    sliding: SlidingConfig = field(default_factory=SlidingConfig)  # options of encoder_self or decoder_self=sliding
    dilated: DilatedConfig = field(default_factory=DilatedConfig)  # options of encoder_self or decoder_self=dilated
    blocks: BlocksConfig = field(default_factory=BlocksConfig)  # options of encoder_self or decoder_self=blocks
    strided: StridedConfig = field(default_factory=StridedConfig)  # options of encoder_self or decoder_self=strided
    window_global: WindowGlobalConfig = field(default_factory=WindowGlobalConfig)  # options of this self-attention
    bigbird: BigBirdConfig = field(default_factory=BigBirdConfig)  # options of encoder_self or decoder_self=bigbird
    fixed_gaussian: FixedGaussianConfig = field(default_factory=FixedGaussianConfig)  # options of this self-attention
    hard_coded: HardCodedConfig = field(default_factory=HardCodedConfig)  # options of this replacement
    adaptive_span: AdaptiveSpanConfig = field(default_factory=AdaptiveSpanConfig)  # options of the mixer adaptive_span
    linformer: LinformerConfig = field(default_factory=LinformerConfig)  # options of encoder_self=linformer
    nystroem: NystroemConfig = field(default_factory=NystroemConfig)  # options of encoder_self=nystroem
    lsh: LshConfig = field(default_factory=LshConfig)  # options of encoder_self=lsh
    transparent: TransparentConfig = field(default_factory=TransparentConfig)  # options of decoder_cross=transparent
    normaliser: NormaliserName = "softmax"  # how scores become weights, in all layers
    entmax: EntmaxConfig = field(default_factory=EntmaxConfig)  # options of normaliser=entmax
    top_k: TopKConfig = field(default_factory=TopKConfig)  # options of normaliser=top_k
    activation: Literal["relu", "gelu", "relu2", "swiglu", "geglu"] = "relu"  # of feed-forward blocks; *glu: with gates
    dropout: Rate | Auto = 0.1  # rate for embeddings and block outputs; auto: 0.1 to 0.4, by passes over the text
    attention_dropout: Rate = 0.0  # dropout rate of the attention weights
    ffn_dropout: Rate = 0.0  # dropout rate after the activation function
    share_embeddings: bool = True  # one embedding matrix for source and target; needs tokenizer.joint=true
    tie_projection: bool = True  # use the target embeddings as output projection

    def check(self) -> None:
        """Raise ConfigError if sizes or mechanisms do not fit together."""
        require(
            self.model_dim % self.num_heads == 0,
            f"model.model_dim={self.model_dim} is not divisible by model.num_heads={self.num_heads}",
        )
        kv_heads = self.heads.num_kv_heads
        require(
            kv_heads is None or self.num_heads % kv_heads == 0,
            f"model.heads.num_kv_heads={kv_heads} does not divide model.num_heads={self.num_heads}: each head of keys "
            "and values serves the same number of heads of queries",
        )
        check_mechanisms(self)
        check_sharing(self)
        check_halting(self)
        check_removed(self)
        check_heads_used(self)


RecurrentConfig = RnnEncDecConfig | RnnSearchConfig | LuongConfig
ModelConfig = RecurrentConfig | TransformerConfig
MODEL_FAMILIES: dict[str, type[ModelConfig]] = {
    "rnn_encdec": RnnEncDecConfig,
    "rnnsearch": RnnSearchConfig,
    "luong": LuongConfig,
    "transformer": TransformerConfig,
}
