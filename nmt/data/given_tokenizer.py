"""An existing tokenizer (tokenizer.path), from this toolkit or another one: any SentencePiece model.

If another toolkit's model has special symbols called <pad>, <unk>, <s> or </s>, they are replaced by the special
symbols of this toolkit.
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
from nmt.data.sentencepiece_model import CONTROL, NORMAL, UNKNOWN, Model, Piece, is_of_bytes, mark, parse, serialise
from nmt.data.tokenizer import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer, tag_name
from nmt.errors import ConfigError, require

_FOLDER = "tokenizer"  # the folder in a run directory
_Algorithm = Literal["unigram", "bpe", "word", "char", "byte"]
_ALGORITHMS: dict[int, _Algorithm] = dict(enumerate(get_args(_Algorithm)[:4], start=1))  # by SentencePiece's model_type
_NORMALIZATIONS = get_args(get_type_hints(TokenizerConfig)["normalization"])


def given_tokenizer(config: Config, begun: Path | None = None) -> tuple[Config, Tokenizer | None]:
    """Load the tokenizer that tokenizer.path names, and return it with the configuration that describes it.

    In the returned configuration the tokenizer section has the settings of that tokenizer. Without tokenizer.path,
    return the unchanged configuration and None. `begun` is the directory of a run that is resumed from a checkpoint:
    it has a copy of its tokenizer, which is used if tokenizer.path no longer exists. Raises ConfigError for a tokenizer
    that cannot be used, and for a tokenizer or tags that differ from those the run was started with.
    """
    if config.tokenizer.path is None:
        return config, None
    path = Path(config.tokenizer.path)
    shown = f"tokenizer.path={config.tokenizer.path}"
    tokenizer = _load(path, config.data.tags, shown) if begun is None else _load_again(config, path, begun, shown)
    check_sampling(config, tokenizer, shown)
    config = dataclasses.replace(config, tokenizer=_settings(config.tokenizer, tokenizer))
    config.check(loaded=True)
    return config, tokenizer


def check_sampling(config: Config, tokenizer: Tokenizer, shown: str) -> None:
    """Raise ConfigError if training.subword_sampling is set and the tokenizer's words cannot be sampled one by one.

    `shown` is the name of the tokenizer in the message.
    """
    if config.training.subword_sampling is not None and not all(map(_cuts_at_words, map(parse, tokenizer.models))):
        raise ConfigError(
            f"training.subword_sampling samples the pieces of one word at a time, but {shown} has pieces that cross "
            "from one word into the next, or no mark before the first word: remove training.subword_sampling"
        )


def describe(config: TokenizerConfig, tokenizer: Tokenizer) -> str:
    """Return a description, for the log, of a tokenizer that was loaded from tokenizer.path."""
    sizes = " and ".join(f"{size:,}" for size in dict.fromkeys((tokenizer.source_size, tokenizer.target_size)))
    languages = "both languages" if tokenizer.joint else "each language"
    return f"tokenizer.path={config.path}: {sizes} pieces for {languages}, by {config.algorithm}"


def adopt(serialised: bytes, tags: Sequence[str] = (), name: str = "the model") -> bytes:
    """Return a SentencePiece model changed to have this toolkit's special symbols and ids, and a symbol for each tag.

    Text is split into the same pieces as before. A model that already has all symbols is returned unchanged. Raises
    ConfigError for bytes that are not a SentencePiece model and for models that are not supported; `name` is the name
    of the model in the message.
    """
    try:
        adopted = _adopted(serialised, tags, name)
        Tokenizer(adopted)  # checks the pieces too, unlike `parse`
    except ValueError as error:  # also raised for pieces that are not UTF-8
        raise ConfigError(f"{name} is not a SentencePiece model as spm_train or this toolkit write it") from error
    return adopted


def _adopted(serialised: bytes, tags: Sequence[str], name: str) -> bytes:
    """Do the work of `adopt`, but raise ValueError for bytes that are not a model."""
    model = parse(serialised)
    kind = model.trainer_spec.model_type
    require(kind in _ALGORITHMS, f"{name} has a model_type that SentencePiece does not define: {kind}")
    require(
        not model.trainer_spec.treat_whitespace_as_suffix
        and (model.normalizer_spec.escape_whitespaces or is_of_bytes(model)),
        f"{name} does not mark the beginning of words with {SPACE}: models with treat_whitespace_as_suffix or without "
        "escape_whitespaces are not supported",
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
    """Load the tokenizer at `path` and add a symbol for each tag."""
    first, *second = _files(path, shown)
    return Tokenizer(_read(first, tags), *(_read(file) for file in second))


def _load_again(config: Config, path: Path, run: Path, shown: str) -> Tokenizer:
    """Load a run's copy of its tokenizer; raises ConfigError if tokenizer.path now has a different one."""
    copy = run / _FOLDER
    kept = Tokenizer.load(copy)
    new = [tag for tag in config.data.tags if tag not in kept.tags]
    require(
        not new,
        f"data.train has the tag {' and the tag '.join(new)}, which is not in {copy}, the tokenizer that the run was "
        "started with: no tag can be added later, so remove it, or choose another folder with run_dir=OTHER",
    )
    if path.exists() or read_config(run / "config.yaml").tokenizer.path != config.tokenizer.path:
        require(
            _load(path, list(kept.tags), shown).fingerprint == kept.fingerprint,
            f"{shown} is not the tokenizer that the run was started with, {copy}: "
            "put the old one back, or choose another folder with run_dir=OTHER",
        )
    return kept


