"""The model that training and search call: an encoder, a decoder and the projection to the vocabulary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nmt.attention.contract import LearnsFromUpdates, Mixer, penalties
from nmt.data.tokenizer import BOS, PAD
from nmt.models.contract import AttentionKind, Decoded, Decoder, Encoded, Encoder, Memory, NeedWeights, State

TOKENS_AT_ONCE = 512  # the number of forced tokens whose logits are in memory at once


class Seq2Seq(nn.Module):
    """An encoder, a decoder and the projection to the target vocabulary."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, projection: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.projection = projection

    @property
    def attends(self) -> bool:
        """True if the decoder can return weights of attention to the source."""
        return cast(Decoder, self.decoder).attends

    def has_attention(self, kind: AttentionKind) -> bool:
        """Return whether `attention` can return weights of this kind."""
        if kind == "encoder":
            return cast(Encoder, self.encoder).attends
        return self.attends if kind == "cross" else cast(Decoder, self.decoder).self_attends

    def implied_layers(self, kind: AttentionKind) -> list[int]:
        """Return the layers, from 0, whose weights in `attention` are implied; see `Mixer`."""
        if kind == "cross":
            return []
        stack = self.encoder if kind == "encoder" else self.decoder
        modules = (module for _, module in stack.named_modules(remove_duplicate=False))  # layers may share a mixer
        mixers = [module for module in modules if isinstance(module, Mixer)]  # one in each layer
        return [layer for layer, mixer in enumerate(mixers) if mixer.implied]

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the losses that encoder, decoder and penalties add to training."""
        of_stacks = (*cast(Encoder, self.encoder).loss_names, *cast(Decoder, self.decoder).loss_names)
        return (*of_stacks, *(loss.name for loss in penalties(self)))

    @torch.no_grad()
    def after_update(self, losses: Mapping[str, Tensor]) -> None:
        """Pass the losses of an update to the parts of the model that learn from them; see `LearnsFromUpdates`."""
        for module in self.modules():
            if isinstance(module, LearnsFromUpdates):
                module.after_update(losses)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor,
        tgt_in: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: NeedWeights = False,
    ) -> Decoded:
        """Decode tgt_in [batch, tgt_len] as the translation of src [batch, src_len] (teacher forcing)."""
        encoded = self._encode(src, src_mask, lengths)
        decoded, _ = self.decoder(tgt_in, cast(Decoder, self.decoder).read(encoded), need_weights=need_weights)
        return cast(Decoded, decoded._replace(losses=(*encoded.losses, *decoded.losses, *penalties(self))))

    def read(self, src: Tensor, src_mask: Tensor, lengths: Tensor | None = None) -> Memory:
        """Encode src and return the decoder's memory of it, with one row per sentence."""
        return cast(Decoder, self.decoder).read(self._encode(src, src_mask, lengths))

    def _encode(self, src: Tensor, src_mask: Tensor, lengths: Tensor | None) -> Encoded:
        reads_layers = cast(Decoder, self.decoder).reads_layers
        return cast(Encoded, self.encoder(src, src_mask, lengths, need_layers=reads_layers))

    def init_state(self, memory: Memory, max_len: int) -> State:
        """Return the decoder's state before the first token, with one row per sentence."""
        return cast(Decoder, self.decoder).init_state(memory, max_len)

    def step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """Take one search step: the last tokens [rows] -> log-probabilities [rows, vocab] and the new state."""
        decoded, state = self._decode(tokens.unsqueeze(1), memory, state)
        return self._log_probs(decoded, memory).squeeze(1), state

    def weighted_step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, Tensor, State]:
        """Take one search step like `step`, and return log-probabilities, attention weights and the new state.

        The weights [rows, src_len] are averaged over layers and heads.
        """
        decoded, state = self._decode(tokens.unsqueeze(1), memory, state, need_weights=True)
        weights = cast(Tensor, decoded.weights).flatten(1, 3).mean(1)
        return self._log_probs(decoded, memory).squeeze(1), weights, state

    def _decode(
        self, tokens: Tensor, memory: Memory, state: State, need_weights: bool = False
    ) -> tuple[Decoded, State]:
        """Call the decoder with tokens [rows, tgt_len] and a state, so that the returned state is not None."""
        decoded, state = self.decoder(tokens, memory, state, need_weights=need_weights)
        return decoded, state

    def _log_probs(self, decoded: Decoded, memory: Memory) -> Tensor:
        """Return the log-probabilities [rows, tgt_len, vocab] of the token after each position."""
        if decoded.mixture is None:
            return torch.log_softmax(self._logits(decoded.hidden, memory), dim=-1)
        log_probs: Tensor | None = None
        for hidden, log_weights in zip(decoded.hidden.unbind(2), decoded.mixture.unbind(2), strict=True):
            # one prediction at a time: the logits of all k would not fit into memory
            one = torch.log_softmax(self._logits(hidden, memory), dim=-1) + log_weights.unsqueeze(-1)
            log_probs = one if log_probs is None else torch.logaddexp(log_probs, one)
        assert log_probs is not None, "a mixture has at least one prediction"
        return log_probs

    def _logits(self, hidden: Tensor, memory: Memory) -> Tensor:
        """Project hidden [..., dim] to logits [..., vocab]; subclasses may use `memory` to restrict the vocabulary."""
        return sayable(self.projection(hidden))

    def force(
        self,
        src: Tensor,
        src_mask: Tensor,
        tgt_in: Tensor,
        tgt_out: Tensor,
        lengths: Tensor | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the log-probabilities [batch, tgt_len] of the tokens of a given target, and attention weights or None.

        The decoder reads tgt_in [batch, tgt_len] and predicts tgt_out [batch, tgt_len], the same target one token
        further on (teacher forcing). `lengths` [batch] are the lengths of the sources, if known. With need_weights the
        weights are [batch, tgt_len, src_len], averaged over layers and heads.
        """
        # hidden states
        decoded, _ = self.decoder(tgt_in, self.read(src, src_mask, lengths), need_weights=need_weights)
        hidden, targets, mixture = decoded.hidden.flatten(0, 1), tgt_out.flatten(), decoded.mixture
        # log-probabilities of the targets, in chunks to save memory
        if mixture is None:
            chunks = zip(hidden.split(TOKENS_AT_ONCE), targets.split(TOKENS_AT_ONCE), strict=True)
            found = [
                -cross_entropy(sayable(self.projection(part)), target, reduction="none") for part, target in chunks
            ]
        else:
            found = self._force_mixture(hidden, targets, mixture.flatten(0, 1))
        # weights
        weights = None if decoded.weights is None else decoded.weights.flatten(1, 2).mean(1)
        return torch.cat(found).view_as(tgt_out), weights

    def _force_mixture(self, hidden: Tensor, targets: Tensor, mixture: Tensor) -> list[Tensor]:
        """Return the log-probabilities of targets [tokens], given hidden [tokens, k, dim] and mixture [tokens, k]."""
        at_once = max(1, TOKENS_AT_ONCE // mixture.size(1))
        found = []
        for part, target, log_weights in zip(
            *(each.split(at_once) for each in (hidden, targets, mixture)), strict=True
        ):
            log_probs = torch.log_softmax(sayable(self.projection(part)), dim=-1)  # [tokens, k, vocab]
            of_target = log_probs.gather(2, target[:, None, None].expand(-1, log_probs.size(1), 1)).squeeze(2)
            found.append((of_target + log_weights).logsumexp(1))
        return found

    def attention(self, src: Tensor, src_mask: Tensor, tgt_in: Tensor, kind: AttentionKind = "cross") -> Tensor:
        """Return the attention weights [batch, layers, heads, queries, keys] of a source and a forced target tgt_in.

        Queries are target positions and keys source positions; in self-attention both are positions of the same side.
        Call this only if `has_attention(kind)`.
        """
        if kind == "encoder":
            weights = cast(Encoder, self.encoder)(src, src_mask, need_weights=True).weights
        else:
            decoded, _ = cast(Decoder, self.decoder)(tgt_in, self.read(src, src_mask), need_weights=True)
            weights = decoded.weights if kind == "cross" else decoded.self_weights
        assert weights is not None, f"this model has no {kind} attention"
        return weights

    def depths(self, src: Tensor, src_mask: Tensor, tgt_in: Tensor) -> dict[str, Tensor]:
        """Return the number of layers that each token of a source and a forced target goes through.

        The keys are the stacks with halting: encoder [batch, src_len] and decoder [batch, tgt_len].
        """
        encoded = self._encode(src, src_mask, None)
        decoded, _ = self.decoder(tgt_in, cast(Decoder, self.decoder).read(encoded))
        both = {"encoder": encoded.depth, "decoder": decoded.depth}
        return {stack: depth for stack, depth in both.items() if depth is not None}


def sayable(logits: Tensor) -> Tensor:
    """Return logits [..., vocab] in float32, with minus infinity for padding and begin of sentence.

    A translation never contains these two tokens, so the probabilities of all other tokens sum to one, as in
    CTranslate2. Logits that are in float32 already are changed in place.
    """
    logits = logits.float()
    for token in (PAD, BOS):  # one by one: an index of several would be copied to the device at every step
        logits[..., token] = -math.inf
    return logits
