"""Text to subword ids and back, with SentencePiece (Kudo & Richardson 2018)."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Sequence, Set
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import sentencepiece

from nmt.config.data import TokenizerConfig
from nmt.data.cleaning import normalise_whitespace
from nmt.errors import ConfigError, NmtError
from nmt.files import atomic_write, make_folder

PAD, UNK, BOS, EOS = 0, 1, 2, 3

_THREADS = 8  # of training, on every machine: the sums of unigram training depend on how lines are dealt out
_LONGEST_LINE = 1 << 20  # bytes; SentencePiece would skip longer ones (by default, those over 4192) without a word
_SPACE = "▁"  # how SentencePiece writes the space before a word
_TAG = re.compile(f"<tag{_SPACE}(.+)>")  # no piece of text has a space in the middle, whatever the text


class Tokenizer:
    """Source and target text as ids; one SentencePiece model for both languages (joint) or one for each.

    Source lines have their white space normalised, as training text has; target lines are encoded as they are, so
    that decoding gives back every line whose characters the vocabulary knows.
    """

    def __init__(self, source: bytes, target: bytes | None = None) -> None:
        """From serialised models; without `target`, `source` is the joint one. Raises ValueError for damaged ones."""
        self._models = (source,) if target is None else (source, target)
        self.source = Model(source)
        self.target = self.source if target is None else Model(target)  # the same object where they are joint

    @classmethod
    def train(
        cls,
        config: TokenizerConfig,
        source: Iterable[str],
        target: Iterable[str],
        characters: tuple[Set[str], Set[str]] = (frozenset(), frozenset()),
        tags: Sequence[str] = (),
    ) -> Tokenizer:
        """Train on lines of normalised text; the same lines give the same tokenizer.

        `characters` of source and target are known to it even if they are in none of these lines. Each of `tags` is a
        source symbol. Raises ConfigError where the text does not support tokenizer.vocab_size.
        """
        if config.joint:
            return cls(_train(config, chain(source, target), characters[0] | characters[1], "", tags))
        return cls(
            _train(config, source, characters[0], " of the source language", tags),
            _train(config, target, characters[1], " of the target language"),
        )

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
        for name, model in zip(names, self._models, strict=True):
            with atomic_write(make_folder(folder) / f"{name}.model", "wb") as file:
                file.write(model)

    @property
    def joint(self) -> bool:
        """Whether both languages share one vocabulary."""
        return len(self._models) == 1

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
        return blake2b(b"\0".join(self._models), digest_size=16).hexdigest()

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, white space normalised, ending with EOS."""
        return self.source.encode([normalise_whitespace(line) for line in lines])

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line as it is, without BOS, ending with EOS."""
        return self.target.encode(lines)

    def decode_target(self, ids: Sequence[int]) -> str:
        """The text of ids; PAD, BOS and EOS have none, UNK is shown as ⁇."""
        return self.target.decode(ids)

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of source ids; ▁ stands for the space before a word."""
        return self.source.pieces(ids)

    def target_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of target ids; ▁ stands for the space before a word."""
        return self.target.pieces(ids)


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
        self._names: list[str] = [self._processor.id_to_piece(id) for id in range(self.size)]
        if self._names[: EOS + 1] != ["<pad>", "<unk>", "<s>", "</s>"]:
            raise ValueError("a SentencePiece model with other special symbols")
        self.tags = {
            match[1]: id
            for id, name in enumerate(self._names)
            if self._processor.is_control(id) and (match := _TAG.fullmatch(name))
        }
        first = EOS + 1 + len(self.tags)
        if all(name.startswith(_SPACE) for name in self._names[first:]):  # words are never split, unknown ones too
            self._names[UNK] = f"{_SPACE}<unk>"

    @cached_property
    def scores(self) -> dict[str, float]:
        """The pieces that spell text, without special symbols and bytes, each with its score.

        Of a unigram model that is its log-probability; BPE merges into the piece of the highest score first.
        """
        processor = self._processor
        first = EOS + 1 + len(self.tags)
        ids = (id for id in range(first, self.size) if not (processor.is_byte(id) or processor.is_unused(id)))
        return {processor.id_to_piece(id): processor.get_score(id) for id in ids}

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece that `scores` has."""
        return {piece: self._processor.piece_to_id(piece) for piece in self.scores}

    @cached_property
    def byte_ids(self) -> list[int]:
        """The ids that spell the bytes of characters without a piece of their own."""
        return [id for id in range(self.size) if self._processor.is_byte(id)]

    def words(self, lines: Sequence[str]) -> list[list[str]]:
        """What the pieces of each line spell, cut before each ▁: no piece lies across such a cut."""
        return [re.findall(f"{_SPACE}[^{_SPACE}]*", line) for line in self._processor.normalize(list(lines))]

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, ending with EOS."""
        if len(lines) == 1:  # SentencePiece starts a thread for a list, which waits where the cores are busy
            return [self._processor.encode(lines[0], out_type=int, add_eos=True)]
        ids: list[list[int]] = self._processor.encode(list(lines), out_type=int, add_eos=True, num_threads=1)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        text: str = self._processor.decode([int(id) for id in ids])
        return text

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id."""
        return [self._names[id] for id in ids]


def _train(
    config: TokenizerConfig, lines: Iterable[str], characters: Set[str], of_language: str, tags: Sequence[str] = ()
) -> bytes:
    """A serialised model trained on all of `lines`.

    A tag is a control symbol of SentencePiece, which no text is encoded to, not even the symbol's own name; its name
    cannot be that of a piece learned from text either.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=config.algorithm,
            vocab_size=config.vocab_size,
            byte_fallback=config.byte_fallback,
            character_coverage=config.character_coverage,
            required_chars="".join(sorted(characters - {" ", _SPACE})),
            normalization_rule_name=config.normalization,
            remove_extra_whitespaces=False,  # the text has none; a target line that has some survives
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            control_symbols=[f"<tag{_SPACE}{tag}>" for tag in tags],  # the ids after EOS
            input_sentence_size=0,
            shuffle_input_sentence=False,
            max_sentence_length=_LONGEST_LINE,
            num_threads=_THREADS,
            minloglevel=5,  # silent
        )
    except RuntimeError as error:
        raise _refusal(config, str(error), of_language) from error
    return model.getvalue()


def _refusal(config: TokenizerConfig, message: str, of_language: str) -> NmtError:
    """SentencePiece's reason as a sentence about the configuration."""
    size = f"tokenizer.vocab_size={config.vocab_size}"
    if most := re.search(r"too high .*value <= (\d+)", message):
        return ConfigError(
            f"{size} is more than the training text{of_language} supports: at most {most[1]} is possible"
        )
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return ConfigError(
            f"{size} has no room for the characters of the training text{of_language}: it takes at least "
            f"{least[1]}, or a lower tokenizer.character_coverage (with tokenizer.byte_fallback=true for the others)"
        )
    return NmtError(f"the tokenizer{of_language} could not be trained: {message}")
