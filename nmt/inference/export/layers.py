"""Writers of a Transformer's modules: each fills the layer of CTranslate2 that computes the same.

A module of another type is refused (`nmt.inference.export.parts`). To be exported it needs a writer here, and the
writer of the module that it stands in has to allow its type.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nmt.attention.cross.softmax import CrossAttention
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.positions import Positions
from nmt.attention.positions.sinusoidal import SinusoidalPositions, sinusoids
from nmt.data.tokenizer import BOS, PAD
from nmt.extras import import_extra
from nmt.inference.export.parts import Part, writes
from nmt.models.seq2seq import Seq2Seq
from nmt.models.transformer import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    Residual,
    TokenEmbedding,
    TransformerDecoder,
    TransformerEncoder,
)

NEVER = -1e9  # as a bias, a probability of zero
_ACTIVATIONS = {torch.relu: "RELU", torch.relu_: "RELU", functional.relu: "RELU", functional.gelu: "GELU"}


def specification(model: nn.Module, positions: int) -> Any:
    """Return CTranslate2's specification of a model, filled with its weights, still without vocabularies.

    Sources and translations can have as many tokens as there are positions. Raises Inexpressible, naming the module or
    the option, for what has no writer.
    """
    stacks: dict[str, Any] = {}
    whole = Part(model, common={"positions": positions})
    whole.check_type(Seq2Seq)
    whole.write(stacks)
    spec = _specs().TransformerSpec(stacks["encoder"], stacks["decoder"])
    spec.config.layer_norm_epsilon = whole.common("eps")
    spec.config.add_source_eos = False  # the toolkit's sources end with theirs
    return spec


def _specs() -> Any:
    import_extra("ctranslate2", "fast")
    from ctranslate2 import specs

    return specs


@writes(Seq2Seq)
def _model(part: Part, stacks: dict[str, Any]) -> None:
    part.child("encoder", TransformerEncoder).write(stacks)
    part.child("decoder", TransformerDecoder).write(stacks)
    projection = stacks["decoder"].projection
    part.child("projection", nn.Linear).write(projection)
    # CTranslate2 has no tokens that are never said: probabilities are those among the others
    bias = projection.bias if projection.has_bias() else np.zeros(len(projection.weight), dtype=np.float32)
    projection.bias = bias.copy()
    projection.bias[[PAD, BOS]] = NEVER


@writes(TransformerEncoder)
def _encoder(part: Part, stacks: dict[str, Any]) -> None:
    stacks["encoder"] = _stack(part, EncoderLayer, _specs().TransformerEncoderSpec)


@writes(TransformerDecoder)
def _decoder(part: Part, stacks: dict[str, Any]) -> None:
    stacks["decoder"] = _stack(part, DecoderLayer, _specs().TransformerDecoderSpec)


def _stack(part: Part, layer: type[nn.Module], kind: Any) -> Any:
    """Return CTranslate2's encoder or decoder, of that kind, for a stack of layers."""
    layers, norm = part.children("layers", layer), part.child("norm", nn.LayerNorm, nn.Identity)
    pre = type(norm.module) is not nn.Identity
    norm.one_for_all("pre", pre)
    stack = kind(len(layers), num_heads=1, pre_norm=pre)
    for each, spec in zip(layers, stack.layer, strict=True):
        each.write(spec)
    part.child("embedding", TokenEmbedding).write(stack)
    norm.write(stack.layer_norm if pre else None)
    stack.num_heads = np.dtype("int16").type(part.common("num_heads"))
    stack.activation = np.dtype("int8").type(_specs().common_spec.Activation[part.common("activation")])
    return stack


@writes(EncoderLayer)
def _encoder_layer(part: Part, spec: Any) -> None:
    _layer(part, spec, causal=False)


@writes(DecoderLayer)
def _decoder_layer(part: Part, spec: Any) -> None:
    _layer(part, spec, causal=True)
    part.child("cross_attention", CrossAttention).write(spec.attention)
    part.child("cross_residual", Residual).write(spec.attention)


