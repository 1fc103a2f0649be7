"""Tiny versions of all model variants, for the property tests."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import get_args

import torch
from torch import Tensor

from nmt.attention.normalisers import Normaliser
from nmt.config.models import LuongConfig, ModelConfig, RnnEncDecConfig, RnnSearchConfig, TransformerConfig
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
    WindowGlobalConfig,
)
from nmt.models.build import build_model
from nmt.models.contract import AttentionKind, Decoded
from nmt.models.seq2seq import Seq2Seq

RNN = {"embedding_dim": 12, "hidden_dim": 16}
TRANSFORMER = {"model_dim": 16, "ffn_dim": 24, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 2}

VARIANTS: dict[str, ModelConfig] = {
    "cho": RnnEncDecConfig(**RNN, maxout_dim=10),
    "cho-lstm-2": RnnEncDecConfig(**RNN, maxout_dim=10, cell="lstm", layers=2, bidirectional=True),
    "sutskever": RnnEncDecConfig(**RNN, cell="lstm", layers=2, context="initial_state", reverse_source=True),
    "sutskever-gru": RnnEncDecConfig(**RNN, context="initial_state", bidirectional=True),
    "rnnsearch": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10),
    "rnnsearch-lstm": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=12, cell="lstm", encoder_layers=2,
                                      tie_projection=True),
    "rnnsearch-general": RnnSearchConfig(**RNN, maxout_dim=10, score="general"),
    "rnnsearch-concat": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, score="concat"),
    "rnnsearch-doubly-stochastic": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, doubly_stochastic=0.5),
    "luong-doubly-stochastic": LuongConfig(**RNN, layers=1, doubly_stochastic=0.3),
    "luong-dot": LuongConfig(**RNN, layers=1, score="dot"),
    "luong-dot-plain": LuongConfig(**RNN, layers=2, score="dot", input_feeding=False, reverse_source=True),
    "luong-scaled-dot": LuongConfig(**RNN, layers=1, score="scaled_dot"),
    "luong-scaled-dot-plain": LuongConfig(**RNN, layers=1, score="scaled_dot", input_feeding=False, cell="gru"),
    "rnnsearch-location": RnnSearchConfig(**RNN, maxout_dim=10, score="location"),
    "luong-location": LuongConfig(**RNN, layers=1, score="location", location=LocationConfig(max_length=4)),
    "luong-location-plain": LuongConfig(**RNN, layers=2, score="location", input_feeding=False, bidirectional=True),
    "luong-general": LuongConfig(**RNN, layers=2, bidirectional=True),
    "luong-general-plain": LuongConfig(**RNN, layers=1, cell="gru", input_feeding=False),
    "luong-concat": LuongConfig(**RNN, layers=2, cell="gru", score="concat", reverse_source=True),
    "luong-additive": LuongConfig(**RNN, layers=1, score="additive"),
    "luong-concat-plain": LuongConfig(**RNN, layers=1, score="concat", input_feeding=False),
    "rnnsearch-local-m": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="local_m",
                                         local_m=LocalMConfig(window=1), doubly_stochastic=0.5),
    "luong-local-m": LuongConfig(**RNN, layers=1, score="concat", alignment="local_m",
                                 local_m=LocalMConfig(window=2, ratio=1.5)),
    "luong-local-m-plain": LuongConfig(**RNN, layers=2, alignment="local_m", input_feeding=False,
                                       local_m=LocalMConfig(window=1, ratio=0.75)),
    "rnnsearch-local-p": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="local_p",
                                         cell="lstm", local_p=LocalPConfig(window=2)),
    "luong-local-p": LuongConfig(**RNN, layers=1, score="dot", alignment="local_p", local_p=LocalPConfig(window=2)),
    "luong-local-p-plain": LuongConfig(**RNN, layers=2, score="concat", alignment="local_p", input_feeding=False,
                                       local_p=LocalPConfig(window=1)),
    "rnnsearch-gaussian": RnnSearchConfig(**RNN, maxout_dim=10, alignment="gaussian"),
    "luong-gaussian": LuongConfig(**RNN, layers=1, cell="gru", alignment="gaussian",
                                  gaussian=GaussianConfig(components=1)),
    "luong-gaussian-plain": LuongConfig(**RNN, layers=2, alignment="gaussian", input_feeding=False),
    "rnnsearch-coverage": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="coverage"),
    "rnnsearch-coverage-neural": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="coverage",
                                                 cell="lstm", coverage=CoverageConfig(kind="neural", dim=3)),
    "luong-coverage": LuongConfig(**RNN, layers=2, score="concat", alignment="coverage",
                                  coverage=CoverageConfig(kind="neural", dim=3)),
    "luong-coverage-plain": LuongConfig(**RNN, layers=1, score="concat", alignment="coverage", input_feeding=False,
                                        coverage=CoverageConfig(max_fertility=3)),
    "rnnsearch-location-aware": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="location_aware",
                                                location_aware=LocationAwareConfig(filters=3, radius=1)),
    "luong-location-aware": LuongConfig(**RNN, layers=2, score="concat", alignment="location_aware",
                                        doubly_stochastic=0.3),
    "luong-location-aware-plain": LuongConfig(**RNN, layers=1, score="additive", alignment="location_aware",
                                              input_feeding=False, reverse_source=True),
    "rnnsearch-sparsemax": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, normaliser="sparsemax"),
    "luong-sparsemax": LuongConfig(**RNN, layers=1, normaliser="sparsemax", doubly_stochastic=0.3),
    "luong-sparsemax-coverage": LuongConfig(**RNN, layers=1, score="concat", alignment="coverage",
                                            normaliser="sparsemax"),
    "rnnsearch-sparsemax-local-p": RnnSearchConfig(**RNN, maxout_dim=10, score="general", alignment="local_p",
                                                   normaliser="sparsemax", local_p=LocalPConfig(window=3)),
    "luong-sparsemax-location-aware": LuongConfig(**RNN, layers=1, score="concat", alignment="location_aware",
                                                  normaliser="sparsemax"),
    "rnnsearch-entmax15": RnnSearchConfig(**RNN, maxout_dim=10, score="general", normaliser="entmax15"),
    "luong-entmax15": LuongConfig(**RNN, layers=2, normaliser="entmax15", input_feeding=False),
    "rnnsearch-entmax": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, normaliser="entmax",
                                        entmax=EntmaxConfig(alpha=1.8)),
    "luong-entmax": LuongConfig(**RNN, layers=1, score="concat", normaliser="entmax", alignment="coverage"),
    "rnnsearch-rela": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, normaliser="rela"),
    "luong-rela": LuongConfig(**RNN, layers=1, normaliser="rela", input_feeding=False),
    "rnnsearch-rela-local-p": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="local_p",
                                              normaliser="rela", local_p=LocalPConfig(window=3)),
    "luong-rela-location-aware": LuongConfig(**RNN, layers=1, score="concat", alignment="location_aware",
                                             normaliser="rela"),
    "rnnsearch-top-k": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="coverage",
                                       normaliser="top_k", top_k=TopKConfig(k=3)),
    "luong-top-k": LuongConfig(**RNN, layers=1, normaliser="top_k", top_k=TopKConfig(k=2)),
    "luong-top-k-local-m": LuongConfig(**RNN, layers=1, alignment="local_m", local_m=LocalMConfig(window=3),
                                       normaliser="top_k", top_k=TopKConfig(k=2)),
    "luong-marginal": LuongConfig(**RNN, layers=2, alignment="marginal", input_feeding=False),
    "luong-marginal-location": LuongConfig(**RNN, layers=1, score="location", location=LocationConfig(max_length=4),
                                           alignment="marginal", input_feeding=False),
    "luong-marginal-concat": LuongConfig(**RNN, layers=2, score="concat", alignment="marginal", input_feeding=False,
                                         bidirectional=True, doubly_stochastic=0.3),
    "rnnsearch-hard": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="hard", cell="lstm"),
    "luong-hard": LuongConfig(**RNN, layers=2, alignment="hard", doubly_stochastic=0.3,
                              hard=HardConfig(reinforce=0.5, entropy=0.1, soft_share=0.0)),
    "luong-hard-plain": LuongConfig(**RNN, layers=1, score="concat", alignment="hard", input_feeding=False),
    "luong-hard-location": LuongConfig(**RNN, layers=1, score="location", location=LocationConfig(max_length=4),
                                       alignment="hard", input_feeding=False),
    "rnnsearch-monotonic": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, alignment="monotonic",
                                           monotonic=MonotonicConfig(offset=-0.1, noise=0.0)),
    "luong-monotonic": LuongConfig(**RNN, layers=2, score="dot", alignment="monotonic", dropout=0.0,
                                   monotonic=MonotonicConfig(offset=-0.1, noise=0.0)),
    "luong-monotonic-plain": LuongConfig(**RNN, layers=1, score="concat", alignment="monotonic", input_feeding=False,
                                         dropout=0.0, monotonic=MonotonicConfig(offset=-0.05, noise=0.0)),
    "cho-sru": RnnEncDecConfig(**RNN, maxout_dim=10, cell="sru", layers=2, bidirectional=True),
    "sutskever-lrn": RnnEncDecConfig(**RNN, cell="lrn", layers=2, context="initial_state", reverse_source=True),
    "rnnsearch-sru": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, cell="sru"),
    "rnnsearch-lrn": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, cell="lrn", encoder_layers=2),
    "luong-sru": LuongConfig(**RNN, layers=2, cell="sru"),
    "luong-sru-plain": LuongConfig(**RNN | {"embedding_dim": 16}, layers=3, cell="sru", input_feeding=False),
    "luong-lrn": LuongConfig(**RNN, layers=2, cell="lrn", bidirectional=True),
    "luong-lrn-plain": LuongConfig(**RNN, layers=2, cell="lrn", input_feeding=False),
    "cho-residual-norm": RnnEncDecConfig(**RNN, maxout_dim=10, layers=3, residual=True, layer_norm=True,
                                         bidirectional=True, dropout_mask="sentence"),
    "sutskever-residual": RnnEncDecConfig(**RNN, cell="lstm", layers=3, context="initial_state", residual=True,
                                          reverse_source=True),
    "rnnsearch-residual-norm": RnnSearchConfig(**RNN, attention_dim=14, maxout_dim=10, encoder_layers=3, residual=True,
                                               layer_norm=True, dropout_mask="sentence"),
    "luong-gnmt": LuongConfig(**RNN, layers=3, score="concat", residual=True, bidirectional=True,
                              bidirectional_layers="first", dropout_mask="sentence"),
    "luong-norm-lrn": LuongConfig(**RNN, layers=2, cell="lrn", layer_norm=True),
    "luong-norm-sru-plain": LuongConfig(**RNN, layers=2, cell="sru", layer_norm=True, input_feeding=False),
    "luong-residual-norm-plain": LuongConfig(**RNN, layers=3, residual=True, layer_norm=True, input_feeding=False),
    "transformer-post": TransformerConfig(**TRANSFORMER),
    "transformer-pre": TransformerConfig(**TRANSFORMER, norm="pre", activation="gelu", share_embeddings=False),
    "transformer-rms": TransformerConfig(**TRANSFORMER, normalisation="rms"),
    "transformer-rms-pre": TransformerConfig(**TRANSFORMER, norm="pre", normalisation="rms",
                                             decoder_cross="transparent"),
    "transformer-swiglu": TransformerConfig(**TRANSFORMER, norm="pre", activation="swiglu"),
    "transformer-geglu": TransformerConfig(**TRANSFORMER, activation="geglu"),
    "transformer-relu2": TransformerConfig(**TRANSFORMER, activation="relu2"),
    "transformer-shared-layers": TransformerConfig(**TRANSFORMER, share_layers=ShareLayersConfig(encoder=1, decoder=1)),
    "transformer-layers-in-turn": TransformerConfig(
        **TRANSFORMER | {"encoder_layers": 3, "decoder_layers": 3}, norm="pre", positions="shaw",
        decoder_self=["ssru", "softmax", "ssru"], decoder_cross="transparent",
        share_layers=ShareLayersConfig(encoder=2, decoder=2)),
    "transformer-halting": TransformerConfig(
        **TRANSFORMER | {"encoder_layers": 4, "decoder_layers": 4},
        halting=HaltingConfig(encoder=True, decoder=True, initial=0.5, penalty=0.1)),
    "transformer-universal": TransformerConfig(
        **TRANSFORMER | {"encoder_layers": 3, "decoder_layers": 4}, norm="pre", positions="rotary",
        share_layers=ShareLayersConfig(encoder=1, decoder=1),
        halting=HaltingConfig(encoder=True, decoder=True, epsilon=0.1, initial=0.7)),
    "transformer-halting-ssru": TransformerConfig(
        **TRANSFORMER | {"decoder_layers": 3}, decoder_self=["softmax", "ssru", "sliding"], decoder_cross="transparent",
        halting=HaltingConfig(decoder=True, initial=0.6)),
    "transformer-learned": TransformerConfig(**TRANSFORMER, positions="learned", learned=LearnedConfig(max_length=4)),
    "transformer-rotary": TransformerConfig(**TRANSFORMER, norm="pre", positions="rotary",
                                            rotary=RotaryConfig(base=50)),
    "transformer-alibi": TransformerConfig(**TRANSFORMER, positions="alibi"),
    "transformer-alibi-3-heads": TransformerConfig(**TRANSFORMER | {"model_dim": 18, "num_heads": 3},
                                                   positions="alibi"),
    "transformer-shaw": TransformerConfig(**TRANSFORMER, positions="shaw", shaw=ShawConfig(max_distance=2)),
    "transformer-shaw-keys": TransformerConfig(**TRANSFORMER, norm="pre", positions="shaw",
                                               shaw=ShawConfig(max_distance=3, values=False)),
    "transformer-t5": TransformerConfig(**TRANSFORMER, positions="t5"),
    "transformer-t5-sliding": TransformerConfig(**TRANSFORMER, norm="pre", positions="t5", encoder_self="sliding",
                                                decoder_self=["sliding", "softmax"],
                                                sliding=SlidingConfig(window=2),
                                                t5=T5Config(num_buckets=4, max_distance=3)),
    "transformer-ssru": TransformerConfig(**TRANSFORMER, decoder_self="ssru"),
    "transformer-ssru-softmax": TransformerConfig(**TRANSFORMER, norm="pre", decoder_self=["ssru", "softmax"]),
    "transformer-mamba": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self="mamba", decoder_self="mamba",
                                           mamba=MambaConfig(state_dim=3)),
    "transformer-mamba-softmax": TransformerConfig(**TRANSFORMER, norm="pre", positions="rotary",
                                                   encoder_self=["softmax", "mamba"], decoder_self=["mamba", "softmax"],
                                                   mamba=MambaConfig(state_dim=2, expansion=1, kernel_size=1,
                                                                     delta_rank=3)),
    "transformer-light-conv": TransformerConfig(**TRANSFORMER, encoder_self="light_conv", decoder_self="light_conv",
                                                light_conv=ConvolutionConfig(kernel_sizes=[3, 5])),
    "transformer-light-conv-softmax": TransformerConfig(**TRANSFORMER, norm="pre", positions="none",
                                                        encoder_self=["light_conv", "softmax"],
                                                        decoder_self=["softmax", "light_conv"],
                                                        light_conv=ConvolutionConfig(kernel_sizes=[4], dropout=0.1)),
    "transformer-dynamic-conv": TransformerConfig(**TRANSFORMER, positions="sinusoidal", encoder_self="dynamic_conv",
                                                  decoder_self="dynamic_conv",
                                                  dynamic_conv=ConvolutionConfig(kernel_sizes=[3, 4], dropout=0.1)),
    "transformer-dynamic-conv-softmax": TransformerConfig(**TRANSFORMER, norm="pre",
                                                          encoder_self=["softmax", "dynamic_conv"],
                                                          decoder_self=["dynamic_conv", "softmax"]),
    "transformer-synthesizer-random": TransformerConfig(**TRANSFORMER, encoder_self="synthesizer_random",
                                                        decoder_self="synthesizer_random", attention_dropout=0.1,
                                                        synthesizer_random=SynthesizerConfig(max_length=4)),
    "transformer-synthesizer-random-softmax": TransformerConfig(**TRANSFORMER, norm="pre", positions="shaw",
                                                                normaliser="sparsemax",
                                                                encoder_self=["softmax", "synthesizer_random"],
                                                                decoder_self=["synthesizer_random", "softmax"]),
    "transformer-synthesizer-dense": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self="synthesizer_dense",
                                                       decoder_self="synthesizer_dense",
                                                       synthesizer_dense=SynthesizerConfig(max_length=4)),
    "transformer-synthesizer-dense-softmax": TransformerConfig(**TRANSFORMER, normaliser="rela",
                                                               encoder_self=["synthesizer_dense", "softmax"],
                                                               decoder_self=["softmax", "synthesizer_dense"],
                                                               synthesizer_dense=SynthesizerConfig(max_length=9)),
    "transformer-linear": TransformerConfig(**TRANSFORMER, encoder_self="linear", decoder_self="linear"),
    "transformer-linear-softmax": TransformerConfig(**TRANSFORMER, norm="pre", positions="rotary",
                                                    encoder_self=["softmax", "linear"],
                                                    decoder_self=["linear", "softmax"]),
    "transformer-performer": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self="performer",
                                               decoder_self="performer", performer=PerformerConfig(features=11)),
    "transformer-performer-softmax": TransformerConfig(**TRANSFORMER, positions="shaw",
                                                       encoder_self=["performer", "softmax"],
                                                       decoder_self=["softmax", "performer"]),
    "transformer-retention": TransformerConfig(**TRANSFORMER, norm="pre", positions="none", encoder_self="retention",
                                               decoder_self="retention"),
    "transformer-retention-softmax": TransformerConfig(**TRANSFORMER, positions="alibi",
                                                       encoder_self=["retention", "softmax"],
                                                       decoder_self=["softmax", "retention"]),
    "transformer-average": TransformerConfig(**TRANSFORMER, decoder_self="average"),
    "transformer-average-alone": TransformerConfig(**TRANSFORMER, norm="pre", decoder_self="average",
                                                   average=AverageConfig(feed_forward=False)),
    "transformer-average-softmax": TransformerConfig(**TRANSFORMER, norm="pre", positions="rotary",
                                                     decoder_self=["average", "softmax"]),
    "transformer-transparent": TransformerConfig(**TRANSFORMER, norm="pre", decoder_cross="transparent"),
    "transformer-softmax-transparent": TransformerConfig(**TRANSFORMER, decoder_cross=["softmax", "transparent"]),
    "transformer-sparsemax": TransformerConfig(**TRANSFORMER, normaliser="sparsemax", attention_dropout=0.1),
    "transformer-sparsemax-shaw": TransformerConfig(**TRANSFORMER, norm="pre", positions="shaw",
                                                    normaliser="sparsemax"),
    "transformer-entmax15": TransformerConfig(**TRANSFORMER, positions="rotary", decoder_cross="transparent",
                                              normaliser="entmax15"),
    "transformer-entmax": TransformerConfig(**TRANSFORMER, normaliser="entmax", decoder_self=["ssru", "softmax"],
                                            entmax=EntmaxConfig(alpha=1.2)),
    "transformer-rela": TransformerConfig(**TRANSFORMER, norm="pre", normaliser="rela"),
    "transformer-rela-shaw": TransformerConfig(**TRANSFORMER, positions="shaw", normaliser="rela"),
    "transformer-top-k": TransformerConfig(**TRANSFORMER, positions="alibi", normaliser="top_k", top_k=TopKConfig(k=2)),
    "transformer-multi-query": TransformerConfig(**TRANSFORMER, norm="pre", positions="rotary",
                                                 heads=HeadsConfig(num_kv_heads=1, qk_norm="rms")),
    "transformer-grouped-query": TransformerConfig(
        **TRANSFORMER | {"num_heads": 4}, positions="shaw",
        heads=HeadsConfig(num_kv_heads=2, places=["decoder_self", "decoder_cross"]), decoder_cross="transparent"),
    "transformer-qk-norm": TransformerConfig(**TRANSFORMER, normaliser="sparsemax",
                                             heads=HeadsConfig(qk_norm="l2", qk_length=8)),
    "transformer-talking-heads": TransformerConfig(**TRANSFORMER, positions="alibi", heads=HeadsConfig(talking=True)),
    "transformer-head-dropout": TransformerConfig(**TRANSFORMER, heads=HeadsConfig(dropout=0.5)),
    "transformer-removed-heads": TransformerConfig(
        **TRANSFORMER, positions="shaw", decoder_cross="transparent", heads=HeadsConfig(dropout=0.2, removed=[
            "encoder_self.0.0", "decoder_self.1.1", "decoder_cross.0.1", "decoder_cross.1.0"])),
    "transformer-removed-alibi": TransformerConfig(
        **TRANSFORMER | {"model_dim": 18, "num_heads": 3}, norm="pre", positions="alibi", normaliser="sparsemax",
        heads=HeadsConfig(removed=["encoder_self.1.0", "encoder_self.1.2", "decoder_self.0.1"])),
    "transformer-sliding": TransformerConfig(**TRANSFORMER, encoder_self="sliding", decoder_self="sliding",
                                             sliding=SlidingConfig(window=2)),
    "transformer-sliding-rotary": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self=["sliding", "softmax"],
                                                    decoder_self=["softmax", "sliding"], positions="rotary",
                                                    sliding=SlidingConfig(window=1)),
    "transformer-sliding-shaw": TransformerConfig(**TRANSFORMER, decoder_self="sliding", positions="shaw",
                                                  normaliser="entmax15", sliding=SlidingConfig(window=3)),
    "transformer-dilated": TransformerConfig(**TRANSFORMER, encoder_self=["dilated", "sliding"],
                                             decoder_self=["sliding", "dilated"], sliding=SlidingConfig(window=1),
                                             dilated=DilatedConfig(window=1, dilation=2)),
    "transformer-blocks": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self=["blocks", "softmax"],
                                            decoder_self=["blocks", "softmax"], blocks=BlocksConfig(size=3)),
    "transformer-strided": TransformerConfig(**TRANSFORMER, encoder_self="strided", decoder_self="strided",
                                             strided=StridedConfig(stride=2)),
    "transformer-window-global": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self="window_global",
                                                   decoder_self=["window_global", "softmax"], positions="rotary",
                                                   window_global=WindowGlobalConfig(window=1, tokens=2)),
    "transformer-bigbird": TransformerConfig(**TRANSFORMER, encoder_self="bigbird",
                                             decoder_self=["bigbird", "softmax"],
                                             bigbird=BigBirdConfig(block=1, window=0)),
    "transformer-fixed-gaussian": TransformerConfig(**TRANSFORMER, encoder_self="fixed_gaussian",
                                                    decoder_self="fixed_gaussian",
                                                    fixed_gaussian=FixedGaussianConfig(sigma=1.5, self_penalty=0.5)),
    "transformer-learned-gaussian": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self="learned_gaussian",
                                                      decoder_self=["learned_gaussian", "softmax"]),
    "transformer-learned-gaussian-rotary": TransformerConfig(
        **TRANSFORMER, decoder_self="learned_gaussian", positions="rotary", normaliser="sparsemax"),
    "transformer-hard-coded": TransformerConfig(**TRANSFORMER, encoder_self="hard_coded", decoder_self="hard_coded"),
    "transformer-hard-coded-narrow": TransformerConfig(
        **TRANSFORMER | {"num_heads": 4}, norm="pre", positions="rotary", encoder_self=["hard_coded", "softmax"],
        decoder_self=["softmax", "hard_coded"],
        hard_coded=HardCodedConfig(sigma=0.5, encoder_offsets=[-1, 0, 1], decoder_offsets=[0, -1, -2])),
    "transformer-adaptive-span": TransformerConfig(**TRANSFORMER, encoder_self="adaptive_span",
                                                   decoder_self="adaptive_span",
                                                   adaptive_span=AdaptiveSpanConfig(max_span=3, ramp=2, initial=1.3)),
    "transformer-adaptive-span-alibi": TransformerConfig(
        **TRANSFORMER, norm="pre", encoder_self=["softmax", "adaptive_span"], decoder_self=["adaptive_span", "softmax"],
        positions="alibi", normaliser="sparsemax", adaptive_span=AdaptiveSpanConfig(max_span=5, ramp=1, initial=0.5)),
    "transformer-fnet": TransformerConfig(**TRANSFORMER, encoder_self="fnet"),
    "transformer-fnet-softmax": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self=["fnet", "softmax"],
                                                  positions="rotary"),
    "transformer-linformer": TransformerConfig(**TRANSFORMER, encoder_self="linformer",
                                               linformer=LinformerConfig(k=3, max_length=8)),
    "transformer-linformer-softmax": TransformerConfig(
        **TRANSFORMER, norm="pre", encoder_self=["linformer", "softmax"], positions="none", normaliser="entmax15",
        heads=HeadsConfig(num_kv_heads=1, talking=True), linformer=LinformerConfig(k=4, max_length=5, sharing="none")),
    "transformer-nystroem": TransformerConfig(**TRANSFORMER, encoder_self="nystroem",
                                              nystroem=NystroemConfig(landmarks=3)),
    "transformer-nystroem-softmax": TransformerConfig(
        **TRANSFORMER, norm="pre", encoder_self=["nystroem", "softmax"], positions="rotary",
        heads=HeadsConfig(num_kv_heads=1, qk_norm="rms"), nystroem=NystroemConfig(landmarks=4, skip_radius=1)),
    "transformer-lsh": TransformerConfig(**TRANSFORMER, encoder_self="lsh",
                                         lsh=LshConfig(rounds=2, buckets=4, chunk=2)),
    "transformer-lsh-softmax": TransformerConfig(**TRANSFORMER, norm="pre", encoder_self=["lsh", "softmax"],
                                                 positions="rotary", lsh=LshConfig(rounds=3, buckets=2, chunk=3)),
}  # fmt: skip


def _says(config: object) -> Iterator[tuple[object, ...]]:
    """Yield each key of a configuration with its value; for a number, whether it differs from the default."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from ((field.name, *rest) for rest in _says(value))
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | bool):
                yield field.name, one
            elif isinstance(one, int | float):
                yield field.name, one != field.default


