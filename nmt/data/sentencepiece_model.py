"""The file format of SentencePiece models (sentencepiece_model.proto), as far as this toolkit reads and changes it.

SentencePiece comes with Python classes for the format, but these only work with the newest protobuf. Fields that are
not described here are kept when a model is read and written again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # kinds of pieces
UNIGRAM, CHARACTERS = 1, 4  # values of model_type
_KEEP_WHITE_SPACE = b"\x20\x00"  # remove_extra_whitespaces (4) = false; no field, so that models keep their order
_SYMBOL_SCORE = 256.0  # marks a user-defined symbol, since learned pieces have a score of at most 0

_Field = descriptor_pb2.FieldDescriptorProto
_TEXT, _NUMBER, _FLAG, _FLOAT = _Field.TYPE_STRING, _Field.TYPE_INT32, _Field.TYPE_BOOL, _Field.TYPE_FLOAT
_Fields = Mapping[str, tuple[int, Any, object]]  # by field name: number, type (or name of a message), default
_PACKAGE = "nmt.sentencepiece"
_MESSAGES: Mapping[str, _Fields] = {
    "Piece": {"piece": (1, _TEXT, None), "score": (2, _FLOAT, None), "type": (3, _NUMBER, NORMAL)},
    "Trainer": {
        "model_type": (3, _NUMBER, UNIGRAM),
        "treat_whitespace_as_suffix": (24, _FLAG, False),
        "byte_fallback": (35, _FLAG, False),
        "unk_id": (40, _NUMBER, 0),
        "bos_id": (41, _NUMBER, 1),
        "eos_id": (42, _NUMBER, 2),
        "pad_id": (43, _NUMBER, -1),
        "unk_surface": (44, _TEXT, " \u2047 "),
        "unk_piece": (45, _TEXT, "<unk>"),
        "bos_piece": (46, _TEXT, "<s>"),
        "eos_piece": (47, _TEXT, "</s>"),
        "pad_piece": (48, _TEXT, "<pad>"),
    },
    "Normalizer": {
        "name": (1, _TEXT, ""),
        "add_dummy_prefix": (3, _FLAG, True),
        "escape_whitespaces": (5, _FLAG, True),
    },
    "Model": {
        "pieces": (1, "Piece", []),
        "trainer_spec": (2, "Trainer", None),
        "normalizer_spec": (3, "Normalizer", None),
    },
}


def parse(serialised: bytes) -> Any:
    """Parse a serialised model to a message with pieces, trainer_spec and normalizer_spec; ValueError if it is none."""
    try:
        model = Model.FromString(serialised)
    except DecodeError as error:
        raise ValueError("not a SentencePiece model") from error
    if not model.pieces:
        raise ValueError("not a SentencePiece model")
    return model


def serialise(model: Any) -> bytes:
    """Serialise a parsed model to the bytes that SentencePiece loads."""
    return bytes(model.SerializeToString(deterministic=True))


# -- user-defined symbols: strings such as <date> that a model never splits ------------------------------------------


def is_symbol(score: float) -> bool:
    """Return whether a piece with this score is a user-defined symbol."""
    return score > 0


def mark(model: Any) -> None:
    """Mark the user-defined symbols of a parsed model by their scores; the model splits text as before."""
    for piece in model.pieces:
        if piece.type == USER_DEFINED:
            piece.score = _SYMBOL_SCORE


def keep_whole(serialised: bytes) -> bytes:
    """Change a newly trained model so that it never splits its user-defined symbols, and mark these by their scores.

    In a unigram model, a symbol competes with the pieces that overlap its ends, and is split if those are more likely.
    A very high score lets the symbol always win. SentencePiece ignores the scores of user-defined pieces, so the symbol
    becomes an ordinary piece. The other algorithms split text at the symbols first and need no change.
    """
    model = parse(serialised)
    mark(model)
    if model.trainer_spec.model_type == UNIGRAM:
        for piece in model.pieces:
            if piece.type == USER_DEFINED:
                piece.type = NORMAL
    return serialise(model)


# -- models of bytes -------------------------------------------------------------------------------------------------


def byte_model(special: Sequence[str], unknown: int) -> bytes:
    """Return a model whose pieces are the special symbols, of which one is the unknown one, and then the 256 bytes.

    It is a model of characters in which no character has a piece, so each is spelled as the bytes of its UTF-8 form.
    Spaces stay spaces, and text is neither normalised nor changed at its ends.
    """
    model = Model()
    for id, name in enumerate(special):
        model.pieces.append(Piece(piece=name, score=0, type=UNKNOWN if id == unknown else CONTROL))
    model.pieces.extend(Piece(piece=f"<0x{byte:02X}>", score=0, type=BYTE) for byte in range(256))
    pad, unk, bos, eos = range(4)
    model.trainer_spec.MergeFrom(
        Trainer(model_type=CHARACTERS, byte_fallback=True, pad_id=pad, unk_id=unk, bos_id=bos, eos_id=eos)
    )
    model.normalizer_spec.MergeFrom(Normalizer(name="identity", add_dummy_prefix=False, escape_whitespaces=False))
    model.normalizer_spec.MergeFromString(_KEEP_WHITE_SPACE)
    return serialise(model)


def is_of_bytes(model: Any) -> bool:
    """Return whether a parsed model is one that `byte_model` made, perhaps with other special symbols."""
    kinds = [piece.type for piece in model.pieces]
    return (
        kinds.count(BYTE) == 256
        and {*kinds} <= {BYTE, CONTROL, UNKNOWN}
        and not model.normalizer_spec.escape_whitespaces
    )


# -- the messages ----------------------------------------------------------------------------------------------------


def _classes() -> dict[str, Any]:
    """Create the message classes that _MESSAGES describes."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, default) in fields.items():
            added = message.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
            if default == []:
                added.label = _Field.LABEL_REPEATED
            elif default is not None:
                added.default_value = str(default).lower() if kind == _FLAG else str(default)
            if isinstance(kind, str):
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


Piece, Trainer, Normalizer, Model = _classes().values()
