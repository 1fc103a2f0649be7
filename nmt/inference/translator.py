"""Text in, translations out: lines of raw text to detokenised hypotheses, in the order they came."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from nmt.config.load import change_search
from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.data.tags import Tags, tags_of_lines
from nmt.data.tokenizer import Tokenizer
from nmt.errors import UsageError
from nmt.inference.engines.engine import Engine, EngineName, FullEngine, Precision, choose_engine
from nmt.inference.hypotheses import Translation, about_unfinished, assemble
from nmt.inference.pieces import Piece, in_batches, pieces_of, prefixes_of, sample_pieces
from nmt.inference.scoring import about_long, score_translations, with_token_scores
from nmt.inference.texts import beside, one_or_many
from nmt.messages import tell
from nmt.runs.run import read_run_config
from nmt.search.distribution import Sampling
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty

if TYPE_CHECKING:
    from nmt.inference.attention_maps import Attention, Unit
    from nmt.inference.word_attention import Link


@dataclass(eq=False, repr=False)
class Translator:
    """Translates lines of text with an engine; by the native one in fp32 on a CPU, an answer depends on its line alone.

    Each method takes a list of lines and answers by a list with one answer a line. Given one line, as a string, it
    gives that line's answer; what belongs to a line, such as its prefix, is a string then, too.
    """

    engine: Engine
    tokenizer: Tokenizer
    search: SearchConfig
    max_tokens: int  # source tokens, end of sentence included, that the model was trained for: longer lines are cut
    warn: Callable[[str], None] = tell  # is told of lines that are cut into segments, and of unfinished translations
    language: str = "en"  # of the lines, in which they are cut at ends of sentences
    always_tagged: bool = False  # the model was trained on no text without a tag, and gets none
    target_language: str = ""  # of the translations, where it is known

    @classmethod
    def load(
        cls,
        run_dir: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        checkpoint: str | int | None = None,
        device: str = "auto",
        precision: Precision | None = None,
        warn: Callable[[str], None] = tell,
        engine: EngineName | Literal["auto"] = "auto",
        streams: int | None = None,
    ) -> Translator:
        """Return the translator of a run directory, or of several as an ensemble; see `load_runs` for what is refused.

        precision is auto (bf16 on a GPU, fp32 elsewhere), fp32, bf16, int8 or, on a GPU, fp16; None takes the run's
        search.precision. engine=auto is CTranslate2 for int8 and fp16, and the native engine for all else. CTranslate2
        searches with an export of the run, which is made when it is first needed, and without torch.
        An ensemble searches as its first run's configuration says, and translates lines as long as the shortest limit
        of its runs whole. On a CPU `streams` batches are searched side by side, with an equal share of the cores each;
        None: with a core each, 4 at most in the native engine.
        """
        run_dirs = [run_dir] if isinstance(run_dir, str | os.PathLike) else run_dir
        if not run_dirs:
            raise UsageError("name the directory of a run, such as runs/my, or a list of them for an ensemble")
        made: Engine
        if choose_engine(engine, precision) == "ctranslate2":
            from nmt.inference.engines.ctranslate2 import load_exported

            made, tokenizer, search, longest = load_exported(run_dirs, checkpoint, device, precision, streams, warn)
        else:
            from nmt.inference.engines.loading import load_native  # torch

            of_training = cast(PRECISIONS | None, precision)  # the others are for CTranslate2
            made, tokenizer, search, longest = load_native(run_dirs, checkpoint, device, of_training, streams)
        data = [read_run_config(run_dir, tells=True).data for run_dir in run_dirs]
        always_tagged = any(one.always_tagged for one in data)
        source, target = data[0].source_language, data[0].target_language
        return cls(made, tokenizer, search, longest, warn, source, always_tagged, target)

    @one_or_many
    def translate(
        self,
        lines: Sequence[str],
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        tag: Tags = None,
    ) -> list[str]:
        """Return the best translation of each line, with the tag of all or the tags of each; see `nbest`."""
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
        """Return up to n_best hypotheses of each line, in the order of the lines.

        beam_size (1 = greedy) and length_penalty default to the search configuration. A line of nothing but white space
        is answered by an empty one. A line in segments has one hypothesis: the segments' best ones joined,
        log-probabilities summed, scored as a whole. prefixes are what the hypotheses of each line begin with, as they
        are given; an empty one, or one of nothing but white space, asks for nothing. `tags` are one for all lines or
        one for each; NmtError is raised for one that the model does not know, or where it needs one. With token_scores,
        each hypothesis is forced through the model again for the log-probabilities of its tokens. Warnings count lines
        from first_line; `progress` is told after each batch how many more lines are done.
        """
        options = self._options(beam_size, length_penalty)
        if not 1 <= n_best <= options.beam_size:
            raise UsageError(f"{n_best} best hypotheses need a beam of at least that size: it is {options.beam_size}")
        pieces = self._pieces(lines, first_line, prefixes, tags)

        def search(batch: list[Piece]) -> list[list[Hypothesis]]:
            return self.engine.search([piece.ids for piece in batch], options, n_best, prefixes_of(batch))

        budget = options.tokens_per_batch // options.beam_size
        found = in_batches(search, self.engine, pieces, budget, progress)
        translations = assemble(lines, pieces, found, self.tokenizer, LengthPenalty.of(options))
        return self._finish(translations, options, first_line, token_scores)

    translate_nbest = nbest  # the name it had first

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
        """Return so many samples of each line, in the order they were drawn, with the model's own log-probabilities.

        They follow from the seed, the line and its number, counted from first_line, alone. A line in segments has the
        first samples of its segments joined, the second ones, and so on; an empty line is answered by one empty
        hypothesis. Scores have no coverage penalty. The rest is as in `nbest`.
        """
        options = self._options(None, length_penalty)
        pieces = self._pieces(lines, first_line, prefixes, tags)
        found = sample_pieces(self.engine, pieces, samples, sampling, options, first_line, progress)
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
        """Return one translation of each line by minimum Bayes risk decoding: the sample that is most like all of them.

        See `nmt.inference.mbr.choose` and `sample`. A line in segments has what is chosen for its segments joined.
        """
        from nmt.inference import mbr  # numpy

        utility = mbr.pairwise_chrf()
        options = self._options(None, None)
        pieces = self._pieces(lines, first_line, prefixes, tags)
        found = sample_pieces(self.engine, pieces, samples, sampling, options, first_line, progress)
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
        """Return the given translation of each line, scored as search, without a shortlist, would score its tokens.

        Nothing is segmented: a line longer than the model was trained for is scored as a whole, and `warn` is told. An
        empty line that is answered by an empty one has log-probability 0.
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

        Without targets they are the translations that `translate` gives. A long line is then shown segment by segment,
        as it was translated; a line whose target is given is forced as a whole. by="pieces" has the tokens as the model
        sees them, by="words" those of a word together. Raises UsageError for an ensemble and for CTranslate2, NmtError
        for a model without attention.
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
        """Return the links (source word, target word), counted from 0, to what each target word attends to most.

        layer and head are counted from 1; "mean" is their average and None the last layer but one, which aligns best.
        The rest is as in `attention`.
        """
        from nmt.inference.attention_maps import links_of
        from nmt.inference.word_attention import Selection

        return links_of(self, lines, targets, Selection(layer, head), tags)

    @property
    def can_score(self) -> bool:
        """Whether the engine has log-probabilities of single tokens."""
        return isinstance(self.engine, FullEngine)

    def _options(self, beam_size: int | None, length_penalty: float | None) -> SearchConfig:
        given = {"beam_size": beam_size, "length_penalty": length_penalty}
        changes = {key: value for key, value in given.items() if value is not None}
        options = change_search(self.search, changes) if changes else self.search
        self.engine.check(options)
        return options

    def tags_of(self, lines: Sequence[str], tags: Tags) -> list[str | None]:
        """Return the tag of each line. Raises NmtError for one the model does not know, or none where it needs one."""
        return tags_of_lines(tags, len(lines), self.tokenizer, self.always_tagged)

    def check_tags(self, tags: Tags) -> None:
        """Raise NmtError for a tag that the model does not know, and for none where it needs one."""
        self.tags_of([""] if tags is None or isinstance(tags, str) else [""] * len(tags), tags)

    def _pieces(self, lines: Sequence[str], first_line: int, prefixes: Sequence[str] | None, tags: Tags) -> list[Piece]:
        each = self.tags_of(lines, tags)
        begun = None if prefixes is None else beside(prefixes, lines, "prefix")
        return pieces_of(lines, self.tokenizer, self.max_tokens, self.language, self.warn, first_line, begun, each)

    def _finish(
        self, translations: list[Translation], options: SearchConfig, first_line: int | None, token_scores: bool = False
    ) -> list[Translation]:
        """Warn of what did not finish, counted from first_line (None: that is no matter), and add scores of tokens."""
        if first_line is not None and (sentence := about_unfinished(translations, first_line)):
            self.warn(sentence)
        if not token_scores:
            return translations
        return with_token_scores(translations, self._full_engine(), self.tokenizer, options)

    def _full_engine(self) -> FullEngine:
        if not isinstance(self.engine, FullEngine):
            raise UsageError("this engine only searches: log-probabilities of tokens take the native one")
        return self.engine
