"""The keys of data: corpora, cleaning and the tokenizer, each a typed dataclass that checks itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nmt.config.languages import IDENTIFIED, known_as
from nmt.config.ranges import Auto, Count, Processes, Range, Share, Weight
from nmt.errors import require
from nmt.files import from_home

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")  # what a tag may be called
_RESERVED = re.compile("<pad>|<unk>|</?s>|<0x[0-9A-F]{2}>")  # names of special symbols and of bytes


@dataclass(kw_only=True)
class CorpusConfig:
    """Where one parallel corpus comes from: exactly one of prefix, source + target, tsv or hub."""

    prefix: str | None = None  # PREFIX.LANGUAGE, also .gz and .xz
    source: str | None = None  # a file of source lines ...
    target: str | None = None  # ... and the file that answers it line by line
    tsv: str | None = None  # one file, a column for each language
    columns: list[str] | None = None  # the tsv's languages in order; default: source, target
    hub: str | None = None  # a `datasets` name or a local path
    config: str | None = None  # the data set's configuration, e.g. de-en
    split: str | None = None  # of a data set, or train[:10%]; default: train, or validation, or test where it stands
    field: str = "translation"  # the column of nested pairs; without it, one column for each language
    streaming: bool = False  # read the data set over the network, without a copy of it on this machine
    source_language: str | None = None  # default: data.source_language
    target_language: str | None = None  # default: data.target_language
    tag: str | None = None  # of what kind the pairs are, told to the model by a symbol before the source
    more_references: list[str] | None = None  # of a test set: files of further reference translations, line by line
    name: str | None = None  # of a training corpus in the log; default: that of its file or data set
    weight: Weight = 1.0  # how often a training corpus comes by in an epoch: 2 = twice, 0.5 = half of it in turn

    def __post_init__(self) -> None:
        """Say train of files, which have no splits: so do the configurations of runs that were trained before.

        A tilde at the beginning of a path is the home folder.
        """
        if self.hub is None:
            self.split = self.split or "train"
        for kind in ("prefix", "source", "target", "tsv", "hub"):
            if (path := getattr(self, kind)) is not None:
                setattr(self, kind, from_home(path))
        self.more_references = self.more_references and list(map(from_home, self.more_references))

    def check(self, key: str, trained: bool = False) -> None:
        """Refuse a corpus with no source or several, and what only a corpus that is trained on has."""
        kinds = [self.prefix, self.source, self.tsv, self.hub]
        require(
            sum(kind is not None for kind in kinds) == 1,
            f"{key}: give exactly one of prefix, source (with target), tsv or hub",
        )
        require((self.source is None) == (self.target is None), f"{key}: source and target go together")
        require(self.columns is None or self.tsv is not None, f"{key}.columns belongs to a tsv")
        require(not self.streaming or self.hub is not None, f"{key}.streaming belongs to a data set (hub)")
        require(
            self.tag is None or TAG.fullmatch(self.tag) is not None,
            f"{key}.tag={self.tag}: a tag has up to 32 letters of a to z, digits, and - _ . between them",
        )
        require(
            trained or (self.weight == 1 and self.name is None),
            f"{key}: only corpora of data.train have a weight and a name",
        )
        require(
            not self.more_references or key.startswith("data.test."),
            f"{key}: only test sets (data.test) have more_references",
        )


@dataclass(kw_only=True)
class CleaningConfig:
    """Which pairs are dropped before training; every rule counts what it drops."""

    max_words: Count = 250  # whitespace-separated words on either side
    max_tokens: Annotated[int, Range(2, 1_000_000)] = 256  # subword tokens, end of sentence included, on either side
    max_ratio: Annotated[float, Range(1)] | None = 4.0  # longer side over shorter side, by what characters stand for
    deduplicate: bool = True  # keep the first of identical pairs
    near_duplicates: bool = False  # keep the first of pairs that differ in nothing but case and what is no letter
    control_characters: bool = True  # drop pairs that contain control characters; false: put spaces in their place
    min_letter_ratio: Share | None = None  # letters over characters that are no spaces, on either side; null = no limit
    copies: bool = False  # drop pairs whose sides are the same but for case and what is no letter
    max_repeats: Annotated[int, Range(1, 1000)] | None = None  # times in a row that something may come; null = no limit
    wrong_language: Annotated[float, Range(0.5, 1)] | None = None  # drop pairs where another language is this probable


@dataclass(kw_only=True)
class DataConfig:
    """What to train, validate and test on, and in which direction."""

    source_language: str
    target_language: str
    path: str | None = None  # a folder of {train,val,test}.{source_language,target_language}; stands in for the rest
    train: list[CorpusConfig] = field(default_factory=list)
    val: CorpusConfig | list[CorpusConfig] | None = None  # several, as with several tags, are validated on as one
    test: dict[str, CorpusConfig | list[CorpusConfig]] = field(default_factory=dict)
    temperature: Annotated[float, Range(0.1, 1000)] | None = None  # T: corpora come by as pairs^(1/T); without weights
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    cache: str = "data/prepared"  # where prepared stores are kept, each under the key of its content
    workers: Processes | None = None  # that prepare; 1: this process alone; default: the cores it may use, at most 16

    def __post_init__(self) -> None:
        """Take the split train of a data set that is trained on and names none, and a tilde for the home folder."""
        self.path = self.path and from_home(self.path)
        self.cache = from_home(self.cache)
        for corpus in self.train:
            corpus.split = corpus.split or "train"

    def check(self) -> None:
        """Refuse equal languages and missing or ambiguous corpora."""
        require(
            self.source_language != self.target_language,
            f"data.source_language and data.target_language are both {self.source_language!r}",
        )
        self._check_languages("data", self.source_language, self.target_language)
        if self.path is not None:
            require(self.temperature is None, "data.temperature mixes the corpora of data.train: leave data.path out")
            return
        require(bool(self.train), "data.train names no corpus: set data.path=FOLDER or data.train")
        require(self.val is not None, "data.val is missing: set data.path=FOLDER or data.val")
        for index, corpus in enumerate(self.train):
            corpus.check(f"data.train[{index}]", trained=True)
            self._check_languages(f"data.train[{index}]", corpus.source_language, corpus.target_language)
        require(
            self.temperature is None or all(corpus.weight == 1 for corpus in self.train),
            "data.temperature sets the weights of all corpora: leave out weight, or data.temperature",
        )
        for key, corpora in self.held_out().items():
            require(bool(corpora), f"{key} names no corpus")
            for corpus in corpora:
                corpus.check(key)
            require(
                len({len(corpus.more_references or ()) for corpus in corpora}) == 1,
                f"{key}: each of its corpora needs the same number of more_references",
            )

    def _check_languages(self, key: str, source: str | None, target: str | None) -> None:
        """Refuse languages that a rule about them does not know."""
        for side, language in (("source", source), ("target", target)):
            require(
                self.cleaning.wrong_language is None or language is None or known_as(language) is not None,
                f"data.cleaning.wrong_language cannot tell {key}.{side}_language={language} from others; "
                f"it knows {', '.join(sorted(IDENTIFIED))}",
            )

    def held_out(self) -> dict[str, list[CorpusConfig]]:
        """The corpora of data.val and of each test set, by their keys."""
        sets = {f"data.test.{name}": corpora for name, corpora in self.test.items()}
        if self.val is not None:
            sets["data.val"] = self.val
        return {key: corpora if isinstance(corpora, list) else [corpora] for key, corpora in sets.items()}

    @property
    def tags(self) -> list[str]:
        """The tags of the training corpora, each once."""
        corpora = [] if self.path is not None else self.train
        return list(dict.fromkeys(corpus.tag for corpus in corpora if corpus.tag is not None))

    @property
    def always_tagged(self) -> bool:
        """Whether there is no training text without a tag."""
        return self.path is None and all(corpus.tag is not None for corpus in self.train)

    def target_language_of(self, tag: str | None) -> str:
        """The target language of the training text with a tag."""
        languages = [corpus.target_language for corpus in self.train if tag is not None and corpus.tag == tag]
        return next(filter(None, languages), self.target_language)

    def check_tags(self) -> None:
        """Refuse to validate or test on a tag that is not trained, or on none where all that is trained has one."""
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
    """The tokenizer (SentencePiece): trained on the text, or an existing one where `path` is set."""

    path: str | None = None  # a .model file, a folder of them or a run; the keys below (but symbols) are then its own
    symbols: list[str] = field(default_factory=list)  # each kept whole, as one piece: '["<date>","<b>"]'
    algorithm: Literal["unigram", "bpe", "char", "word"] = "unigram"
    vocab_size: Annotated[int, Range(8, 10_000_000)] | Auto = "auto"  # auto: by the length of the training text
    joint: bool = True  # one vocabulary for both languages
    byte_fallback: bool = False  # spell unknown characters as bytes
    character_coverage: Annotated[float, Range(0.98, 1)] = 1.0
    normalization: Literal["identity", "nfkc", "nmt_nfkc"] = "identity"  # anything but identity alters targets

    def __post_init__(self) -> None:
        """Take a tilde for the home folder."""
        self.path = self.path and from_home(self.path)

    def check(self) -> None:
        """Refuse a vocabulary too small for bytes, bytes of words, and symbols that cannot be kept whole."""
        self._check_symbols()
        if self.path is not None:  # the other keys say what that tokenizer is
            return
        require(
            not self.byte_fallback or self.vocab_size == "auto" or self.vocab_size >= 300,
            "tokenizer.vocab_size must be at least 300 with tokenizer.byte_fallback",
        )
        require(
            not (self.byte_fallback and self.algorithm == "word"),
            "tokenizer.byte_fallback cannot be had with tokenizer.algorithm=word: spaces would come back as bytes",
        )

    def _check_symbols(self) -> None:
        require(
            self.path is None or not self.symbols,
            "tokenizer.symbols belongs to a tokenizer that is trained, and tokenizer.path names one that exists: "
            "leave one of them out",
        )
        require(
            not self.symbols or self.algorithm != "word",
            "tokenizer.symbols cannot be had with tokenizer.algorithm=word, whose pieces are all whole words",
        )
        for symbol in self.symbols:
            shown = f"tokenizer.symbols: {symbol!r}"
            require("".join(symbol.split()) == symbol != "", f"{shown}: a symbol is text without white space")
            require(_RESERVED.fullmatch(symbol) is None, f"{shown} is a name that SentencePiece keeps for itself")
            require(self.symbols.count(symbol) == 1, f"{shown} is named twice")
            within = next((other for other in self.symbols if other != symbol and other in symbol), None)
            require(
                within is None or self.algorithm != "unigram",
                f"{shown} has the symbol {within!r} in it, and tokenizer.algorithm=unigram would cut it there: leave "
                "one of them out, or set tokenizer.algorithm=bpe",
            )
