"""Stochastic hard attention, Xu et al. 2015, "Show, Attend and Tell", section 4.1, for one sentence pair."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]  # (query, state_j) -> e_tj
# positions s_1 ... s_T -> (alpha_t for each t [J], given s_1 ... s_{t-1}; log p(y_t | s_1 ... s_t) for each t)
Play = Callable[[list[int]], tuple[list[Tensor], list[Tensor]]]


def attend(
    queries: Tensor, states: Tensor, score: Score, take: Callable[[Tensor], int], *, soft: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the contexts [T, m] and alpha [T, J]; `take` draws s_t, given alpha_t.

    With `soft` the contexts are the expected ones, sum_j alpha_tj a_j (eq. 13).
    """
    contexts, weights = [], []
    for query in queries:
        e = [score(query, state) for state in states]
        alpha = torch.stack([torch.exp(each) / sum(torch.exp(other) for other in e) for each in e])
        s = [1.0 if i == take(alpha.detach()) else 0.0 for i in range(len(states))]  # eq. 8
        contexts.append(sum((alpha[i] if soft else s[i]) * states[i] for i in range(len(states))))  # eq. 9
        weights.append(alpha)
    return torch.stack(contexts), torch.stack(weights)


def log_p_of(s: list[int], alphas: list[Tensor]) -> Tensor:
    """Return log p(s) = sum_t log alpha_{t, s_t}."""
    return sum((torch.log(alphas[t][s[t]]) for t in range(len(s))), torch.zeros((), dtype=torch.float64))


def bound(play: Play, T: int, J: int) -> Tensor:
    """Return L_s = sum_s p(s) log p(y | s) over all sequences s of T positions (eq. 10)."""
    total = torch.zeros((), dtype=torch.float64)
    for s in product(range(J), repeat=T):
        alphas, log_probs = play(list(s))
        total = total + torch.exp(log_p_of(list(s), alphas)) * sum(log_probs)
    return total


def rewards_of_the_sentence(log_probs: list[Tensor], b: float) -> list[float]:
    """Return the paper's reward log p(y | s) - b of each s_t, where b is the baseline of a word."""
    return [sum(log_prob.item() - b for log_prob in log_probs)] * len(log_probs)


def rewards_to_go(log_probs: list[Tensor], b: float) -> list[float]:
    """Return the reward of each s_t without the words before t."""
    return [sum(log_prob.item() - b for log_prob in log_probs[t:]) for t in range(len(log_probs))]


def rewards_of_the_word(log_probs: list[Tensor], b: float) -> list[float]:
    """Return the reward of each s_t from word t alone."""
    return [log_prob.item() - b for log_prob in log_probs]


def rewarded(s: list[int], alphas: list[Tensor], rewards: list[float]) -> Tensor:
    """Return sum_t R_t log p(s_t), whose gradient is the second term of the learning rule."""
    return sum((rewards[t] * torch.log(alphas[t][s[t]]) for t in range(len(s))), torch.zeros((), dtype=torch.float64))


def entropy(alphas: list[Tensor]) -> Tensor:
    """Return sum_t H[s_t]."""
    return sum((-a * torch.log(a) for alpha in alphas for a in alpha), torch.zeros((), dtype=torch.float64))
