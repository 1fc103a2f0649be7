"""Comparison of an alignment with a transcription of its paper: contexts, weights and gradients, whole and in steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nmt.attention.contract import Encoded, SourceAttention, select

STATES, QUERY = 5, 4  # sizes of source states and queries
LENGTHS = [4, 6, 1]  # of the sentences
ROWS = [0, 0, 1, 1, 2, 2]  # the sentence of each hypothesis
STEPS = 8  # more than any sentence has words
CHUNKS = [[8], [1] * 8, [2, 5, 1]]
# (queries [T, query], states [S, states]) -> contexts [T, states] and weights [T, S] of one sentence
Paper = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def inputs(query: int = QUERY, states: int = STATES) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [rows, steps, query], states [batch, src_len, states], and the mask of the states."""
    torch.manual_seed(2)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    queries = torch.randn(len(ROWS), STEPS, query, dtype=torch.float64, requires_grad=True)
    source = torch.randn(len(LENGTHS), max(LENGTHS), states, dtype=torch.float64, requires_grad=True)
    return queries, source, mask


def assert_matches_the_paper(module: SourceAttention, paper: Paper, chunks: list[int], **sizes: int) -> None:
    """Compare a batch with padding and two hypotheses per sentence, decoded in chunks of positions with a state.

    `sizes` are those of `inputs`.
    """
    queries, states, mask = inputs(**sizes)
    memory = module.read(Encoded(states, mask, ()))
    start = module.init_state(memory)
    state = None if start is None else select(start, torch.tensor(ROWS))
    attend = module.over(memory)
    contexts, weights = [], []
    for part, at in zip(queries.split(chunks, 1), torch.arange(STEPS).unsqueeze(0).split(chunks, 1), strict=True):
        attended = attend(part, at, state)
        state = attended.state
        contexts.append(attended.context)
        weights.append(attended.weights)
    context, weight = torch.cat(contexts, dim=1), torch.cat(weights, dim=2).squeeze(1)

    ours, theirs = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for row, sentence in enumerate(ROWS):
        length = LENGTHS[sentence]
        assert (weight[row, :, length:] == 0).all()
        found = (context[row], weight[row, :, :length])
        for one, other in zip(found, paper(queries[row], states[sentence, :length]), strict=True):
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
