"""Text to subword ids and back, with SentencePiece (Kudo & Richardson 2018)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import sentencepiece

from nmt.data.characters import as_line
from nmt.data.cleaning import normalise_whitespace
from nmt.data.reserved import SPACE, inside, outside
from nmt.data.sentencepiece_model import is_symbol
from nmt.errors import NmtError
from nmt.files import atomic_write, make_folder

PAD, UNK, BOS, EOS = 0, 1, 2, 3

Span = tuple[int, int]  # where in a line something stands: its first character, and the one after its last

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]  # by their ids
_TAG = re.compile(f"<tag{SPACE}(.+)>")  # no piece of text has a space in the middle, whatever the text


def tag_name(tag: str) -> str:
    """Return the name of a tag's symbol in a SentencePiece model."""
    return f"<tag{SPACE}{tag}>"


class Tokenizer:
    """Source and target text as ids; one SentencePiece model for both languages (joint) or one for each.

    Source lines have their white space normalised, as training text has; target lines are encoded as they are, so
    that decoding gives back every line whose characters the vocabulary knows.
    """

    def __init__(self, source: bytes, target: bytes | None = None) -> None:
        """From serialised models; without `target`, `source` is the joint one. Raises ValueError for damaged ones."""
        self.models = (source,) if target is None else (source, target)
        self.source = Model(source)
        self.target = self.source if target is None else Model(target)  # the same object where they are joint

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """Read what `save` wrote; a missing or damaged file is one sentence (NmtError)."""
        folder = Path(folder)
        joint = (folder / "joint.model").is_file()
        paths = [folder / f"{name}.model" for name in (["joint"] if joint else ["source", "target"])]
        for path in paths:
            if not path.is_file():
                raise NmtError(
                    f"{folder} has no tokenizer: neither joint.model nor both source.model and target.model are there"
                )
        try:
            return cls(*(path.read_bytes() for path in paths))
        except ValueError as error:
            raise NmtError(f"{' or '.join(map(str, paths))} is damaged: it is no SentencePiece model") from error

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write joint.model, or source.model and target.model, into a folder."""
        names = ["joint"] if self.joint else ["source", "target"]
        for name, model in zip(names, self.models, strict=True):
            with atomic_write(make_folder(folder) / f"{name}.model", "wb") as file:
                file.write(model)

    @property
    def joint(self) -> bool:
        """Whether both languages share one vocabulary."""
        return len(self.models) == 1

    @property
    def source_size(self) -> int:
        """The number of source ids."""
        return self.source.size

    @property
    def target_size(self) -> int:
        """The number of target ids."""
        return self.target.size

    @property
    def tags(self) -> dict[str, int]:
        """The id of each tag that a source can begin with. Encoding text never gives such an id."""
        return self.source.tags

    def tag_ids(self, tag: str | None) -> list[int]:
        """What stands before the ids of a source with that tag: nothing for None. NmtError for an unknown one."""
        if tag is None:
            return []
        if tag not in self.tags:
            raise NmtError(f"there is no tag {tag} in this vocabulary, which has {', '.join(self.tags) or 'none'}")
        return [self.tags[tag]]

    def tag_of(self, first: int) -> str | None:
        """The tag of a source whose first id is given."""
        return next((tag for tag, id in self.tags.items() if id == first), None)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the models: equal where every text has equal ids."""
        return blake2b(b"\0".join(self.models), digest_size=16).hexdigest()

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, white space normalised, ending with EOS."""
        return self.source.encode([normalise_whitespace(line) for line in lines])

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line as it is, without BOS, ending with EOS."""
        return self.target.encode(lines)

    def locate_source(self, line: str) -> Located:
        """Ids of a line as `encode_source` gives them, and where in the line, as it is, each piece stands."""
        normal = normalise_whitespace(line)
        located = self.source.locate(normal)
        if normal == line:
            return located
        places = _places(normal, line)
        spans = [(places[start], places[end - 1] + 1 if end > start else places[start]) for start, end in located.spans]
        return Located(located.ids, spans)

    def locate_target(self, line: str) -> Located:
        """Ids of a line as `encode_target` gives them, and where in the line each piece stands."""
        return self.target.locate(line)

    def decode_target(self, ids: Sequence[int]) -> str:
        """The text of ids, which is one line of text; PAD, BOS and EOS have none, UNK is shown as ⁇.

        Characters that no line of text has (nmt.data.characters), which bytes may spell and vocabularies of older runs
        may hold, are spaces in it.
        """
        return self.target.decode(ids)

    def decode_after(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The text that `ids` add to that of the ids before them: after some, it begins with a space at a new word."""
        return self.decode_target([*before, *ids])[len(self.decode_target(before)) :]

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of source ids; ▁ stands for the space before a word."""
        return self.source.pieces(ids)

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of target ids; ▁ stands for the space before a word."""
        return self.target.pieces(ids)


class Located(NamedTuple):
    """A line as ids, and where in it each of its pieces stands.

    The spans begin in the order of the line. One is empty where several pieces spell one character: the last has it.
    """

    ids: list[int]  # ending with EOS
    spans: list[Span]  # of every id but EOS


class Model:
    """One SentencePiece model, of one language or both."""

    def __init__(self, serialised: bytes) -> None:
        """Raises ValueError for bytes that are none, or none with this module's special symbols."""
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(serialised)
        except RuntimeError as error:
            raise ValueError("no SentencePiece model") from error
        self.size: int = self._processor.get_piece_size()
        self.names: list[str] = [self._processor.id_to_piece(id) for id in range(self.size)]  # of ids, all different
        if self.names[: EOS + 1] != SPECIAL:
            raise ValueError("a SentencePiece model with other special symbols")
        self.tags = {
            match[1]: id
            for id, name in enumerate(self.names)
            if self._processor.is_control(id) and (match := _TAG.fullmatch(name))
        }
        text = (name for id, name in enumerate(self.names) if id > EOS and not self._processor.is_control(id))
        if all(name.startswith(SPACE) for name in text):  # words are never split, unknown ones too
            self.names[UNK] = f"{SPACE}<unk>"

    @cached_property
    def scores(self) -> dict[str, float]:
        """The pieces that spell text, without special symbols and bytes, each with its score.

        Of a unigram model that is its log-probability; BPE merges into the piece of the highest score first. The score
        of a symbol (see `symbols`) only marks it as one.
        """
        processor = self._processor
        others = (processor.is_control, processor.is_byte, processor.is_unused)
        ids = (id for id in range(EOS + 1, self.size) if not any(is_other(id) for is_other in others))
        return {processor.id_to_piece(id): processor.get_score(id) for id in ids}

    @cached_property
    def symbols(self) -> list[str]:
        """The pieces that text is cut at before anything else, and that are never cut themselves."""
        return [piece for piece, score in self.scores.items() if is_symbol(score)]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece that `scores` has."""
        return {piece: self._processor.piece_to_id(piece) for piece in self.scores}

    @cached_property
    def byte_ids(self) -> list[int]:
        """The ids that spell the bytes of characters without a piece of their own."""
        return [id for id in range(self.size) if self._processor.is_byte(id)]

    def words(self, lines: Sequence[str]) -> list[list[str]]:
        """What the pieces of each line spell, cut before each ▁: no piece learned here lies across such a cut."""
        spelled = self._processor.normalize(list(map(inside, lines)))
        return [re.findall(f"{SPACE}[^{SPACE}]*|^[^{SPACE}]+", line) for line in spelled]

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, ending with EOS."""
        texts = list(map(inside, lines))
        if len(texts) == 1:  # SentencePiece starts a thread for a list, which waits where the cores are busy
            return [self._processor.encode(texts[0], out_type=int, add_eos=True)]
        ids: list[list[int]] = self._processor.encode(texts, out_type=int, add_eos=True, num_threads=1)
        return ids

    def locate(self, line: str) -> Located:
        """Ids of a line, ending with EOS, and where in it each piece stands."""
        found = self._processor.encode(inside(line), out_type="offset_mapping")
        return Located([*found["ids"], EOS], [(int(start), int(end)) for start, end in found["offsets"]])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, as one line."""
        return as_line(outside(self._processor.decode([int(id) for id in ids])))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id, as text; those of different ids may look the same, unlike `names`."""
        return [as_line(outside(self.names[id])) for id in ids]


def _places(normal: str, line: str) -> list[int]:
    """Where each character of a line with its white space normalised stands in the line as it was."""
    places: list[int] = []
    place = 0
    for character in normal:
        while character != " " and normalise_whitespace(line[place]) == "":
            place += 1  # what one space stands for, and what stood before the text
        places.append(place)
        place += 1
    return [*places, len(line)]
