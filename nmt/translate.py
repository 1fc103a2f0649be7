"""Text in, translations out: lines of raw text to detokenised hypotheses, in the order they came."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.data.tokenizer import Tokenizer
from nmt.engines.engine import Engine
from nmt.errors import UsageError
from nmt.run import load_run
from nmt.search import penalties
from nmt.search.hypothesis import Hypothesis
from nmt.segment import join_translations, split_to_fit


@dataclass(frozen=True)
class TextHypothesis:
    """One translation of a line."""

    text: str
    log_prob: float  # natural logarithm, summed over target tokens and end of sentence
    score: float  # log_prob over the length penalty; the hypotheses of a line are in its order
    tokens: list[int]  # target ids without the end of sentence
    finished: bool = True  # False: the longest length allowed came before an end of sentence


@dataclass(frozen=True)
class Translation:
    """A line and its hypotheses, best first; there is always one."""

    source: str
    hypotheses: list[TextHypothesis]

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.hypotheses[0].text

    @property
    def log_prob(self) -> float:
        """The best hypothesis's log-probability."""
        return self.hypotheses[0].log_prob

    @property
    def score(self) -> float:
        """The best hypothesis's score."""
        return self.hypotheses[0].score


class Piece(NamedTuple):
    """What is searched for at once: a line or, where it is too long, a part of it."""

    line: int  # place in the input, from 0
    text: str
    ids: list[int]  # source ids with the end of sentence


def warn_on_stderr(sentence: str) -> None:
    """Where warnings go unless told otherwise."""
    print(sentence, file=sys.stderr, flush=True)


