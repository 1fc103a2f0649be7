"""The Transformer encoder and decoder (Vaswani et al. 2017), pre- or post-norm."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.cache import Cache, Kept, Past
from nmt.attention.joined_cache import FEW_SENTENCES, JoinedCache
from nmt.attention.kernels import bias_of
from nmt.attention.multihead import CrossAttention, SelfAttention, Source
from nmt.attention.position import SinusoidalPositions
from nmt.config.models import TransformerConfig
from nmt.models.dropout import Dropout
from nmt.models.seq2seq import Decoded, Encoded


class TransformerMemory(NamedTuple):
    """What every step needs of a source sentence: what cross-attention looks at, layer by layer."""

    layers: tuple[Source, ...]


class TransformerState(NamedTuple):
    """The self-attention keys and values of each layer over the tokens decoded so far."""

    cache: Kept


class TokenEmbedding(nn.Module):
    """Scaled token embeddings plus sinusoidal positions, with dropout (Vaswani et al. 2017, sections 3.4, 3.5, 5.4)."""

    def __init__(self, embedding: nn.Embedding, dropout: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.positions = SinusoidalPositions(embedding.embedding_dim)
        self.scale = math.sqrt(embedding.embedding_dim)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, start: int | Tensor = 0) -> Tensor:
        """tokens [rows, length], the first at position `start` -> [rows, length, dim]."""
        positions = self.positions(start, tokens.size(1))
        embedded = torch.add(positions, self.embedding(tokens), alpha=self.scale)
        return self.dropout(embedded) if self.training else embedded


class FeedForward(nn.Module):
    """FFN(x) = W_2 activation(W_1 x) (Vaswani et al. 2017, eq. 2)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.model_dim, config.ffn_dim)
        self.outer = nn.Linear(config.ffn_dim, config.model_dim)
        self.activation = torch.relu_ if config.activation == "relu" else functional.gelu
        self.dropout = Dropout(config.ffn_dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.inner(x))
        output: Tensor = self.outer(self.dropout(inner) if self.training else inner)
        return output


class Residual(nn.Module):
    """x + sublayer(x) with layer normalisation inside (pre) or after (post; Vaswani et al. 2017, section 5.4)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.model_dim)
        self.pre = config.norm == "pre"
        self.dropout = Dropout(config.dropout)

    def enter(self, x: Tensor) -> Tensor:
        """What the sublayer is given."""
        return self.norm(x) if self.pre else x

    def add(self, x: Tensor, output: Tensor) -> Tensor:
        """The sublayer's output added to what came in."""
        x = x + (self.dropout(output) if self.training else output)
        return x if self.pre else self.norm(x)


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each with its residual connection."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config.model_dim, config.num_heads, config.attention_dropout)
        self.feed_forward = FeedForward(config)
        self.attention_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(self, x: Tensor, bias: Tensor, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """x [batch, src_len, dim] -> the same shape, and attention weights when asked for."""
        attended, weights = self.self_attention(self.attention_residual.enter(x), bias, need_weights=need_weights)
        x = self.attention_residual.add(x, attended)
        return self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x))), weights


class LayerWeights(NamedTuple):
    """The attention weights of a decoder layer."""

    cross: Tensor  # [rows, heads, tgt_len, src_len]
    own: Tensor | None  # [rows, heads, tgt_len, tgt_len] between target positions; None after a past


class DecoderLayer(nn.Module):
    """Causal self-attention, attention over the source and a feed-forward network."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config.model_dim, config.num_heads, config.attention_dropout)
        self.cross_attention = CrossAttention(config.model_dim, config.num_heads, config.attention_dropout)
        self.feed_forward = FeedForward(config)
        self.self_residual = Residual(config)
        self.cross_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self, x: Tensor, memory: Source, past: Past | None, need_weights: bool
    ) -> tuple[Tensor, LayerWeights | None]:
        """x [rows, tgt_len, dim] -> the same shape, and attention weights when asked for."""
        entered, own = self.self_residual.enter(x), None
        if past is None:
            attended, own = self.self_attention(entered, causal=True, need_weights=need_weights)
        else:
            attended = self.self_attention.extend(entered, past)
        x = self.self_residual.add(x, attended)
        context, cross = self.cross_attention(self.cross_residual.enter(x), memory, need_weights)
        x = self.cross_residual.add(x, context)
        x = self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x)))
        return x, LayerWeights(cross, own) if need_weights else None


def _final_norm(config: TransformerConfig) -> nn.Module:
    # a pre-norm stack ends on an unnormalised sum; post-norm layers have normalised it already
    return nn.LayerNorm(config.model_dim) if config.norm == "pre" else nn.Identity()


class TransformerEncoder(nn.Module):
    """A stack of encoder layers over embedded source tokens."""

    attends = True

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(embedding, config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = _final_norm(config)

    def forward(self, src: Tensor, mask: Tensor, *, need_weights: bool = False) -> Encoded:
        """src, mask [batch, src_len]."""
        x = self.embedding(src)
        bias = bias_of(mask)[:, None, None]
        all_weights = []
        for layer in self.layers:
            x, weights = layer(x, bias, need_weights)
            all_weights.append(weights)
        return Encoded(self.norm(x), mask, (), torch.stack(all_weights, dim=1) if need_weights else None)


class TransformerDecoder(nn.Module):
    """A stack of decoder layers over embedded target tokens."""

    attends = True
    self_attends = True
    rewinds = True

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(embedding, config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = _final_norm(config)

    def read(self, encoded: Encoded) -> TransformerMemory:
        """Each layer's keys and values over the source, once a sentence."""
        bias = bias_of(encoded.mask)[:, None, None]
        return TransformerMemory(
            tuple(layer.cross_attention.read(encoded.states, bias) for layer in self._decoder_layers())
        )

    def init_state(self, memory: TransformerMemory, max_len: int) -> TransformerState:
        """No past yet; caches grow with the tokens decoded, and max_len is room for positions alone."""
        self.embedding.positions(0, max_len)
        keys = memory.layers[0].keys
        if keys.size(0) <= FEW_SENTENCES and keys.is_cpu:
            return TransformerState(JoinedCache.empty(len(self.layers), keys.size(0), keys.device))
        return TransformerState(Cache.empty(keys, len(self.layers)))

    def forward(
        self,
        tokens: Tensor,
        memory: TransformerMemory,
        state: TransformerState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Decoded, TransformerState | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.seq2seq.Decoder`."""
        x = self.embedding(tokens, 0 if state is None else state.cache.length)
        cache = None if state is None else state.cache.extended(tokens.size(1))
        pasts = [None] * len(self.layers) if cache is None else cache.pasts(tokens.size(1))
        all_weights = []
        for layer, of_layer, past in zip(self._decoder_layers(), memory.layers, pasts, strict=True):
            x, weights = layer(x, of_layer, past, need_weights)
            all_weights.append(weights)
        if not need_weights:
            decoded = Decoded(self.norm(x))
        else:
            cross = torch.stack([weights.cross for weights in all_weights], dim=1)
            own = torch.stack([weights.own for weights in all_weights], dim=1) if state is None else None
            decoded = Decoded(self.norm(x), cross, own)
        return decoded, None if cache is None else TransformerState(cache)

    def _decoder_layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]
