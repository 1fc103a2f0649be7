"""Conversion of text to subword ids and back, with SentencePiece (Kudo & Richardson 2018)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import sentencepiece

from nmt.checksums import verify, write_checksums
from nmt.data.characters import as_line
from nmt.data.cleaning import normalise_whitespace
from nmt.data.reserved import SPACE, inside, outside
from nmt.data.sentencepiece_model import is_of_bytes, is_symbol, parse
from nmt.errors import Damaged, NmtError, unreadable
from nmt.files import atomic_write, make_folder

PAD, UNK, BOS, EOS = 0, 1, 2, 3

Span = tuple[int, int]  # a part of a line: the index of its first character, and the index after its last

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]  # the special symbols, by id
_TAG = re.compile(f"<tag{SPACE}(.+)>")  # cannot be a piece of text, since none has a space in its middle


def tag_name(tag: str) -> str:
    """Return the name of a tag's symbol in a SentencePiece model."""
    return f"<tag{SPACE}{tag}>"


class Tokenizer:
    """The tokenizer of a translation model: one SentencePiece model for both languages (joint) or one for each.

    The white space of source lines is normalised, as in training text. Target lines are encoded unchanged, so that
    decoding returns the same line if all its characters are in the vocabulary.
    """

    def __init__(self, source: bytes, target: bytes | None = None) -> None:
        """Load serialised models; without `target`, `source` is a joint one. Raises ValueError for a damaged model."""
        self.models = (source,) if target is None else (source, target)
        self.source = Model(source)
        self.target = self.source if target is None else Model(target)  # the same object if joint

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """Load a tokenizer from a folder that `save` wrote; raises NmtError if a file is missing or damaged."""
        folder = Path(folder)
        joint = (folder / "joint.model").is_file()
        names = ["joint.model"] if joint else ["source.model", "target.model"]
        if not all((folder / name).is_file() for name in names):
            raise NmtError(
                f"{folder} has no tokenizer: neither joint.model nor both source.model and target.model are there"
            )
        verify(folder, names)
        paths = [folder / name for name in names]
        try:
            return cls(*(path.read_bytes() for path in paths))
        except ValueError as error:
            raise Damaged(f"{' or '.join(map(str, paths))} is damaged: it is not a SentencePiece model") from error
        except OSError as error:
            raise unreadable(folder, error) from error

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write joint.model, or source.model and target.model, and their checksums; others in the folder go."""
        folder = make_folder(folder)
        joint, separate = ["joint.model"], ["source.model", "target.model"]
        names, others = (joint, separate) if self.joint else (separate, joint)
        models = dict(zip(names, self.models, strict=True))
        write_checksums(folder, models)
        for name, model in models.items():
            with atomic_write(folder / name, "wb") as file:
                file.write(model)
        for name in others:  # an earlier tokenizer's, which `load` would read
            (folder / name).unlink(missing_ok=True)

    @property
    def joint(self) -> bool:
        """True if both languages share one vocabulary."""
        return len(self.models) == 1

    @property
    def of_words(self) -> bool:
        """True if all pieces of both languages are whole words; UNK then stands for a word, or for several in a row."""
        return self.source.of_words and self.target.of_words

    @property
    def source_size(self) -> int:
        """The size of the source vocabulary."""
        return self.source.size

    @property
    def target_size(self) -> int:
        """The size of the target vocabulary."""
        return self.target.size

    @property
    def tags(self) -> dict[str, int]:
        """The ids of the tags that a source sentence can begin with. Text is never encoded to one of these ids."""
        return self.source.tags

    def tag_ids(self, tag: str | None) -> list[int]:
        """Return the ids to put before a source sentence with that tag, none for None; NmtError for an unknown tag."""
        if tag is None:
            return []
        if tag not in self.tags:
            raise NmtError(f"there is no tag {tag} in this vocabulary, which has {', '.join(self.tags) or 'none'}")
        return [self.tags[tag]]

    def tag_of(self, first: int) -> str | None:
        """Return the tag of a source sentence, given its first id; None if that is not the id of a tag."""
        return next((tag for tag, id in self.tags.items() if id == first), None)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the models: tokenizers with the same fingerprint encode every text to the same ids."""
        return blake2b(b"\0".join(self.models), digest_size=16).hexdigest()

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line after normalising its white space, ending with EOS."""
        return self.source.encode([normalise_whitespace(line) for line in lines])

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line, encoded unchanged, without BOS, ending with EOS."""
        return self.target.encode(lines)

    def locate_source(self, line: str) -> Located:
        """Return the ids of a line, as `encode_source` does, and the span of each piece in the original line."""
        normal = normalise_whitespace(line)
        located = self.source.locate(normal)
        if normal == line:
            return located
        places = _places(normal, line)
        spans = [(places[start], places[end - 1] + 1 if end > start else places[start]) for start, end in located.spans]
        return Located(located.ids, spans)

    def locate_target(self, line: str) -> Located:
        """Return the ids of a line, as `encode_target` does, and the span of each piece in the line."""
        return self.target.locate(line)

    def decode_target(self, ids: Sequence[int], unknown: Sequence[str] = ()) -> str:
        """Decode ids to one line of text; PAD, BOS and EOS are left out.

        UNK is shown as ⁇ or, if the words `unknown` are given, as the next of them; there must be enough of them, and
        the vocabulary must be of whole words. Each byte that is not part of a character in UTF-8 becomes U+FFFD.
        Foreign characters (nmt.data.characters) become spaces: byte pieces can spell them, and the vocabularies of
        older runs may contain them.
        """
        return self.target.decode(ids, unknown)

    def decode_after(self, before: Sequence[int], ids: Sequence[int], unknown: Sequence[str] = ()) -> str:
        """Return the text that `ids` add to the text of the ids `before`; it starts with a space at a new word.

        `unknown` are the words for UNK in both.
        """
        return self.decode_target([*before, *ids], unknown)[len(self.decode_target(before, unknown)) :]

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces of source ids; ▁ stands for the space before a word."""
        return self.source.pieces(ids)

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces of target ids; ▁ stands for the space before a word."""
        return self.target.pieces(ids)


