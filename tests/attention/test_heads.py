"""Options of heads and their papers agree, in self-attention and in attention to the source; torch's heads, too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.attention.contract import Encoded
from nmt.attention.cross.softmax import CrossAttention
from nmt.attention.heads import Heads, make_head_normaliser, make_heads
from nmt.attention.heads.dropout import HeadDropout
from nmt.attention.heads.qk_norm import L2Norm, QkNorm, RmsNorm
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.normalisers import Softmax
from nmt.attention.normalisers.talking_heads import TalkingHeads
from nmt.attention.positions import Positions
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HeadsConfig
from nmt.errors import ConfigError
from tests.attention.papers.heads import HeadWeights, Talking, attention
from tests.models.variants import TRANSFORMER

DIM, HEADS, LENGTHS = 8, 4, [5, 3, 4]
KINDS: dict[str, dict[str, Any]] = {
    "multi-head": {},
    "grouped-query": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "qk-norm-l2": {"qk_norm": "l2"},
    "qk-norm-rms-grouped": {"qk_norm": "rms", "num_kv_heads": 2},
    "talking": {"talking": True},
    "talking-grouped-l2": {"talking": True, "num_kv_heads": 2, "qk_norm": "l2"},
}


def parts(kind: str, key: str) -> tuple[Heads, Any]:
    """Return heads and normaliser of a kind, made from a configuration."""
    config = TransformerConfig(**TRANSFORMER | {"model_dim": DIM, "num_heads": HEADS}, heads=HeadsConfig(**KINDS[kind]))
    place = Place(key, 0)  # type: ignore[arg-type]
    return make_heads(config, place), make_head_normaliser(config, place)


def shaken(module: nn.Module) -> nn.Module:
    """Return the module in float64 and evaluation mode, with parameters that are not small."""
    torch.manual_seed(1)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.7)
    return module


def weights_of(module: Any, query: nn.Linear, key_value: nn.Linear, first: int) -> HeadWeights:
    """Return the weights of each head; keys begin in row `first` of the projection `key_value`."""
    size, groups = DIM // HEADS, module.heads.num_kv_heads

    def of_head(linear: nn.Linear, head: int, start: int = 0) -> tuple[Tensor, Tensor]:
        rows = slice(start + head * size, start + (head + 1) * size)
        return linear.weight[rows], linear.bias[rows]

    return HeadWeights(
        [of_head(query, head) for head in range(HEADS)],
        [of_head(key_value, group, first) for group in range(groups)],
        [of_head(key_value, group, first + groups * size) for group in range(groups)],
        (module.output_projection.weight, module.output_projection.bias),
    )


def extras(module: Any) -> dict[str, Any]:
    """Return the arguments of the transcription for the module's options."""
    found: dict[str, Any] = {}
    if isinstance(norm := module.heads.qk_norm, L2Norm):
        found["cosine"] = norm.scale
    if isinstance(norm, RmsNorm):
        found["gains"] = (norm.query_gain, norm.key_gain)
    if isinstance(talking := module.normaliser, TalkingHeads):
        found["talking"] = Talking(talking.of_scores, talking.of_weights)
    return found


