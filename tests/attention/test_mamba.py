"""Mamba and its paper agree, in values and gradients; what it shows are the matrices that it computes with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers import mamba as module
from nmt.attention.mixers.mamba import Mamba, MambaState, SelectiveSsm, make
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import MambaConfig
from nmt.models.build import build_model
from tests.attention.against_paper import assert_same
from tests.attention.papers.mamba import Ssm, mamba
from tests.models.variants import TRANSFORMER

DIM, LENGTH, STATES, RANK, WIDTH = 2, 6, 3, 2, 3
OPTIONS = MambaConfig(state_dim=STATES, kernel_size=WIDTH, delta_rank=RANK)
LENGTHS = [6, 4, 1]


def mixer(causal: bool, dim: int = DIM, heads: int = 1) -> Mamba:
    """Return a Mamba block in float64 whose weights are not small."""
    torch.manual_seed(1)
    made = Mamba(dim, heads, OPTIONS, causal).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.7)
    return made


def weights_of(ssm: SelectiveSsm) -> Ssm:
    """Return the weights of one direction under the names of the paper."""
    w_delta, w_b, w_c = ssm.selection.weight.split([RANK, STATES, STATES])
    kernel = ssm.convolution.weight.squeeze(1)
    return Ssm(
        kernel, ssm.convolution.bias, w_delta, w_b, w_c, ssm.delta_projection.weight, ssm.delta_bias, -ssm.log_a.exp(),
        ssm.d,
    )  # fmt: skip


def of_paper(made: Mamba, x: Tensor) -> Tensor:
    """Return the paper's outputs for one sentence."""
    backward = None if made.backwards is None else weights_of(made.backwards)
    given = made.input_projection.weight, made.output_projection.weight
    return mamba(x, *given, weights_of(made.forwards), backward)


def in_parts(made: Mamba, x: Tensor, parts: list[int] | None) -> Tensor:
    """Return the outputs for all positions at once (None), or for parts of the given lengths one after another."""
    if parts is None:
        return made(x, torch.arange(LENGTH).unsqueeze(0))[0]
    state: MambaState | None = made.init_state(len(x), x)
    outputs, start = [], 0
    for part in x.split(parts, dim=1):
        positions = torch.arange(start, start + part.size(1)).unsqueeze(0)
        output, state, weights = made(part, positions, None, state, need_weights=True)
        assert weights is None, "the state does not know the positions one by one"
        outputs.append(output)
        start += part.size(1)
    return torch.cat(outputs, dim=1)