def _read(file: Path, tags: Sequence[str] = ()) -> bytes:
    try:
        return adopt(file.read_bytes(), tags, str(file))
    except OSError as error:
        raise ConfigError(f"tokenizer.path: {file} could not be read: {error.strerror or error}") from error


def _pieces(model: Any, tags: Sequence[str], name: str) -> list[Any]:
    """Return the pieces of an adopted model by id: special symbols, the tags that it lacked, and its own pieces."""
    trainer = model.trainer_spec
    special = {trainer.pad_piece, trainer.bos_piece, trainer.eos_piece, *SPECIAL}
    own = []
    for piece in model.pieces:
        if piece.type == UNKNOWN or (piece.type != NORMAL and piece.piece in special):
            continue
        require(piece.piece not in SPECIAL, f"{name} has {piece.piece} as a piece of text: it cannot be used")
        own.append(piece)
    there = {piece.piece for piece in own}
    kinds = {text: UNKNOWN if id == UNK else CONTROL for id, text in enumerate(SPECIAL)}
    kinds |= {tag: CONTROL for tag in tags if tag not in there}
    return [*(Piece(piece=text, score=0, type=kind) for text, kind in kinds.items()), *own]


def _files(path: Path, shown: str) -> list[Path]:
    """Return the file of the joint model, or the files of the source and the target model."""
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
        "a folder with these files, or a run directory"
    )


def _settings(config: TokenizerConfig, tokenizer: Tokenizer) -> TokenizerConfig:
    """Return the tokenizer section with the settings of a loaded tokenizer."""
    parsed = list(map(parse, tokenizer.models))
    algorithms: set[_Algorithm] = {
        "byte" if is_of_bytes(model) else _ALGORITHMS[model.trainer_spec.model_type] for model in parsed
    }
    if len(algorithms) > 1:
        raise ConfigError(
            f"tokenizer.path={config.path} has models of different algorithms, {' and '.join(sorted(algorithms))}: "
            "both have to be of the same"
        )
    rules = [model.normalizer_spec.name for model in parsed if model.normalizer_spec.name in _NORMALIZATIONS]
    return dataclasses.replace(
        config,
        algorithm=algorithms.pop(),
        normalization=rules[-1] if rules else config.normalization,  # the target model's: it changes the output
        vocab_size=max(tokenizer.source_size, tokenizer.target_size),
        joint=tokenizer.joint,
        byte_fallback=any(model.trainer_spec.byte_fallback and not is_of_bytes(model) for model in parsed),
    )


def _cuts_at_words(model: Any) -> bool:
    """Return whether every word begins with a mark (▁) and no piece crosses from one word into the next."""
    normal = (piece.piece for piece in model.pieces if piece.type == NORMAL)
    return bool(model.normalizer_spec.add_dummy_prefix) and not any(SPACE in piece[1:] for piece in normal)
