"""Decoding with OpenNMT-py 3.5: the weights of a run in its model, searched by its Translator.

It has pre-norm layers only. Its table of positions is filled with those of the toolkit. The bias of its generator is
minus infinity for tokens that are never generated. A beam ends when its best hypothesis has finished, which is earlier
than by nmt's rules. Its requirements name an old version of torch, but it works with newer ones: install it by
`pip install --no-deps OpenNMT-py==3.5.1`, and then its other requirements without torch.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from benchmarks.reference_engine import ReferenceEngine, copy_weights
from nmt.attention.positions.sinusoidal import frequencies, sinusoids
from nmt.config.models import TransformerConfig
from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS, PAD, Tokenizer
from nmt.inference.export.ctranslate2 import pieces
from nmt.runs.run import LoadedRun


def why_not(model: object) -> str | None:
    """Return why a model cannot be expressed as a model of OpenNMT-py, or None if it can."""
    if not isinstance(model, TransformerConfig):
        return "only its Transformer is measured"
    return "its Transformer is pre-norm only" if model.norm == "post" else None


class OpenNMTEngine(ReferenceEngine):
    """An engine that searches with OpenNMT-py's Translator."""

    batch_size = 100

    def __init__(self, run: LoadedRun) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names that newer versions of torch have moved
            self.vocabs = vocabularies(run.tokenizer)
            self.model = opennmt(run, self.vocabs)

    def decode(self, src: Tensor, lengths: Tensor, options: SearchConfig, longest: int) -> list[list[int]]:
        """Return the best target ids of each sentence of src [batch, src_len], at most `longest` ids each."""
        from onmt.translate import GNMTGlobalScorer, Translator

        translator = Translator(
            self.model,
            self.vocabs,
            beam_size=options.beam_size,
            random_sampling_topk=1 if options.beam_size == 1 else 0,  # this is its greedy search
            max_length=longest,
            max_length_ratio=0,
            dump_beam="",
            global_scorer=GNMTGlobalScorer(options.length_penalty, 0.0, "avg", "none"),
        )
        found = translator.translate_batch({"src": src.unsqueeze(-1), "srclen": lengths}, attn_debug=False)
        return [best[0].tolist() for best in found["predictions"]]


def vocabularies(tokenizer: Tokenizer) -> Any:
    """Return the pieces of a tokenizer as vocabularies, with OpenNMT-py's names for special pieces."""
    from onmt.constants import DefaultTokens, ModelTask
    from onmt.inputters.inputter import dict_to_vocabs

    named = {PAD: DefaultTokens.PAD, BOS: DefaultTokens.BOS, EOS: DefaultTokens.EOS}
    sides = {
        "src": pieces(tokenizer.source.names),
        "tgt": pieces(tokenizer.target.names),
    }
    listed = {side: [named.get(id, piece) for id, piece in enumerate(found)] for side, found in sides.items()}
    return dict_to_vocabs({"data_task": ModelTask.SEQ2SEQ, **listed})


def opennmt(run: LoadedRun, vocabs: Any) -> Any:
    """Return a model of OpenNMT-py with the weights of a run."""
    from onmt.model_builder import build_base_model
    from onmt.opts import model_opts
    from onmt.utils.parse import ArgumentParser

    config = run.config.model
    assert isinstance(config, TransformerConfig), "checked before"
    options = ArgumentParser.defaults(model_opts)
    options.encoder_type = options.decoder_type = "transformer"
    options.hidden_size = options.word_vec_size = config.model_dim
    options.enc_layers, options.dec_layers = config.encoder_layers, config.decoder_layers
    options.heads, options.transformer_ff = config.num_heads, config.ffn_dim
    options.pos_ffn_activation_fn = config.activation
    options.position_encoding = options.add_qkvbias = options.add_ffnbias = True
    options.norm_eps = 1e-5  # the default of torch
    options.dropout = options.attention_dropout = [0.0]
    # required, although it is no option of a model
    options.freeze_word_vecs_enc = options.freeze_word_vecs_dec = False
    options.optim, options.parallel_mode, options.world_size = "adam", "data_parallel", 1
    ArgumentParser.update_model_opts(options)
    model = build_base_model(options, vocabs).eval()
    _fill(run, model, config)
    return model


def _fill(run: LoadedRun, model: Any, config: TransformerConfig) -> None:
    """Copy every weight of our model to its place in theirs."""
    weights = run.model.state_dict()
    copy_weights(weights, "projection", model, "generator")
    model.generator.bias.data.zero_()
    model.generator.bias.data[[PAD, BOS]] = float("-inf")
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        embeddings = getattr(model, side).embeddings.make_embedding
        copy_weights(weights, f"{side}.embedding.embedding", model, f"{side}.embeddings.make_embedding.emb_luts.0")
        embeddings.pe.pe = sinusoids(torch.arange(len(embeddings.pe.pe)), frequencies(config.model_dim)).unsqueeze(1)
        copy_weights(weights, f"{side}.norm", model, f"{side}.layer_norm")
        for index in range(layers):
            _fill_layer(weights, model, side, index)


def _fill_layer(weights: dict[str, Tensor], model: Any, side: str, index: int) -> None:
    """Copy a layer. OpenNMT-py has each normalisation next to its sublayer, and inside the feed-forward network."""
    decodes = side == "decoder"
    here = f"{side}.layers.{index}"
    there = f"{side}.{'transformer_layers' if decodes else 'transformer'}.{index}"
    own, heads = f"{there}.self_attn", ("linear_query", "linear_keys", "linear_values")
    copies = {
        f"{here}.mixer_residual.norm": [f"{there}.layer_norm{'_1' if decodes else ''}"],
        f"{here}.mixer.qkv_projection": [f"{own}.{head}" for head in heads],
        f"{here}.mixer.output_projection": [f"{own}.final_linear"],
        f"{here}.feed_forward_residual.norm": [f"{there}.feed_forward.layer_norm"],
        f"{here}.feed_forward.inner": [f"{there}.feed_forward.w_1"],
        f"{here}.feed_forward.outer": [f"{there}.feed_forward.w_2"],
    }
    if decodes:
        other = f"{there}.context_attn"
        copies |= {
            f"{here}.cross_residual.norm": [f"{there}.layer_norm_2"],
            f"{here}.cross_attention.query_projection": [f"{other}.linear_query"],
            f"{here}.cross_attention.kv_projection": [f"{other}.linear_keys", f"{other}.linear_values"],
            f"{here}.cross_attention.output_projection": [f"{other}.final_linear"],
        }
    for name, places in copies.items():
        copy_weights(weights, name, model, *places)
