"""FAVOR+ is its paper's; it estimates softmax attention without bias, and better with more and orthogonal features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers.performer import Performer, orthogonal_directions
from nmt.attention.multihead import merge_heads, split_heads
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import PerformerConfig
from nmt.models.build import build_model
from tests.attention.against_paper import weights_of
from tests.attention.mixing import assert_decodes_like, assert_encodes_like, at, in_parts, inputs, mixer_of
from tests.attention.papers.linear import kernel_attention
from tests.attention.papers.performer import positive_features
from tests.attention.papers.self_attention import self_attention
from tests.models.variants import TRANSFORMER

BOTH = pytest.mark.parametrize("causal", [False, True])


def made(causal: bool, features: int = 5, heads: int = 2) -> Performer:
    config = TransformerConfig(model_dim=6, num_heads=heads, performer=PerformerConfig(features=features))
    mixer = mixer_of("performer", config, causal)
    assert isinstance(mixer, Performer)
    return mixer


@BOTH
def test_it_matches_the_paper(causal: bool) -> None:
    mixer = made(causal)

    def phi(x: Tensor) -> Tensor:
        return positive_features(x, mixer.directions)

    def paper(x: Tensor) -> Tensor:
        return kernel_attention(x, weights_of(mixer), 2, causal, phi)[0]

    (assert_decodes_like if causal else assert_encodes_like)(mixer, paper, 6)
    x = inputs(6)
    shown = mixer(x, at(x), need_weights=True)[2]
    torch.testing.assert_close(shown[0], kernel_attention(x[0], weights_of(mixer), 2, causal, phi)[1])


@BOTH
@torch.no_grad()
def test_the_error_against_softmax_attention_falls_with_the_features(causal: bool) -> None:
    mixer, x = made(causal), inputs(6)
    mixer.qkv_projection.weight[:12] *= 0.5  # the shorter queries and keys are, the fewer features suffice
    exact = torch.stack([self_attention(row, list(range(6)), weights_of(mixer), 2, causal) for row in x])
    errors = []
    for features in (4, 64, 1024):
        squares = torch.zeros((), dtype=torch.float64)
        for _ in range(30):
            mixer.directions, mixer.features = orthogonal_directions(features, 3).double(), features
            squares += (mixer(x, at(x))[0] - exact).square().mean()
        errors.append(float(squares.sqrt()))
    # it falls fourfold where it is in proportion to 1 / sqrt(features); with few features it is smaller than that
    assert errors[0] > 1.7 * errors[1] > 1.7 * 1.7 * errors[2] > 0


def estimates(q: Tensor, k: Tensor, orthogonal: bool, draws: int) -> Tensor:
    """Return phi(q) . phi(k) [draws, pairs] for q and k [pairs, dim] and as many directions as dimensions."""
    torch.manual_seed(3)
    draw, dim = orthogonal_directions if orthogonal else torch.randn, q.size(1)
    w = torch.stack([draw(dim, dim) for _ in range(draws)])  # [draws, features, dim]
    logs = [w @ x.mT - x.square().sum(1) / 2 for x in (q, k)]  # [draws, features, pairs]
    return (logs[0] + logs[1]).exp().mean(1)


def test_the_estimate_of_the_kernel_is_unbiased_and_orthogonal_directions_make_it_better() -> None:
    draws, pairs, dim = 1000, 64, 16
    q, z = torch.randn(2, pairs, dim, generator=torch.Generator().manual_seed(1)) / 4
    k = 0.8 * z / z.norm(dim=1, keepdim=True) - q  # |q + k| = 0.8, on which the relative variance depends
    exact = (q * k).sum(1).exp()
    variances = []
    for orthogonal in (True, False):
        relative = estimates(q, k, orthogonal, draws) / exact
        errors = (relative.mean(0) - 1) / (relative.std(0) / draws**0.5)  # in standard errors, one for each pair
        assert errors.abs().max() < 4 and errors.mean().abs() < 0.5
        variances.append(float(relative.var(0).mean()))
    assert variances[0] < 0.95 * variances[1]


def test_directions_are_orthogonal_in_blocks_uniform_and_of_the_lengths_of_normal_vectors() -> None:
    torch.manual_seed(4)
    w = torch.stack([orthogonal_directions(7, 3) for _ in range(3000)])  # [draws, 7, 3]
    products = w @ w.mT
    for block in (slice(0, 3), slice(3, 6)):
        within = products[:, block, block]
        assert (within - torch.diag_embed(within.diagonal(dim1=1, dim2=2))).abs().max() < 1e-4
    assert products[:, 0, 3].abs().mean() > 0.5, "blocks are independent"
    torch.testing.assert_close(w.mean(0), torch.zeros(7, 3), atol=0.08, rtol=0)  # standard error 0.018
    torch.testing.assert_close(w.var(0), torch.ones(7, 3), atol=0.15, rtol=0)  # standard error 0.026
    torch.testing.assert_close(products.diagonal(dim1=1, dim2=2).var(0), torch.full((7,), 6.0), atol=1.6, rtol=0)


def test_directions_are_part_of_a_checkpoint() -> None:
    config = TransformerConfig(**TRANSFORMER, encoder_self="performer", dropout=0.0)  # type: ignore[arg-type]
    torch.manual_seed(1)
    first = build_model(config, 11, 11)
    other = build_model(config, 11, 11)
    src = torch.tensor([[4, 5, 6, 7, 8]])
    given = (src, src > 0, src)
    other.load_state_dict({name: weight for name, weight in first.state_dict().items() if "directions" not in name},
                          strict=False)  # fmt: skip
    assert not torch.allclose(first(*given).hidden, other(*given).hidden, atol=1e-3)
    other.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(*given).hidden, other(*given).hidden)


@BOTH
def test_large_queries_and_keys_neither_overflow_nor_vanish(causal: bool) -> None:
    """The features of keys ten times as long are far outside of what float32 can hold."""
    mixer = made(causal).float()
    with torch.no_grad():
        mixer.qkv_projection.weight[:12] *= 10
    x = torch.randn(3, 6, 6, requires_grad=True)
    outputs = [mixer(x, at(x))[0]] + ([in_parts(mixer, x, [1] * 6)] if causal else [])
    for output in outputs:
        (gradient,) = torch.autograd.grad(output.square().sum(), x)
        assert output.isfinite().all() and gradient.isfinite().all()
    # the same in float64, and with logarithms of products
    q, k, v = split_heads(mixer.double().qkv_projection(x.double()), 3, 2)
    log_q, log_k = mixer.log_features(q), mixer.log_features(k)
    assert log_k.amax(-1)[:, :, 0].min() < -104, "exp would give 0 for all features of a first key in float32"
    logs = (log_q.unsqueeze(3) + log_k.unsqueeze(2)).logsumexp(-1)
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1) & causal
    expected = mixer.output_projection(merge_heads(logs.masked_fill(hidden, -torch.inf).softmax(-1) @ v))
    torch.testing.assert_close(outputs[-1].double(), expected, atol=1e-3, rtol=1e-3)
