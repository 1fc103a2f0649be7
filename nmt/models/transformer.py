"""The Transformer encoder and decoder (Vaswani et al. 2017), pre- or post-norm.

What stands in each layer is chosen in the configuration: positions, mixers in the place of self-attention, and
attention to the source (`nmt.attention`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.contract import Attend, Mixer, SourceAttention
from nmt.attention.naming import make_by_name
from nmt.attention.positions import make_embedded_positions
from nmt.config.mechanisms import of_layer
from nmt.config.models import TransformerConfig
from nmt.config.ranges import settled
from nmt.models.contract import Decoded, Encoded, NamedLoss, State, first_position, merged, positions_after


class TransformerMemory(NamedTuple):
    """What the cross-attention of each layer has of a source sentence."""

    like: Tensor  # [batch, 0], of the device and type in which a state begins
    layers: tuple[Any, ...]


class LayerState(NamedTuple):
    """What a decoder layer remembers of the tokens so far."""

    mixer: Any
    cross: Any  # None for attention that remembers nothing


class TokenEmbedding(nn.Module):
    """Scaled token embeddings plus positions, with dropout (Vaswani et al. 2017, sections 3.4, 3.5, 5.4)."""

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.positions = make_embedded_positions(config)
        self.scale = math.sqrt(embedding.embedding_dim)
        self.dropout = nn.Dropout(settled(config.dropout))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Return tokens [rows, length] at positions [rows or 1, length] as [rows, length, dim]."""
        embedded: Tensor = self.scale * self.embedding(tokens)
        if (encoding := self.positions.embed(positions)) is not None:
            embedded = embedded + encoding
        return cast(Tensor, self.dropout(embedded))


class FeedForward(nn.Module):
    """FFN(x) = W_2 activation(W_1 x) (Vaswani et al. 2017, eq. 2)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.model_dim, config.ffn_dim)
        self.outer = nn.Linear(config.ffn_dim, config.model_dim)
        self.activation = torch.relu_ if config.activation == "relu" else functional.gelu
        self.dropout = nn.Dropout(config.ffn_dropout)

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
        self.dropout = nn.Dropout(settled(config.dropout))

    def enter(self, x: Tensor) -> Tensor:
        """Return what the sublayer is given."""
        return self.norm(x) if self.pre else x

    def add(self, x: Tensor, output: Tensor) -> Tensor:
        """Add the sublayer's output to what came in."""
        x = x + self.dropout(output)
        return x if self.pre else self.norm(x)


class EncoderLayer(nn.Module):
    """Self-attention, or what stands in its place, and a feed-forward network, each with its residual connection."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.mixer = _mixer(of_layer(config.encoder_self, layer), config, causal=False)
        self.feed_forward = FeedForward(config)
        self.mixer_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return x [batch, src_len, dim] after the layer and, when asked for, attention weights."""
        # self-attention
        mixed, _, weights = self.mixer(self.mixer_residual.enter(x), positions, mask, need_weights=need_weights)
        x = self.mixer_residual.add(x, mixed)
        # feed-forward network
        x = self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x)))
        return x, weights


class LayerAnswer(NamedTuple):
    """What a decoder layer answers beside x and its state."""

    cross: Tensor | None  # attention weights [rows, heads, tgt_len, src_len]
    own: Tensor | None  # [rows, heads, tgt_len, all target positions so far]
    losses: tuple[NamedLoss, ...]