def _covering() -> list[str]:
    """Return, for recurrent models and for Transformers, the variants with a key or value that no earlier one has."""
    said: set[tuple[object, ...]] = set()
    chosen = []
    for name, config in VARIANTS.items():
        new = {(isinstance(config, TransformerConfig), *one) for one in _says(config)} - said
        if new:
            chosen.append(name)
            said |= new
    return chosen


# Variants that together have each mechanism and each option, but not all that occur in pairs.
COVERING = _covering()

# One variant for each difference that search and commands could notice: what the state holds, weights that do not sum
# to one, several predictions, no attention. What the contract promises is tested with all variants; tests of what is
# built on the contract take these.
REPRESENTATIVES = [
    *("cho", "sutskever", "rnnsearch", "rnnsearch-coverage-neural", "rnnsearch-gaussian", "rnnsearch-hard"),
    *("luong-general", "luong-general-plain", "luong-location-aware", "luong-local-p", "luong-marginal", "luong-rela"),
    *("luong-sru-plain", "transformer-post", "transformer-pre", "transformer-rotary", "transformer-ssru-softmax"),
    "transformer-softmax-transparent",
]

VOCABULARY = 11


def tiny_model(name: str, vocabulary: int = VOCABULARY, seed: int = 1) -> Seq2Seq:
    """Return the named variant in evaluation mode, with weights large enough to tell positions apart."""
    torch.manual_seed(seed)
    model = build_model(VARIANTS[name], vocabulary, vocabulary)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model.eval()


