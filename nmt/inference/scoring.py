"""Log-probabilities of given translations, token by token, by forcing them through the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import Tokenizer
from nmt.inference.batches import by_batch
from nmt.inference.engines.engine import FullEngine
from nmt.inference.hypotheses import Segment, TextHypothesis, TokenScore, Translation
from nmt.search.forced import Forced
from nmt.search.penalties import LengthPenalty


def force(
    engine: FullEngine,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    options: SearchConfig,
    progress: Callable[[int], None] | None = None,
) -> list[Forced]:
    """Return the log-probabilities of each target as the translation of its source, in the order given.

    Source and target ids include the end of sentence, unless a target did not finish. The work is done in batches of
    similar length; `progress` is called after each batch with its number of sentences.
    """
    lengths = [max(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]

    def score(batch: list[int]) -> list[Forced]:
        return engine.score([sources[index] for index in batch], [targets[index] for index in batch], options)

    return by_batch(score, lengths, options.tokens_per_batch, progress)


def with_token_scores(
    translations: Sequence[Translation], engine: FullEngine, tokenizer: Tokenizer, options: SearchConfig
) -> list[Translation]:
    """Return the translations with the `token_scores` of every hypothesis filled in; segments are forced separately."""
    hypotheses = [one for translation in translations for one in translation.hypotheses]
    segments = [segment for one in hypotheses for segment in one.segments]
    targets = [segment.target_ids for segment in segments]
    answers = force(engine, [segment.source_ids for segment in segments], targets, options)
    scores = (_token_scores(tokenizer, ids, forced) for ids, forced in zip(targets, answers, strict=True))

    def scored(hypothesis: TextHypothesis) -> TextHypothesis:
        return dataclasses.replace(hypothesis, token_scores=[one for _ in hypothesis.segments for one in next(scores)])

    return [dataclasses.replace(one, hypotheses=[scored(each) for each in one.hypotheses]) for one in translations]


def score_translations(
    lines: Sequence[str],
    translations: Sequence[str],
    engine: FullEngine,
    tokenizer: Tokenizer,
    options: SearchConfig,
    progress: Callable[[int], None] | None = None,
    tags: Sequence[str | None] | None = None,
) -> list[Translation]:
    """Return the given translation of each line as its only hypothesis, with the score that search would give it.

    An empty translation of an empty line has log-probability 0. `progress` is called after each batch with its number
    of lines.
    """
    pairs = zip(lines, translations, strict=True)
    scored = [Translation(line, [TextHypothesis(text, 0.0, 0.0, [])]) for line, text in pairs]
    filled = [index for index, one in enumerate(scored) if one.source.strip() or one.text.strip()]
    sources = [
        [*tokenizer.tag_ids(tags[index] if tags is not None else None), *ids]
        for index, ids in zip(filled, tokenizer.encode_source([lines[index] for index in filled]), strict=True)
    ]
    targets = tokenizer.encode_target([translations[index] for index in filled])
    answers = force(engine, sources, targets, options, progress)
    length_penalty = LengthPenalty.of(options)
    for index, source, target, forced in zip(filled, sources, targets, answers, strict=True):
        line, text = lines[index], translations[index]
        hypothesis = TextHypothesis(
            text,
            forced.log_prob,
            forced.score(length_penalty),
            target[:-1],
            segments=[Segment(line, source, text, target)],
            token_scores=_token_scores(tokenizer, target, forced),
        )
        scored[index] = Translation(line, [hypothesis])
    return scored


def about_long(translations: Sequence[Translation], max_tokens: int, first_line: int) -> Iterator[str]:
    """Yield a warning about each line that is longer than the model was trained for; lines count from first_line."""
    for number, translation in enumerate(translations, start=first_line):
        tokens = sum(len(segment.source_ids) for segment in translation.hypotheses[0].segments)
        if tokens > max_tokens:
            yield (
                f"line {number} has {tokens} tokens, more than the {max_tokens} the model was trained for: it is "
                "scored as a whole"
            )


def _token_scores(tokenizer: Tokenizer, ids: Sequence[int], forced: Forced) -> list[TokenScore]:
    return list(map(TokenScore, tokenizer.target_pieces(ids), forced.token_log_probs))