class DecoderLayer(nn.Module):
    """Causal self-attention, or what stands in its place, attention to the source and a feed-forward network."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.mixer = _mixer(of_layer(config.decoder_self, layer), config, causal=True)
        self.cross_attention = _cross_attention(of_layer(config.decoder_cross, layer), config, layer)
        self.feed_forward = FeedForward(config)
        self.mixer_residual = Residual(config)
        self.cross_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self, x: Tensor, positions: Tensor, attend: Attend, state: LayerState | None, need_weights: bool
    ) -> tuple[Tensor, LayerState | None, LayerAnswer]:
        """Return x [rows, tgt_len, dim] after the layer, the next state and, when asked for, weights; and losses."""
        mixer_state, cross_state = (None, None) if state is None else state
        # causal self-attention
        mixed, mixer_state, own = self.mixer(
            self.mixer_residual.enter(x), positions, None, mixer_state, need_weights=need_weights
        )
        x = self.mixer_residual.add(x, mixed)
        # attention to the source
        attended = attend(self.cross_residual.enter(x), positions, cross_state)
        x = self.cross_residual.add(x, attended.context)
        # feed-forward network
        x = self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x)))
        next_state = None if state is None else LayerState(mixer_state, attended.state)
        return x, next_state, LayerAnswer(attended.weights, own, attended.losses)


class TransformerEncoder(nn.Module):
    """A stack of encoder layers over embedded source tokens."""

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(config, embedding)
        self.layers = nn.ModuleList(EncoderLayer(config, layer) for layer in range(config.encoder_layers))
        self.norm = _final_norm(config)

    @property
    def attends(self) -> bool:
        """Whether a layer has self-attention, whose weights can be asked for."""
        return any(cast(Mixer, layer.mixer).attends for layer in self.layers)

    def forward(
        self,
        src: Tensor,
        mask: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: bool = False,
        need_layers: bool = False,
    ) -> Encoded:
        """Encode src [batch, src_len]; see `nmt.models.contract.Encoder`."""
        # embeddings
        positions = positions_after(None, src)
        x = self.embedding(src, positions)
        # layers
        outputs, weights = [x], []
        for layer in self.layers:
            x, layer_weights = layer(x, positions, mask, need_weights)
            outputs.append(x)
            weights.append(layer_weights)
        # what the decoder reads
        return Encoded(
            self.norm(x),
            mask,
            (),
            self.norm(torch.stack(outputs, dim=1)) if need_layers else None,
            _stack(weights) if need_weights else None,
        )


class TransformerDecoder(nn.Module):
    """A stack of decoder layers over embedded target tokens."""

    attends = True

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(config, embedding)
        self.layers = nn.ModuleList(DecoderLayer(config, layer) for layer in range(config.decoder_layers))
        self.norm = _final_norm(config)

    @property
    def self_attends(self) -> bool:
        """Whether a layer has self-attention."""
        return any(layer.mixer.attends for layer in self._layers())

    @property
    def reads_layers(self) -> bool:
        """Whether a layer attends to several layers of the encoder."""
        return any(layer.cross_attention.reads_layers for layer in self._layers())

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the losses that layers add to training."""
        names = (name for layer in self._layers() for name in layer.cross_attention.loss_names)
        return tuple(dict.fromkeys(names))

    def read(self, encoded: Encoded) -> TransformerMemory:
        """Compute each layer's keys and values of the source, once for each sentence."""
        layers = tuple(layer.cross_attention.read(encoded) for layer in self._layers())
        return TransformerMemory(encoded.states[:, 0, :0], layers)

    def init_state(self, memory: TransformerMemory, max_len: int) -> State:
        """Return the state of each sentence before its first token."""
        rows = memory.like.size(0)
        layers = tuple(
            LayerState(layer.mixer.init_state(rows, memory.like), layer.cross_attention.init_state(source))
            for layer, source in zip(self._layers(), memory.layers, strict=True)
        )
        return State(first_position(memory.like), (), layers)

    def forward(
        self, tokens: Tensor, memory: TransformerMemory, state: State | None = None, *, need_weights: bool = False
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        # embeddings
        positions = positions_after(state, tokens)
        x = self.embedding(tokens, positions)
        # layers
        before = [None] * len(self.layers) if state is None else state.layers
        states, answers = [], []
        for layer, source, layer_state in zip(self._layers(), memory.layers, before, strict=True):
            attend = layer.cross_attention.over(source, need_weights=need_weights)
            x, next_state, answer = layer(x, positions, attend, layer_state, need_weights)
            states.append(next_state)
            answers.append(answer)
        # what the vocabulary is projected from
        decoded = Decoded(self.norm(x), losses=merged(loss for answer in answers for loss in answer.losses))
        if need_weights:
            cross, own = (_stack([answer[kind] for answer in answers]) for kind in (0, 1))
            decoded = decoded._replace(weights=cross, self_weights=own)
        return decoded, None if state is None else State(state.position + tokens.size(1), (), tuple(states))

    def _layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.layers))


def _mixer(name: str, config: TransformerConfig, causal: bool) -> Mixer:
    """Return the mixer of that name, from the file of that name in `nmt.attention.mixers`."""
    return cast(Mixer, make_by_name("mixers", name, config, causal))


def _cross_attention(name: str, config: TransformerConfig, layer: int) -> SourceAttention:
    """Return the attention of that name, from the file of that name in `nmt.attention.cross`."""
    return cast(SourceAttention, make_by_name("cross", name, config, layer))


def _final_norm(config: TransformerConfig) -> nn.Module:
    # a pre-norm stack ends on an unnormalised sum; post-norm layers have normalised it already
    return nn.LayerNorm(config.model_dim) if config.norm == "pre" else nn.Identity()


def _stack(weights: list[Tensor | None]) -> Tensor | None:
    """Stack the weights [rows, heads, queries, keys] of layers; those of a layer without weights are zeros."""
    shown = next((each for each in weights if each is not None), None)
    if shown is None:
        return None
    return torch.stack([torch.zeros_like(shown) if each is None else each for each in weights], dim=1)
