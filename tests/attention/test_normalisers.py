"""Normalisers agree with their papers in values and gradients, in any attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.attention.alignments import make_alignment
from nmt.attention.contract import Encoded
from nmt.attention.cross.softmax import CrossAttention
from nmt.attention.heads import Heads
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.multihead import attention_weights
from nmt.attention.normalisers import Normaliser, Softmax, make_normaliser
from nmt.attention.normalisers.entmax import Entmax
from nmt.attention.normalisers.entmax15 import Entmax15
from nmt.attention.normalisers.rela import Rela
from nmt.attention.normalisers.sparsemax import Sparsemax
from nmt.attention.normalisers.top_k import TopK
from nmt.attention.patterns import padding
from nmt.attention.positions import Positions
from nmt.attention.scores import make_score
from nmt.config.load import load_config
from nmt.config.models import LuongConfig, TransformerConfig
from nmt.config.options.normalisers import EntmaxConfig
from nmt.errors import ConfigError
from tests.attention.papers import entmax, entmax15, rela, sparsemax, top_k
from tests.models.variants import RNN, TRANSFORMER

HEADS, QUERIES = 2, 3
LENGTHS = [1, 4, 7]

# (scores of one query [keys], the normaliser, the head) -> weights [keys]
Paper = Callable[[Tensor, Any, int], Tensor]
PAPERS: dict[str, tuple[Callable[[], Normaliser], Paper]] = {
    "softmax": (Softmax, lambda z, of, head: torch.stack([each.exp() / sum(k.exp() for k in z) for each in z])),
    "sparsemax": (Sparsemax, lambda z, of, head: sparsemax.sparsemax(z)),
    "entmax15": (Entmax15, lambda z, of, head: entmax15.entmax15(z)),
    "entmax": (lambda: Entmax(HEADS, 1.5), lambda z, of, head: entmax.entmax(z, of.alpha[head, 0, 0])),
    "rela": (lambda: Rela(16), lambda z, of, head: rela.weights(z)),
    "top_k": (lambda: TopK(3), lambda z, of, head: top_k.top_k(z, 3)),
}
ALL = pytest.mark.parametrize("name", PAPERS)


def made(name: str) -> Normaliser:
    torch.manual_seed(1)
    normaliser = PAPERS[name][0]().double()
    with torch.no_grad():
        for parameter in normaliser.parameters():
            parameter.normal_()
    return normaliser


def scores_of(*shape: int, scale: float = 1.5) -> Tensor:
    torch.manual_seed(2)
    return (scale * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


@ALL
@pytest.mark.parametrize("scale", [0.1, 1.5, 20.0])
def test_equals_the_paper_in_values_and_gradients(name: str, scale: float) -> None:
    normaliser, paper = made(name), PAPERS[name][1]
    scores = scores_of(len(LENGTHS), HEADS, QUERIES, max(LENGTHS), scale=scale)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    ours = normaliser(scores, padding(mask))
    theirs = torch.zeros_like(ours)
    for row, length in enumerate(LENGTHS):
        for head in range(HEADS):
            for query in range(QUERIES):
                theirs[row, head, query, :length] = paper(scores[row, head, query, :length], normaliser, head)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)
    assert not ours[~mask[:, None, None].expand_as(ours)].any()
    towards = torch.randn_like(ours)
    inputs = {"scores": scores, **dict(normaliser.named_parameters())}
    found, expected = (
        torch.autograd.grad((towards * weights).sum(), list(inputs.values()), allow_unused=True)
        for weights in (ours, theirs)
    )
    for key, one, other in zip(inputs, found, expected, strict=True):
        assert (one is None) == (other is None), key
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-8, msg=lambda text, key=key: f"{key}: {text}")


@ALL
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    normaliser = made(name)
    names = [key for key, _ in normaliser.named_parameters()]

    def weights(scores: Tensor, *parameters: Tensor) -> Tensor:
        result = torch.func.functional_call(normaliser, dict(zip(names, parameters, strict=True)), (scores,))
        assert isinstance(result, Tensor)
        return result

    for scale in (0.5, 2.0):
        assert torch.autograd.gradcheck(weights, (scores_of(2, HEADS, 2, 5, scale=scale), *normaliser.parameters()))


@ALL
def test_a_query_that_sees_nothing_has_no_weights(name: str) -> None:
    normaliser, scores = made(name), scores_of(2, HEADS, QUERIES, 4)
    bias = torch.zeros(2, 1, 1, 4, dtype=torch.float64)
    bias[0] = -math.inf
    weights = normaliser(scores, bias)
    assert not weights[0].any()
    torch.testing.assert_close(weights[1], normaliser(scores)[1])
    (weights * scores_of(*weights.shape)).sum().backward()
    assert scores.grad is not None and not scores.grad[0].any() and scores.grad[1].isfinite().all()
    assert all(each.grad is None or each.grad.isfinite().all() for each in normaliser.parameters())


@ALL
@pytest.mark.parametrize("keys", [1, 2, 30, 1000])
def test_weights_of_any_scores_are_weights(name: str, keys: int) -> None:
    """In float32 even if scores have less precision, if they are huge, and if many are equal."""
    normaliser = made(name).float()
    for scale in (0.0, 1e-3, 1.0, 10.0, 1e4):
        scores = scores_of(3, HEADS, QUERIES, keys, scale=scale).detach().bfloat16()
        weights = normaliser(scores)
        assert weights.dtype == torch.float32
        assert (weights >= 0).all() and weights.isfinite().all()
        if normaliser.sums_to_one:
            torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(weights, made(name)(scores.double()).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("function", ["sparsemax", "entmax15"])
def test_equals_the_authors_package(function: str) -> None:
    package = pytest.importorskip("entmax")
    scores = scores_of(50, 40, scale=1.0)
    ours, theirs = made(function)(scores), getattr(package, function)(scores)
    towards = torch.randn_like(ours)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad((towards * each).sum(), scores)[0] for each in (ours, theirs)))


def test_entmax_and_the_gradient_of_alpha_equal_the_authors_package() -> None:
    package = pytest.importorskip("entmax")
    normaliser, scores = made("entmax"), scores_of(20, HEADS, QUERIES, 9)
    inputs = (scores, normaliser.alpha_logits)
    ours, theirs = normaliser(scores), package.entmax_bisect(scores, normaliser.alpha.expand(20, HEADS, QUERIES, 1))
    towards = torch.randn_like(ours)
    torch.testing.assert_close(ours, theirs)
    found, expected = (torch.autograd.grad((towards * each).sum(), inputs) for each in (ours, theirs))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("alpha", [1.02, 1.1, 1.25, 1.5, 1.75, 1.9, 1.98])
def test_the_threshold_of_entmax_is_found_for_any_alpha(alpha: float) -> None:
    """Newton's method takes enough steps, also for 1000 keys and hard scores: the weights are those of bisection."""
    normaliser = Entmax(1, alpha).double()
    torch.testing.assert_close(normaliser.alpha.item(), alpha, atol=1e-6, rtol=0)
    scale = torch.tensor([0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0], dtype=torch.float64).view(-1, 1, 1)
    drawn = scale * scores_of(7, 20, 1000, scale=1.0).detach()
    geometric = 10 * scale * torch.tensor([[0.3], [0.5], [0.9], [0.99]]) ** torch.arange(1000)
    for scores in (drawn, drawn[..., :30], geometric, -geometric):
        x = (normaliser.alpha - 1) * scores
        low, high = x.amax(-1, keepdim=True) - 1, x.amax(-1, keepdim=True)
        for _ in range(60):
            tau = (low + high) / 2
            weights = (x - tau).clamp(min=0) ** (1 / (normaliser.alpha - 1))
            enough = weights.sum(-1, keepdim=True) >= 1
            low, high = torch.where(enough, tau, low), torch.where(enough, high, tau)
        torch.testing.assert_close(normaliser(scores), weights, atol=1e-11, rtol=1e-8)


