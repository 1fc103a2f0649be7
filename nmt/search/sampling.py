"""Ancestral sampling: each token is drawn from the model's distribution, which may be sharpened or truncated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nmt.device import most_exact
from nmt.models.contract import Memory, SearchState, Step, select
from nmt.search.constraints import Constraints
from nmt.search.distribution import Sampling
from nmt.search.hypothesis import Hypothesis, hypothesis
from nmt.search.penalties import LengthPenalty
from nmt.search.steps import Remaining


def sample(
    step: Step,
    memory: Memory,
    state: SearchState,
    *,
    bos: int,
    uniforms: Tensor,
    max_lengths: Tensor,
    constraints: Constraints,
    sampling: Sampling = Sampling(),  # noqa: B008 (a constant)
    length_penalty: LengthPenalty = LengthPenalty(),  # noqa: B008 (a constant)
) -> list[list[Hypothesis]]:
    """Draw translations of each sentence, and return them in the order of their sample numbers.

    memory and state have one row per sentence. max_lengths [batch], each at least 1, are the maximum numbers of tokens,
    including the end of sentence. uniforms [batch, samples, maximum length] are random numbers from
    `uniform_numbers`, one for each token of each sample: the same numbers give the same samples. The log-probability of
    a sample is the model's own, even if `sampling` changes the distribution. Samples of a sentence may be equal. A
    sentence leaves the batch once all of its samples have ended or reached the maximum length.
    """
    batch, samples = uniforms.shape[:2]
    found: dict[int, list[Hypothesis]] = {}
    remaining = Remaining(max_lengths, samples)
    last = max_lengths.new_full((batch, samples), bos)
    tokens = last.new_empty(batch, samples, 0)
    log_prob = torch.zeros(batch, samples, device=last.device)
    done = torch.zeros_like(last, dtype=torch.bool)  # the end of sentence has been drawn
    uniforms = uniforms.to(last.device, most_exact(last.device))
    state = select(state, torch.arange(batch, device=last.device).repeat_interleave(samples))
    for length in range(1, remaining.longest + 1):
        # one step of the model
        log_probs, state = step(last.flatten(), memory, state)
        constraints.apply(log_probs, length)
        # the next token of each sample
        drawn = draw(sampling.weights(log_probs), uniforms[:, :, length - 1].flatten()).unsqueeze(1)
        log_prob = log_prob + log_probs.gather(1, drawn).view_as(log_prob).masked_fill(done, 0.0)
        last = drawn.view_as(last).masked_fill(done, constraints.eos)
        done = done | (last == constraints.eos)
        tokens = torch.cat((tokens, last.unsqueeze(2)), dim=2)
        # sentences that are done leave the batch
        if not remaining.look_now(length):
            continue
        left, stay = remaining.leave(done.all(1) | (max_lengths <= length))
        for row, sentence in left:
            found[sentence] = _answer(tokens[row], log_prob[row], done[row], constraints.eos, length_penalty)
        if not remaining.sentences:
            break
        if stay is not None:
            memory, state = select(memory, stay), select(state, _rows(stay, samples))
            uniforms, constraints, max_lengths = select((uniforms, constraints, max_lengths), stay)
            last, tokens, log_prob, done = select((last, tokens, log_prob, done), stay)
    return [found[sentence] for sentence in range(len(found))]


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw an index from each row of weights [rows, n], with probabilities in proportion to the weights: [rows].

    uniforms [rows] are random numbers from [0, 1). They are looked up in the cumulative distribution, in double
    precision if the device has it. An index of weight zero is never drawn.
    """
    cumulative = weights.cumsum(1, dtype=most_exact(weights.device))
    total = cumulative[:, -1:].contiguous()
    index = torch.searchsorted(cumulative, uniforms.to(cumulative.dtype).unsqueeze(1) * total, right=True)
    last = torch.searchsorted(cumulative, total)  # the limit, in case the product was rounded up to the total
    return torch.minimum(index, last).clamp(max=weights.size(1) - 1).squeeze(1)  # the last index if weights are NaN


def uniform_numbers(seed: int, keys: Sequence[Sequence[int]], samples: int, length: int) -> Tensor:
    """Return random numbers from [0, 1), [sentences, samples, length], on the CPU.

    Each depends only on the seed, the key of its sentence (integers from 0), the number of its sample, and its step.
    """
    numbers = [
        [np.random.default_rng([seed % 2**64, *key, number]).random(length) for number in range(samples)]
        for key in keys
    ]  # fmt: skip
    return torch.from_numpy(np.array(numbers).reshape(len(keys), samples, length))


def _rows(sentences: Tensor, samples: int) -> Tensor:
    """Return the rows [n * samples] of the state that hold the samples of the given sentences [n]."""
    return (sentences.unsqueeze(1) * samples + torch.arange(samples, device=sentences.device)).flatten()


def _answer(
    tokens: Tensor, log_probs: Tensor, done: Tensor, eos: int, length_penalty: LengthPenalty
) -> list[Hypothesis]:
    """Turn the samples of one sentence, tokens [samples, steps] with log_probs [samples], into hypotheses.

    done [samples] is True if a sample has drawn the end of sentence. Tokens from the first end of sentence on are cut.
    """
    answer = []
    for ids, log_prob, finished in zip(tokens.tolist(), log_probs.tolist(), done.tolist(), strict=True):
        ids = ids[: ids.index(eos)] if finished else ids
        answer.append(hypothesis(ids, log_prob, length_penalty, finished))
    return answer
