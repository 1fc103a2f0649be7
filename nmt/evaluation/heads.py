"""Measurements of each head of a Transformer: its importance, entropy and distance, and how well it aligns words.

All of it is measured while the model is forced to produce given translations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nmt.attention.heads import Heads
from nmt.attention.heads.gates import gated
from nmt.config.heads import Head
from nmt.config.mechanisms import Place
from nmt.data.alignments import Gold, Link
from nmt.data.batch import Batch, collate
from nmt.data.tags import Tags, tags_of_lines
from nmt.data.tokenizer import PAD, Tokenizer
from nmt.errors import returned_nan
from nmt.evaluation.alignment_error import alignment_scores, check_gold
from nmt.evaluation.sets import EvaluationSet
from nmt.inference.batches import batches
from nmt.inference.word_attention import PieceAttention, Side, on_words, sides_of
from nmt.models.attention_heads import heads_of
from nmt.models.contract import Decoded, Decoder
from nmt.models.seq2seq import Seq2Seq, sayable
from nmt.runs.run import LoadedRun

_TOKENS_PER_BATCH = 2048  # padded tokens forced through the model at once, all of whose logits are in memory


@dataclass(frozen=True)
class HeadMeasures:
    """The measurements of one head."""

    head: Head
    # the mean entropy, in nats, of the weights with which a position attends
    entropy: float
    # the mean distance, in tokens, of what a position attends to: from itself; in attention to the source, from the
    # diagonal, which leads from the first tokens of both sides to the last ones
    distance: float
    importance: float | None = None  # Michel et al. 2019, eq. 2, with the loss per target token of a sentence
    normalised: float | None = None  # the importance, divided by the l2 norm of those of all heads of its attention
    aer: float | None = None  # alignment error rate of attention to the source


class _Sums:
    """The sums of measures of the heads of one attention."""

    def __init__(self, heads: int) -> None:
        self.entropy = torch.zeros(heads, dtype=torch.float64)
        self.distance = torch.zeros(heads, dtype=torch.float64)
        self.queries = torch.zeros(heads, dtype=torch.float64)
        self.importance = torch.zeros(heads, dtype=torch.float64)

    def add_weights(self, weights: Tensor, expected: Tensor, queries: Tensor) -> None:
        """Add weights [batch, heads, queries, keys]; see `entropies` and `distances` for `expected`.

        queries [batch, queries] is False at padding.
        """
        total = weights.abs().sum(dim=-1)
        counted = queries.unsqueeze(1) & (total > 0)  # some mechanisms let a position attend to nothing
        for sums, values in (
            (self.entropy, entropies(weights)),
            (self.distance, distances(weights, expected)),
            (self.queries, torch.ones_like(total)),
        ):
            sums += torch.where(counted, values, 0.0).sum(dim=(0, 2), dtype=torch.float64).cpu()


class HeadMeter:
    """Adds up, over batches of sentence pairs, what the heads of a model do."""

    def __init__(self, model: Seq2Seq) -> None:
        self.model = model
        self.places = heads_of(model)
        self._sums = {place: _Sums(heads.num_heads) for place, heads in self.places.items()}
        self._sentences = 0

    def add(self, batch: Batch, importance: bool = False) -> dict[Place, Tensor]:
        """Measure a batch on the model's device; return the weights [batch, heads, queries, keys] of each attention."""
        if importance:
            weights = self._add_importance(batch)
        else:
            with torch.no_grad():
                _, weights = self._force(batch)
        queries = {"encoder_self": batch.src_mask, "decoder_self": batch.tgt_out != PAD}
        queries["decoder_cross"] = queries["decoder_self"]
        for place, of_place in weights.items():
            if of_place.isnan().any():
                raise returned_nan()
            expected = torch.arange(of_place.size(2), device=of_place.device).expand(of_place.size(0), -1)
            if place.key == "decoder_cross":
                expected = expected * _slopes(batch).unsqueeze(1)
            self._sums[place].add_weights(of_place, expected, queries[place.key])
        return weights

    def _add_importance(self, batch: Batch) -> dict[Place, Tensor]:
        """Add |dL(x) / dxi_h| of each sentence x and head h, where L(x) is the loss per target token."""
        like = self.model.projection.weight
        with torch.enable_grad(), gated(list(self.places.values()), len(batch.src), like) as gates:
            decoded, weights = self._force(batch)
            logits = sayable(self.model.projection(decoded.hidden)).transpose(1, 2)  # [batch, vocab, tgt_len]
            nll = cross_entropy(logits, batch.tgt_out, ignore_index=PAD, reduction="none").sum(dim=1)
            losses = nll / (batch.tgt_out != PAD).sum(dim=1)
            slopes = torch.autograd.grad(losses.sum(), gates)
        for sums, of_place in zip(self._sums.values(), slopes, strict=True):
            sums.importance += of_place.abs().sum(dim=0, dtype=torch.float64).cpu()
        self._sentences += len(batch.src)
        return {place: of_place.detach() for place, of_place in weights.items()}

    def _force(self, batch: Batch) -> tuple[Decoded, dict[Place, Tensor]]:
        """Force a batch through the model; return what the decoder does and the weights of each attention's heads."""
        decoder = cast(Decoder, self.model.decoder)
        encoded = self.model.encoder(
            batch.src, batch.src_mask, batch.src_lengths, need_weights=True, need_layers=decoder.reads_layers
        )
        decoded, _ = decoder(batch.tgt_in, decoder.read(encoded), need_weights=True)
        found = {
            "encoder_self": encoded.weights,
            "decoder_self": decoded.self_weights,
            "decoder_cross": decoded.weights,
        }
        return decoded, {
            place: cast(Tensor, found[place.key])[:, place.layer, heads.numbers] for place, heads in self.places.items()
        }

    def measures(self) -> list[HeadMeasures]:
        """Return the means over all batches, in the order of the attentions and heads."""
        measured = []
        for place, sums in self._sums.items():
            queries, importance = sums.queries.clamp(min=1), sums.importance / max(self._sentences, 1)
            normalised = importance / importance.norm().clamp(min=1e-30)
            for index, number in enumerate(self.places[place].numbers):
                weighed = (float(importance[index]), float(normalised[index])) if self._sentences else (None, None)
                entropy, distance = (float((each / queries)[index]) for each in (sums.entropy, sums.distance))
                measured.append(HeadMeasures(Head(place, number), entropy, distance, *weighed))
        return measured


