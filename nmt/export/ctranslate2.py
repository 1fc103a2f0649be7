"""A trained Transformer as a CTranslate2 model: the same weights and vocabularies, laid out as that program has them.

The folder is a model like any other of CTranslate2, over SentencePiece pieces; source sentences are given with their
end of sentence. Weights are in float32 and quantised when they are loaded, as the one who loads them asks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nmt.attention.position import sinusoids
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.tokenizer import BOS, PAD
from nmt.errors import NmtError
from nmt.export.record import RECORD, ExportRecord, export_folder
from nmt.extras import import_extra
from nmt.files import atomic_directory, check_writable, follow
from nmt.run import LoadedRun

FORMAT = "ctranslate2"
NEVER = -1e9  # as a bias, a probability of zero
_LEAST_POSITIONS = 1024  # room for other limits than the run's, at a few megabytes at most


def export(run: LoadedRun, folder: str | os.PathLike[str] | None = None) -> Path:
    """Write a run as a CTranslate2 model, with a record of what it was made of, and return the folder.

    It is RUN_DIR/exports/ctranslate2 where none is given, complete or absent, and replaces an older export. Raises
    NmtError for what `place_of_export` refuses, and where CTranslate2 is not installed.
    """
    path = place_of_export(run.path, run.config, folder)
    config = run.config.model
    assert isinstance(config, TransformerConfig), "place_of_export refuses others"
    positions = max(_LEAST_POSITIONS, longest(run.config))
    spec = specification(config, run.model.state_dict(), positions)
    spec.register_source_vocabulary(pieces(run.tokenizer.source.names))
    spec.register_target_vocabulary(pieces(run.tokenizer.target.names))
    spec.validate()
    spec.optimize(quantization="float32")  # also finds equal weights, such as tied ones, and keeps them once
    record = ExportRecord.of(run.checkpoint, run.tokenizer, positions)
    with atomic_directory(path) as temporary:
        spec.save(str(temporary))
        record.write(temporary)
    return path


def place_of_export(
    run_dir: str | os.PathLike[str], config: Config, folder: str | os.PathLike[str] | None = None
) -> Path:
    """Return the folder that the export of a run of that configuration goes to.

    Raises NmtError for a model that CTranslate2 has no layers for, for a folder that holds something else, and for one
    that cannot be written.
    """
    if not isinstance(config.model, TransformerConfig):
        raise NmtError(
            f"{run_dir} cannot be exported for CTranslate2, which translates with Transformers only: "
            f"it has no layers for model.family={config.model.family}"
        )
    path = export_folder(run_dir, FORMAT) if folder is None else Path(folder)
    if path.exists() and not (path / RECORD).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise NmtError(f"{path} is there and is no export, which could be replaced: choose another folder")
    check_writable(path, folder=True)
    check_writable(follow(path).parent, folder=True)  # an export is made beside the one that it replaces
    return path


def longest(config: Config) -> int:
    """The most tokens, end of sentence included, that a source piece or its translation has in this run."""
    most = config.data.cleaning.max_tokens
    return max(most, config.search.longest(most))


def pieces(names: list[str]) -> list[str]:
    """The vocabulary of these names; a tokenizer of words shows its unknown one as one of several words."""
    special = ["<pad>", "<unk>", "<s>", "</s>"]  # nmt.data.tokenizer has no model without them
    return special + names[len(special) :]


def specification(config: TransformerConfig, weights: Mapping[str, Tensor], positions: int) -> Any:
    """A TransformerSpec filled from a state dict, still without vocabularies.

    Sources and translations can have as many tokens as there are positions.
    """
    import_extra("ctranslate2")
    from ctranslate2 import specs

    spec = specs.TransformerSpec.from_config(
        (config.encoder_layers, config.decoder_layers),
        config.num_heads,
        pre_norm=config.norm == "pre",
        activation=specs.Activation.GELU if config.activation == "gelu" else specs.Activation.RELU,
    )
    spec.config.layer_norm_epsilon = 1e-5  # torch's
    spec.config.add_source_eos = False  # the toolkit's sources end with theirs
    table = sinusoids(positions, config.model_dim).numpy()
    left = _Weights(weights)
    encoder, decoder = spec.encoder, spec.decoder
    left.fill(encoder.embeddings[0], "encoder.embedding.embedding", ("weight",))
    left.fill(decoder.embeddings, "decoder.embedding.embedding", ("weight",))
    left.fill(decoder.projection, "projection", ("weight",))
    # CTranslate2 has no tokens that are never said: probabilities are those among the others
    decoder.projection.bias = np.zeros(len(decoder.projection.weight), dtype=np.float32)
    decoder.projection.bias[[PAD, BOS]] = NEVER
    for stack, name in ((encoder, "encoder"), (decoder, "decoder")):
        stack.position_encodings.encodings = table
        if config.norm == "pre":
            left.fill(stack.layer_norm, f"{name}.norm", _NORM)
        for index, layer in enumerate(stack.layer):
            _fill_layer(layer, left, f"{name}.layers.{index}", decodes=stack is decoder)
    assert not left.arrays, f"weights that CTranslate2 has no place for: {', '.join(left.arrays)}"
    return spec


_LINEAR = ("weight", "bias")
_NORM = ("gamma", "beta")


def _fill_layer(layer: Any, weights: _Weights, name: str, *, decodes: bool) -> None:
    """One layer; CTranslate2 keeps each normalisation with the sublayer that it belongs to."""
    own = "self" if decodes else "attention"
    weights.fill(layer.self_attention.layer_norm, f"{name}.{own}_residual.norm", _NORM)
    weights.fill(layer.self_attention.linear[0], f"{name}.self_attention.qkv_projection", _LINEAR)
    weights.fill(layer.self_attention.linear[1], f"{name}.self_attention.output_projection", _LINEAR)
    if decodes:
        weights.fill(layer.attention.layer_norm, f"{name}.cross_residual.norm", _NORM)
        for linear, part in zip(layer.attention.linear, ("query", "kv", "output"), strict=True):
            weights.fill(linear, f"{name}.cross_attention.{part}_projection", _LINEAR)
    weights.fill(layer.ffn.layer_norm, f"{name}.feed_forward_residual.norm", _NORM)
    weights.fill(layer.ffn.linear_0, f"{name}.feed_forward.inner", _LINEAR)
    weights.fill(layer.ffn.linear_1, f"{name}.feed_forward.outer", _LINEAR)


class _Weights:
    """A state dict whose weights are taken out one by one, so that none is forgotten."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.arrays: dict[str, NDArray[np.float32]] = {
            name: tensor.detach().float().numpy() for name, tensor in weights.items()
        }

    def fill(self, spec: Any, name: str, attributes: tuple[str, ...]) -> None:
        """Take the weight of a module (and its bias) for the attributes of a layer of CTranslate2's."""
        for attribute, kind in zip(attributes, _LINEAR, strict=False):
            setattr(spec, attribute, self.arrays.pop(f"{name}.{kind}"))
