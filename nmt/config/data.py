"""The configuration keys under `data` and `tokenizer`, as typed dataclasses that check their own values.

The comments of the fields are the reference that users read in docs/configuration.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nmt.config.byte_vocabulary import check_bytes
from nmt.config.languages import IDENTIFIED, known_as
from nmt.config.names import check_name
from nmt.config.ranges import Auto, Count, Processes, Range, Share, Weight
from nmt.errors import require
from nmt.files import from_home

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")  # valid names of tags
_RESERVED = re.compile("<pad>|<unk>|</?s>|<0x[0-9A-F]{2}>")  # reserved by SentencePiece: special symbols, bytes


@dataclass(kw_only=True)
class CorpusConfig:
    """The files or the data set of one parallel corpus: set exactly one of prefix, source and target, tsv, or hub.

    Files hold one sentence per line. The keys config, split, field and streaming are for a data set (hub).
    """

    prefix: str | None = None  # read the files PREFIX.LANGUAGE, one for each language; also .gz and .xz
    source: str | None = None  # a file with one source sentence per line; needs target
    target: str | None = None  # a file with their translations: line N translates line N of source
    tsv: str | None = None  # one file with tab-separated columns, one for each language
    columns: list[str] | None = None  # languages of the tsv's columns; null: as in its first line, else source, target
    hub: str | None = None  # a data set of the `datasets` library: its name on the Hugging Face hub, or a local folder
    config: str | None = None  # the configuration of that data set, such as de-en; null: its default
    split: str | None = None  # its split, or a part: train[:10%]; null: the usual one (train, validation, test)
    field: str = "translation"  # the column that holds both languages; if there is none, each language is a column
    streaming: bool = False  # read the data set over the network while preparing it, without storing a copy of it
    source_language: str | None = None  # language of the source text; null: data.source_language
    target_language: str | None = None  # language of the target text; null: data.target_language
    tag: str | None = None  # the kind of these pairs, told to the model by a symbol before the source: docs/prepare.md
    more_references: list[str] | None = None  # test sets only: files with further translations of each line
    alignments: str | None = None  # training corpora in files only: a file of word alignments (docs/align.md)
    name: str | None = None  # training corpora only: its name in the log; null: the name of its file or data set
    weight: Weight = 1.0  # training corpora only: times that a pair is read per epoch; 0.5: a different half each epoch

    def __post_init__(self) -> None:
        """Replace `~` at the beginning of paths by the home folder, and set the split of a corpus in files to train.

        Files have no splits, but the config.yaml of earlier runs says train for them, and has to stay equal.
        """
        if self.hub is None:
            self.split = self.split or "train"
        for kind in ("prefix", "source", "target", "tsv", "hub", "alignments"):
            if (path := getattr(self, kind)) is not None:
                setattr(self, kind, from_home(path))
        self.more_references = self.more_references and list(map(from_home, self.more_references))

    def check(self, key: str, trained: bool = False) -> None:
        """Raise ConfigError unless the corpus has exactly one source and only keys that apply to it.

        `key` is the full name of the corpus. `trained` says that it is in data.train: only then may it have a weight, a
        name and word alignments.
        """
        kinds = [self.prefix, self.source, self.tsv, self.hub]
        require(
            sum(kind is not None for kind in kinds) == 1,
            f"{key}: give exactly one of prefix, source (with target), tsv or hub",
        )
        require((self.source is None) == (self.target is None), f"{key}: source and target go together")
        for side, language in (("source", self.source_language), ("target", self.target_language)):
            if language is not None:
                check_name(f"{key}.{side}_language", language)
        require(self.columns is None or self.tsv is not None, f"{key}.columns belongs to a tsv")
        require(not self.streaming or self.hub is not None, f"{key}.streaming belongs to a data set (hub)")
        for name, usual in (("split", "train"), ("config", None), ("field", "translation")):
            require(
                self.hub is not None or getattr(self, name) == usual,
                f"{key}.{name} belongs to a data set (hub): files are read whole, as they are",
            )
        require(
            self.tag is None or TAG.fullmatch(self.tag) is not None,
            f"{key}.tag={self.tag}: a tag has up to 32 letters (a to z) and digits, with - _ . between or after them",
        )
        require(
            trained or (self.weight == 1 and self.name is None),
            f"{key}: only corpora of data.train can have a weight or a name",
        )
        require(
            self.alignments is None or trained,
            f"{key}.alignments: only corpora of data.train can have word alignments",
        )
        require(
            self.alignments is None or self.hub is None,
            f"{key}.alignments has a line of links for each line of a file, and the rows of a data set (hub) are not "
            "lines of a file: write the data set to files, and read them with source and target",
        )
        require(
            not self.more_references or key.startswith("data.test."),
            f"{key}: only test sets (data.test) can have more_references",
        )


@dataclass(kw_only=True)
class CleaningConfig:
    """The rules that drop training pairs; nmt-prepare reports how many pairs each rule drops.

    For max_ratio, a length is counted in letters: a Chinese character counts as four, since it stands for about four
    letters of an alphabet (docs/prepare.md). Validation and test text is never dropped.
    """

    max_words: Count = 250  # most words on either side; words are separated by spaces
    max_tokens: Annotated[int, Range(2, 1_000_000)] = 256  # most tokens on either side, end of sentence included
    max_ratio: Annotated[float, Range(1)] | None = 4.0  # largest ratio of the two sides' lengths; null: no limit
    deduplicate: bool = True  # keep only the first of identical pairs
    near_duplicates: bool = False  # keep only the first of pairs with the same letters, ignoring case and punctuation
    control_characters: bool = True  # drop pairs with control characters; false: replace the characters by spaces
    min_letter_ratio: Share | None = None  # least share of letters on either side, spaces not counted; null: off
    copies: bool = False  # drop pairs whose two sides have the same letters, ignoring case and punctuation
    max_repeats: Annotated[int, Range(1, 1000)] | None = None  # times a phrase may occur in a row; null: no limit
    wrong_language: Annotated[float, Range(0.5, 1)] | None = None  # drop if another language is this likely; null: off


@dataclass(kw_only=True)
class DataConfig:
    """The text to train, validate and test on, and the languages.

    Normally an epoch reads each training pair once. Corpora can have weights instead, or there can be a temperature T:
    an epoch then has pairs of each corpus in proportion to pairs^(1/T), so T > 1 raises the share of small corpora.
    """

    source_language: str  # code of the language to translate from, such as de
    target_language: str  # code of the language to translate into, such as en
    path: str | None = None  # folder of {train,val,test}.LANGUAGE, instead of train, val and test; embedded: nmt's own
    train: list[CorpusConfig] = field(default_factory=list)  # the training corpora
    val: CorpusConfig | list[CorpusConfig] | None = None  # the validation set; a list of corpora is joined into one
    test: dict[str, CorpusConfig | list[CorpusConfig]] = field(default_factory=dict)  # the test sets by name
    temperature: Annotated[float, Range(0.1, 1000)] | None = None  # T of the formula above; null: each corpus's weight
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)  # which training pairs are dropped
    cache: str = "data/prepared"  # folder for prepared data, with a subfolder for each combination of text and settings
    workers: Processes | None = None  # processes that prepare data; null: one for each available core, at most 16

    def __post_init__(self) -> None:
        """Replace `~` in paths by the home folder, and let corpora in data.train read the split train by default."""
        self.path = self.path and from_home(self.path)
        self.cache = from_home(self.cache)
        for corpus in self.train:
            corpus.split = corpus.split or "train"

    def check(self) -> None:
        """Raise ConfigError for equal languages, a name that cannot be a file's, or a missing or ambiguous corpus."""
        require(self.cache.strip() != "", "data.cache is empty: name a folder for prepared data")
        for name in self.test:
            check_name("data.test", name)
        check_name("data.source_language", self.source_language)
        check_name("data.target_language", self.target_language)
        require(
            self.source_language != self.target_language,
            f"data.source_language and data.target_language are both {self.source_language!r}",
        )
        self._check_languages("data", self.source_language, self.target_language)
        if self.path is not None:
            require(
                self.temperature is None,
                "data.temperature only applies to the corpora in data.train, which data.path replaces: leave "
                "data.path out",
            )
            return
        require(bool(self.train), "data.train names no corpus: set data.path=FOLDER or data.train")
        require(self.val is not None, "data.val is missing: set data.path=FOLDER or data.val")
        for index, corpus in enumerate(self.train):
            corpus.check(f"data.train[{index}]", trained=True)
            self._check_languages(f"data.train[{index}]", corpus.source_language, corpus.target_language)
        require(
            self.temperature is None or all(corpus.weight == 1 for corpus in self.train),
            "data.temperature sets the weights of all corpora: leave out weight or data.temperature",
        )
        for key, corpora in self.held_out().items():
            require(bool(corpora), f"{key} names no corpus")
            for corpus in corpora:
                corpus.check(key)
            require(
                len({len(corpus.more_references or ()) for corpus in corpora}) == 1,
                f"{key}: all of its corpora must have the same number of more_references",
            )

    def _check_languages(self, key: str, source: str | None, target: str | None) -> None:
        """Raise ConfigError if data.cleaning.wrong_language is set and cannot identify one of the languages."""
        for side, language in (("source", source), ("target", target)):
            require(
                self.cleaning.wrong_language is None or language is None or known_as(language) is not None,
                f"data.cleaning.wrong_language cannot identify {key}.{side}_language={language}; "
                f"the languages it knows are {', '.join(sorted(IDENTIFIED))}",
            )

    def held_out(self) -> dict[str, list[CorpusConfig]]:
        """Return the corpora of the validation set and of each test set, by key: data.val, data.test.NAME."""
        sets = {f"data.test.{name}": corpora for name, corpora in self.test.items()}
        if self.val is not None:
            sets["data.val"] = self.val
        return {key: corpora if isinstance(corpora, list) else [corpora] for key, corpora in sets.items()}

    @property
    def tags(self) -> list[str]:
        """The distinct tags of the training corpora."""
        corpora = [] if self.path is not None else self.train
        return list(dict.fromkeys(corpus.tag for corpus in corpora if corpus.tag is not None))

    @property
    def always_tagged(self) -> bool:
        """True if every training corpus has a tag."""
        return self.path is None and all(corpus.tag is not None for corpus in self.train)

    def target_language_of(self, tag: str | None) -> str:
        """Return the target language of the training corpora that have this tag."""
        return self.languages_of(tag)[1]

    def languages_of(self, tag: str | None) -> tuple[str, str]:
        """Return the source and the target language of the training corpora that have this tag."""
        tagged = [corpus for corpus in self.train if tag is not None and corpus.tag == tag]
        source = next(filter(None, (corpus.source_language for corpus in tagged)), self.source_language)
        return source, next(filter(None, (corpus.target_language for corpus in tagged)), self.target_language)

    def check_tags(self) -> None:
        """Raise ConfigError if a validation or test corpus has a tag that no training corpus has.

        A missing tag is an error, too, when all training corpora have one.
        """
        if self.path is not None:
            return
        there = ", ".join(self.tags) or "none"
        for key, corpora in self.held_out().items():
            for corpus in corpora:
                require(
                    corpus.tag is None or corpus.tag in self.tags,
                    f"{key}.tag={corpus.tag} is no tag of data.train, which has {there}",
                )
                require(
                    corpus.tag is not None or not self.always_tagged,
                    f"{key}.tag is missing: all of data.train has a tag ({there})",
                )


