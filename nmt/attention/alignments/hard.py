"""Hard attention that is trained by sampling (Xu et al. 2015, section 4.1, stochastic "hard" attention).

At each target position t the decoder attends to exactly one source position s_t. In training, s_t is drawn from the
attention weights alpha_t, and REINFORCE teaches these weights which positions led to good predictions. At inference,
s_t is the position with the greatest weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.attention.alignments.base import AlignmentMemory, ScoredAlignment
from nmt.attention.contract import Attend, Attended, LearnsFromUpdates, MechanismState, NamedLoss
from nmt.attention.normalisers import log_softmax
from nmt.attention.patterns import bias_of
from nmt.attention.precision import for_products
from nmt.attention.scores import Score
from nmt.config.models import LuongConfig, RnnSearchConfig
from nmt.config.options.recurrent import HardConfig


class Choice(NamedTuple):
    """The source positions taken by the queries of a batch."""

    taken: Tensor  # [batch, queries, src_len], the weights of the source states in the context; one-hot if hard
    shown: Tensor  # [batch, queries, src_len], the attention weights to return
    log_prob: Tensor  # [batch, queries], log alpha of the positions that were sampled, 0 where none was


class HardAlignment(ScoredAlignment, LearnsFromUpdates):
    """Attention to one source position s_t ~ Multinoulli(alpha_t), with alpha_t = softmax(e_t) (Xu et al. 2015, eq. 8).

    Training minimises -log p(y | s) with the sampled s. This loss has no gradient for how s was sampled, so two losses
    are added (section 4.1, the last equation). The loss `entropy` is the sum over t of the entropy H[s_t]; its weight
    is -lambda_e. The loss `reinforce`, with the weight lambda_r, is

        - sum_t R_t log p(s_t), with R_t = sum_{u >= t} (log p(y_u | s) - b).

    In the paper, every R_t is log p(y | s) - b, the reward of the whole sentence. But words before t do not depend on
    s_t: in the expected gradient their log-probabilities cancel out, and in a sample they are noise. The same holds for
    the words after t if the next states of the decoder do not read the context (`feeds` is False): then R_t is
    log p(y_t | s) - b. In a share `soft_share` of the sentences, the context is the expected one, sum_j alpha_tj h_j,
    in all steps (the paper has one half); these have no loss `reinforce`.

    The baseline b is a running mean of the log-probability of a word: b <- decay b + (1 - decay) log p after each
    update. It is the same for all s_t and changes no expectation, either. Before the first update there is no b, and
    the update learns from no rewards; in the authors' code b starts at 0, far from all log-probabilities.
    """

    loss_names = ("reinforce", "entropy")
    baseline: Tensor  # b, a scalar; 0 before the first update

    def __init__(self, score: Score, options: HardConfig, *, feeds: bool) -> None:
        super().__init__(score)
        self.options = options
        self.feeds = feeds
        self.register_buffer("baseline", torch.zeros(()))

    def after_update(self, losses: Mapping[str, Tensor]) -> None:
        log_prob = -losses["nll"].to(self.baseline.dtype)
        mean = torch.lerp(log_prob, self.baseline, self.options.baseline_decay)
        self.baseline.copy_(torch.where(self.baseline < 0, mean, log_prob))

    def over(self, memory: AlignmentMemory, *, need_weights: bool = False) -> Attend:
        bias = bias_of(memory.mask).unsqueeze(1)  # [batch, 1, src_len]
        states = for_products(memory.states)  # once: autocast would keep a copy of the states for each step
        choose = self._choosing(memory.mask.size(0), states)

        def attend(x: Tensor, positions: Tensor, state: MechanismState = None) -> Attended:
            rows, tgt_len, dim = x.shape
            # log-weights log alpha_tj; the hypotheses of a sentence are treated as additional queries
            scores = self.score(x.reshape(states.size(0), -1, dim), memory.keys)
            log_alpha = log_softmax(scores, bias)  # [batch, queries, src_len]
            # source positions s_t and contexts
            choice = choose(log_alpha)
            context = choice.taken.to(states.dtype) @ states
            by_row = (rows, tgt_len, -1)
            losses = self._losses(
                log_alpha.reshape(by_row), choice.log_prob.reshape(rows, tgt_len), positions.expand(rows, -1)
            )
            return Attended(context.reshape(by_row), choice.shown.reshape(by_row).unsqueeze(1), losses=losses)

        return attend

    def _choosing(self, batch: int, like: Tensor) -> Callable[[Tensor], Choice]:
        """Return the function that takes source positions, given log alpha [batch, queries, src_len].

        It takes the greatest weights in evaluation mode. In training it samples, except in sentences drawn here.
        """
        if not self.training:
            return greatest
        soft = draw_soft(batch, self.options.soft_share, like.device)
        return lambda log_alpha: sampled(log_alpha, soft)

    def _losses(self, log_alpha: Tensor, log_prob: Tensor, positions: Tensor) -> tuple[NamedLoss, ...]:
        """Return the losses of target positions [rows, tgt_len] whose log p(s_t) is log_prob [rows, tgt_len].

        log_alpha is [rows, tgt_len, src_len].
        """

        def reinforce(log_probs: Tensor, mask: Tensor) -> Tensor:
            advantage = torch.where(self.baseline < 0, log_probs - self.baseline, 0.0) * mask
            reward = advantage.flip(1).cumsum(1).flip(1) if self.feeds else advantage
            return -(reward.gather(1, positions) * log_prob).sum()

        def entropy(log_probs: Tensor, mask: Tensor) -> Tensor:
            return (entropy_of(log_alpha) * mask.gather(1, positions)).sum()

        return (
            NamedLoss("reinforce", self.options.reinforce, reinforce),
            NamedLoss("entropy", -self.options.entropy, entropy),
        )


def draw_soft(batch: int, share: float, device: torch.device) -> Tensor:
    """Draw the sentences of a batch that get the expected context, as a mask [batch]."""
    return torch.rand(batch, device=device) < share


def greatest(log_alpha: Tensor) -> Choice:
    """Take the position with the greatest weight for each query; the attention weights are one-hot."""
    taken = one_hot(log_alpha.argmax(2), log_alpha)
    return Choice(taken, taken, torch.zeros_like(log_alpha[..., 0]))


def sampled(log_alpha: Tensor, soft: Tensor) -> Choice:
    """Sample positions, or take the weights alpha themselves in the sentences where soft [batch] is True.

    The attention weights are alpha, so that losses on attention weights have a gradient.
    """
    alpha, soft = log_alpha.exp(), soft.unsqueeze(1)
    position = sample(alpha.detach())
    taken = torch.where(soft.unsqueeze(2), alpha, one_hot(position, alpha))
    log_prob = log_alpha.gather(2, position.unsqueeze(2)).squeeze(2)
    return Choice(taken, alpha, torch.where(soft, 0.0, log_prob))


def sample(alpha: Tensor) -> Tensor:
    """Draw a position [...] for each distribution in alpha [..., src_len].

    Of exponential variables with the rates alpha_j, the j-th is the smallest with probability alpha_j. Unlike
    `torch.multinomial`, this does not make a GPU wait. The noise is kept above 0, because a noise of exactly 0 could
    select a position with alpha = 0, such as padding.
    """
    noise = torch.empty_like(alpha).exponential_().clamp_min(torch.finfo(alpha.dtype).tiny)
    return (alpha / noise).argmax(-1)


def one_hot(position: Tensor, like: Tensor) -> Tensor:
    """Return zeros of the shape of `like` [..., src_len] with a one at each position [...]."""
    return torch.zeros_like(like).scatter(-1, position.unsqueeze(-1), 1.0)


def entropy_of(log_alpha: Tensor) -> Tensor:
    """Return the entropy [...] of each distribution with the log-probabilities log_alpha [..., src_len]."""
    return -(log_alpha.exp() * log_alpha.clamp_min(torch.finfo(log_alpha.dtype).min)).sum(-1)


def make(config: RnnSearchConfig | LuongConfig, score: Score, states_dim: int) -> HardAlignment:
    """Return the hard alignment with this score and the options in `model.hard`.

    The next states of all decoders but Luong's without input feeding depend on the contexts of the earlier ones.
    """
    return HardAlignment(score, config.hard, feeds=getattr(config, "input_feeding", True))
