"""Properties of every decoder, checked for all variants."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.contract import SourceAttention
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.normalisers import Softmax
from nmt.data.batch import Batch
from nmt.models.contract import AttentionKind, State, select, tree_map
from nmt.training.loss import batch_loss
from tests.models.variants import (
    VARIANTS,
    VOCABULARY,
    attends,
    log_probs_of,
    normalisers_of,
    probabilities,
    random_batch,
    tiny_model,
)

ALL = pytest.mark.parametrize("name", VARIANTS)
ATTENDING = pytest.mark.parametrize("name", [name for name in VARIANTS if attends(name)])
SELF_ATTENDING = [(name, kind) for name in VARIANTS for kind in ("encoder", "decoder") if attends(name, kind)]
LENGTHS = [5, 3, 7]


@ALL
def test_parallel_equals_step_by_step(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    memory = model.read(src, mask)
    whole, none = model.decoder(tgt, memory, need_weights=model.attends)
    assert none is None
    for chunks in ([1] * 6, [3, 1, 2], [6]):
        state = model.init_state(memory, 6)
        parts, end = [], 0
        for tokens in tgt.split(chunks, dim=1):
            decoded, state = model.decoder(tokens, memory, state, need_weights=model.attends)
            parts.append(log_probs_of(model, decoded).exp())
            start, end = end, end + tokens.size(1)
            if model.attends:
                torch.testing.assert_close(decoded.weights, whole.weights[..., start:end, :], atol=1e-5, rtol=1e-5)
            if model.decoder.self_attends:
                mixers = [layer.mixer for layer in model.decoder.layers]
                shown = torch.tensor([mixer.attends and not mixer.forgets for mixer in mixers])
                so_far = whole.self_weights[:, shown, :, start:end, :end]
                with_a_state = so_far if decoded.self_weights is None else decoded.self_weights[:, shown]
                assert decoded.self_weights is not None or not shown.any(), "a state lacks weights that it should know"
                torch.testing.assert_close(with_a_state, so_far, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(torch.cat(parts, dim=1), log_probs_of(model, whole).exp(), atol=1e-5, rtol=1e-5)


@ALL
def test_padding_and_company_change_nothing(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    together = probabilities(model, src, mask, tgt)
    for row, length in enumerate(LENGTHS):
        alone = probabilities(model, src[row : row + 1, :length], mask[row : row + 1, :length], tgt[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


@ALL
def test_every_source_word_matters_and_padding_does_not(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    before = probabilities(model, src, mask, tgt)
    for position in range(src.size(1)):
        changed = src.clone()
        changed[:, position] = torch.where(src[:, position] == 4, 5, 4)
        difference = (probabilities(model, changed, mask, tgt) - before).abs().amax(dim=(1, 2))
        assert torch.equal(difference > 1e-7, mask[:, position]), f"position {position}: {difference}"


@ALL
def test_the_future_is_not_seen(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    changed = tgt.clone()
    changed[:, 3] = torch.where(tgt[:, 3] == 4, 5, 4)
    difference = (
        (probabilities(model, src, mask, tgt) - probabilities(model, src, mask, changed)).abs().amax(dim=(0, 2))
    )
    assert (difference[:3] == 0).all()
    assert (difference[3:] > 0).all()


@ALL
def test_a_beam_goes_on_from_its_parents(name: str) -> None:
    """Hypotheses multiply, change places and leave by whole sentences; forcing their tokens gives the same results.

    Each hypothesis takes along the log-probabilities of its steps.
    """
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    memory = model.read(src, mask)
    state = model.init_state(memory, 20)
    said = torch.empty(3, 1, 0, dtype=torch.long)  # [batch, hypotheses, steps]
    found = torch.empty(3, 1, 0, VOCABULARY)  # [batch, hypotheses, steps, vocab]
    sentences = torch.arange(3)
    random = torch.Generator().manual_seed(1)
    for step in range(19):
        tokens = torch.randint(4, 10, said.shape[:2], generator=random)
        log_probs, state = model.step(tokens.flatten(), select(memory, sentences), state)
        said = torch.cat((said, tokens.unsqueeze(2)), dim=2)
        found = torch.cat((found, log_probs.unflatten(0, said.shape[:2]).unsqueeze(2)), dim=2)
        if step in (1, 11, 18):  # before hypotheses multiply, before a sentence leaves, at the end
            rows = sentences.repeat_interleave(said.size(1))
            forced = log_probs_of(model, model(src[rows], mask[rows], said.flatten(0, 1)))
            torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(len(log_probs)))
            torch.testing.assert_close(found.flatten(0, 1), forced, atol=1e-4, rtol=3e-5)
        hypotheses = said.size(1)
        kept = torch.tensor([0, 2]) if step == 11 else torch.arange(len(sentences))
        parents = torch.randint(hypotheses, (len(kept), 3), generator=random)
        said, found = (lines[kept.unsqueeze(1), parents] for lines in (said, found))
        sentences = sentences[kept]
        state = select(state, (parents + kept.unsqueeze(1) * hypotheses).flatten())


@ALL
def test_a_state_is_handed_on_by_value(name: str) -> None:
    """Two continuations of the same state do not influence each other."""
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    memory = model.read(src, mask)
    start = model.init_state(memory, 5)
    tokens, others = torch.tensor([4, 5, 6]), torch.tensor([7, 8, 9])

    def two_steps(first: State) -> torch.Tensor:
        return model.step(others, memory, model.step(tokens, memory, first)[1])[0]

    expected = two_steps(start)
    _, once = model.step(tokens, memory, start)
    _, twice = model.step(tokens, memory, once)
    model.step(others, memory, select(start, torch.tensor([2, 0, 1])))
    assert torch.equal(two_steps(start), expected)
    assert torch.equal(model.step(others, memory, once)[0], expected)
    again, _ = model.step(tokens, memory, twice)
    replayed = model.step(tokens, memory, model.step(tokens, memory, model.step(tokens, memory, start)[1])[1])[0]
    assert torch.equal(again, replayed)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("transformer")])
def test_the_state_of_a_mixer_is_as_large_as_it_says(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    memory = model.read(src, mask)
    _, state = model.decoder(random_batch([4, 4, 4], seed=3)[0], memory, model.init_state(memory, 4))
    for layer, of_layer in zip(model.decoder.layers, state.layers, strict=True):
        leaves: list[torch.Tensor] = []
        tree_map(lambda leaf, leaves=leaves: (leaves.append(leaf), leaf)[1], of_layer.mixer)
        assert sum(leaf.nbytes for leaf in leaves) == len(LENGTHS) * layer.mixer.state_bytes(4)


@ATTENDING
def test_weights_sum_to_one_if_they_say_so_and_leave_padding_alone(name: str) -> None:
    model = tiny_model(name)
    attentions = [module for module in model.decoder.modules() if isinstance(module, SourceAttention)]
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    weights = model.attention(src, mask, tgt)
    batch, _, _, tgt_len, src_len = weights.shape
    assert (batch, tgt_len, src_len) == (3, 6, 7)
    sums = weights.sum(dim=-1)
    if all(part.sums_to_one for part in (*attentions, *normalisers_of(model))):
        torch.testing.assert_close(sums, torch.ones_like(sums))
    else:
        assert (sums - 1).abs().max() > 1e-3
    assert (weights >= 0).all()
    padding = ~mask[:, None, None, None, :].expand_as(weights)
    assert (weights[padding] == 0).all()
    assert weights.std(dim=-1).max() > 1e-3, "uniform weights would pass everything above"


@ATTENDING
def test_asking_for_weights_changes_no_answer(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    memory = model.read(src, mask)
    silent, _ = model.decoder(tgt, memory)
    shown, _ = model.decoder(tgt, memory, need_weights=True)
    assert silent.weights is None
    torch.testing.assert_close(silent.hidden, shown.hidden, atol=1e-5, rtol=1e-5)


@ALL
def test_every_parameter_learns(name: str) -> None:
    model = tiny_model(name).train()
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    batch_loss(model, Batch(src, mask, tgt, tgt, mask.sum(1)), torch.device("cpu")).smoothed.backward()
    idle = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert not [key for key in idle if "bias_hh" not in key], idle


@ALL
def test_in_bf16_a_model_is_near_fp32(name: str) -> None:
    """Compute the probabilities under autocast, in parallel and step by step, and the gradients."""
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    exact = probabilities(model, src, mask, tgt).detach()
    with torch.autocast("cpu", torch.bfloat16):
        parallel = probabilities(model, src, mask, tgt)
        memory = model.read(src, mask)
        state, steps = model.init_state(memory, 6), []
        for tokens in tgt.split(1, dim=1):
            decoded, state = model.decoder(tokens, memory, state)
            steps.append(log_probs_of(model, decoded).exp())
    for found in (parallel, torch.cat(steps, dim=1)):
        assert not torch.equal(found, exact)  # bf16 was used
        assert (found - exact).abs().mean() < 0.02  # 0.003 where no weight jumps to zero or back
    parallel.square().sum().backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize(("name", "kind"), SELF_ATTENDING)
def test_self_attention_sums_to_one_and_sees_neither_padding_nor_the_future(name: str, kind: AttentionKind) -> None:
    model = tiny_model(name)
    src, mask = random_batch(LENGTHS)
    tgt, _ = random_batch([6, 6, 6], seed=3)
    weights = model.attention(src, mask, tgt, kind)
    mixers = [layer.mixer for layer in getattr(model, kind).layers]
    attends = torch.tensor([mixer.attends for mixer in mixers])
    attending = [mixer for mixer in mixers if mixer.attends]
    assert not weights[:, ~attends].any(), "layers without weights are shown as zeros"
    weights = weights[:, attends]
    seen = mask[:, None] if kind == "encoder" else torch.ones(6, 6, dtype=torch.bool).tril()[None]
    seen = seen[:, None, None].expand_as(weights)  # [batch, layers, heads, queries, keys]
    if all(part.sums_to_one for part in (*attending, *normalisers_of(model))):
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    assert (weights[~seen] == 0).all() and (weights >= 0).all()
    softmax = all(isinstance(normaliser, Softmax) for normaliser in normalisers_of(model))
    if softmax and all(isinstance(mixer, SelfAttention) and not mixer.pattern.restricts for mixer in attending):
        assert (weights[seen] > 0).all()
    assert weights.flatten(1, 2).std(dim=1).min(dim=0).values.max() > 1e-4, "layers and heads differ"
