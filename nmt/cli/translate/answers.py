"""Translating lines as the options ask and formatting the results as lines of text or JSON."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nmt.cli.translate.beside import check_attends, read_beside, write_attention
from nmt.cli.translate.counting import say
from nmt.cli.translate.options import reader_of, sampling_of
from nmt.config.load import override_search
from nmt.inference.lines import Line

if TYPE_CHECKING:
    from nmt.inference.hypotheses import TextHypothesis, Translation
    from nmt.inference.translator import Translator


def load_translator(arguments: Namespace) -> Translator:
    """Load the translator that the options describe and check that it supports what they ask for."""
    from nmt.inference.translator import Translator

    translator = Translator.load(
        arguments.run_dir,
        arguments.checkpoint,
        arguments.device,
        arguments.precision,
        warn=say,
        engine=arguments.engine,
    )
    translator.search = override_search(translator.search, arguments.search)
    translator.check(arguments.beam_size, arguments.length_penalty)
    check_attends(translator, arguments)
    translator.check_tags(arguments.tag)
    return translator


def answers(
    translator: Translator,
    lines: Sequence[Line],
    first_line: int,
    arguments: Namespace,
    progress: Callable[[int], None] | None = None,
) -> list[bytes]:
    """Return one line of output, with its line end, for each line of input; `first_line` is the number of lines[0]."""
    translations = _asked(translator, [line.text for line in lines], first_line, arguments, progress)
    if arguments.attention_files:
        write_attention(arguments, translator, translations, first_line)
    reader = reader_of(arguments)
    return [
        reader.answer(line, _written(translation, number, arguments).encode("utf-8"))
        for number, (line, translation) in enumerate(zip(lines, translations, strict=True), start=first_line)
    ]


def _asked(
    translator: Translator,
    lines: Sequence[str],
    first_line: int,
    arguments: Namespace,
    progress: Callable[[int], None] | None,
) -> list[Translation]:
    """Return what the options ask for: scores of given translations, samples, the MBR translation or the n-best."""
    asked: dict[str, Any] = {"tags": arguments.tag, "first_line": first_line, "progress": progress}
    if arguments.mbr is None:
        asked["length_penalty"] = arguments.length_penalty
    targets = read_beside(arguments, "score", first_line, len(lines))
    if targets is not None:
        return translator.score(lines, targets, **asked)
    asked["prefixes"] = read_beside(arguments, "prefix", first_line, len(lines))
    if arguments.sample is not None:
        return translator.sample(lines, arguments.sample, sampling_of(arguments), token_scores=True, **asked)
    if arguments.mbr is not None:
        return translator.translate_mbr(lines, arguments.mbr, sampling_of(arguments), **asked)
    asked["token_scores"] = arguments.n_best is not None and translator.can_score
    return translator.nbest(lines, arguments.n_best or 1, beam_size=arguments.beam_size, **asked)


def _written(translation: Translation, number: int, arguments: Namespace) -> str:
    """Return a line of output: plain text, or a JSON object if the options ask for more than one translation."""
    record: dict[str, Any] = {"line": number, "source": translation.source}
    if arguments.score is not None:
        (scored,) = translation.hypotheses
        record.update(translation=scored.text, log_prob=scored.log_prob, score=scored.score, **_token_scores(scored))
    elif arguments.n_best is not None or arguments.sample is not None:
        shown = ("text", "log_prob", "score", "finished")
        record["hypotheses"] = [
            {**{key: getattr(one, key) for key in shown}, **_token_scores(one)} for one in translation.hypotheses
        ]
    else:
        return translation.text
    return json.dumps(record, ensure_ascii=False)


def _token_scores(hypothesis: TextHypothesis) -> dict[str, list[Any]]:
    """Return the JSON fields for the tokens, as pieces of text, and their log-probabilities.

    There are no fields if the engine does not compute token scores; for a line without text, both lists are empty.
    """
    scores = hypothesis.token_scores
    if not scores and hypothesis.segments:
        return {}
    return {"tokens": [one.piece for one in scores], "token_log_probs": [one.log_prob for one in scores]}