def attends(name: str, kind: AttentionKind = "cross") -> bool:
    """Return whether the named variant has this kind of attention; several files choose their tests by this."""
    return kind in _attention_of(name)


@functools.cache
def _attention_of(name: str) -> set[AttentionKind]:
    model = tiny_model(name)
    return {kind for kind in get_args(AttentionKind) if model.has_attention(kind)}


def normalisers_of(model: Seq2Seq) -> list[Normaliser]:
    """Return the normalisers of a model's attention to source and target."""
    return [module for module in model.modules() if isinstance(module, Normaliser)]


def random_batch(lengths: list[int], vocabulary: int = VOCABULARY, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Return random source ids [batch, max length], filled with PAD, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(4, vocabulary, mask.shape, generator=generator)
    return ids.masked_fill(~mask, 0), mask


def log_probs_of(model: Seq2Seq, decoded: Decoded) -> Tensor:
    """Return log-probabilities [..., vocab] over the tokens of translations: all except <pad> (0) and <s> (2)."""
    logits = model.projection(decoded.hidden).double()
    others = [token for token in range(logits.size(-1)) if token not in (0, 2)]
    log_probs = logits - logits[..., others].logsumexp(-1, keepdim=True)
    if decoded.mixture is not None:
        log_probs = (log_probs.exp() * decoded.mixture.double().exp().unsqueeze(-1)).sum(-2).log()
    log_probs[..., 0] = log_probs[..., 2] = float("-inf")
    return log_probs.float()


def probabilities(model: Seq2Seq, src: Tensor, mask: Tensor, tgt_in: Tensor) -> Tensor:
    """Return the probabilities [batch, tgt_len, vocab] of the token after each prefix of tgt_in."""
    return log_probs_of(model, model(src, mask, tgt_in)).exp()