def assert_same(module: nn.Module, inputs: list[Tensor], ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Compare outputs, and the gradients of inputs and parameters."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = []
    for rows in (ours, theirs):
        torch.manual_seed(5)
        total = sum((row * torch.randn_like(row)).sum() for row in rows)
        found.append(torch.autograd.grad(total, (*inputs, *parameters), retain_graph=True))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    for name, one, other in zip((*map(str, range(len(inputs))), *names), *found, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")
        # a bias of all keys shifts all scores of a query alike
        assert other.abs().max() > 1e-6


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_self_attention_matches_the_paper(kind: str, causal: bool) -> None:
    heads, normaliser = parts(kind, "decoder_self" if causal else "encoder_self")
    module = shaken(SelfAttention(DIM, heads, Positions(), causal, normaliser=normaliser))
    x = torch.randn(3, 5, DIM, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
    lengths = [5, 5, 5] if causal else LENGTHS
    weights = weights_of(module, module.qkv_projection, module.qkv_projection, DIM)
    theirs = [
        attention(row[:length], row[:length], weights, causal, **extras(module))
        for row, length in zip(x, lengths, strict=True)
    ]
    positions = torch.arange(5).unsqueeze(0)
    whole, _, _ = module(x, positions, None if causal else mask)
    assert_same(module, [x], [row[:length] for row, length in zip(whole, lengths, strict=True)], theirs)
    if causal:
        for chunks in ([1] * 5, [2, 1, 2]):
            state, found = module.init_state(3, x), []
            for some, at in zip(x.split(chunks, dim=1), positions.split(chunks, dim=1), strict=True):
                part, state, _ = module(some, at, None, state)
                found.append(part)
            assert state.keys.shape == (3, module.heads.num_kv_heads, 5, DIM // HEADS)
            assert_same(module, [x], list(torch.cat(found, dim=1)), theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_to_the_source_matches_the_paper(kind: str) -> None:
    """Two hypotheses of each sentence are two rows."""
    heads, normaliser = parts(kind, "decoder_cross")
    module = shaken(CrossAttention(DIM, heads, normaliser=normaliser))
    y = torch.randn(3, 5, DIM, dtype=torch.float64, requires_grad=True)
    x = torch.randn(6, 2, DIM, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
    memory = module.read(Encoded(y, mask, ()))
    assert memory.keys.size(1) == module.heads.num_kv_heads
    ours = module.over(memory)(x, torch.arange(2).unsqueeze(0), None).context
    weights = weights_of(module, module.query_projection, module.kv_projection, 0)
    theirs = [
        attention(row, y[at // 2, : LENGTHS[at // 2]], weights, False, **extras(module)) for at, row in enumerate(x)
    ]
    assert_same(module, [x, y], list(ours), theirs)


def test_full_heads_match_torch() -> None:
    module = shaken(SelfAttention(DIM, Heads(DIM, HEADS), Positions()))
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64)
    theirs.in_proj_weight, theirs.in_proj_bias = module.qkv_projection.weight, module.qkv_projection.bias
    theirs.out_proj = module.output_projection  # type: ignore[assignment]
    x = torch.randn(3, 5, DIM, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
    ours, _, weights = module(x, torch.arange(5).unsqueeze(0), mask, need_weights=True)
    expected, their_weights = theirs(x, x, x, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(ours[mask], expected[mask])
    torch.testing.assert_close(weights, their_weights)


def test_talking_heads_begin_as_heads_by_themselves() -> None:
    scores = torch.randn(2, HEADS, 3, 5)
    torch.testing.assert_close(TalkingHeads(HEADS, Softmax())(scores), scores.softmax(-1))


def test_the_first_scale_of_cosines() -> None:
    """g = log2(L^2 - L) for sentences of L = 4 words is log2(12)."""
    torch.testing.assert_close(L2Norm(4).scale.detach(), torch.tensor(12.0).log2())


def test_head_dropout_scales_what_is_left() -> None:
    torch.manual_seed(1)
    dropout = HeadDropout(0.4)
    x = torch.ones(4000, HEADS, 2, 3)
    assert torch.equal(dropout.eval()(x), x)
    dropped = dropout.train()(x)
    of_head = dropped[:, :, 0, 0]
    assert torch.equal(dropped, of_head[:, :, None, None].expand_as(dropped)), "a head is left out for all positions"
    torch.testing.assert_close(of_head.sum(dim=1), torch.full((4000,), float(HEADS)))
    # 0.4 ^ 4 of the rows would lose all their heads and keep them instead
    assert (of_head > 0).float().mean().item() == pytest.approx(0.6 + 0.4**HEADS, abs=0.02)


@pytest.mark.parametrize("key", ["encoder_self", "decoder_self", "decoder_cross"])
def test_options_hold_at_their_places(key: str) -> None:
    options = HeadsConfig(num_kv_heads=1, qk_norm="rms", talking=True, dropout=0.3, places=["decoder_self"])
    config = TransformerConfig(**TRANSFORMER, heads=options)
    heads = make_heads(config, Place(key, 1))  # type: ignore[arg-type]
    normaliser = make_head_normaliser(config, Place(key, 1))  # type: ignore[arg-type]
    here = key == "decoder_self"
    assert heads.num_kv_heads == (1 if here else 2)
    assert type(heads.qk_norm) is (RmsNorm if here else QkNorm)
    assert isinstance(normaliser, TalkingHeads) == here
    assert heads.dropout.rate == (0.3 if here else 0)


def test_groups_have_to_be_equal() -> None:
    config = TransformerConfig(**TRANSFORMER | {"num_heads": 4}, heads=HeadsConfig(num_kv_heads=3))
    with pytest.raises(ConfigError) as caught:
        config.check()
    assert str(caught.value) == (
        "model.heads.num_kv_heads=3 does not divide model.num_heads=4: each head of keys and values serves the same "
        "number of heads of queries"
    )
