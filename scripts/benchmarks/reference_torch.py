"""The reference for plain PyTorch: `torch.nn.Transformer` in a simple training loop, as in tutorials.

The sizes are those of the toolkit's configuration. To make batches, the sentences are shuffled once per epoch; pools of
about eight batches are sorted by source length and cut where the number of sentences times the longest of either side
would exceed training.tokens_per_update; and the batches of a pool are shuffled. Training uses `F.cross_entropy` with
label smoothing over all positions, `torch.optim.Adam` and `clip_grad_norm_`. The learning rate rises linearly and then
stays constant. `nn.Transformer` also applies its dropout to attention weights and inside the feed-forward network.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from benchmarks.measure import Meter
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.prepare import Prepared
from nmt.data.tokenizer import BOS, PAD

POOL = 8  # number of batches in a pool
MOST_PAIRS = 200_000  # kept in memory, evenly spread over the data; a measurement reads fewer

Pair = tuple[list[int], list[int]]
Batch = tuple[Tensor, Tensor, list[int], list[int]]


class PlainTransformer(nn.Module):
    """`nn.Transformer` with scaled embeddings, sinusoidal positions and a vocabulary projection."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, source_size: int, target_size: int, longest: int) -> None:
        super().__init__()
        dim = config.model_dim
        self.scale = math.sqrt(dim)
        self.target = nn.Embedding(target_size, dim, padding_idx=PAD)
        self.source = self.target if config.share_embeddings else nn.Embedding(source_size, dim, padding_idx=PAD)
        self.projection = nn.Linear(dim, target_size, bias=False)
        for embedding in {self.source, self.target}:
            nn.init.normal_(embedding.weight, std=dim**-0.5)
        if config.tie_projection:
            self.projection.weight = self.target.weight
        self.register_buffer("positions", sinusoids(longest, dim), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = nn.Transformer(
            dim,
            config.num_heads,
            config.encoder_layers,
            config.decoder_layers,
            config.ffn_dim,
            config.dropout,
            config.activation,
            batch_first=True,
            norm_first=config.norm == "pre",
        )

    def forward(self, src: Tensor, tgt_in: Tensor) -> Tensor:
        """Return logits [batch, tgt_len, vocab] for src [batch, src_len] and tgt_in [batch, tgt_len]."""
        length = tgt_in.size(1)
        future = torch.ones(length, length, dtype=torch.bool, device=src.device).triu(1)
        hidden = self.transformer(
            self._embed(self.source, src),
            self._embed(self.target, tgt_in),
            tgt_mask=future,
            src_key_padding_mask=src == PAD,
            tgt_key_padding_mask=tgt_in == PAD,
            memory_key_padding_mask=src == PAD,
            tgt_is_causal=True,
        )
        logits: Tensor = self.projection(hidden)
        return logits

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(embedding(tokens) * self.scale + self.positions[: tokens.size(1)])
        return embedded


def sinusoids(length: int, dim: int) -> Tensor:
    """Return sines and cosines [length, dim] (Vaswani et al. 2017, section 3.5)."""
    angle = torch.arange(length).unsqueeze(1) * torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


def train(config: Config, prepared: Prepared, device: torch.device, bf16: bool, meter: Meter) -> None:
    """Train on the prepared data until the meter's window has ended."""
    assert isinstance(config.model, TransformerConfig), "checked before"
    training = config.training
    torch.manual_seed(config.seed)
    tokenizer, pairs = prepared.tokenizer, read_pairs(prepared)
    longest = max(max(len(source), len(target)) for source, target in pairs)
    model = PlainTransformer(config.model, tokenizer.source_size, tokenizer.target_size, longest).to(device).train()
    beta1, beta2 = training.optimizer.betas
    optimizer = torch.optim.Adam(
        model.parameters(), lr=training.learning_rate, betas=(beta1, beta2), eps=training.optimizer.eps
    )
    warm_up = max(training.schedule.warmup_steps, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm_up))
    batches = Pools(pairs, training.tokens_per_update, config.seed)
    loader: DataLoader[Batch] = DataLoader(pairs, batch_sampler=batches, collate_fn=collate)  # type: ignore[arg-type]
    for src, tgt, source, target in meter.waiting(iter(loader)):
        padded_tokens = src.numel() + tgt.numel() - len(tgt)  # BOS of the target does not count as a token
        src, tgt = src.to(device), tgt.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = model(src, tgt[:, :-1])
            loss = F.cross_entropy(
                logits.flatten(0, 1),
                tgt[:, 1:].flatten(),
                ignore_index=PAD,
                label_smoothing=training.label_smoothing,
            )
        optimizer.zero_grad()
        loss.backward()
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimizer.step()
        schedule.step()
        if meter.add(source, target, padded_tokens):
            return


def read_pairs(prepared: Prepared) -> list[Pair]:
    """Return training pairs as lists of ids with EOS."""
    store = prepared.train
    rows = range(0, len(store), -(-len(store) // MOST_PAIRS))
    return [(store.source(row).tolist(), store.target(row).tolist()) for row in rows]


def collate(pairs: list[Pair]) -> Batch:
    """Return padded source and target (the target with BOS and EOS), and the lengths of both with EOS."""
    src = pad_sequence([torch.tensor(source) for source, _ in pairs], batch_first=True, padding_value=PAD)
    tgt = pad_sequence([torch.tensor([BOS, *target]) for _, target in pairs], batch_first=True, padding_value=PAD)
    return src, tgt, [len(source) for source, _ in pairs], [len(target) for _, target in pairs]


class Pools:
    """An endless sequence of batches, each a list of row numbers, made as the top of this file describes."""

    def __init__(self, pairs: list[Pair], budget: int, seed: int) -> None:
        self.source = [len(source) for source, _ in pairs]
        self.longer = [max(len(source), len(target)) for source, target in pairs]
        self.budget = budget
        self.random = random.Random(seed)

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(range(len(self.longer)))
        size = max(1, POOL * self.budget * len(rows) // sum(self.longer))
        while True:
            self.random.shuffle(rows)
            for start in range(0, len(rows), size):
                batches = self._cut(sorted(rows[start : start + size], key=self.source.__getitem__))
                self.random.shuffle(batches)
                yield from batches

    def _cut(self, rows: list[int]) -> list[list[int]]:
        batches: list[list[int]] = [[]]
        longest = 0
        for row in rows:
            longest = max(longest, self.longer[row])
            if batches[-1] and (len(batches[-1]) + 1) * longest > self.budget:
                batches.append([])
                longest = self.longer[row]
            batches[-1].append(row)
        return batches