def test_entmax_begins_with_the_configured_alpha_in_each_head() -> None:
    config = TransformerConfig(**TRANSFORMER, normaliser="entmax", entmax=EntmaxConfig(alpha=1.3))  # type: ignore[arg-type]
    alpha = make_normaliser(config, HEADS, 16).alpha
    torch.testing.assert_close(alpha, torch.full((HEADS, 1, 1), 1.3))


def test_rela_normalises_the_contexts_of_all_heads_together() -> None:
    normaliser, scores, values = made("rela"), scores_of(5, HEADS, 1, 6), scores_of(5, HEADS, 6, 8)
    context = normaliser(scores) @ values  # [rows, heads, 1, head_dim]
    ours = normaliser.of_context(context.flatten(1, 3))
    theirs = torch.stack([
        rela.attend(scores[row, :, 0], values[row], normaliser.gate, normaliser.gain) for row in range(5)
    ])  # fmt: skip
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    inputs, towards = (scores, values, normaliser.gate, normaliser.gain), torch.randn_like(ours)
    found, expected = (torch.autograd.grad((towards * each).sum(), inputs) for each in (ours, theirs))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_rela_may_attend_to_nothing() -> None:
    normaliser, scores = made("rela"), (-1 - scores_of(2, HEADS, 1, 4).square()).detach().requires_grad_()
    output = normaliser.of_context((normaliser(scores) @ scores_of(2, HEADS, 4, 8)).flatten(1))
    assert not output.any()
    output.sum().backward()
    assert scores.grad is not None and not scores.grad.any()


def test_rela_is_refused_with_coverage_which_counts_weights() -> None:
    reason = "coverage counts by their sum how many target words"
    with pytest.raises(ConfigError, match=rf"model\.normaliser=rela has weights that do not sum to one.*{reason}"):
        load_config("embedded", ["model=rnnsearch", "model.alignment=coverage", "model.normaliser=rela"])


def test_top_k_keeps_equal_scores() -> None:
    """Rounding errors do not break ties."""
    weights = TopK(2)(torch.tensor([[[[1.0, 3.0, 1 - 1e-5, 0.999, 1.0]]]]))
    assert (weights > 0).tolist() == [[[[True, True, True, False, True]]]]


