"""A tokenizer that exists already (tokenizer.path), of this toolkit or of another: any SentencePiece model.

A piece of another model's that is called <pad>, <unk>, <s> or </s>, and that is no piece of ordinary text, is left out:
the special symbols of this toolkit stand in its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from nmt.config.data import TokenizerConfig
from nmt.config.load import read_config
from nmt.config.schema import Config
from nmt.data.reserved import SPACE
from nmt.data.sentencepiece_model import CONTROL, NORMAL, UNKNOWN, Model, Piece, mark, parse, serialise
from nmt.data.tokenizer import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer, tag_name
from nmt.errors import ConfigError, require

_FOLDER = "tokenizer"  # of a run
_Algorithm = Literal["unigram", "bpe", "word", "char"]
_ALGORITHMS: dict[int, _Algorithm] = dict(enumerate(get_args(_Algorithm), start=1))  # as SentencePiece counts them
_NORMALIZATIONS = get_args(get_type_hints(TokenizerConfig)["normalization"])


def given_tokenizer(config: Config, begun: Path | None = None) -> tuple[Config, Tokenizer | None]:
    """Return the tokenizer that tokenizer.path names, and the configuration with what it is in its tokenizer section.

    Without tokenizer.path the configuration stays as it is, with None. `begun` is the run that is to go on, where it
    has a checkpoint: it keeps a copy of its tokenizer, which is taken where its tokenizer.path is no longer there.
    Raises ConfigError for what cannot be taken, and for another tokenizer or other tags than the run was begun with.
    """
    if config.tokenizer.path is None:
        return config, None
    path = Path(config.tokenizer.path)
    shown = f"tokenizer.path={config.tokenizer.path}"
    tokenizer = _load(path, config.data.tags, shown) if begun is None else _load_again(config, path, begun, shown)
    check_sampling(config, tokenizer, shown)
    config = dataclasses.replace(config, tokenizer=_settings(config.tokenizer, tokenizer))
    config.check()
    return config, tokenizer


def check_sampling(config: Config, tokenizer: Tokenizer, shown: str) -> None:
    """Refuse training.subword_sampling with a tokenizer, called `shown`, whose words cannot be drawn one by one."""
    if config.training.subword_sampling is not None and not all(map(_cuts_at_words, map(parse, tokenizer.models))):
        raise ConfigError(
            f"training.subword_sampling draws the pieces of one word at a time, and {shown} has pieces that lie across "
            "words, or no mark before the first word: leave training.subword_sampling out"
        )


def describe(config: TokenizerConfig, tokenizer: Tokenizer) -> str:
    """Return what a tokenizer is that was taken from tokenizer.path, for the log."""
    sizes = " and ".join(f"{size:,}" for size in dict.fromkeys((tokenizer.source_size, tokenizer.target_size)))
    languages = "both languages" if tokenizer.joint else "each language"
    return f"tokenizer.path={config.path}: {sizes} pieces for {languages}, by {config.algorithm}"


def adopt(serialised: bytes, tags: Sequence[str] = (), name: str = "the model") -> bytes:
    """Return a SentencePiece model with the special symbols and ids that this toolkit has, and a symbol for each tag.

    Text is cut into the same pieces as before. A model that has all of it is returned as it is. Raises ConfigError,
    which calls the model `name`, for bytes that are none and for what is not supported.
    """
    try:
        adopted = _adopted(serialised, tags, name)
        Tokenizer(adopted)  # which looks into the pieces, as `parse` does not
    except ValueError as error:  # also for pieces that are not UTF-8
        raise ConfigError(f"{name} is no SentencePiece model, such as spm_train and this toolkit write") from error
    return adopted


def _adopted(serialised: bytes, tags: Sequence[str], name: str) -> bytes:
    """Return what `adopt` returns; raise ValueError for bytes that are no model."""
    model = parse(serialised)
    kind = model.trainer_spec.model_type
    require(kind in _ALGORITHMS, f"{name} is of a kind that SentencePiece does not have (model_type {kind})")
    require(
        not model.trainer_spec.treat_whitespace_as_suffix and model.normalizer_spec.escape_whitespaces,
        f"{name} does not mark the beginning of words by {SPACE} (treat_whitespace_as_suffix, or no "
        "escape_whitespaces): such models are not supported",
    )
    adopted = Model.FromString(serialised)
    del adopted.pieces[:]
    adopted.pieces.extend(_pieces(model, [tag_name(tag) for tag in tags], name))
    mark(adopted)
    settings = {"pad_id": PAD, "unk_id": UNK, "bos_id": BOS, "eos_id": EOS, "unk_surface": " ⁇ "}
    settings |= {f"{role}_piece": text for role, text in zip(("pad", "unk", "bos", "eos"), SPECIAL, strict=True)}
    for key, value in settings.items():
        if getattr(adopted.trainer_spec, key) != value:
            setattr(adopted.trainer_spec, key, value)
    return serialised if serialise(adopted) == serialise(model) else serialise(adopted)


def _load(path: Path, tags: Sequence[str], shown: str) -> Tokenizer:
    """The tokenizer at `path`, with a symbol for each tag."""
    first, *second = _files(path, shown)
    return Tokenizer(_read(first, tags), *(_read(file) for file in second))


def _load_again(config: Config, path: Path, run: Path, shown: str) -> Tokenizer:
    """The tokenizer of a run that was begun with tokenizer.path, unless another one is there by now."""
    copy = run / _FOLDER
    kept = Tokenizer.load(copy)
    new = [tag for tag in config.data.tags if tag not in kept.tags]
    require(
        not new,
        f"data.train has the tag {' and the tag '.join(new)}, which {copy} does not have, with which the run was begun "
        "and which cannot grow: leave it out, or choose another folder with run_dir=OTHER",
    )
    if path.exists() or read_config(run / "config.yaml").tokenizer.path != config.tokenizer.path:
        require(
            _load(path, list(kept.tags), shown).fingerprint == kept.fingerprint,
            f"{shown} is another tokenizer than {copy}, with which the run was begun: "
            "put the old one back, or choose another folder with run_dir=OTHER",
        )
    return kept


def _read(file: Path, tags: Sequence[str] = ()) -> bytes:
    try:
        return adopt(file.read_bytes(), tags, str(file))
    except OSError as error:
        raise ConfigError(f"tokenizer.path: {file} could not be read: {error.strerror or error}") from error


def _pieces(model: Any, tags: Sequence[str], name: str) -> list[Any]:
    """The pieces of an adopted model by their ids: special symbols, tags that it did not have, and its own."""
    trainer = model.trainer_spec
    special = {trainer.pad_piece, trainer.bos_piece, trainer.eos_piece, *SPECIAL}
    own = []
    for piece in model.pieces:
        if piece.type == UNKNOWN or (piece.type != NORMAL and piece.piece in special):
            continue
        require(piece.piece not in SPECIAL, f"{name} has {piece.piece} as a piece of text: it cannot be taken")
        own.append(piece)
    there = {piece.piece for piece in own}
    kinds = {text: UNKNOWN if id == UNK else CONTROL for id, text in enumerate(SPECIAL)}
    kinds |= {tag: CONTROL for tag in tags if tag not in there}
    return [*(Piece(piece=text, score=0, type=kind) for text, kind in kinds.items()), *own]


def _files(path: Path, shown: str) -> list[Path]:
    """The model of both languages, or that of the source and that of the target language."""
    if path.is_file():
        return [path]
    require(path.is_dir(), f"{shown}: there is no such file or folder")
    for folder in (path, path / _FOLDER):
        for names in (("joint",), ("source", "target")):
            files = [folder / f"{name}.model" for name in names]
            if all(file.is_file() for file in files):
                return files
    raise ConfigError(
        f"{shown} is a folder without joint.model and without source.model and target.model: name a .model file, "
        "such a folder, or a run directory"
    )


def _settings(config: TokenizerConfig, tokenizer: Tokenizer) -> TokenizerConfig:
    """The tokenizer section as it describes this tokenizer."""
    parsed = list(map(parse, tokenizer.models))
    algorithms = {_ALGORITHMS[model.trainer_spec.model_type] for model in parsed}
    if len(algorithms) > 1:
        raise ConfigError(f"tokenizer.path={config.path} has a model of {' and one of '.join(sorted(algorithms))}")
    rules = [model.normalizer_spec.name for model in parsed if model.normalizer_spec.name in _NORMALIZATIONS]
    return dataclasses.replace(
        config,
        algorithm=algorithms.pop(),
        normalization=rules[-1] if rules else config.normalization,  # of targets, which it alters
        vocab_size=max(tokenizer.source_size, tokenizer.target_size),
        joint=tokenizer.joint,
        byte_fallback=any(model.trainer_spec.byte_fallback for model in parsed),
    )


def _cuts_at_words(model: Any) -> bool:
    """Tell whether every word begins with a mark (▁) and no piece crosses from one word into the next."""
    normal = (piece.piece for piece in model.pieces if piece.type == NORMAL)
    return bool(model.normalizer_spec.add_dummy_prefix) and not any(SPACE in piece[1:] for piece in normal)