@dataclass(kw_only=True)
class TokenizerConfig:
    """The SentencePiece tokenizer: trained on the training text, or an existing one if path is set.

    With path, all other keys are read from that tokenizer, and symbols cannot be set.
    """

    path: str | None = None  # an existing tokenizer: a .model file, a folder or a run; null: train one
    symbols: list[str] = field(default_factory=list)  # strings that are never split, such as `["<date>", "<b>"]`
    algorithm: Literal["unigram", "bpe", "char", "word", "byte"] = "unigram"  # subwords (the first two), or as named
    vocab_size: Annotated[int, Range(8, 10_000_000)] | Auto = "auto"  # in pieces; auto: by the amount of text
    joint: bool = True  # true: one vocabulary for both languages; false: one for each language
    byte_fallback: bool = False  # write a character that is not in the vocabulary as bytes instead of `<unk>`
    character_coverage: Annotated[float, Range(0.98, 1)] = 1.0  # share of the text's characters in the vocabulary
    normalization: Literal["identity", "nfkc", "nmt_nfkc"] = "identity"  # identity: none; the others also alter targets

    def __post_init__(self) -> None:
        """Replace `~` at the beginning of the path by the home folder."""
        self.path = self.path and from_home(self.path)

    def check(self) -> None:
        """Raise ConfigError for a combination of keys that SentencePiece cannot train."""
        self._check_symbols()
        if self.algorithm == "byte":
            check_bytes(self)
        if self.path is not None:  # the other keys are read from that tokenizer
            return
        require(
            not self.byte_fallback or self.vocab_size == "auto" or self.vocab_size >= 300,
            "tokenizer.vocab_size must be at least 300 with tokenizer.byte_fallback",
        )
        require(
            not (self.byte_fallback and self.algorithm == "word"),
            "tokenizer.byte_fallback cannot be combined with tokenizer.algorithm=word: spaces would come back as bytes",
        )

    def _check_symbols(self) -> None:
        require(
            self.path is None or not self.symbols,
            "tokenizer.symbols only applies to a tokenizer that is trained, and tokenizer.path names an existing one: "
            "leave one of them out",
        )
        require(
            not self.symbols or self.algorithm != "word",
            "tokenizer.symbols cannot be combined with tokenizer.algorithm=word, whose pieces are whole words",
        )
        for symbol in self.symbols:
            shown = f"tokenizer.symbols: {symbol!r}"
            require("".join(symbol.split()) == symbol != "", f"{shown}: a symbol is text without white space")
            require(_RESERVED.fullmatch(symbol) is None, f"{shown} is a name that SentencePiece keeps for itself")
            require(self.symbols.count(symbol) == 1, f"{shown} is named twice")
            within = next((other for other in self.symbols if other != symbol and other in symbol), None)
            require(
                within is None or self.algorithm != "unigram",
                f"{shown} contains the symbol {within!r}, and tokenizer.algorithm=unigram would split it there: leave "
                "one of them out, or set tokenizer.algorithm=bpe",
            )
