"""CTranslate2 as its documentation recommends: all sentences in one call, which makes and distributes batches."""

from __future__ import annotations

from typing import Any

from nmt.data.tokenizer import Tokenizer

Answer = tuple[str, int]
COMPUTE_TYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8"}


class PlainCTranslate2:
    """An exported model without nmt's engine around it: no scores, one length limit for all sentences."""

    def __init__(self, asked: dict[str, Any]) -> None:
        import ctranslate2

        from nmt.config.load import override_search
        from nmt.runs.run import read_run_config

        self.search = override_search(read_run_config(asked["run"]).search, asked["search"])
        self.tokenizer = Tokenizer.load(f"{asked['run']}/tokenizer")
        target = self.tokenizer.target
        self.ids = {piece: id for id, piece in enumerate(target.pieces(range(target.size)))}
        self.beam_size = asked["beam_size"]
        kind, _, index = asked["device"].partition(":")
        self.translator = ctranslate2.Translator(
            asked["export"],
            kind,
            device_index=int(index or 0),
            compute_type=COMPUTE_TYPES[asked["precision"]],
            inter_threads=asked["streams"],
            intra_threads=asked["threads"],
        )

    def __call__(self, lines: list[str]) -> list[Answer]:
        """Return the best translation of each line and its number of tokens."""
        names = self.tokenizer.source.names
        sources = [[names[id] for id in ids] for ids in self.tokenizer.encode_source(lines)]
        results = self.translator.translate_batch(
            sources,
            max_batch_size=self.search.tokens_per_batch // self.beam_size,
            batch_type="tokens",
            beam_size=self.beam_size,
            length_penalty=self.search.length_penalty,
            max_decoding_length=self.search.longest(max(map(len, sources))),
            min_decoding_length=0,
            max_input_length=0,
        )
        hypotheses = [[self.ids[piece] for piece in result.hypotheses[0]] for result in results]
        return [(self.tokenizer.decode_target(ids), len(ids) + 1) for ids in hypotheses]
