"""Writers for the modules of a Transformer: each fills the CTranslate2 layer that computes the same function.

A type of module without a writer is an error (`nmt.inference.export.parts`). To export a new type of module, add a
writer for it here, and list the type in the writer of its parent module.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nmt.attention.cross.softmax import CrossAttention
from nmt.attention.heads import Heads
from nmt.attention.heads.dropout import HeadDropout
from nmt.attention.heads.qk_norm import QkNorm
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.normalisers import Softmax
from nmt.attention.patterns import Everything
from nmt.attention.positions import Positions
from nmt.attention.positions.learned import LearnedPositions
from nmt.attention.positions.sinusoidal import SinusoidalPositions, sinusoids
from nmt.data.tokenizer import BOS, PAD
from nmt.extras import import_extra
from nmt.inference.export.parts import Part, writes
from nmt.models.embedding import TokenEmbedding
from nmt.models.feed_forward import FeedForward, GatedFeedForward
from nmt.models.halting import AllLayers
from nmt.models.norms import Residual
from nmt.models.seq2seq import Seq2Seq
from nmt.models.transformer import (
    DecoderLayer,
    EncoderLayer,
    TransformerDecoder,
    TransformerEncoder,
)

NEVER = -1e9  # a bias that makes the probability of a token zero
_ACTIVATIONS = {torch.relu: "RELU", torch.relu_: "RELU", functional.relu: "RELU", functional.gelu: "GELU",
                functional.silu: "SWISH"}  # fmt: skip


def specification(model: nn.Module, positions: int) -> Any:
    """Return CTranslate2's specification of a model, with its weights but without vocabularies.

    Sources and translations can have up to `positions` tokens. Raises Inexpressible, which names the module or option,
    if some part of the model has no writer.
    """
    stacks: dict[str, Any] = {}
    whole = Part(model, common={"positions": positions})
    whole.check_type(Seq2Seq)
    whole.write(stacks)
    spec = _specs().TransformerSpec(stacks["encoder"], stacks["decoder"])
    spec.config.layer_norm_epsilon = whole.common("eps")
    spec.config.add_source_eos = False  # the source ids of nmt already include the end of sentence
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
    # CTranslate2 cannot ban tokens, so a bias gives PAD and BOS probability zero, as in the native engine
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
    """Return CTranslate2's specification of an encoder or a decoder; `kind` is its class there, `layer` ours."""
    layers, norm = part.children("layers", layer), part.child("norm", nn.LayerNorm, nn.RMSNorm, nn.Identity)
    pre = type(norm.module) is not nn.Identity
    norm.one_for_all("pre", pre)
    stack = kind(len(layers), num_heads=1, pre_norm=pre)
    for each, spec in zip(layers, stack.layer, strict=True):
        each.write(spec)
    part.child("embedding", TokenEmbedding).write(stack)
    part.child("halting", AllLayers).write(None)
    if pre:
        stack.layer_norm = _norm_spec(norm)
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
    """Fill what encoder layers and decoder layers have in common: self-attention and feed-forward network."""
    # self-attention
    mixer = part.child("mixer", SelfAttention)
    if (found := mixer.option("causal")) is not causal:
        mixer.refuse(f"has causal={found}", f"but CTranslate2's layer has causal={causal}")
    mixer.write(spec.self_attention)
    part.child("mixer_residual", Residual).write(spec.self_attention)
    # feed-forward network
    feed_forward = part.child("feed_forward", FeedForward, GatedFeedForward)
    spec.ffn = _specs().transformer_spec.FeedForwardSpec(glu=type(feed_forward.module) is GatedFeedForward)
    feed_forward.write(spec.ffn)
    part.child("feed_forward_residual", Residual).write(spec.ffn)


@writes(SelfAttention)
def _self_attention(part: Part, spec: Any) -> None:
    part.child("heads", Heads).write(None)
    part.child("positions", Positions).write(None)
    part.child("pattern", Everything).write(None)
    part.child("dropout", nn.Dropout).write(None)
    part.child("normaliser", Softmax).write(None)
    for name, linear in zip(("qkv", "output"), spec.linear, strict=True):
        part.child(f"{name}_projection", nn.Linear).write(linear)


@writes(CrossAttention, "dropout")
def _cross_attention(part: Part, spec: Any) -> None:
    part.child("heads", Heads).write(None)
    part.child("normaliser", Softmax).write(None)
    for name, linear in zip(("query", "kv", "output"), spec.linear, strict=True):
        part.child(f"{name}_projection", nn.Linear).write(linear)