@pytest.mark.parametrize("parts", [None, [1] * LENGTH, [3, 1, 2]], ids=["at once", "step by step", "in parts"])
def test_a_decoder_s_values_and_gradients_match_the_paper(parts: list[int] | None) -> None:
    made = mixer(causal=True)
    x = torch.randn(2, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    assert_same(made, x, list(in_parts(made, x, parts)), [of_paper(made, row) for row in x])


@pytest.mark.parametrize("causal", [True, False])
def test_a_long_text_read_in_chunks_gives_the_same(monkeypatch: pytest.MonkeyPatch, causal: bool) -> None:
    """Values and the gradients of all weights, and of the input."""
    made = mixer(causal)
    x = torch.randn(3, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    mask = None if causal else torch.arange(LENGTH) < torch.tensor(LENGTHS).unsqueeze(1)
    found = []
    for long, kept in ((1024, None), (1, 4)):
        monkeypatch.setattr(module, "LONG", long)
        monkeypatch.setattr(module, "CHUNK", kept)
        output = made(x, torch.arange(LENGTH).unsqueeze(0), mask)[0]
        found.append((output, *torch.autograd.grad(output.square().sum(), [x, *made.parameters()])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_of_a_long_text_the_states_are_not_kept() -> None:
    def kept(length: int) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            made(torch.randn(1, length, DIM, dtype=torch.float64), torch.arange(length).unsqueeze(0))
        return sum(sizes)

    made = mixer(causal=True)
    assert kept(module.LONG) < kept(module.LONG - 1) / 2


def test_an_encoder_reads_each_sentence_in_both_directions() -> None:
    made = mixer(causal=False)
    x = torch.randn(3, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(LENGTH) < torch.tensor(LENGTHS).unsqueeze(1)
    ours = made(x, torch.arange(LENGTH).unsqueeze(0), mask)[0]
    theirs = [of_paper(made, row[:length]) for row, length in zip(x, LENGTHS, strict=True)]
    assert_same(made, x, [row[:length] for row, length in zip(ours, LENGTHS, strict=True)], theirs)
    torch.testing.assert_close(made(x, torch.arange(LENGTH).unsqueeze(0))[0][0], ours[0])  # no mask: no padding


def test_the_unrolled_matrices_times_the_inputs_are_the_outputs_of_each_channel() -> None:
    ssm = mixer(causal=True).forwards
    terms = ssm.terms(torch.randn(3, WIDTH - 1 + LENGTH, 2 * DIM, dtype=torch.float64))
    y, _ = ssm.scan(terms, ssm.init_state(3, terms.u).h)
    matrices = torch.stack(list(ssm.matrix_rows(terms)), dim=2)  # [rows, channels, length, length]
    assert (matrices < 0).any() and not matrices.triu(1).any()
    torch.testing.assert_close((matrices @ terms.u.mT.unsqueeze(3)).squeeze(3).mT, y)


def test_the_weights_shown_are_means_over_the_matrices_of_a_group_of_channels() -> None:
    made = mixer(causal=False, dim=4, heads=2)
    x, mask = torch.randn(3, LENGTH, 4).double(), torch.arange(LENGTH) < torch.tensor(LENGTHS).unsqueeze(1)
    _, _, weights = made(x, torch.arange(LENGTH).unsqueeze(0), mask, need_weights=True)
    assert weights.shape == (3, 2, LENGTH, LENGTH)
    for row, length in enumerate(LENGTHS):
        expected = torch.zeros(2, length, length, dtype=torch.float64)
        entered = made.input_projection(x[row, :length]).chunk(2, dim=1)[0]
        for ssm, turn in ((made.forwards, False), (made.backwards, True)):
            seen = torch.nn.functional.pad(entered.flip(0) if turn else entered, (0, 0, WIDTH - 1, 0)).unsqueeze(0)
            (matrices,) = torch.stack(list(ssm.matrix_rows(ssm.terms(seen))), dim=2)
            for group in range(2):
                mean = sum(matrix.abs() for matrix in matrices[4 * group : 4 * group + 4]) / 4
                expected[group] += mean.flip(0, 1) if turn else mean
        torch.testing.assert_close(weights[row, :, :length, :length], expected)
        assert not weights[row, :, :, length:].any(), "padding has no weight"


def test_the_state_does_not_grow() -> None:
    made = mixer(causal=True)
    assert made.state_bytes(1) == made.state_bytes(1000) == 4 * 2 * DIM * (WIDTH - 1 + STATES)
    inputs, h = made.init_state(5, torch.empty(2, 0, DIM))
    assert inputs.shape == (5, WIDTH - 1, 2 * DIM) and h.shape == (5, 2 * DIM, STATES)
    assert not inputs.any() and not h.any()


def test_sums_are_in_float32_under_autocast() -> None:
    made = mixer(causal=True).float()
    x, positions = torch.randn(2, LENGTH, DIM), torch.arange(LENGTH).unsqueeze(0)
    with torch.autocast("cpu", torch.bfloat16):
        start = made.init_state(2, x.bfloat16())
        output, state, _ = made(x, positions, None, start)
        assert start.h.dtype == state.h.dtype == torch.float32
    torch.testing.assert_close(output.float(), made(x, positions)[0], atol=0.1, rtol=0.1)
    terms = made.bfloat16().forwards.terms(torch.randn(2, LENGTH, 2 * DIM).bfloat16())
    assert {term.dtype for term in terms} == {torch.float32}


def test_a_built_model_begins_with_the_a_and_delta_of_the_paper() -> None:
    config = TransformerConfig(**TRANSFORMER | {"model_dim": 64}, decoder_self="mamba")  # type: ignore[arg-type]
    ssm = build_model(config, 11, 11).decoder.layers[1].mixer.forwards
    torch.testing.assert_close(-ssm.log_a.exp(), -torch.arange(1.0, 17).expand(128, 16))
    delta = torch.log(1 + torch.exp(ssm.delta_bias.detach().double()))
    assert 0.00099 < delta.min() < 0.01 and 0.09 < delta.max() < 0.1001
    assert (ssm.d == 1).all()


@pytest.mark.parametrize(("model_dim", "delta_rank", "rank"), [(16, 0, 1), (34, 0, 3), (34, 5, 5)])
def test_the_rank_of_delta_is_a_sixteenth_of_the_model_unless_given(model_dim: int, delta_rank: int, rank: int) -> None:
    config = TransformerConfig(model_dim=model_dim, num_heads=2, mamba=MambaConfig(delta_rank=delta_rank))
    assert make(config, Place("decoder_self", 0)).forwards.delta_projection.in_features == rank
