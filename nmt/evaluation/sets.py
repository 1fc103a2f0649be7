"""Texts to be evaluated on: source and reference lines under a name, from files, the configuration or sacreBLEU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt.config.data import DataConfig
from nmt.config.languages import language_of
from nmt.config.schema import Config
from nmt.data.corpora import test_sets
from nmt.data.corpus import SUFFIXES, Pair, read_corpus, read_lines
from nmt.errors import NmtError
from nmt.evaluation.metrics import check_counts

Digests = dict[str, str | None]
TEXT_DIGESTS = ("source_sha256", "reference_sha256", "tags_sha256")


@dataclass(frozen=True)
class EvaluationSet:
    """Source lines and the reference translation of each."""

    name: str
    sources: list[str]
    references: list[str]
    configured: DataConfig | None = None  # which names it so
    tags: list[str | None] | None = None  # of each line, where there are any

    def tagged(self, tag: str | None) -> EvaluationSet:
        """The same set with another tag, which its name then tells; itself for None."""
        if tag is None or self.tags == [tag] * len(self.sources):
            return self
        return EvaluationSet(f"{self.name}-{tag}", self.sources, self.references, tags=[tag] * len(self.sources))

    @property
    def digests(self) -> Digests:
        """What tells one text from another: by TEXT_DIGESTS, the last None where no line has a tag."""
        tags = None if self.tags is None else digest([tag or "" for tag in self.tags])
        return dict(zip(TEXT_DIGESTS, (self.source_digest, self.reference_digest, tags), strict=True))

    @property
    def source_digest(self) -> str:
        """What tells one source text from another."""
        return digest(self.sources)

    @property
    def reference_digest(self) -> str:
        """What tells one reference text from another."""
        return digest(self.references)


def digest(lines: Sequence[str]) -> str:
    """SHA-256 of lines of text."""
    state = hashlib.sha256()
    for line in lines:
        state.update(line.encode("utf-8"))
        state.update(b"\n")
    return state.hexdigest()


def read_text(path: str | Path) -> list[str]:
    """The lines of a text file; an empty file is refused."""
    lines = read_lines(path)
    if not lines:
        raise NmtError(f"{path} is empty")
    return lines


def set_from_files(source: str | Path, reference: str | Path, name: str | None = None) -> EvaluationSet:
    """Return the set of a source and a reference file.

    Unless told otherwise it is named after the source file without its last ending, that of a compressed file aside:
    news.2014 for news.2014.de.gz.
    """
    sources, references = read_text(source), read_text(reference)
    check_counts(sources, references, str(source), str(reference))
    if name is None:
        file = Path(source)
        name = Path(file.stem if file.suffix in SUFFIXES else file.name).stem
    return EvaluationSet(name, sources, references)


def sets_of(config: Config, names: Sequence[str] | None = None) -> list[EvaluationSet]:
    """The test sets of a configuration: all, or those named; a name it does not have may be one of sacreBLEU's."""
    data = config.data
    corpora = test_sets(data)
    if not corpora and names is None:
        raise NmtError(
            "this configuration names no test set: give --source and --reference, or one of sacreBLEU's with --test-set"
        )
    sets = []
    for name in names if names is not None else list(corpora):
        if name not in corpora:
            sets.append(set_from_sacrebleu(name, data.source_language, data.target_language, list(corpora)))
            continue
        pairs: list[Pair] = []
        tags: list[str | None] = []
        for corpus in corpora[name]:
            pairs += read_corpus(corpus, data.source_language, data.target_language)
            tags += [corpus.tag] * (len(pairs) - len(tags))
        if not pairs:
            raise NmtError(f"data.test.{name} has no lines")
        sources, references = [source for source, _ in pairs], [reference for _, reference in pairs]
        sets.append(EvaluationSet(name, sources, references, data, tags if any(tags) else None))
    return sets


def set_from_sacrebleu(name: str, source_language: str, target_language: str, others: Sequence[str]) -> EvaluationSet:
    """Return one of sacreBLEU's own test sets (wmt14/full, wmt20, ...), which it downloads on first use.

    sacreBLEU has its language pairs in ISO 639-1, such as en-zh; here the languages may be spelled in any way.
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
    return set_from_files(files[0], files[1], name=name.replace("/", "-"))