def entropies(weights: Tensor) -> Tensor:
    """Return the entropy -sum_j p_j log p_j, in nats, along the last axis.

    p are the absolute values of the weights divided by their sum: the weights themselves, with most mechanisms.
    """
    entropy: Tensor = torch.special.entr(_shares(weights)).sum(dim=-1)
    return entropy


def distances(weights: Tensor, expected: Tensor) -> Tensor:
    """Return sum_j p_j |j - e|, the mean distance of the keys of weights [batch, heads, queries, keys], for each query.

    expected [batch, queries] holds the position e from which each query counts; p is as for `entropies`.
    """
    keys = torch.arange(weights.size(-1), device=weights.device)
    far = (keys - expected.unsqueeze(-1)).abs().to(weights.dtype)  # [batch, queries, keys]
    mean: Tensor = (_shares(weights) * far.unsqueeze(1)).sum(dim=-1)
    return mean


def _shares(weights: Tensor) -> Tensor:
    absolute = weights.abs()
    return absolute / absolute.sum(dim=-1, keepdim=True).clamp(min=1e-30)


def _slopes(batch: Batch) -> Tensor:
    """Return how many source tokens the diagonal of each sentence advances for a target token: [batch]."""
    source, target = batch.src_mask.sum(dim=1), (batch.tgt_out != PAD).sum(dim=1)
    return (source - 1) / (target - 1).clamp(min=1)


def measure_heads(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    languages: Sequence[tuple[str, str]] | None = None,
    tags: Sequence[str | None] | None = None,
    gold: Sequence[Gold] | None = None,
    gold_name: str | Path = "the gold alignment",
    *,
    importance: bool = True,
) -> list[HeadMeasures]:
    """Measure the heads of a model on sentence pairs; with gold links, also the error of each head's alignment.

    `languages` has the source and the target language of each pair of lines; in a language written without spaces, the
    pieces are used as words. Without `importance`, which takes a backward pass, that measure is None. The model is left
    in evaluation mode. Raises NmtError if a gold link, from the file `gold_name`, points to a word that its sentence
    does not have.
    """
    meter = HeadMeter(model.eval())
    pairs = sides_of(tokenizer, sources, targets, tags)
    device = model.projection.weight.device
    aligned = _Aligned(meter.places, len(pairs))
    for rows in batches([max(len(side.ids) for side in pair) for pair in pairs], _TOKENS_PER_BATCH):
        batch = collate([pairs[row][0].ids for row in rows], [pairs[row][1].ids for row in rows]).to(device)
        weights = meter.add(batch, importance)
        if gold is not None:
            spoken = [("", "") if languages is None else languages[row] for row in rows]
            aligned.add(rows, [pairs[row] for row in rows], weights, spoken)
    measures = meter.measures()
    if gold is None:
        return measures
    check_gold(gold, aligned.words, gold_name)
    errors = {head: alignment_scores(links, gold).aer for head, links in aligned.links.items()}
    return [replace(each, aer=errors.get(each.head)) for each in measures]


def measure_run(
    run: LoadedRun,
    pairs: EvaluationSet,
    tags: Tags,
    gold: Sequence[Gold] | None,
    gold_name: str | Path,
    *,
    importance: bool = True,
) -> list[HeadMeasures]:
    """Measure the heads of a run, which is on its device, on pairs with tags; see `measure_heads`."""
    data = run.config.data
    each = tags_of_lines(tags, len(pairs.sources), run.tokenizer, data.always_tagged)
    return measure_heads(
        run.model,
        run.tokenizer,
        pairs.sources,
        pairs.references,
        [data.languages_of(tag) for tag in each],
        each,
        gold,
        gold_name,
        importance=importance,
    )


class _Aligned:
    """The links that each head of the attention to the source finds between the words of sentence pairs."""

    def __init__(self, places: Mapping[Place, Heads], pairs: int) -> None:
        self._numbers = {place: heads.numbers for place, heads in places.items() if place.key == "decoder_cross"}
        self.links = {
            Head(place, number): [list[Link]()] * pairs
            for place, numbers in self._numbers.items()
            for number in numbers
        }
        self.words = [(0, 0)] * pairs  # the numbers of source words and target words of each pair

    def add(
        self,
        rows: Sequence[int],
        pairs: Sequence[tuple[Side, Side]],
        weights: dict[Place, Tensor],
        languages: Sequence[tuple[str, str]],
    ) -> None:
        """Add the links of a batch with the weights of each attention; `rows` are the places of its sentence pairs."""
        for place, numbers in self._numbers.items():
            of_pairs = weights[place].float().cpu().numpy()
            for row, (source, target), spoken, of_pair in zip(rows, pairs, languages, of_pairs, strict=True):
                pieces = of_pair[:, : len(target.ids), : len(source.ids)]
                words = on_words(PieceAttention(pieces, source, target), spoken)
                self.words[row] = len(words.source_words), len(words.target_words)
                for number, of_head in zip(numbers, words.weights, strict=True):
                    self.links[Head(place, number)][row] = replace(words, weights=of_head).links
