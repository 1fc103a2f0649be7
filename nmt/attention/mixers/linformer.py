"""Linformer: self-attention to a fixed number of projected keys and values (Wang et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.attention.heads import Heads, make_head_normaliser, make_heads
from nmt.attention.mixers.whole_sequence import WholeSequence
from nmt.attention.multihead import attention_weights
from nmt.attention.normalisers import Normaliser
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import LinformerConfig


class Linformer(WholeSequence):
    """Attention to k mixtures of all positions (Wang et al. 2020, eq. 7).

    A head is P F V with P = softmax(Q (E K)^T / sqrt(head_dim)), where E and F, both [k, max_length], are learned. A
    sentence of n words uses the first n columns of both. Words beyond max_length are in no mixture, so that no word
    attends to them, and only the residual connection around the layer keeps what they say. What multiplies V is P F,
    which can be negative: the weights are its absolute values.
    """

    sums_to_one = False
    implied = True

    def __init__(
        self, model_dim: int, heads: Heads, normaliser: Normaliser, options: LinformerConfig, dropout: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.normaliser = normaliser
        self.dropout = nn.Dropout(dropout)
        self.qkv_projection = nn.Linear(model_dim, model_dim + 2 * heads.kv_dim)
        self.output_projection = nn.Linear(model_dim, model_dim)
        shape = (heads.num_kv_heads if options.sharing == "none" else 1, options.k, options.max_length)
        self.mix_keys = _mixtures(shape)  # E [num_kv_heads or 1, k, max_length]
        self.mix_values = self.mix_keys if options.sharing == "key_value" else _mixtures(shape)  # F

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        state: None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, None, Tensor | None]:
        # queries, keys and values
        heads = self.heads
        query, key, value = heads.queries_keys_values(self.qkv_projection(x))
        # mixtures of the keys and of the values of all words
        e, f = self._of_words(self.mix_keys, x, mask), self._of_words(self.mix_values, x, mask)
        words = e.size(-1)
        mixed_keys, mixed_values = heads.shared(e @ key[:, :, :words]), heads.shared(f @ value[:, :, :words])
        # attention to the mixtures
        attention = attention_weights(query, mixed_keys, normaliser=self.normaliser)  # P [rows, heads, length, k]
        context = self.dropout(attention).to(mixed_values.dtype) @ mixed_values
        output = self.output_projection(self.normaliser.of_context(heads.merge(context)))
        if not need_weights:
            return output, None, None
        of_words = heads.shared(f.expand(-1, heads.num_kv_heads, -1, -1))
        return output, None, pad((attention @ of_words.to(attention.dtype)).abs(), (0, x.size(1) - words))

    def _of_words(self, mixtures: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return E or F [rows or 1, heads or 1, k, words] for the words of x up to max_length, with 0 at padding."""
        words = min(x.size(1), mixtures.size(-1))
        first = mixtures[:, :, :words]
        return first.unsqueeze(0) if mask is None else first * mask[:, None, None, :words]


def _mixtures(shape: tuple[int, ...]) -> nn.Parameter:
    """Return E or F with Gaussian entries of variance 1 / k at the start, as in the theory of Wang et al. 2020."""
    return nn.Parameter(torch.randn(shape) / shape[1] ** 0.5)


def make(config: TransformerConfig, place: Place) -> Linformer:
    """Return the attention of one layer that `model.linformer` describes."""
    assert not place.causal, "the configuration check refuses model.decoder_self=linformer"
    heads, normaliser = make_heads(config, place), make_head_normaliser(config, place)
    return Linformer(config.model_dim, heads, normaliser, config.linformer, config.attention_dropout)