class Located(NamedTuple):
    """The ids of a line, with the span of each piece.

    The spans are in the order of the line. If several pieces (bytes) spell one character, the last has its span and the
    spans of the others are empty.
    """

    ids: list[int]  # ending with EOS
    spans: list[Span]  # of all ids except EOS


class Model:
    """A SentencePiece model of one language or of both."""

    def __init__(self, serialised: bytes) -> None:
        """Load a serialised model; raises ValueError if it is not one or lacks this module's special symbols."""
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(serialised)
        except RuntimeError as error:
            raise ValueError("not a SentencePiece model") from error
        self.size: int = self._processor.get_piece_size()
        self.names: list[str] = [self._processor.id_to_piece(id) for id in range(self.size)]  # by id, each unique
        if self.names[: EOS + 1] != SPECIAL:
            raise ValueError("a SentencePiece model with other special symbols")
        self.tags = {
            match[1]: id
            for id, name in enumerate(self.names)
            if self._processor.is_control(id) and (match := _TAG.fullmatch(name))
        }
        text = [id for id in range(EOS + 1, self.size) if not self._processor.is_control(id)]
        # whole words, so an unknown piece is a word too
        self.of_words = all(self.names[id].startswith(SPACE) for id in text)
        # the bytes of UTF-8, without larger pieces
        self.of_bytes = all(self._processor.is_byte(id) for id in text) and is_of_bytes(parse(serialised))
        if self.of_words:
            self.names[UNK] = f"{SPACE}<unk>"

    @cached_property
    def scores(self) -> dict[str, float]:
        """The score of each piece that spells text, without special symbols and bytes.

        In a unigram model the score is a log-probability; BPE merges into the piece with the highest score first. The
        score of a user-defined symbol (see `symbols`) only marks it as one.
        """
        processor = self._processor
        others = (processor.is_control, processor.is_byte, processor.is_unused)
        ids = (id for id in range(EOS + 1, self.size) if not any(is_other(id) for is_other in others))
        return {processor.id_to_piece(id): processor.get_score(id) for id in ids}

    @cached_property
    def symbols(self) -> list[str]:
        """The user-defined symbols: text is first split around them, and they are never split themselves."""
        return [piece for piece, score in self.scores.items() if is_symbol(score)]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece in `scores`."""
        return {piece: self._processor.piece_to_id(piece) for piece in self.scores}

    @cached_property
    def byte_ids(self) -> list[int]:
        """The ids of the byte pieces, which spell characters that have no piece of their own."""
        return [id for id in range(self.size) if self._processor.is_byte(id)]

    def words(self, lines: Sequence[str]) -> list[list[str]]:
        """Normalise each line and split it before each ▁; no piece of a model trained here crosses such a boundary."""
        return list(map(self.words_of, self._processor.normalize(list(map(inside, lines)))))

    @staticmethod
    def words_of(normal: str) -> list[str]:
        """Split a normalised line before each ▁."""
        return re.findall(f"{SPACE}[^{SPACE}]*|^[^{SPACE}]+", normal)

    def normal(self, line: str) -> tuple[str, list[int]]:
        """Return a line after normalisation, with ▁ for spaces, and the place in `line` of each character and the end.

        A character that normalisation adds has the place of the next one of the line.
        """
        normal, places = self._processor.normalize(inside(line), with_offsets=True)
        return normal, places

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line, ending with EOS."""
        texts = list(lines) if self.of_bytes else list(map(inside, lines))
        if len(texts) == 1:  # for a list, SentencePiece starts a thread, which is slow to start on busy cores
            return [self._processor.encode(texts[0], out_type=int, add_eos=True)]
        ids: list[list[int]] = self._processor.encode(texts, out_type=int, add_eos=True, num_threads=1)
        return ids

    def locate(self, line: str) -> Located:
        """Return the ids of a line, ending with EOS, and the span of each piece in the line."""
        text = line if self.of_bytes else inside(line)
        found = self._processor.encode(text, out_type="offset_mapping")
        return Located([*found["ids"], EOS], [(int(start), int(end)) for start, end in found["offsets"]])

    def decode(self, ids: Sequence[int], unknown: Sequence[str] = ()) -> str:
        """Decode ids to one line of text, with the words `unknown` in the places of UNK, or ⁇ there if it is empty."""
        if not unknown:
            text = self._processor.decode([int(id) for id in ids])
            return as_line(text if self.of_bytes else outside(text))
        # SentencePiece copies strings that are not pieces; with a space before it, a word is none, not even "</s>"
        words = iter(unknown)
        pieces = [f" {next(words)}" if id == UNK else self.names[id] for id in ids]
        text = self._processor.decode(pieces)
        return as_line(outside(text.removeprefix(" ") if ids and ids[0] == UNK else text))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the piece of each id as text; unlike `names`, different ids may have equal text."""
        return [as_line(outside(self.names[id])) for id in ids]


def _places(normal: str, line: str) -> list[int]:
    """Return the index in `line` of each character of `normal`, the line after normalising white space."""
    places: list[int] = []
    place = 0
    for character in normal:
        while character != " " and normalise_whitespace(line[place]) == "":
            place += 1  # skip the rest of a run of white space, or white space before the text
        places.append(place)
        place += 1
    return [*places, len(line)]
