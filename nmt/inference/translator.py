"""The Translator: raw lines of text in, detokenised translations out, in the order of the lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from nmt.config.load import change_search
from nmt.config.schema import SearchConfig
from nmt.data.tags import Tags, tags_of_lines
from nmt.data.tokenizer import Tokenizer
from nmt.errors import NmtError, UsageError
from nmt.inference.dictionary import load_dictionary
from nmt.inference.engines.engine import Engine, EngineName, FullEngine, Precision
from nmt.inference.hypotheses import Translation, about_unfinished, assemble
from nmt.inference.loading import load_engine
from nmt.inference.pieces import Piece, in_batches, pieces_of, prefixes_of, sample_pieces
from nmt.inference.scoring import about_long, score_translations, with_token_scores
from nmt.inference.texts import beside, one_or_many
from nmt.messages import tell
from nmt.runs.run import read_run_config
from nmt.search.distribution import Sampling
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty

if TYPE_CHECKING:
    from nmt.data.alignments import Link
    from nmt.inference.attention_maps import Attention, Unit


@dataclass(eq=False, repr=False)
class Translator:
    """A translator of lines of text: tokenizer, search engine and search settings together.

    Each method takes a list of lines and returns a list with one result per line. A single line can be given as a
    string; the method then returns just its result, and the prefix or target of the line is a string, too.
    With the native engine in fp32 on a CPU, the result for a line does not depend on the other lines.
    """

    engine: Engine
    tokenizer: Tokenizer
    search: SearchConfig
    max_tokens: int  # longest source in training, in tokens with the end of sentence: longer lines are split
    warn: Callable[[str], None] = tell  # called with warnings, such as about long lines and unfinished translations
    language: str = "en"  # source language, needed to split a long line into sentences
    always_tagged: bool = False  # all training sentences had a tag, so every line needs one
    target_language: str = ""  # language of the translations, if known
    load_dictionary: Callable[[], Mapping[str, str]] | None = None  # called once, if a search needs the dictionary
    tag_languages: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # source and target language by tag

    @classmethod
    def load(
        cls,
        run_dir: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        checkpoint: str | int | Sequence[str | int | None] | None = None,
        device: str = "auto",
        precision: Precision | None = None,
        warn: Callable[[str], None] = tell,
        engine: EngineName | Literal["auto"] = "auto",
        streams: int | None = None,
    ) -> Translator:
        """Load a run directory, or several as an ensemble, and return its translator.

        checkpoint is the checkpoint of every run (see `find_checkpoint`), or a list with one for each run.
        precision is auto (bf16 on a GPU, fp32 elsewhere), fp32, bf16, native (bf16 if the device has instructions for
        it), int8 or, on a GPU, fp16; None means the run's search.precision. engine="auto" chooses CTranslate2 for int8
        and fp16, and the native engine otherwise. CTranslate2 does not need torch: it searches with an export of the
        run, which is made the first time it is needed.
        An ensemble uses the search settings of its first run, and splits lines that are too long for any of its runs;
        see `load_runs` for which runs can be combined. On a CPU, `streams` batches are searched in parallel and share
        the cores equally. The default is one stream per core, at most 4 with the native engine.
        """
        run_dirs = [run_dir] if isinstance(run_dir, str | os.PathLike) else run_dir
        loaded = load_engine(run_dirs, checkpoint, device, precision, warn, engine, streams)
        data = [read_run_config(run_dir, tells=True).data for run_dir in run_dirs]
        always_tagged = any(one.always_tagged for one in data)
        source, target = data[0].source_language, data[0].target_language
        languages = {tag: data[0].languages_of(tag) for tag in data[0].tags}
        return cls(*loaded, warn, source, always_tagged, target, partial(load_dictionary, run_dirs[0]), languages)

    def languages_of(self, tag: str | None) -> tuple[str, str]:
        """Return the source and the target language of lines with this tag."""
        return self.tag_languages.get(tag or "", (self.language, self.target_language))

    @one_or_many
    def translate(
        self,
        lines: Sequence[str],
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        tag: Tags = None,
    ) -> list[str]:
        """Return the best translation of each line as text; `tag` is one tag for all lines or a list; see `nbest`."""
        found = self.nbest(lines, beam_size=beam_size, length_penalty=length_penalty, tags=tag)
        return [one.text for one in found]

    @one_or_many
    def nbest(
        self,
        lines: Sequence[str],
        n_best: int = 1,
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        prefixes: str | Sequence[str] | None = None,
        tags: Tags = None,
        token_scores: bool = False,
        first_line: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> list[Translation]:
        """Return the translation of each line, with up to n_best hypotheses.

        beam_size (1 = greedy) and length_penalty default to the search configuration. The translation of a blank line
        is empty. A line that is too long is split into segments and has a single hypothesis: the best hypotheses of its
        segments joined, with their log-probabilities summed, and scored as a whole.
        Each line's hypotheses begin with its text in `prefixes`, exactly as given; a blank prefix asks for nothing.
        `tags` is one tag for all lines or one per line. NmtError is raised for a tag that the model does not know, and
        for a line without a tag if the model needs one. With token_scores, each hypothesis is forced through the model
        again to get the log-probabilities of its tokens. Warnings count lines from first_line. `progress` is called
        after each batch with the number of lines that were finished by it.
        """
        options = self._options(beam_size, length_penalty)
        if not 1 <= n_best <= options.beam_size:
            raise UsageError(
                f"cannot return {n_best} hypotheses per line: ask for at least 1 and at most the beam size, which is "
                f"{options.beam_size}"
            )
        pieces = self._pieces(lines, first_line, prefixes, tags)

        def search(batch: list[Piece]) -> list[list[Hypothesis]]:
            return self.engine.search([piece.ids for piece in batch], options, n_best, prefixes_of(batch))

        budget = options.tokens_per_batch // options.beam_size
        found = self._with_words(pieces, in_batches(search, self.engine, pieces, budget, progress), options)
        translations = assemble(lines, pieces, found, self.tokenizer, LengthPenalty.of(options))
        return self._finish(translations, options, first_line, token_scores)

    @one_or_many
    def sample(
        self,
        lines: Sequence[str],
        samples: int,
        sampling: Sampling = Sampling(),  # noqa: B008 (a constant)
        *,
        length_penalty: float | None = None,
        prefixes: str | Sequence[str] | None = None,
        tags: Tags = None,
        token_scores: bool = False,
        first_line: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> list[Translation]:
        """Draw `samples` sampled translations of each line; they are returned in the order they were drawn.

        log_prob is the model's own log-probability, even if `sampling` changes the distribution. The samples depend
        only on the seed, the line and its number, counted from first_line. If a line is split into segments, the first
        samples of all segments are joined, then the second samples, and so on. A blank line has one empty hypothesis.
        Scores have no coverage penalty. The other arguments are those of `nbest`.
        """
        options = self._options(None, length_penalty)
        pieces = self._pieces(lines, first_line, prefixes, tags)
        engine = self._full_engine("draw samples")
        drawn = sample_pieces(engine, pieces, samples, sampling, options, first_line, progress)
        found = self._with_words(pieces, drawn, options)
        translations = assemble(lines, pieces, found, self.tokenizer, LengthPenalty.of(options), joined=samples)
        return self._finish(translations, options, None, token_scores)

    @one_or_many
    def translate_mbr(
        self,
        lines: Sequence[str],
        samples: int,
        sampling: Sampling = Sampling(),  # noqa: B008 (a constant)
        *,
        prefixes: str | Sequence[str] | None = None,
        tags: Tags = None,
        first_line: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> list[Translation]:
        """Translate each line by minimum Bayes risk decoding: draw samples and keep the one most similar to the others.

        See `nmt.inference.mbr.choose` and `sample`. If a line is split into segments, a sample is chosen for each
        segment, and the chosen samples are joined.
        """
        from nmt.inference import mbr  # numpy

        utility = mbr.pairwise_chrf()
        options = self._options(None, None)
        pieces = self._pieces(lines, first_line, prefixes, tags)
        engine = self._full_engine("draw samples")
        drawn = sample_pieces(engine, pieces, samples, sampling, options, first_line, progress)
        found = self._with_words(pieces, drawn, options)
        chosen = mbr.choose_for_pieces(pieces, found, self.tokenizer, utility)
        translations = assemble(lines, pieces, chosen, self.tokenizer, LengthPenalty.of(options))
        return self._finish(translations, options, first_line)

    @one_or_many
    def score(
        self,
        lines: Sequence[str],
        translations: str | Sequence[str],
        *,
        length_penalty: float | None = None,
        tags: Tags = None,
        first_line: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> list[Translation]:
        """Score a given translation of each line, in the same way as search scores its hypotheses.

        Every target token can be scored, even if search uses a shortlist. Long lines are not split: a line that is
        longer than the model was trained for is scored as a whole, with a warning. An empty translation of an empty
        line has log-probability 0.
        """
        options = self._options(None, length_penalty)
        tagged, given = self.tags_of(lines, tags), beside(translations, lines, "translation")
        scored = score_translations(lines, given, self._full_engine(), self.tokenizer, options, progress, tagged)
        for sentence in about_long(scored, self.max_tokens, first_line):
            self.warn(sentence)
        return scored

    @one_or_many
    def attention(
        self, lines: Sequence[str], targets: str | Sequence[str] | None = None, *, by: Unit = "words", tags: Tags = None
    ) -> list[Attention]:
        """Return the attention of every layer and head between each line and its target line; see `Attention`.

        Without `targets`, the translations that `translate` returns are used. A long line then has the attention within
        each of its segments, as it was translated. With `targets`, each line is forced as a whole. by="pieces" returns
        weights between tokens, by="words" sums them up to weights between words. Raises UsageError for an ensemble and
        for CTranslate2, NmtError for a model without attention.
        """
        from nmt.inference.attention_maps import attention_of

        return attention_of(self, lines, targets, by, tags)

    @one_or_many
    def align(
        self,
        lines: Sequence[str],
        targets: str | Sequence[str] | None = None,
        *,
        layer: int | Literal["mean"] | None = None,
        head: int | Literal["mean"] = "mean",
        tags: Tags = None,
    ) -> list[list[Link]]:
        """Align the words of each line and its target: link each target word to the source word it attends to most.

        A link is a pair (source word, target word), both counted from 0. layer and head are counted from 1; "mean"
        averages over them. layer=None means the last layer but one, which aligns best. The other arguments are those of
        `attention`.
        """
        from nmt.inference.attention_maps import links_of
        from nmt.inference.word_attention import Selection

        return links_of(self, lines, targets, Selection(layer, head), tags)

    @property
    def can_score(self) -> bool:
        """True if the engine can compute log-probabilities of single tokens and draw samples."""
        return isinstance(self.engine, FullEngine)

    def check(self, beam_size: int | None = None, length_penalty: float | None = None) -> None:
        """Raise NmtError for search settings that the engine, the model or the vocabulary does not support.

        The arguments replace those of the settings.
        """
        self._options(beam_size, length_penalty)

    def _options(self, beam_size: int | None, length_penalty: float | None) -> SearchConfig:
        """Return the search settings, with the values that are given, after checking that they are supported."""
        given = {"beam_size": beam_size, "length_penalty": length_penalty}
        changes = {key: value for key, value in given.items() if value is not None}
        options = change_search(self.search, changes) if changes else self.search
        self.engine.check(options)
        if options.replace_unknown != "none" and not self.tokenizer.of_words:
            raise NmtError(
                f"search.replace_unknown={options.replace_unknown} replaces whole words, but the vocabulary has pieces "
                "of words: set search.replace_unknown=none"
            )
        if options.replace_unknown == "dictionary":
            _ = self._dictionary  # loads it
        return options

    @cached_property
    def _dictionary(self) -> Mapping[str, str]:
        if self.load_dictionary is None:
            raise NmtError("search.replace_unknown=dictionary needs a run directory with a dictionary.tsv")
        return self.load_dictionary()

    def _with_words(
        self, pieces: list[Piece], found: list[list[Hypothesis]], options: SearchConfig
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses with words for their unknown tokens, if search.replace_unknown asks for them."""
        if options.replace_unknown == "none":
            return found
        from nmt.inference.unknown_words import with_words  # numpy

        dictionary = self._dictionary if options.replace_unknown == "dictionary" else {}
        return with_words(pieces, found, self._full_engine(), self.tokenizer, options, dictionary)

    def tags_of(self, lines: Sequence[str], tags: Tags) -> list[str | None]:
        """Return the tag of each line.

        Raises NmtError for a tag that the model does not know, and for a missing tag if the model needs one.
        """
        return tags_of_lines(tags, len(lines), self.tokenizer, self.always_tagged)

    def check_tags(self, tags: Tags) -> None:
        """Raise NmtError for a tag that the model does not know, and for a missing tag if the model needs one."""
        self.tags_of([""] if tags is None or isinstance(tags, str) else [""] * len(tags), tags)

    def _pieces(self, lines: Sequence[str], first_line: int, prefixes: Sequence[str] | None, tags: Tags) -> list[Piece]:
        each = self.tags_of(lines, tags)
        given = None if prefixes is None else beside(prefixes, lines, "prefix")
        return pieces_of(lines, self.tokenizer, self.max_tokens, self.language, self.warn, first_line, given, each)

    def _finish(
        self, translations: list[Translation], options: SearchConfig, first_line: int | None, token_scores: bool = False
    ) -> list[Translation]:
        """Warn about unfinished translations, unless first_line is None, and add token scores if asked for."""
        if first_line is not None and (sentence := about_unfinished(translations, first_line)):
            self.warn(sentence)
        if not token_scores:
            return translations
        return with_token_scores(translations, self._full_engine(), self.tokenizer, options)

    def _full_engine(self, purpose: str = "get the log-probabilities of tokens") -> FullEngine:
        if not isinstance(self.engine, FullEngine):
            raise UsageError(f'this engine can only search for translations: use engine="native" to {purpose}')
        return self.engine
