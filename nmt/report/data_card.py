"""Write the data card of a prepared corpus: its sizes, what cleaning dropped, and how well it covers the test sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nmt import __version__
from nmt.config.languages import is_unspaced
from nmt.config.schema import Config
from nmt.data.cleaning import EXAMPLES, MENDED, RULES, normalise_whitespace, switched_off
from nmt.data.corpora import test_sets
from nmt.data.prepare import Prepared
from nmt.data.statistics import RATIO_EDGES, Counts, Overlap, SideCounts, TextCounts, count_lines, count_store, summary
from nmt.data.store import SIDES
from nmt.data.tokenizer import EOS, UNK, Model
from nmt.errors import Damaged, NmtError
from nmt.evaluation.sets import sets_of
from nmt.files import atomic_write, check_writable
from nmt.pictures.heatmap import to_svg
from nmt.reading import read_object
from nmt.report.page import inline_svg, render_page
from nmt.report.plots import Histogram, Line, frequency_chart, histogram_chart

Pairs = list[tuple[str, str]]

SECTIONS = ("Sizes", "Lengths", "Cleaning", "Coverage", "Overlap", "Vocabulary", "Round trip")
BANDS = ((0, 0), (1, 9), (10, 99), (100, 999), (1000, None))  # ranges of a piece's occurrences in the training text
_MOST_FREQUENT = 20  # how many pieces are shown
_UNSEEN = 40  # how many unseen characters are shown
_BARS = 60  # most bars in a histogram


def check_places(page: Path) -> None:
    """Raise NmtError if the page or its figures cannot be written, or would overwrite another JSON file."""
    figures = page.with_suffix(".json")
    for path in (page, figures):
        check_writable(path)
    try:
        is_ours = not figures.exists() or {"fingerprints", "cleaning"} <= read_object(figures).keys()
    except Damaged:
        is_ours = False
    if not is_ours:
        raise NmtError(f"{figures} would be overwritten, and holds no figures of a data card: choose another name")


def write_data_card(config: Config, prepared: Prepared, page: Path, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the page, and its figures as .json under the same name in the same folder; return the figures."""
    sets = _sets(config, prepared, log)
    log("counting what was prepared")
    overlap = Overlap([pair for pairs in sets.values() for pair in pairs])
    train = count_store(prepared.train, _models(prepared), overlap)
    figures = _figures(config, prepared, train, sets, overlap)
    with atomic_write(page.with_suffix(".json")) as file:
        file.write(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    with atomic_write(page) as file:
        file.write(_page(figures))
    return figures


def _sets(config: Config, prepared: Prepared, log: Callable[[str], None]) -> dict[str, Pairs]:
    """Return the pairs of the validation and test sets by name, with white space normalised as in training."""
    texts = {"validation": prepared.val_lines}
    if test_sets(config.data):
        for test_set in sets_of(config, say=log):
            name = f"{test_set.name} (test set)" if test_set.name in ("training", "validation") else test_set.name
            texts[name] = list(zip(test_set.sources, test_set.references, strict=True))
    return {
        name: [(normalise_whitespace(source), normalise_whitespace(target)) for source, target in pairs]
        for name, pairs in texts.items()
    }


# -- figures ------------------------------------------------------------------------------------------------------


def _figures(
    config: Config, prepared: Prepared, train: TextCounts, sets: dict[str, Pairs], overlap: Overlap
) -> dict[str, Any]:
    """Return the content of the .json file."""
    tokenizer, data, models = prepared.tokenizer, config.data, _models(prepared)
    return {
        "version": __version__,
        "folder": prepared.folder.name,
        "languages": [data.source_language, data.target_language],
        "fingerprints": prepared.fingerprints,
        "tokenizer": asdict(config.tokenizer) | {"joint": tokenizer.joint, "sizes": [model.size for model in models]},
        "cleaning": prepared.report["cleaning"]
        | {"settings": asdict(data.cleaning), "switched_off": switched_off(data.cleaning)},
        "train": _text(train, models),
        "sets": [_set(name, pairs, train, models, overlap) for name, pairs in sets.items()],
        "histograms": {
            kind: {side: getattr(_side(train, side), kind).tolist() for side in SIDES}
            for kind in ("words", "characters", "tokens")
        }
        | {"ratio": {"log2_edges": RATIO_EDGES.tolist(), "pairs": train.ratios.tolist()}},
        "vocabulary": _vocabulary(train, models, tokenizer.joint),
        "round_trip": prepared.report["round_trip"],
    }


def _models(prepared: Prepared) -> tuple[Model, Model]:
    return prepared.tokenizer.source, prepared.tokenizer.target


def _text(counts: TextCounts, models: tuple[Model, Model]) -> dict[str, Any]:
    """Return the number of pairs and, for each side, its lengths and the tokens that are unknown or bytes."""
    sides = {side: _sizes(_side(counts, side), model) for side, model in zip(SIDES, models, strict=True)}
    return {"pairs": counts.pairs} | sides


def _sizes(side: SideCounts, model: Model) -> dict[str, Any]:
    ids = _by_id(side, model)
    lengths = {kind: summary(getattr(side, kind)) for kind in ("words", "characters", "tokens")}
    words, characters, tokens = (lengths[kind]["total"] for kind in ("words", "characters", "tokens"))
    return {
        **lengths,
        "tokens_per_word": tokens / words if words else None,
        "characters_per_token": characters / tokens if tokens else None,
        "distinct_characters": int(np.count_nonzero(side.code_points)),
        "unknown_tokens": int(ids[UNK]),
        "byte_tokens": int(ids[model.byte_ids].sum()),
    }


def _set(name: str, pairs: Pairs, train: TextCounts, models: tuple[Model, Model], overlap: Overlap) -> dict[str, Any]:
    """Return a validation or test set's sizes, its characters that training lacks, and its lines that training has."""
    counts = count_lines(pairs, models)
    found = overlap.of(pairs)
    return {
        "name": name,
        **_text(counts, models),
        "unseen_characters": {side: _unseen(_side(counts, side), _side(train, side)) for side in SIDES},
        "in_training": {kind: len(rows) for kind, rows in found.items()},
        "in_training_examples": [list(pairs[row]) for row in found["pair"][:EXAMPLES]],
    }


def _unseen(side: SideCounts, train: SideCounts) -> dict[str, Any]:
    """Return the characters that the same side of the training text does not have, most frequent first."""
    codes = np.setdiff1d(np.flatnonzero(side.code_points), np.flatnonzero(train.code_points))
    occurrences = side.code_points[codes]
    order = np.argsort(-occurrences, kind="stable")
    return {
        "distinct": len(codes),
        "occurrences": int(occurrences.sum()),
        "characters": "".join(map(chr, codes[order])),
    }


def _vocabulary(train: TextCounts, models: tuple[Model, Model], joint: bool) -> dict[str, Any]:
    """Count how often the vocabulary's pieces occur in training: by side, and in total if the vocabulary is joint."""
    counts = [_by_id(_side(train, side), model) for side, model in zip(SIDES, models, strict=True)]
    named = dict(zip(SIDES, zip(counts, models, strict=True), strict=True))
    if joint:
        named["both"] = (counts[0] + counts[1], models[0])
    return {name: _usage(*entry) for name, entry in named.items()}


def _usage(counts: Counts, model: Model) -> dict[str, Any]:
    used = counts[EOS + 1 :]  # leave out the special symbols before
    end = used.max(initial=0)
    top = np.argsort(-used, kind="stable")[:_MOST_FREQUENT]
    ranked = np.sort(used[used > 0])[::-1]
    places = np.unique(np.rint(np.geomspace(1, max(1, len(ranked)), 100)).astype(int))[: len(ranked)]
    return {
        "pieces": len(used),
        "bands": [
            {
                "least": least,
                "most": most,
                "pieces": int(np.count_nonzero((used >= least) & (used <= (end if most is None else most)))),
            }
            for least, most in BANDS
        ],
        "most_frequent": [
            [piece, int(used[row])] for piece, row in zip(model.pieces((top + EOS + 1).tolist()), top, strict=True)
        ],
        "frequency_of_rank": [[int(rank), int(ranked[rank - 1])] for rank in places],
    }


def _by_id(side: SideCounts, model: Model) -> Counts:
    """Return the number of occurrences of each id in the vocabulary: [vocabulary size]."""
    return np.pad(side.ids, (0, model.size - len(side.ids)))


def _side(counts: TextCounts, side: str) -> SideCounts:
    return counts.source if side == "source" else counts.target


# -- page ---------------------------------------------------------------------------------------------------------


def _page(figures: dict[str, Any]) -> str:
    cleaning, train = figures["cleaning"], figures["train"]
    pictures = {"lengths": _length_chart(figures), "frequencies": _frequency_chart(figures)}
    source, target = figures["languages"]
    tokens = [train[side]["tokens"]["total"] for side in SIDES]
    kept = f"{cleaning['kept']:,} of {cleaning['read']:,} training pairs kept"
    return render_page(
        "data_card.html",
        title=f"{source} → {target}: data card",
        languages=f"{source} → {target}",
        lede=f"{kept}: {tokens[0]:,} source and {tokens[1]:,} target tokens.",
        sections=[{"id": title.lower().replace(" ", "-"), "title": title} for title in SECTIONS],
        figures=figures,
        texts=[{"name": "training", **train}, *figures["sets"]],
        spaced={side: not is_unspaced(code) for side, code in zip(SIDES, figures["languages"], strict=True)},
        language=dict(zip(SIDES, figures["languages"], strict=True)),
        rules=RULES,
        mended_meaning=MENDED,
        most_dropped=max(cleaning["dropped"].values()),
        shown_unseen=_UNSEEN,
        pictures={name: inline_svg(svg, name) for name, svg in pictures.items()},
    )


def _length_chart(figures: dict[str, Any]) -> str:
    """Draw histograms of the lengths of both sides and of the length ratio, as SVG."""
    kinds = ["tokens", "characters"]
    if not any(map(is_unspaced, figures["languages"])):
        kinds.insert(0, "words")
    panels = [
        Histogram(f"{kind} in a sentence", *_binned([figures["histograms"][kind][side] for side in SIDES]))
        for kind in kinds
    ]
    ratio = figures["histograms"]["ratio"]
    panels.append(
        Histogram(
            "target characters over source characters",
            [2**edge for edge in ratio["log2_edges"]],
            [[count / max(1, sum(ratio["pairs"])) for count in ratio["pairs"]]],
            logarithmic=True,
        )
    )
    return to_svg(histogram_chart(panels, figures["languages"]))


def _binned(counts: Sequence[Sequence[int]]) -> tuple[list[float], list[list[float]]]:
    """Return edges of equal bins, which cover all but 0.1% of the sentences, and the share of each bin by side."""
    arrays = [np.asarray(side) for side in counts]
    end = max(int(np.searchsorted(np.cumsum(side), 0.999 * side.sum())) for side in arrays) + 1
    width = -(-end // _BARS)
    edges: list[float] = np.arange(0, end + width, width, dtype=float).tolist()
    binned = [np.histogram(np.arange(len(side)), np.asarray(edges) - 0.5, weights=side)[0] for side in arrays]
    return edges, [(side / total.sum()).tolist() for side, total in zip(binned, arrays, strict=True)]


def _frequency_chart(figures: dict[str, Any]) -> str:
    """Draw the frequency of each side's pieces over their rank (Zipf), as SVG."""
    lines = [
        Line(name, *zip(*figures["vocabulary"][side]["frequency_of_rank"], strict=True))
        for side, name in zip(SIDES, figures["languages"], strict=True)
    ]
    return to_svg(frequency_chart(lines))
