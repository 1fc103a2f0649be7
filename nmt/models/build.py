"""Building a model from its configuration."""

from __future__ import annotations

import dataclasses
from functools import singledispatch

from torch import nn

from nmt.config.models import (
    LuongConfig,
    ModelConfig,
    RecurrentConfig,
    RnnEncDecConfig,
    RnnSearchConfig,
    TransformerConfig,
)
from nmt.data.tokenizer import PAD
from nmt.models import luong, rnn_encdec, rnnsearch
from nmt.models.cells import Cell
from nmt.models.recurrent import RnnEncoder, initialise_recurrent
from nmt.models.seq2seq import Seq2Seq
from nmt.models.sequences import Rnn
from nmt.models.transformer import TransformerDecoder, TransformerEncoder


def build_model(config: ModelConfig, source_size: int, target_size: int) -> Seq2Seq:
    """Return the model that `config` describes, newly initialised, for vocabularies of the given sizes.

    If dropout is still `auto`, because training has not looked at the text yet, the model has no dropout.
    """
    if config.dropout == "auto":
        config = dataclasses.replace(config, dropout=0.0)
    return _build(config, source_size, target_size)


@singledispatch
def _build(config: ModelConfig, source_size: int, target_size: int) -> Seq2Seq:
    raise TypeError(f"no model for a {type(config).__name__}")


@_build.register
def _(config: RnnEncDecConfig, source_size: int, target_size: int) -> Seq2Seq:
    source, target = _embeddings(config, config.embedding_dim, source_size, target_size)
    encoder = RnnEncoder(
        config,
        source,
        dim=config.hidden_dim * (2 if config.bidirectional else 1),
        directions=[2 if config.bidirectional else 1] * config.layers,
        reverse_source=config.reverse_source,
    )
    if config.context == "every_step":
        every_step = rnn_encdec.EveryStepDecoder(config, target)
        return _recurrent(config, encoder, every_step, every_step.rnn, config.maxout_dim)
    initial_state = rnn_encdec.InitialStateDecoder(config, target)
    return _recurrent(config, encoder, initial_state, initial_state.rnn, config.hidden_dim)


@_build.register
def _(config: RnnSearchConfig, source_size: int, target_size: int) -> Seq2Seq:
    source, target = _embeddings(config, config.embedding_dim, source_size, target_size)
    encoder = RnnEncoder(
        config,
        source,
        dim=2 * config.hidden_dim,
        directions=[2] * config.encoder_layers,
    )
    decoder = rnnsearch.RnnSearchDecoder(config, target)
    return _recurrent(config, encoder, decoder, decoder.cell, config.maxout_dim)


@_build.register
def _(config: LuongConfig, source_size: int, target_size: int) -> Seq2Seq:
    source, target = _embeddings(config, config.embedding_dim, source_size, target_size)
    encoder = RnnEncoder(
        config,
        source,
        dim=config.hidden_dim,
        directions=[
            2 if config.bidirectional and (layer == 0 or config.bidirectional_layers == "all") else 1
            for layer in range(config.layers)
        ],
        reverse_source=config.reverse_source,
    )
    if config.input_feeding:
        feeding = luong.FeedingDecoder(config, target)
        return _recurrent(config, encoder, feeding, feeding.first_cell, config.hidden_dim)
    plain = luong.PlainDecoder(config, target)
    return _recurrent(config, encoder, plain, plain.rnn, config.hidden_dim)


@_build.register
def _(config: TransformerConfig, source_size: int, target_size: int) -> Seq2Seq:
    source, target = _embeddings(config, config.model_dim, source_size, target_size)
    encoder, decoder = TransformerEncoder(config, source), TransformerDecoder(config, target)
    model = Seq2Seq(encoder, decoder, nn.Linear(config.model_dim, target_size, bias=False))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return _tie(config, model, target)


def _recurrent(
    config: RecurrentConfig,
    encoder: RnnEncoder,
    decoder: nn.Module,
    reader: Rnn | Cell,
    output_dim: int,
) -> Seq2Seq:
    """Return an initialised recurrent model; `reader` is the layer of the decoder that reads the embeddings."""
    target: nn.Embedding = decoder.get_submodule("embedding")  # type: ignore[assignment]
    model = Seq2Seq(encoder, decoder, nn.Linear(output_dim, target.num_embeddings))
    initialise_recurrent(model, (encoder.rnn, reader), config.embedding_dim)
    return _tie(config, model, target)


def _embeddings(config: ModelConfig, dim: int, source_size: int, target_size: int) -> tuple[nn.Embedding, nn.Embedding]:
    """Return source and target embeddings with standard deviation dim^-0.5; the same module twice if shared."""

    def embedding(size: int) -> nn.Embedding:
        table = nn.Embedding(size, dim, padding_idx=PAD)
        nn.init.normal_(table.weight, std=dim**-0.5)
        return table

    source = embedding(source_size)
    return source, source if config.share_embeddings else embedding(target_size)


def _tie(config: ModelConfig, model: Seq2Seq, target: nn.Embedding) -> Seq2Seq:
    """Use the target embeddings as weights of the vocabulary projection, if so configured, and return the model."""
    if config.tie_projection:
        model.projection.weight = target.weight
    return model
