"""The Transformer encoder and decoder (Vaswani et al. 2017), pre- or post-norm."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.kernels import bias_of
from nmt.attention.multihead import CrossAttention, KeysValues, SelfAttention, Source
from nmt.attention.position import SinusoidalPositions
from nmt.config.models import TransformerConfig
from nmt.models.dropout import Dropout
from nmt.models.seq2seq import Decoded, Encoded


class TransformerMemory(NamedTuple):
    """The keys and values that the cross-attention of each layer has of a source sentence."""

    layers: tuple[Source, ...]


class TransformerState(NamedTuple):
    """The keys and values that the self-attention of each layer has of the tokens decoded so far."""

    layers: tuple[KeysValues, ...]


class TokenEmbedding(nn.Module):
    """Scaled token embeddings plus sinusoidal positions, with dropout (Vaswani et al. 2017, sections 3.4, 3.5, 5.4)."""

    def __init__(self, embedding: nn.Embedding, dropout: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.positions = SinusoidalPositions(embedding.embedding_dim)
        self.scale = math.sqrt(embedding.embedding_dim)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        """tokens [rows, length], the first at position `start` -> [rows, length, dim]."""
        positions = self.positions(start, tokens.size(1))
        embedded: Tensor = self.dropout(self.scale * self.embedding(tokens) + positions)
        return embedded


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
        output: Tensor = self.outer(self.dropout(inner))
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
        x = x + self.dropout(output)
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
        attended, _, weights = self.self_attention(self.attention_residual.enter(x), bias, need_weights=need_weights)
        x = self.attention_residual.add(x, attended)
        return self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x))), weights


class LayerWeights(NamedTuple):
    """The attention weights of a decoder layer."""

    cross: Tensor  # [rows, heads, tgt_len, src_len]
    own: Tensor  # [rows, heads, tgt_len, all target positions so far]


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
        self, x: Tensor, memory: Source, state: KeysValues | None, need_weights: bool
    ) -> tuple[Tensor, KeysValues | None, LayerWeights | None]:
        """Return x [rows, tgt_len, dim] after the layer, the next state and, when asked for, attention weights."""
        # causal self-attention
        attended, state, own = self.self_attention(
            self.self_residual.enter(x), state=state, causal=True, need_weights=need_weights
        )
        x = self.self_residual.add(x, attended)
        # attention over the source
        context, cross = self.cross_attention(self.cross_residual.enter(x), memory, need_weights)
        x = self.cross_residual.add(x, context)
        # feed-forward network
        x = self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x)))
        return x, state, LayerWeights(cross, own) if need_weights else None


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
        """Return the state of each sentence before its first token; max_len is room for positions alone."""
        self.embedding.positions(0, max_len)
        keys = memory.layers[0].keys
        return TransformerState(
            tuple(layer.self_attention.init_state(keys.size(0), keys) for layer in self._decoder_layers())
        )

    def forward(
        self,
        tokens: Tensor,
        memory: TransformerMemory,
        state: TransformerState | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Decoded, TransformerState | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.seq2seq.Decoder`."""
        pasts = [None] * len(self.layers) if state is None else state.layers
        x = self.embedding(tokens, 0 if state is None else state.layers[0].keys.size(2))
        states, all_weights = [], []
        for layer, source, past in zip(self._decoder_layers(), memory.layers, pasts, strict=True):
            x, layer_state, weights = layer(x, source, past, need_weights)
            states.append(layer_state)
            all_weights.append(weights)
        cross = own = None
        if need_weights:
            cross, own = (torch.stack(each, dim=1) for each in zip(*all_weights, strict=True))
        decoded = Decoded(self.norm(x), cross, own)
        return decoded, None if state is None else TransformerState(tuple(states))

    def _decoder_layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.layers))
