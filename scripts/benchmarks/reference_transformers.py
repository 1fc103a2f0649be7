"""The reference for `transformers`: a MarianMTModel trained from scratch by its Trainer.

The sizes are those of the toolkit's configuration (Marian has post-norm layers only). The Trainer uses batches of a
fixed number of sentences, which fill training.tokens_per_update on average, and groups them by length in its own way.
Everything that is not set here is its default.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections import deque
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from benchmarks.measure import Meter
from benchmarks.reference_torch import Pair, read_pairs
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.data.prepare import Prepared
from nmt.data.tokenizer import EOS, PAD, Tokenizer

IGNORED = -100  # a label that the loss ignores


def train(config: Config, prepared: Prepared, device: torch.device, bf16: bool, meter: Meter) -> None:
    """Train on the prepared data until the meter's window has ended."""
    from transformers import MarianMTModel, Trainer, TrainerCallback, TrainingArguments

    training, pairs = config.training, read_pairs(prepared)
    torch.manual_seed(config.seed)
    assert isinstance(config.model, TransformerConfig), "checked before"
    longest = max(max(map(len, pair)) for pair in pairs)
    model = MarianMTModel(marian_config(config.model, prepared.tokenizer, longest))
    consumed: deque[tuple[list[int], list[int], int]] = deque()  # batches that were made but not yet trained on

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        src, labels = (pad([pair[name] for pair in batch], filler) for name, filler in SIDES)
        source, target = ([len(pair[name]) for pair in batch] for name, _ in SIDES)
        consumed.append((source, target, src.numel() + labels.numel()))
        tgt_in = torch.cat((labels.new_full((len(labels), 1), PAD), labels[:, :-1]), dim=1)
        return {
            "input_ids": src,
            "attention_mask": (src != PAD).long(),
            "decoder_input_ids": tgt_in.masked_fill(tgt_in == IGNORED, PAD),
            "labels": labels,
        }

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_training_stop = meter.add(*consumed.popleft())
            return control

    beta1, beta2 = training.optimizer.betas
    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    grouped = (
        {"train_sampling_strategy": "group_by_length"}
        if "train_sampling_strategy" in names
        else {"group_by_length": True}
    )
    longer = sum(max(len(source), len(target)) for source, target in pairs)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=10**9,
            per_device_train_batch_size=max(1, training.tokens_per_update * len(pairs) // longer),
            learning_rate=training.learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=training.schedule.warmup_steps,
            adam_beta1=beta1,
            adam_beta2=beta2,
            adam_epsilon=training.optimizer.eps,
            max_grad_norm=training.clip_norm or 0.0,
            label_smoothing_factor=training.label_smoothing,
            bf16=bf16,
            use_cpu=device.type == "cpu",
            remove_unused_columns=False,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=config.seed,
            **grouped,
        )
        trainer = Trainer(
            model=model, args=arguments, data_collator=collate, train_dataset=Pairs(pairs), callbacks=[Watch()]
        )
        trainer.train()


SIDES = (("input_ids", PAD), ("labels", IGNORED))


class Pairs(Dataset[dict[str, list[int]]]):
    """A data set of pairs under the names that the Trainer expects."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        return {name: ids for (name, _), ids in zip(SIDES, self.pairs[row], strict=True)}


def pad(sentences: list[list[int]], filler: int) -> Tensor:
    """Return the sentences padded with `filler`, as [sentences, longest]."""
    return pad_sequence([torch.tensor(ids) for ids in sentences], batch_first=True, padding_value=filler)


def marian_config(model: TransformerConfig, tokenizer: Tokenizer, positions: int) -> Any:
    """Return a MarianConfig of the same sizes, for sentences of at most `positions` tokens."""
    from transformers import MarianConfig

    return MarianConfig(
        vocab_size=tokenizer.source_size,
        decoder_vocab_size=tokenizer.target_size,
        share_encoder_decoder_embeddings=model.share_embeddings,
        tie_word_embeddings=model.tie_projection,
        max_position_embeddings=positions,
        d_model=model.model_dim,
        encoder_layers=model.encoder_layers,
        decoder_layers=model.decoder_layers,
        encoder_ffn_dim=model.ffn_dim,
        decoder_ffn_dim=model.ffn_dim,
        encoder_attention_heads=model.num_heads,
        decoder_attention_heads=model.num_heads,
        activation_function=model.activation,
        dropout=model.dropout,
        attention_dropout=model.attention_dropout,
        activation_dropout=model.ffn_dropout,
        scale_embedding=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        forced_eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )
