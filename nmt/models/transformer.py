"""The Transformer encoder and decoder (Vaswani et al. 2017), pre- or post-norm.

The configuration chooses the parts of each layer: positions, self-attention or another mixer, and attention to the
source (`nmt.attention`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.attention.contract import Attend, Mixer, SourceAttention
from nmt.attention.mixers import make_mixer
from nmt.attention.naming import make_by_name
from nmt.config.mechanisms import Place, of_layer
from nmt.config.models import TransformerConfig
from nmt.models.contract import (
    Decoded,
    Encoded,
    NamedLoss,
    NeedWeights,
    OneLayer,
    State,
    first_position,
    merged,
    positions_after,
)
from nmt.models.embedding import TokenEmbedding
from nmt.models.feed_forward import make_feed_forward
from nmt.models.halting import make_halting
from nmt.models.norms import Residual, final_norm


class TransformerMemory(NamedTuple):
    """The encoded source as the decoder's cross-attention reads it: projected keys and values for each layer."""

    like: Tensor  # [batch, 0], with the device and dtype of a new state
    layers: tuple[Any, ...]  # one memory per layer


class LayerState(NamedTuple):
    """The state of a decoder layer after the tokens so far."""

    mixer: Any  # such as the keys and values of self-attention
    cross: Any  # None if attention to the source has no state


class EncoderLayer(nn.Module):
    """Self-attention or its replacement and a feed-forward network, each with a residual connection."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.mixer = make_mixer(config, Place("encoder_self", layer))
        self.feed_forward = make_feed_forward(config)
        self.mixer_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return x [batch, src_len, dim] after the layer and, if requested, the self-attention weights."""
        # self-attention
        mixed, _, weights = self.mixer(self.mixer_residual.enter(x), positions, mask, need_weights=need_weights)
        x = self.mixer_residual.add(x, mixed)
        # feed-forward network
        x = self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x)))
        return x, weights


class LayerAnswer(NamedTuple):
    """The results of a decoder layer in addition to x and its state."""

    cross: Tensor | None  # weights of attention to the source [rows, heads, tgt_len, src_len]
    own: Tensor | None  # weights of self-attention [rows, heads, tgt_len, all target positions so far]
    losses: tuple[NamedLoss, ...]


class DecoderLayer(nn.Module):
    """Causal self-attention or its replacement, attention to the source and a feed-forward network."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.mixer = make_mixer(config, Place("decoder_self", layer))
        self.cross_attention = _cross_attention(config, Place("decoder_cross", layer))
        self.feed_forward = make_feed_forward(config)
        self.mixer_residual = Residual(config)
        self.cross_residual = Residual(config)
        self.feed_forward_residual = Residual(config)

    def forward(
        self, x: Tensor, positions: Tensor, attend: Attend, state: LayerState | None, need_own: bool
    ) -> tuple[Tensor, LayerState | None, LayerAnswer]:
        """Return x [rows, tgt_len, dim] after the layer, the next state, and the weights and losses.

        Weights of attention to the source are those that `attend` returns; `need_own` requests those of self-attention.
        """
        mixer_state, cross_state = (None, None) if state is None else state
        # causal self-attention
        mixed, mixer_state, own = self.mixer(
            self.mixer_residual.enter(x), positions, None, mixer_state, need_weights=need_own
        )
        x = self.mixer_residual.add(x, mixed)
        # attention to the source
        attended = attend(self.cross_residual.enter(x), positions, cross_state)
        x = self.cross_residual.add(x, attended.context)
        # feed-forward network
        x = self.feed_forward_residual.add(x, self.feed_forward(self.feed_forward_residual.enter(x)))
        next_state = None if state is None else LayerState(mixer_state, attended.state)
        return x, next_state, LayerAnswer(attended.weights, own, attended.losses)

    def passed(self, x: Tensor, positions: Tensor, state: LayerState | None) -> LayerState | None:
        """Return the next state after positions that have all halted in lower layers.

        Later positions can then attend to x [rows, tgt_len, dim] in this layer's self-attention. Attention to the
        source and the feed-forward network are left out, because their outputs would not be used.
        """
        if state is None:
            return None
        assert state.cross is None, "attention to the source that has a state would have to be told of these positions"
        _, mixer_state, _ = self.mixer(self.mixer_residual.enter(x), positions, None, state.mixer)
        return LayerState(mixer_state, None)


class TransformerEncoder(nn.Module):
    """A stack of encoder layers over embedded source tokens."""

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(config, embedding)
        self.layers = _layers(EncoderLayer, config, config.encoder_layers, config.share_layers.encoder)
        self.halting = make_halting(config, "encoder")
        self.norm = final_norm(config)

    @property
    def attends(self) -> bool:
        """True if any layer has self-attention, whose weights can be requested."""
        return any(cast(Mixer, layer.mixer).attends for layer in self.layers)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the losses that the encoder adds to training."""
        return self.halting.loss_names

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
        # layers, until all positions have halted
        progress = self.halting.begin(x, mask)
        outputs, weights = [x], []
        for number, layer in enumerate(self.layers, start=1):
            if not (need_weights or need_layers) and self.halting.stopped(progress):
                break
            y, layer_weights = layer(progress.x, positions, mask, need_weights)
            progress = self.halting.after(progress, y, last=number == len(self.layers))
            outputs.append(progress.x)
            weights.append(layer_weights)
        # final normalisation; all layers and weights if requested
        return Encoded(
            self.norm(progress.output.to(x.dtype)),
            mask,
            (),
            self.norm(torch.stack(outputs, dim=1)) if need_layers else None,
            _stack(weights) if need_weights else None,
            self.halting.losses(progress),
            progress.depth,
        )


