"""Coverage attention agrees with Tu et al. 2016 in values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.alignments.coverage import CoverageAlignment, LinguisticCoverage, NeuralCoverage
from nmt.attention.contract import Encoded, select
from nmt.attention.scores import AdditiveScore
from nmt.config.load import load_config
from nmt.errors import ConfigError
from tests.attention.papers import coverage as paper

STATES, QUERY, ATTENTION, DIM, MOST = 5, 4, 6, 3, 2.5
LENGTHS = [4, 6, 1]
ROWS = [0, 0, 1, 1, 2, 2]  # the sentence of each hypothesis
STEPS = 5


def alignment(kind: str) -> CoverageAlignment:
    torch.manual_seed(1)
    update = LinguisticCoverage(STATES, MOST) if kind == "linguistic" else NeuralCoverage(STATES, QUERY, DIM)
    return CoverageAlignment(AdditiveScore(QUERY, STATES, ATTENTION), update).double()


def of_the_paper(module: CoverageAlignment, queries: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate the paper's equations with the module's weights under the paper's names."""
    score, update = module.score, module.update
    names = {
        "W": score.query_projection.weight,
        "U": score.states_projection.weight,
        "b": score.states_projection.bias,
        "v": score.v.weight[0],
        "V": module.coverage_projection.weight,
    }
    if isinstance(update, LinguisticCoverage):
        names["U_f"] = update.fertility_projection.weight
        return paper.attend(queries, states, names, paper.linguistic(names, MOST), 1)
    assert isinstance(update, NeuralCoverage)
    parts = (update.weight_projection, update.states_projection, update.query_projection)
    of_input = torch.cat([part.weight for part in parts], dim=1)
    recurrent = torch.cat((update.gates_projection.weight, update.candidate_projection.weight))
    for number, gate in enumerate("zrc"):
        rows = slice(number * DIM, (number + 1) * DIM)
        names |= {f"W_{gate}": of_input[rows], f"U_{gate}": recurrent[rows]}
        names[f"b_{gate}"] = update.states_projection.bias[rows]
    return paper.attend(queries, states, names, paper.neural(names), DIM)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [rows, steps, query], states [batch, src_len, states], and the mask of the states."""
    torch.manual_seed(2)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    queries = torch.randn(len(ROWS), STEPS, QUERY, dtype=torch.float64, requires_grad=True)
    states = torch.randn(len(LENGTHS), max(LENGTHS), STATES, dtype=torch.float64, requires_grad=True)
    return queries, states, mask


@pytest.mark.parametrize("kind", ["linguistic", "neural"])
@pytest.mark.parametrize("chunks", [[5], [1, 1, 1, 1, 1], [2, 3]], ids=str)
def test_equals_the_paper_in_values_and_gradients(kind: str, chunks: list[int]) -> None:
    """The batch has padding and two hypotheses per sentence; it is decoded in one call, and in several with a state."""
    module = alignment(kind)
    queries, states, mask = inputs()
    memory = module.read(Encoded(states, mask, ()))
    coverage = select(module.init_state(memory), torch.tensor(ROWS))
    contexts, weights = [], []
    attend = module.over(memory)
    for part in queries.split(chunks, dim=1):
        attended = attend(part, torch.arange(part.size(1)).unsqueeze(0), coverage)
        coverage = attended.state
        contexts.append(attended.context)
        weights.append(attended.weights)
    context, weight = torch.cat(contexts, dim=1), torch.cat(weights, dim=2).squeeze(1)

    ours, theirs = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for row, sentence in enumerate(ROWS):
        length = LENGTHS[sentence]
        found = (context[row], weight[row, :, :length], coverage[row, :length])
        wanted = of_the_paper(module, queries[row], states[sentence, :length])
        assert (weight[row, :, length:] == 0).all()
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other)
            direction = torch.randn(one.shape, dtype=torch.float64)
            ours, theirs = ours + (one * direction).sum(), theirs + (other * direction).sum()
    leaves = {"queries": queries, "states": states, **dict(module.named_parameters())}
    for name, one, other in zip(
        leaves,
        torch.autograd.grad(ours, list(leaves.values())),
        torch.autograd.grad(theirs, list(leaves.values())),
        strict=True,
    ):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")
        assert other.abs().max() > 1e-6, name


def test_coverage_stays_in_float32_under_autocast() -> None:
    """A sum over many steps would lose small terms in bf16."""
    for kind in ("linguistic", "neural"):
        module = alignment(kind).float()
        queries, states, mask = inputs()
        with torch.autocast("cpu", torch.bfloat16):
            memory = module.read(Encoded(states.float(), mask, ()))
            start = module.init_state(memory)
            after = module.over(memory)(queries[::2].float(), torch.zeros(1, STEPS), start).state
        assert start.dtype == after.dtype == torch.float32


@pytest.mark.parametrize(
    ("model", "score"), [("rnnsearch", "general"), ("luong", "general"), ("luong", "dot")], ids=str
)
def test_a_score_without_a_sum_inside_a_tanh_is_refused(model: str, score: str) -> None:
    given = ["model=" + model, "model.alignment=coverage", f"model.score={score}"]
    with pytest.raises(
        ConfigError, match=rf"coverage adds a term inside the tanh of an additive score, and model\.score={score}"
    ):
        load_config("embedded", given)