def transformer(normaliser: str, dropout: float = 0.0) -> tuple[SelfAttention, CrossAttention]:
    """Return self-attention and cross-attention in float64 with the named normaliser."""
    config = TransformerConfig(**TRANSFORMER, normaliser=normaliser)  # type: ignore[arg-type]
    dim, heads = config.model_dim, config.num_heads
    torch.manual_seed(3)
    return (
        SelfAttention(
            dim, Heads(dim, heads), Positions(), dropout=dropout, normaliser=make_normaliser(config, heads, dim)
        ).double(),
        CrossAttention(dim, Heads(dim, heads), dropout, make_normaliser(config, heads, dim)).double(),
    )


def called(attention: SelfAttention | CrossAttention, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and weights of attention within x [rows, length, dim]."""
    positions = torch.arange(x.size(1)).unsqueeze(0)
    if isinstance(attention, SelfAttention):
        output, _, weights = attention(x, positions, mask, need_weights=True)
    else:
        attended = attention.over(attention.source(x, mask), need_weights=True)(x, positions, None)
        output, weights = attended.context, attended.weights
    assert weights is not None
    return output, weights


@ALL
@pytest.mark.parametrize("place", [0, 1], ids=["self", "cross"])
def test_attention_of_a_transformer_has_it_between_scores_and_contexts(name: str, place: int) -> None:
    attention = transformer(name)[place].eval()
    x = scores_of(3, 7, 16)
    mask = torch.arange(7) < torch.tensor(LENGTHS).unsqueeze(1)
    output, weights = called(attention, x, mask)
    if isinstance(attention, SelfAttention):
        query, key, value = attention.heads.split(attention.qkv_projection(x), (HEADS,) * 3)
    else:
        (query,) = attention.heads.split(attention.query_projection(x), (HEADS,))
        key, value = attention.heads.split(attention.kv_projection(x), (HEADS,) * 2)
    expected = attention_weights(query, key, padding(mask), attention.normaliser)
    torch.testing.assert_close(weights, expected)
    context = torch.cat([expected[:, head] @ value[:, head] for head in range(HEADS)], dim=-1)
    torch.testing.assert_close(output, attention.output_projection(attention.normaliser.of_context(context)))


@ALL
@pytest.mark.parametrize("alignment", ["soft", "local_m", "local_p", "coverage", "location_aware"])
def test_recurrent_alignments_apply_the_normaliser(name: str, alignment: str) -> None:
    config = LuongConfig(**RNN, score="concat", alignment=alignment, normaliser=name)  # type: ignore[arg-type]
    torch.manual_seed(3)
    module = make_alignment(config, make_score(config, 16, 16, 16), 16).double()
    normaliser = module.get_submodule("normaliser")
    assert type(normaliser) is type(made(name)) and isinstance(normaliser, Normaliser)
    normalised: list[Tensor] = []
    normaliser.register_forward_hook(lambda module, given, weights: normalised.append(weights))
    states = scores_of(3, 7, 16)
    memory = module.read(Encoded(states, torch.arange(7) < torch.tensor(LENGTHS).unsqueeze(1), ()))
    attend = module.over(memory, need_weights=True)
    attended = attend(scores_of(3, 1, 16), torch.zeros(1, 1, dtype=torch.long), module.init_state(memory))
    assert attended.weights is not None and len(normalised) == 1
    weights = attended.weights.squeeze(1)
    if alignment == "local_p":  # weights are multiplied with a Gaussian
        assert torch.equal(weights > 0, normalised[0] > 0) and (weights <= normalised[0]).all()
    else:
        torch.testing.assert_close(weights, normalised[0])
    torch.testing.assert_close(attended.context, normaliser.of_context(weights @ states))


@pytest.mark.parametrize("place", [0, 1], ids=["self", "cross"])
def test_dropout_is_of_the_weights(place: int) -> None:
    """The mean over many draws of the dropout is the result without dropout."""
    attention = transformer("sparsemax", dropout=0.3)[place]
    x = scores_of(1, 4, 16).detach().expand(20_000, -1, -1)
    mask = torch.ones(len(x), 4, dtype=torch.bool)
    with torch.no_grad():
        drawn = called(attention.train(), x, mask)[0]
        expected = called(attention.eval(), x[:1], mask[:1])[0]
    torch.testing.assert_close(drawn.mean(0), expected[0], atol=0.02, rtol=0)
    assert drawn.std(0).min() > 0.02


@pytest.mark.parametrize("name", [name for name in PAPERS if name != "softmax"])
def test_hard_attention_is_refused(name: str) -> None:
    given = ["model=luong", "model.input_feeding=false", "model.alignment=marginal", f"model.normaliser={name}"]
    with pytest.raises(ConfigError, match=rf"alignment=marginal needs the logarithm of every weight.*{name}"):
        load_config("embedded", given)


@pytest.mark.parametrize("name", [name for name in PAPERS if name != "softmax"])
def test_attention_without_scores_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"alignment=gaussian has no scores that model\.normaliser={name} could"):
        load_config("embedded", ["model=rnnsearch", "model.alignment=gaussian", f"model.normaliser={name}"])