def _layer(part: Part, spec: Any, causal: bool) -> None:
    """Fill what an encoder's and a decoder's layers have both, with self-attention that is causal or not."""
    mixer = part.child("mixer", SelfAttention)
    if (found := mixer.option("causal")) is not causal:
        mixer.refuse(f"has causal={found}", f"and CTranslate2's layer there has {causal}")
    mixer.write(spec.self_attention)
    part.child("mixer_residual", Residual).write(spec.self_attention)
    part.child("feed_forward", FeedForward).write(spec.ffn)
    part.child("feed_forward_residual", Residual).write(spec.ffn)


@writes(SelfAttention)
def _self_attention(part: Part, spec: Any) -> None:
    part.child("positions", Positions).write(None)
    part.child("dropout", nn.Dropout).write(None)
    part.one_for_all("num_heads", part.option("num_heads"))
    for name, linear in zip(("qkv", "output"), spec.linear, strict=True):
        part.child(f"{name}_projection", nn.Linear).write(linear)


@writes(CrossAttention, "dropout")
def _cross_attention(part: Part, spec: Any) -> None:
    part.one_for_all("num_heads", part.option("num_heads"))
    for name, linear in zip(("query", "kv", "output"), spec.linear, strict=True):
        part.child(f"{name}_projection", nn.Linear).write(linear)


@writes(FeedForward)
def _feed_forward(part: Part, spec: Any) -> None:
    function = part.option("activation")
    if function not in _ACTIVATIONS:
        part.refuse(f"has activation={getattr(function, '__name__', function)}", "which CTranslate2 does not have")
    part.one_for_all("activation", _ACTIVATIONS[function])
    part.child("inner", nn.Linear).write(spec.linear_0)
    part.child("outer", nn.Linear).write(spec.linear_1)
    part.child("dropout", nn.Dropout).write(None)


@writes(Residual)
def _residual(part: Part, spec: Any) -> None:
    """CTranslate2 keeps each normalisation with the sublayer that it belongs to."""
    part.one_for_all("pre", part.option("pre"))
    part.child("norm", nn.LayerNorm).write(spec.layer_norm)
    part.child("dropout", nn.Dropout).write(None)


@writes(TokenEmbedding)
def _token_embedding(part: Part, stack: Any) -> None:
    embedding = stack.embeddings
    if isinstance(embedding, list):  # an encoder's words may have further features
        (embedding,) = embedding
    part.child("embedding", nn.Embedding).write(embedding)
    part.child("positions", SinusoidalPositions).write(stack)
    part.child("dropout", nn.Dropout).write(None)
    scale = part.option("scale")
    if scale not in (1, math.sqrt(embedding.weight.shape[1])):
        part.refuse(f"has scale={scale}", "and CTranslate2 has 1 and the root of the dimension only")
    stack.scale_embeddings = scale != 1


@writes(SinusoidalPositions)
def _sinusoids(part: Part, stack: Any) -> None:
    table = torch.arange(part.common("positions"))
    stack.position_encodings.encodings = sinusoids(table, part.option("frequencies")).detach().cpu().numpy()


@writes(Positions)
def _nowhere(part: Part, spec: None) -> None:
    """Positions that enter nowhere."""


@writes(nn.Embedding, "num_embeddings", "embedding_dim", "padding_idx", "norm_type", "scale_grad_by_freq", "sparse")
def _embedding(part: Part, spec: Any) -> None:
    if part.option("max_norm") is not None:
        part.refuse("has max_norm", "and CTranslate2 leaves embeddings as they are")
    spec.weight = part.weight("weight")


@writes(nn.Linear, "in_features", "out_features")
def _linear(part: Part, spec: Any) -> None:
    spec.weight = part.weight("weight")
    if (bias := part.weight("bias")) is not None:
        spec.bias = bias


@writes(nn.LayerNorm, "normalized_shape", "elementwise_affine")
def _layer_norm(part: Part, spec: Any) -> None:
    part.one_for_all("eps", part.option("eps"))
    shape = part.module.normalized_shape
    gamma, beta = part.weight("weight"), part.weight("bias")
    spec.gamma = np.ones(shape, dtype=np.float32) if gamma is None else gamma
    spec.beta = np.zeros(shape, dtype=np.float32) if beta is None else beta


@writes(nn.Dropout, "p", "inplace")
@writes(nn.Identity)
def _nothing(part: Part, spec: None) -> None:
    """It changes nothing in a search."""
