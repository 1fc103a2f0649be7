"""Measures of heads: importance by finite differences, entropy and distance by loops, alignment as nmt-align has it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from nmt.attention.heads.gates import gated
from nmt.config.heads import Head
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import ShareLayersConfig
from nmt.data.alignments import parse_links
from nmt.data.batch import Batch, collate
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.evaluation.alignment_error import alignment_scores
from nmt.evaluation.heads import HeadMeasures, HeadMeter, distances, entropies, measure_heads
from nmt.inference.word_attention import Selection, word_attention
from nmt.models.attention_heads import heads_of, module_of
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from tests.models.variants import VARIANTS
from tests.toy_run import made_up_lines, toy_model, toy_tokenizer

SOURCES = [[5, 6, 7, 8, EOS], [9, 10, EOS], [11, 12, 13, EOS]]
TARGETS = [[14, 15, EOS], [16, 17, 18, 19, EOS], [EOS]]
# a layer without heads, heads removed, heads that share keys, zero weights, weights that sum to any number
NAMES = ["transformer-post", "transformer-ssru-softmax", "transformer-removed-heads", "transformer-multi-query",
         "transformer-removed-alibi", "transformer-talking-heads"]  # fmt: skip


def model_of(name: str) -> Seq2Seq:
    torch.manual_seed(4)
    config = VARIANTS[name]
    assert isinstance(config, TransformerConfig)
    model = build_model(config, 20, 20).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model


def measured(model: Seq2Seq, batch: Batch, importance: bool = False) -> dict[Head, HeadMeasures]:
    meter = HeadMeter(model)
    meter.add(batch, importance)
    return {each.head: each for each in meter.measures()}


def losses(model: Seq2Seq) -> list[float]:
    """Return the loss per target token of each sentence by itself."""
    found = []
    for source, target in zip(SOURCES, TARGETS, strict=True):
        batch = collate([source], [target])
        logits = model.projection(model(batch.src, batch.src_mask, batch.tgt_in).hidden)[0]
        logits[:, [PAD, BOS]] = -math.inf
        log_probs = logits.log_softmax(-1).gather(1, batch.tgt_out[0, :, None])
        found.append(-log_probs.mean().item())
    return found


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_importance_is_the_mean_absolute_slope_of_the_losses(name: str) -> None:
    model, step = model_of(name), 1e-5
    before = {key: value.clone() for key, value in model.state_dict().items()}
    by_head = measured(model, collate(SOURCES, TARGETS), importance=True)
    assert model.state_dict().keys() == before.keys()
    assert len(by_head) == sum(heads.num_heads for heads in heads_of(model).values())
    for place, heads in heads_of(model).items():
        slopes = []
        for index, number in enumerate(heads.numbers):
            columns = slice(index * heads.head_dim, (index + 1) * heads.head_dim)
            weight = model.get_submodule(f"{module_of(place)}.output_projection").weight
            own, answers = weight[:, columns].clone(), []
            for factor in (1 + step, 1 - step):
                weight[:, columns] = factor * own
                answers.append(losses(model))
            weight[:, columns] = own
            of_sentences = [abs(more - less) / (2 * step) for more, less in zip(*answers, strict=True)]
            slopes.append(sum(of_sentences) / len(SOURCES))
            assert by_head[Head(place, number)].importance == pytest.approx(slopes[-1], rel=1e-4, abs=1e-8)
        norm = math.sqrt(sum(slope**2 for slope in slopes))
        for number, slope in zip(heads.numbers, slopes, strict=True):
            assert by_head[Head(place, number)].normalised == pytest.approx(slope / norm, rel=1e-4)


@pytest.mark.parametrize("name", ["transformer-shared-layers", "transformer-layers-in-turn"])
def test_layers_with_the_same_weights_are_measured_one_by_one(name: str) -> None:
    model, config = model_of(name), VARIANTS[name]
    copies = build_model(dataclasses.replace(config, share_layers=ShareLayersConfig()), 20, 20).double().eval()
    copies.load_state_dict(model.state_dict())
    found, expected = (measured(each, collate(SOURCES, TARGETS), importance=True) for each in (model, copies))
    assert found.keys() == expected.keys()
    for head, own in expected.items():
        for measure in ("entropy", "distance", "importance", "normalised"):
            assert getattr(found[head], measure) == pytest.approx(getattr(own, measure)), head


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_entropy_and_distance_are_means_over_the_positions_of_all_sentences(name: str) -> None:
    model = model_of(name)
    by_head = measured(model, collate(SOURCES, TARGETS))
    for (place, number), each in by_head.items():
        kind = {"encoder_self": "encoder", "decoder_self": "decoder", "decoder_cross": "cross"}[place.key]
        entropy, far = [], []
        for source, target in zip(SOURCES, TARGETS, strict=True):
            batch = collate([source], [target])
            weights = model.attention(batch.src, batch.src_mask, batch.tgt_in, kind)[0, place.layer, number]  # type: ignore[arg-type]
            for i, row in enumerate(weights.tolist()):
                p = [abs(w) / sum(map(abs, row)) for w in row]
                on = i * (len(source) - 1) / max(len(target) - 1, 1) if kind == "cross" else i
                entropy.append(-sum(share * math.log(share) for share in p if share))
                far.append(sum(share * abs(j - on) for j, share in enumerate(p)))
        assert each.entropy == pytest.approx(sum(entropy) / len(entropy))
        assert each.distance == pytest.approx(sum(far) / len(far))


def test_hand_made_weights() -> None:
    weights = torch.tensor([[[[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0.5, 0, 0.5]]]])
    torch.testing.assert_close(entropies(weights), torch.tensor([[[0.0, math.log(4), math.log(2)]]]))
    expected = torch.tensor([[2.0, 1.0, 1.5]])
    torch.testing.assert_close(distances(weights, expected), torch.tensor([[[2.0, 1.0, 1.0]]]))


def test_positions_that_attend_to_nothing_do_not_count() -> None:
    model = model_of("transformer-rela")
    meter = HeadMeter(model)
    place = Place("encoder_self", 0)
    weights = torch.tensor([[[[0.0, 0.0], [0.3, 0.3]]]]).expand(1, 2, -1, -1)
    meter._sums[place].add_weights(weights, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    first = meter.measures()[0]
    assert (first.entropy, first.distance) == (pytest.approx(math.log(2)), pytest.approx(0.5))


def test_gates_are_gone_afterwards_also_after_an_error() -> None:
    model = model_of("transformer-post")
    places = list(heads_of(model).values())
    names = set(model.state_dict())
    with pytest.raises(RuntimeError), gated(places, 2, torch.zeros(1)) as gates:
        assert len(set(model.state_dict()) - names) == len(gates) == 6
        raise RuntimeError
    assert set(model.state_dict()) == names


def test_batches_add_up() -> None:
    model = model_of("transformer-post")
    together = HeadMeter(model)
    together.add(collate(SOURCES, TARGETS), importance=True)
    apart = HeadMeter(model)
    for source, target in zip(SOURCES, TARGETS, strict=True):
        apart.add(collate([source], [target]), importance=True)
    for one, other in zip(together.measures(), apart.measures(), strict=True):
        for name in ("entropy", "distance", "importance", "normalised"):
            assert getattr(one, name) == pytest.approx(getattr(other, name))


def test_alignments_of_heads_are_those_of_a_selection() -> None:
    model, tokenizer = toy_model("transformer-removed-heads"), toy_tokenizer()
    sources, targets = made_up_lines(5, seed=8), made_up_lines(5, seed=9)
    gold = [parse_links("0-0")] * 5
    errors = {
        each.head: each.aer
        for each in measure_heads(model, tokenizer, sources, targets, gold=gold)
        if each.aer is not None
    }
    assert {(head.place.layer, head.number) for head in errors} == {(0, 0), (1, 1)}
    for head, error in errors.items():
        selection = Selection(head.place.layer + 1, head.number + 1)
        links = [one.links for one in word_attention(model, tokenizer, sources, targets, selection)]
        assert error == alignment_scores(links, gold).aer
    assert len(set(errors.values())) > 1


def test_a_recurrent_model_has_no_heads() -> None:
    assert heads_of(build_model(VARIANTS["luong-general"], 9, 9)) == {}
