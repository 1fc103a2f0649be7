"""Parts of recurrent models: the encoder, the maxout layer, and how weights are initialised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nmt.attention.contract import Attended, SourceAttention
from nmt.attention.losses import doubly_stochastic
from nmt.config.models import LuongConfig, RecurrentConfig, RnnSearchConfig
from nmt.models.cells.base import Cell, Layered, open_forget_gates, orthogonal_gates
from nmt.models.contract import Encoded, NamedLoss, merged
from nmt.models.dropout import make_dropout
from nmt.models.sequences import Rnn, Scan, reverse, run_rnn
from nmt.models.stack import Stack, make_stack

# the initial standard deviation of weights that multiply embeddings; with 0.05 or 0.5 Luong's model learned more slowly
_INPUT_STD = 0.2


class RnnEncoder(nn.Module):
    """Recurrent layers over the embedded source, in one direction or both.

    The GRU is `nn.GRU`, which applies the reset gate after the recurrent product (Cho et al. 2014 apply it before). It
    is used for whole sequences because this form has fused kernels.
    """

    attends = False
    loss_names: tuple[str, ...] = ()

    def __init__(
        self,
        config: RecurrentConfig,
        embedding: nn.Embedding,
        *,
        dim: int,
        directions: Sequence[int],
        reverse_source: bool = False,
    ) -> None:
        """Create an encoder whose states are of size dim; `directions` are those of `make_stack`."""
        super().__init__()
        self.embedding = embedding
        self.dropout = make_dropout(config)
        self.reverse_source = reverse_source
        self.rnn = make_stack(config, embedding.embedding_dim, dim, directions)

    def forward(
        self,
        src: Tensor,
        mask: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: bool = False,
        need_layers: bool = False,
    ) -> Encoded:
        """Encode src [batch, src_len]; states and final have the size given to the encoder.

        There are no attention weights. With reverse_source the RNN reads the words from last to first (Sutskever et al.
        2014, section 3.3), but each state is returned at the position of its word.
        """
        # embeddings
        sizes = mask.sum(dim=1)
        embedded = self.dropout(self.embedding(src))  # [batch, src_len, embedding]
        if self.reverse_source:
            embedded = reverse(embedded, sizes)
        # hidden states
        states, final = run_rnn(self.rnn, embedded, lengths=sizes if lengths is None else lengths)
        if self.reverse_source:
            states = reverse(states, sizes)
        return Encoded(states, mask, tuple(torch.stack(leaf, dim=1) for leaf in zip(*final, strict=True)))


def by_layer(leaves: tuple[Tensor, ...]) -> Layered:
    """Split the last state of an encoder, h (and c) [batch, layers, dim], into one state per layer."""
    return tuple(zip(*(leaf.unbind(dim=1) for leaf in leaves), strict=True))


def shown(attended: list[Attended]) -> Tensor:
    """Concatenate the attention weights of consecutive calls to weights [rows, 1, 1, tgt_len, src_len].

    Each call covers one or more target positions. The two dimensions of size 1 are layers and heads: a recurrent
    decoder has one layer of attention, with one head.
    """
    return torch.cat([cast(Tensor, each.weights) for each in attended], dim=2).unsqueeze(1)


class AddsLosses(nn.Module, ABC):
    """The base of decoders that add losses to training: those of their attention, and the doubly stochastic loss."""

    def __init__(self, config: RnnSearchConfig | LuongConfig) -> None:
        super().__init__()
        self.doubly_stochastic = config.doubly_stochastic

    @abstractmethod
    def source_attention(self) -> SourceAttention:
        """Return the decoder's attention to the source."""

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the losses, in the order in which `losses` returns them."""
        own = ("doubly_stochastic",) if self.doubly_stochastic else ()
        return self.source_attention().loss_names + own

    def losses(self, attended: list[Attended], mask: Tensor) -> tuple[NamedLoss, ...]:
        """Return the losses for the results of attention at all steps; mask [rows, src_len] is False at padding."""
        losses = [loss for step in attended for loss in step.losses]

        def value(log_probs: Tensor, tgt_mask: Tensor) -> Tensor:
            return doubly_stochastic(shown(attended)[:, 0, 0], mask, tgt_mask)

        if self.doubly_stochastic:
            losses.append(NamedLoss("doubly_stochastic", self.doubly_stochastic, value))
        return merged(losses)


class MaxoutOutput(nn.Module):
    """The maxout output layer (Goodfellow et al. 2013; Bahdanau et al. 2015, A.2.2).

    t is the maximum of each pair of neighbouring components of U_o s + V_o E y + C_o c, where s is the decoder state,
    E y the embedding of the previous word and c the context.
    """

    def __init__(self, input_dim: int, maxout_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(input_dim, 2 * maxout_dim)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Concatenate inputs [rows, length, *] and return the layer's output [rows, length, maxout_dim]."""
        projected: Tensor = self.projection(torch.cat(inputs, dim=-1))
        return projected.view(*projected.shape[:-1], -1, 2).amax(dim=-1)


def initialise_recurrent(model: nn.Module, readers: Iterable[Rnn | Cell], embedding_dim: int) -> None:
    """Initialise a recurrent model: biases with zero, matrices with Xavier unless another rule below applies.

    Recurrent matrices are orthogonal for each gate (Bahdanau et al. 2015, B.1), and forget gates have a bias of one
    (Jozefowicz et al. 2015); each cell states its own rules (`Cell.initialise`). Weights that multiply embeddings
    (those of `readers`) have a standard deviation of 0.2. Embeddings have a norm of about 1, so that gates have the
    same standard deviation before their activations. With Xavier gates would start near zero, and attention, which
    learns from products of states, would learn late.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GRU | nn.LSTM):
            for name, parameter in module.named_parameters():
                if "bias" in name:
                    nn.init.zeros_(parameter)
                    if isinstance(module, nn.LSTM) and "bias_ih" in name:
                        open_forget_gates(parameter, module.hidden_size)
                elif "weight_hh" in name:
                    orthogonal_gates(parameter, module.hidden_size)
                else:
                    nn.init.xavier_uniform_(parameter)
    for module in model.modules():
        if isinstance(module, Cell):
            module.initialise()
    with torch.no_grad():
        for reader in readers:
            for weight in _input_weights(reader):
                nn.init.normal_(weight[:, :embedding_dim], std=_INPUT_STD)


def _input_weights(layer: nn.Module) -> list[Tensor]:
    """Return the matrices [gates * hidden, input] that multiply the input of a layer (of a stack: its first layer)."""
    if isinstance(layer, Cell):
        return [layer.input_projection.weight]
    if isinstance(layer, Stack):
        return _input_weights(layer.layers[0])
    if isinstance(layer, Scan):
        return [weight for cell in layer.cells for weight in _input_weights(cell)]
    return [getattr(layer, name) for name in ("weight_ih_l0", "weight_ih_l0_reverse") if hasattr(layer, name)]
