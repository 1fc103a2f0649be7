"""Test sets: source lines with their references, read from files, from the configuration or from sacreBLEU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nmt.config.data import CorpusConfig, DataConfig
from nmt.config.languages import language_of
from nmt.config.schema import Config
from nmt.data.compression import SUFFIXES, read_lines
from nmt.data.corpora import test_sets
from nmt.data.sources import source_of
from nmt.data.sources.source import Pair, Say
from nmt.errors import NmtError, UsageError
from nmt.evaluation.metrics import check_counts

Digests = dict[str, str | None]  # SHA-256 digests of a test set by the names in TEXT_DIGESTS
TEXT_DIGESTS = ("source_sha256", "reference_sha256", "tags_sha256")


@dataclass(frozen=True)
class EvaluationSet:
    """A test set: source lines, each with one reference translation or several."""

    name: str
    sources: list[str]
    references: list[str]
    configured: DataConfig | None = None  # the configuration that defines this set, if any
    tags: list[str | None] | None = None  # the tag of each line; None if no line has one
    more_references: list[list[str]] = field(default_factory=list)  # further texts, one line for each source line

    def tagged(self, tag: str | None) -> EvaluationSet:
        """Return a copy of the set with `tag` on all lines and appended to its name; the set itself if tag is None."""
        if tag is None or self.tags == [tag] * len(self.sources):
            return self
        tags: list[str | None] = [tag] * len(self.sources)
        return replace(self, name=f"{self.name}-{tag}", configured=None, tags=tags)

    @property
    def digests(self) -> Digests:
        """The digests of sources, references and tags, by their names in TEXT_DIGESTS; tags: None if there are none."""
        tags = None if self.tags is None else digest([tag or "" for tag in self.tags])
        return dict(zip(TEXT_DIGESTS, (self.source_digest, self.reference_digest, tags), strict=True))

    @property
    def source_digest(self) -> str:
        """The SHA-256 digest of the source lines."""
        return digest(self.sources)

    @property
    def reference_digest(self) -> str:
        """The SHA-256 digest of the reference lines; with several reference texts, a digest of their digests."""
        texts = [self.references, *self.more_references]
        return digest(self.references) if len(texts) == 1 else digest(list(map(digest, texts)))


def digest(lines: Sequence[str]) -> str:
    """Return the SHA-256 digest of lines of text."""
    state = hashlib.sha256()
    for line in lines:
        state.update(line.encode("utf-8"))
        state.update(b"\n")
    return state.hexdigest()


def read_text(path: str | Path) -> list[str]:
    """Read the lines of a text file. Raises NmtError if it is empty."""
    lines = read_lines(path)
    if not lines:
        raise NmtError(f"{path} is empty")
    return lines


def set_from_files(
    source: str | Path, references: str | Path | Sequence[str | Path], name: str | None = None
) -> EvaluationSet:
    """Return the test set of a source file and one reference file or several.

    Without `name`, the set is named after the source file without its last ending, not counting the ending of a
    compressed file: news.2014.de.gz gives news.2014.
    """
    files = [references] if isinstance(references, str | Path) else references
    if not files:
        raise UsageError(f"no reference is given for {source}: name a file at least")
    sources = read_text(source)
    first, *more = read_references(files, sources, source)
    if name is None:
        file = Path(source)
        name = Path(file.stem if file.suffix in SUFFIXES else file.name).stem
    return EvaluationSet(name, sources, first, more_references=more)


def read_references(files: Sequence[str | Path], sources: Sequence[str], source_name: str | Path) -> list[list[str]]:
    """Read reference files. Raises NmtError if one does not have a line for each line of `sources`."""
    texts = []
    for file in files:
        texts.append(read_text(file))
        check_counts(sources, texts[-1], str(source_name), str(file))
    return texts


def sets_of(
    config: Config, names: Sequence[str] | None = None, say: Say = lambda sentence: None
) -> list[EvaluationSet]:
    """Return all test sets of a configuration, or only those in `names`.

    A name that is not in the configuration is looked up among sacreBLEU's own test sets. `say` is called with a message
    when the connection to a streamed corpus breaks. Raises NmtError if a name is unknown or there is no test set.
    """
    data = config.data
    corpora = test_sets(data)
    if not corpora and names is None:
        raise NmtError(
            "this configuration names no test set: give --source and --reference, or one of sacreBLEU's with --test-set"
        )
    return [
        _configured(name, corpora[name], data, say)
        if name in corpora
        else set_from_sacrebleu(name, data.source_language, data.target_language, list(corpora))
        for name in (corpora if names is None else names)
    ]


def _configured(name: str, corpora: Sequence[CorpusConfig], data: DataConfig, say: Say) -> EvaluationSet:
    """Return the test set of a configuration that consists of these corpora, one after the other."""
    pairs: list[Pair] = []
    tags: list[str | None] = []
    more: list[list[str]] = [[] for _ in corpora[0].more_references or ()]
    for corpus in corpora:
        read_from = source_of(corpus, data.source_language, data.target_language)
        own = list(read_from.pairs(say))
        sources = [source for source, _ in own]
        texts = read_references(corpus.more_references or (), sources, f"data.test.{name} ({read_from.name})")
        for lines, text in zip(more, texts, strict=True):
            lines += text
        pairs += own
        tags += [corpus.tag] * len(own)
    if not pairs:
        raise NmtError(f"data.test.{name} has no lines")
    sources, references = [source for source, _ in pairs], [reference for _, reference in pairs]
    return EvaluationSet(name, sources, references, data, tags if any(tags) else None, more)


def set_from_sacrebleu(name: str, source_language: str, target_language: str, others: Sequence[str]) -> EvaluationSet:
    """Return one of sacreBLEU's own test sets (wmt14/full, wmt20, ...), which it downloads on first use.

    sacreBLEU names its language pairs by ISO 639-1 codes, such as en-zh; the languages given here may be spelled in
    any way.
    """
    import sacrebleu
    from sacrebleu.dataset import DATASETS

    pair = f"{language_of(source_language)}-{language_of(target_language)}"
    if name not in DATASETS:
        known = f"this configuration has {', '.join(others)}" if others else "this configuration has none"
        raise NmtError(f"no test set {name!r}: {known}, and sacreBLEU has none of that name (sacrebleu --list)")
    if pair not in DATASETS[name].langpairs:
        raise NmtError(f"sacreBLEU's test set {name} has no language pair {pair}")
    try:
        files = [sacrebleu.get_source_file(name, pair), *sacrebleu.get_reference_files(name, pair)]
    except (Exception, SystemExit) as error:  # sacreBLEU ends the process when a download fails
        raise NmtError(
            f"sacreBLEU's test set {name} ({pair}) could not be downloaded ({error or type(error).__name__}): "
            "give --source and --reference instead"
        ) from error
    return set_from_files(files[0], files[1:], name=name.replace("/", "-"))