class Translator:
    """Translates lines of text with an engine; what it answers depends on the line alone.

    `max_tokens` is the length the model was trained for (data.cleaning.max_tokens): a line with more source tokens,
    end of sentence included, is translated in segments, and `warn` is told.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        search: SearchConfig,
        max_tokens: int,
        warn: Callable[[str], None] = warn_on_stderr,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.search = search
        self.max_tokens = max_tokens
        self.warn = warn

    @classmethod
    def load(
        cls,
        run_dir: str | os.PathLike[str],
        checkpoint: str | int | None = None,
        device: str = "auto",
        precision: PRECISIONS | None = None,
        warn: Callable[[str], None] = warn_on_stderr,
    ) -> Translator:
        """The translator of a run directory; see `load_run` for `checkpoint` and what is refused.

        precision is auto, fp32 or bf16; None takes the run's search.precision.
        """
        from nmt.device import choose_device
        from nmt.engines.native import NativeEngine

        run = load_run(run_dir, checkpoint)
        search = run.config.search
        if precision is not None:
            search = dataclasses.replace(search, precision=precision)
        engine = NativeEngine(run.model.to(choose_device(device)))
        return cls(engine, run.tokenizer, search, run.config.data.cleaning.max_tokens, warn)

    def translate(
        self, lines: Sequence[str], *, beam_size: int | None = None, length_penalty: float | None = None
    ) -> list[str]:
        """The best translation of each line; see `translate_nbest`."""
        return [one.text for one in self.translate_nbest(lines, beam_size=beam_size, length_penalty=length_penalty)]

    def translate_nbest(
        self,
        lines: Sequence[str],
        n_best: int = 1,
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        first_line: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> list[Translation]:
        """Up to n_best hypotheses of each line, in the order of the lines.

        beam_size (1 = greedy) and length_penalty default to the search configuration. A line of nothing but white space
        is answered by an empty one. A line in segments has one hypothesis: the segments' best ones joined,
        log-probabilities summed, scored as a whole. Warnings count lines from first_line; `progress` is told after each
        batch how many more lines are done.
        """
        options = self._options(n_best, beam_size, length_penalty)
        pieces = self._pieces(lines, first_line)
        found: list[list[Hypothesis]] = [[] for _ in pieces]
        for batch in batches([len(piece.ids) for piece in pieces], options.tokens_per_batch // options.beam_size):
            hypotheses = self.engine.search([pieces[index].ids for index in batch], options, n_best)
            for index, answer in zip(batch, hypotheses, strict=True):
                found[index] = answer
            if progress is not None:
                progress(len({pieces[index].line for index in batch}))
        return self._assemble(lines, pieces, found, options.length_penalty, first_line)

    def _options(self, n_best: int, beam_size: int | None, length_penalty: float | None) -> SearchConfig:
        options = dataclasses.replace(
            self.search,
            beam_size=self.search.beam_size if beam_size is None else beam_size,
            length_penalty=self.search.length_penalty if length_penalty is None else length_penalty,
        )
        options.check()
        if not 1 <= n_best <= options.beam_size:
            raise UsageError(f"{n_best} best hypotheses need a beam of at least that size: it is {options.beam_size}")
        return options

    def _pieces(self, lines: Sequence[str], first_line: int) -> list[Piece]:
        """Every line that says something as ids, in segments where it is too long."""
        pieces = []
        said = [index for index, line in enumerate(lines) if line.strip()]
        for index, ids in zip(said, self.tokenizer.encode_source([lines[index] for index in said]), strict=True):
            if len(ids) <= self.max_tokens:
                pieces.append(Piece(index, lines[index], ids))
                continue
            segments = split_to_fit(lines[index], self._fits)
            self.warn(
                f"line {first_line + index} has {len(ids)} tokens, more than the {self.max_tokens} the model was "
                f"trained for: it is translated in {len(segments)} segments"
            )
            encoded = self.tokenizer.encode_source(segments)
            pieces += [Piece(index, segment, ids) for segment, ids in zip(segments, encoded, strict=True)]
        return [piece for piece in pieces if len(piece.ids) > 1]  # not those the tokenizer finds nothing in

    def _fits(self, text: str) -> bool:
        return len(self.tokenizer.encode_source([text])[0]) <= self.max_tokens

    def _assemble(
        self, lines: Sequence[str], pieces: list[Piece], found: list[list[Hypothesis]], alpha: float, first_line: int
    ) -> list[Translation]:
        """Answers to pieces as answers to lines."""
        by_line: list[list[tuple[Piece, list[TextHypothesis]]]] = [[] for _ in lines]
        for piece, hypotheses in zip(pieces, found, strict=True):
            by_line[piece.line].append((piece, [self._text(hypothesis) for hypothesis in hypotheses]))
        translations = []
        for line, answers in zip(lines, by_line, strict=True):
            if not answers:
                texts = [TextHypothesis("", 0.0, 0.0, [])]
            elif len(answers) == 1:
                ((_, texts),) = answers
            else:
                texts = [_join([(piece.text, of_piece[0]) for piece, of_piece in answers], alpha)]
            translations.append(Translation(line, texts))
        self._warn_unfinished(translations, first_line)
        return translations

    def _text(self, hypothesis: Hypothesis) -> TextHypothesis:
        text = self.tokenizer.decode_target(hypothesis.tokens)
        text = text.replace("\n", " ").replace("\r", " ")  # spelled by bytes, a line break would end the answer
        return TextHypothesis(text, hypothesis.log_prob, hypothesis.score, hypothesis.tokens, hypothesis.finished)

    def _warn_unfinished(self, translations: list[Translation], first_line: int) -> None:
        unfinished = [
            first_line + index for index, one in enumerate(translations) if not one.hypotheses[0].finished
        ]  # fmt: skip
        if unfinished:
            numbers = ", ".join(map(str, unfinished[:10])) + (", ..." if len(unfinished) > 10 else "")
            self.warn(
                f"{len(unfinished)} translations reached the longest length allowed without an end of sentence "
                f"(search.max_length_ratio, search.max_length_offset); lines: {numbers}"
            )


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches, longest first, of at most `budget` padded tokens each, but of at least one."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _join(parts: list[tuple[str, TextHypothesis]], alpha: float) -> TextHypothesis:
    """The best hypotheses of a line's segments as one, scored over its whole length."""
    best = [hypothesis for _, hypothesis in parts]
    tokens = [token for hypothesis in best for token in hypothesis.tokens]
    log_prob = sum(hypothesis.log_prob for hypothesis in best)
    length = len(tokens) + sum(hypothesis.finished for hypothesis in best)
    text = join_translations([source for source, _ in parts], [hypothesis.text for hypothesis in best])
    score = log_prob / penalties.length_penalty(length, alpha)
    return TextHypothesis(text, log_prob, score, tokens, all(hypothesis.finished for hypothesis in best))