@writes(Heads, "head_dim", "numbers")
def _heads(part: Part, spec: None) -> None:
    """Write nothing but the number of heads, which is one for the whole model."""
    if found := part.option("removed"):
        part.refuse(f"has removed={found}", "but the exported model has the same number of heads everywhere")
    part.one_for_all("num_heads", part.option("num_heads"))
    if (found := part.option("num_kv_heads")) != part.option("num_heads"):
        part.refuse(f"has num_kv_heads={found}", "but the exported model has keys and values for each head")
    part.child("qk_norm", QkNorm).write(None)
    part.child("dropout", HeadDropout).write(None)
    part.child("gates", nn.Identity).write(None)


@writes(QkNorm)
@writes(HeadDropout, "rate")
@writes(Everything)
@writes(AllLayers)
def _no_change(part: Part, spec: None) -> None:
    """Write nothing: these modules change nothing, or only training."""


@writes(FeedForward)
def _feed_forward(part: Part, spec: Any) -> None:
    function = part.option("activation")
    if function not in _ACTIVATIONS:
        part.refuse(f"has activation={getattr(function, '__name__', function)}", "which CTranslate2 does not have")
    part.one_for_all("activation", _ACTIVATIONS[function])
    part.child("inner", nn.Linear).write(spec.linear_0)
    part.child("outer", nn.Linear).write(spec.linear_1)
    part.child("dropout", nn.Dropout).write(None)


@writes(GatedFeedForward)
def _gated_feed_forward(part: Part, spec: Any) -> None:
    part.child("gated", nn.Linear).write(spec.linear_0_noact)
    _feed_forward(part, spec)


@writes(Residual)
def _residual(part: Part, spec: Any) -> None:
    """Write the normalisation of a residual connection, which CTranslate2 stores with the sublayer in `spec`."""
    part.one_for_all("pre", part.option("pre"))
    norm = part.child("norm", nn.LayerNorm, nn.RMSNorm)
    spec.layer_norm = _norm_spec(norm)
    norm.write(spec.layer_norm)
    part.child("dropout", nn.Dropout).write(None)


@writes(TokenEmbedding)
def _token_embedding(part: Part, stack: Any) -> None:
    embedding = stack.embeddings
    if isinstance(embedding, list):  # in an encoder it is a list, because CTranslate2 allows several input features
        (embedding,) = embedding
    part.child("embedding", nn.Embedding).write(embedding)
    part.child("positions", SinusoidalPositions, LearnedPositions).write(stack)
    part.child("dropout", nn.Dropout).write(None)
    scale = part.option("scale")
    if scale not in (1, math.sqrt(embedding.weight.shape[1])):
        part.refuse(f"has scale={scale}", "but CTranslate2 only has 1 and the square root of the embedding's dimension")
    stack.scale_embeddings = scale != 1


@writes(SinusoidalPositions)
def _sinusoids(part: Part, stack: Any) -> None:
    positions = torch.arange(part.common("positions"))
    stack.position_encodings.encodings = sinusoids(positions, part.option("frequencies")).detach().cpu().numpy()


@writes(LearnedPositions)
def _learned_positions(part: Part, stack: Any) -> None:
    table = SimpleNamespace()
    part.child("vectors", nn.Embedding).write(table)
    rows = np.arange(part.common("positions")).clip(max=len(table.weight) - 1)
    stack.position_encodings.encodings = table.weight[rows]


@writes(Positions)
def _no_positions(part: Part, spec: None) -> None:
    """Write nothing: this class stands for self-attention without position information of its own."""


@writes(Softmax)
def _softmax(part: Part, spec: None) -> None:
    """Write nothing: CTranslate2's attention has a softmax, too."""


@writes(nn.Embedding, "num_embeddings", "embedding_dim", "padding_idx", "norm_type", "scale_grad_by_freq", "sparse")
def _embedding(part: Part, spec: Any) -> None:
    if part.option("max_norm") is not None:
        part.refuse("has max_norm", "but CTranslate2 does not limit the norm of embeddings")
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


@writes(nn.RMSNorm, "normalized_shape", "elementwise_affine")
def _rms_norm(part: Part, spec: Any) -> None:
    part.one_for_all("eps", part.option("eps"))
    gamma = part.weight("weight")
    spec.gamma = np.ones(part.module.normalized_shape, dtype=np.float32) if gamma is None else gamma


def _norm_spec(norm: Part) -> Any:
    """Return CTranslate2's empty specification of a normalisation, which depends on its kind."""
    return _specs().common_spec.LayerNormSpec(rms_norm=type(norm.module) is nn.RMSNorm)


@writes(nn.Dropout, "p", "inplace")
@writes(nn.Identity)
def _nothing(part: Part, spec: None) -> None:
    """Write nothing: dropout and identity have no effect in evaluation mode."""