class TransformerDecoder(nn.Module):
    """A stack of decoder layers over embedded target tokens."""

    attends = True

    def __init__(self, config: TransformerConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(config, embedding)
        self.layers = _layers(DecoderLayer, config, config.decoder_layers, config.share_layers.decoder)
        self.halting = make_halting(config, "decoder")
        self.norm = final_norm(config)

    @property
    def self_attends(self) -> bool:
        """True if any layer has self-attention."""
        return any(layer.mixer.attends for layer in self._layers())

    @property
    def reads_layers(self) -> bool:
        """True if any layer attends to several layers of the encoder."""
        return any(layer.cross_attention.reads_layers for layer in self._layers())

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the losses that the layers' attention and halting add to training."""
        names = (name for layer in self._layers() for name in layer.cross_attention.loss_names)
        return tuple(dict.fromkeys((*names, *self.halting.loss_names)))

    def read(self, encoded: Encoded) -> TransformerMemory:
        """Compute the keys and values of the source for each layer, once per sentence."""
        layers = tuple(layer.cross_attention.read(encoded) for layer in self._layers())
        return TransformerMemory(encoded.states[:, 0, :0], layers)

    def init_state(self, memory: TransformerMemory, max_len: int) -> State:
        """Return the state before the first token, with one row per sentence; see `nmt.models.contract.Decoder`."""
        rows = memory.like.size(0)
        layers = tuple(
            LayerState(layer.mixer.init_state(rows, memory.like), layer.cross_attention.init_state(source))
            for layer, source in zip(self._layers(), memory.layers, strict=True)
        )
        return State(first_position(memory.like), (), layers)

    def forward(
        self,
        tokens: Tensor,
        memory: TransformerMemory,
        state: State | None = None,
        *,
        need_weights: NeedWeights = False,
    ) -> tuple[Decoded, State | None]:
        """Decode tokens [rows, tgt_len] after `state`; see `nmt.models.contract.Decoder`."""
        # embeddings
        positions = positions_after(state, tokens)
        x = self.embedding(tokens, positions)
        # layers; above those in which all positions have halted, only states go on
        progress = self.halting.begin(x)
        before = [None] * len(self.layers) if state is None else state.layers
        only = need_weights.of(len(self.layers)) if isinstance(need_weights, OneLayer) else None
        states, answers = [], []
        for number, (layer, source, layer_state) in enumerate(zip(self._layers(), memory.layers, before, strict=True)):
            if not need_weights and self.halting.stopped(progress):
                states.append(layer.passed(progress.x, positions, layer_state))
                continue
            need_cross = bool(need_weights) and only in (None, number)
            attend = layer.cross_attention.over(source, need_weights=need_cross)
            y, next_state, answer = layer(progress.x, positions, attend, layer_state, need_cross and only is None)
            progress = self.halting.after(progress, y, last=number == len(self.layers) - 1)
            states.append(next_state)
            answers.append(answer)
        # final normalisation; losses, and weights if requested
        of_layers = merged(loss for answer in answers for loss in answer.losses)
        losses = (*of_layers, *self.halting.losses(progress))
        decoded = Decoded(self.norm(progress.output.to(x.dtype)), losses=losses, depth=progress.depth)
        if only is not None:
            decoded = decoded._replace(weights=_stack([answers[only].cross]))
        elif need_weights:
            cross, own = (_stack([answer[kind] for answer in answers]) for kind in (0, 1))
            decoded = decoded._replace(weights=cross, self_weights=own)
        return decoded, None if state is None else State(state.position + tokens.size(1), (), tuple(states))

    def _layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.layers))


def _layers(
    kind: type[EncoderLayer | DecoderLayer], config: TransformerConfig, number: int, different: int | None
) -> nn.ModuleList:
    """Return a stack of `number` layers with `different` sets of weights (None: each layer has its own).

    The different layers are used in turn. Layers with the same weights still have separate states. With one different
    layer, this is the sharing of Dehghani et al. 2019 and Lan et al. 2020.
    """
    layers = [kind(config, layer) for layer in range(different or number)]
    return nn.ModuleList(layers[layer % len(layers)] for layer in range(number))


def _cross_attention(config: TransformerConfig, place: Place) -> SourceAttention:
    """Return the attention of a layer to the source, made by the file of its name in `nmt.attention.cross`."""
    return cast(SourceAttention, make_by_name("cross", of_layer(config.decoder_cross, place.layer), config, place))


def _stack(weights: list[Tensor | None]) -> Tensor | None:
    """Stack the weights [rows, heads, queries, keys] of all layers, with zeros for layers that have none."""
    present = next((each for each in weights if each is not None), None)
    if present is None:
        return None
    return torch.stack([torch.zeros_like(present) if each is None else each for each in weights], dim=1)
