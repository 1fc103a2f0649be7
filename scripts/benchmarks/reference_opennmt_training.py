"""The reference for recurrent models: OpenNMT-py 3.5 trains an LSTM with input feeding by its own Trainer.

Its model has the sizes of the toolkit's configuration, its attention is `general` or `mlp` (nmt's scores general and
concat), and its data iterator makes the batches: it sorts 262,144 sentences by length, cuts batches of at most
training.tokens_per_update tokens and shuffles them. Everything that is not set here is its default. See
reference_opennmt.py for how to install it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Meter
from benchmarks.reference_opennmt import vocabularies
from nmt.config.models import LuongConfig
from nmt.config.schema import Config
from nmt.data.prepare import Prepared
from nmt.inference.export.ctranslate2 import pieces

ATTENTION = {"general": "general", "concat": "mlp"}  # its name for each of our scores


def why_not(config: Config) -> str | None:
    """Return why OpenNMT-py has no model like that of the configuration, or None if it has one."""
    model = config.model
    if not isinstance(model, LuongConfig) or model.cell != "lstm" or not model.input_feeding:
        return "only its LSTM with input feeding is measured"
    if model.score not in ATTENTION or model.alignment != "soft" or model.normaliser != "softmax":
        return f"its attention is one of {' and '.join(ATTENTION)}, with a softmax"
    return None


def train(config: Config, prepared: Prepared, device: torch.device, bf16: bool, meter: Meter) -> None:
    """Train on the prepared data until the meter's window has ended."""
    warnings.simplefilter("ignore")  # about names that newer versions of torch have moved
    from onmt.inputters.dynamic_iterator import build_dynamic_dataset_iter
    from onmt.model_builder import build_base_model
    from onmt.trainer import build_trainer
    from onmt.utils.optimizers import Optimizer

    logging.disable(logging.INFO)
    torch.manual_seed(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        options = options_of(config, write_text(prepared, Path(folder)))
        vocabs = vocabularies(prepared.tokenizer)
        batches = build_dynamic_dataset_iter(options, {}, vocabs)
        model = build_base_model(options, vocabs).to(device)
        optimizer = Optimizer.from_opt(model, options)
        trainer = build_trainer(options, -1, model, vocabs, optimizer)
        trainer.train(watched(iter(batches), meter), train_steps=0)


def watched(batches: Iterator[tuple[dict[str, Any], int]], meter: Meter) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the batches, and count each after its update, until the meter's window has ended."""
    for batch, bucket in batches:
        yield batch, bucket
        source, target = batch["srclen"].tolist(), (batch["tgtlen"] - 1).tolist()  # without the begin of sentence
        if meter.add(source, target, batch["src"].numel() + batch["tgt"].numel() - len(target)):
            return


def write_text(prepared: Prepared, folder: Path) -> dict[str, str]:
    """Write the training pairs as pieces separated by spaces, and return the path of each side.

    Targets are written without their end of sentence, which OpenNMT-py adds.
    """
    tokenizer, store = prepared.tokenizer, prepared.train
    sides = {
        "src": (pieces(tokenizer.source.names), (store.source(row).tolist() for row in range(len(store)))),
        "tgt": (pieces(tokenizer.target.names), (store.target(row).tolist()[:-1] for row in range(len(store)))),
    }
    for side, (names, sentences) in sides.items():
        lines = (" ".join(names[id] for id in ids) + "\n" for ids in sentences)
        (folder / side).write_text("".join(lines), encoding="utf-8")
    return {side: str(folder / side) for side in sides}


def options_of(config: Config, paths: dict[str, str]) -> Any:
    """Return the options of OpenNMT-py for a model and a training like those of the configuration."""
    from onmt.opts import train_opts
    from onmt.utils.parse import ArgumentParser

    model, training = config.model, config.training
    assert isinstance(model, LuongConfig), "checked before"
    parser = ArgumentParser()
    train_opts(parser)
    options, _ = parser.parse_known_args(["--data", "{}", "--src_vocab", "none"])  # both are required
    corpus = {"path_src": paths["src"], "path_tgt": paths["tgt"], "path_align": None, "transforms": [], "weight": 1}
    options.data = {"corpus": corpus}
    # the model
    options.encoder_type, options.decoder_type = ("brnn" if model.bidirectional else "rnn"), "rnn"
    options.rnn_type, options.input_feed, options.global_attention = "LSTM", 1, ATTENTION[model.score]
    options.hidden_size, options.word_vec_size = model.hidden_dim, model.embedding_dim
    options.enc_layers = options.dec_layers = model.layers
    options.dropout = [model.dropout]
    options.share_embeddings, options.share_decoder_embeddings = model.share_embeddings, model.tie_projection
    options.bridge = False
    # the training
    options.batch_type, options.batch_size, options.normalization = "tokens", training.tokens_per_update, "tokens"
    options.num_workers = 0
    options.optim, options.learning_rate = "adam", training.learning_rate
    options.adam_beta1, options.adam_beta2 = training.optimizer.betas
    options.max_grad_norm, options.label_smoothing = training.clip_norm or 0.0, training.label_smoothing
    ArgumentParser.update_model_opts(options)
    return options
