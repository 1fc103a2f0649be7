"""The section of a comparison on the heads of Transformers: entropy, distance and the head that aligns words best."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from nmt.config.options.transformer import PlaceName
from nmt.evaluation.sets import EvaluationSet
from nmt.report.plots import Line
from nmt.report.systems import System

if TYPE_CHECKING:
    from nmt.data.alignments import Gold
    from nmt.evaluation.heads import HeadMeasures

Results = dict[str, Any]
ATTENTIONS: dict[PlaceName, str] = {
    "encoder_self": "encoder self-attention",
    "decoder_self": "decoder self-attention",
    "decoder_cross": "attention to the source",
}
MEASURES = {"entropy": "entropy (nats)", "distance": "distance (tokens)"}


def heads_of_systems(
    systems: Sequence[System],
    test_set: EvaluationSet,
    gold: Sequence[Gold] | None = None,
    gold_name: str | Path = "the gold alignment",
    device: str = "auto",
    log: Callable[[str], None] = lambda line: None,
) -> list[Results]:
    """Measure the heads of each Transformer as nmt-heads does, forced to produce the first reference.

    With gold links, each entry names the head of the attention to the source whose alignment has the least error.
    """
    from nmt.device import choose_device
    from nmt.evaluation.heads import measure_run

    entries = []
    for system in systems:
        if system.run is not None and system.run.config.model.family == "transformer":
            log(f"{system.name}: measuring its heads")
            system.run.model.to(choose_device(device))
            measured = measure_run(system.run, test_set, test_set.tags, gold, gold_name, importance=False)
            entries.append({"name": system.name, "attentions": _by_layer(measured), "best": _best(measured)})
    return entries


def _by_layer(measured: Sequence[HeadMeasures]) -> list[Results]:
    """Return the means over the heads of each layer, for each attention; None for a layer without heads."""
    attentions = []
    for key in get_args(PlaceName):
        of_key = [each for each in measured if each.head.place.key == key]
        layers = range(max((each.head.place.layer for each in of_key), default=-1) + 1)
        in_layers = [[each for each in of_key if each.head.place.layer == layer] for layer in layers]
        means = {
            name: [statistics.fmean(getattr(each, name) for each in heads) if heads else None for heads in in_layers]
            for name in MEASURES
        }
        if of_key:
            attentions.append({"attention": key, **means})
    return attentions


def _best(measured: Sequence[HeadMeasures]) -> Results | None:
    """Return the head with the least alignment error rate, the first of equals; None without gold links."""
    scored = [(each.aer, str(each.head)) for each in measured if each.aer is not None]
    if not scored:
        return None
    aer, head = min(scored, key=lambda each: each[0])
    return {"head": head, "aer": aer}


def heads_panels(entries: Sequence[Results]) -> list[tuple[str, str, list[Line]]]:
    """Return panels of both measures over layers, for each attention, without panels that have no points."""
    panels = []
    for (key, name), (measure, y_title) in product(ATTENTIONS.items(), MEASURES.items()):
        lines = []
        for entry in entries:
            of_layers = [each[measure] for each in entry["attentions"] if each["attention"] == key]
            points = [(layer, value) for layer, value in enumerate(chain(*of_layers)) if value is not None]
            if points:
                lines.append(Line(entry["name"], *zip(*points, strict=True)))
        if lines:
            panels.append((f"layer, {name}", y_title, lines))
    return panels


def heads_rows(entries: Sequence[Results]) -> list[Results]:
    """Return the rows of the table: system, attention, measure and a value for each layer, or None without heads."""
    layers = max((len(each["entropy"]) for entry in entries for each in entry["attentions"]), default=0)
    return [
        {
            "system": entry["name"],
            "attention": ATTENTIONS[each["attention"]],
            "measure": title,
            "values": [*each[measure], *[None] * (layers - len(each[measure]))],
        }
        for entry in entries
        for each in entry["attentions"]
        for measure, title in MEASURES.items()
    ]
