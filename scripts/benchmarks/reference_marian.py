"""Decoding with `transformers`: the weights of a run in its MarianMTModel, searched by `generate`.

Marian has post-norm layers. Its table of positions is filled with those of the toolkit. Its bias on the logits is minus
infinity for tokens that are never generated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.reference_engine import ReferenceEngine, copy_weights
from benchmarks.reference_transformers import marian_config
from nmt.attention.positions.sinusoidal import frequencies, sinusoids
from nmt.config.models import TransformerConfig
from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.runs.run import LoadedRun


def why_not(model: object) -> str | None:
    """Return why a model cannot be expressed as a Marian model, or None if it can."""
    if not isinstance(model, TransformerConfig):
        return "it has Transformers only"
    return "Marian has post-norm layers only" if model.norm == "pre" else None


class MarianEngine(ReferenceEngine):
    """An engine that searches with MarianMTModel."""

    batch_size = 64

    def __init__(self, run: LoadedRun) -> None:
        self.model = marian(run)

    def decode(self, src: Tensor, lengths: Tensor, options: SearchConfig, longest: int) -> list[list[int]]:
        """Return the best target ids of each sentence of src [batch, src_len], at most `longest` ids each."""
        found: Tensor = self.model.generate(
            input_ids=src,
            attention_mask=(src != PAD).long(),
            max_new_tokens=longest,
            num_beams=options.beam_size,
            do_sample=False,
            length_penalty=options.length_penalty,
            early_stopping=options.beam_size > 1,  # ends when as many hypotheses have finished as the beam is wide
        )
        answers: list[list[int]] = found[:, 1:].tolist()
        return answers


def marian(run: LoadedRun) -> Any:
    """Return a MarianMTModel with the weights of a run."""
    from transformers import GenerationConfig, MarianMTModel

    config = run.config
    assert isinstance(config.model, TransformerConfig), "checked before"
    longest = config.data.cleaning.max_tokens
    positions = max(longest, config.search.longest(longest)) + 1
    model = MarianMTModel(marian_config(config.model, run.tokenizer, positions)).eval()
    with torch.no_grad():
        _copy_weights(run.model, model, config.model)
        for stack in (model.model.encoder, model.model.decoder):
            stack.embed_positions.weight.copy_(sinusoids(torch.arange(positions), frequencies(config.model.model_dim)))
        model.final_logits_bias[:, [PAD, BOS]] = float("-inf")
    model.generation_config = GenerationConfig(
        decoder_start_token_id=BOS, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD
    )
    return model


def _copy_weights(ours: nn.Module, theirs: nn.Module, config: TransformerConfig) -> None:
    """Copy every weight of our model to its place in theirs."""

    def copy(name: str, *places: str) -> None:
        copy_weights(weights, name, theirs, *places)

    weights: dict[str, Tensor] = ours.state_dict()
    copy("projection", "lm_head")
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        copy(f"{side}.embedding.embedding", f"model.{side}.embed_tokens")
        for index in range(layers):
            here, there = f"{side}.layers.{index}", f"model.{side}.layers.{index}"
            heads = [f"{there}.self_attn.{part}_proj" for part in "qkv"]
            copy(f"{here}.mixer.qkv_projection", *heads)
            copy(f"{here}.mixer.output_projection", f"{there}.self_attn.out_proj")
            copy(f"{here}.mixer_residual.norm", f"{there}.self_attn_layer_norm")
            if side == "decoder":
                copy(f"{here}.cross_attention.query_projection", f"{there}.encoder_attn.q_proj")
                heads = [f"{there}.encoder_attn.{part}_proj" for part in "kv"]
                copy(f"{here}.cross_attention.kv_projection", *heads)
                copy(f"{here}.cross_attention.output_projection", f"{there}.encoder_attn.out_proj")
                copy(f"{here}.cross_residual.norm", f"{there}.encoder_attn_layer_norm")
            copy(f"{here}.feed_forward.inner", f"{there}.fc1")
            copy(f"{here}.feed_forward.outer", f"{there}.fc2")
            copy(f"{here}.feed_forward_residual.norm", f"{there}.final_layer_norm")
