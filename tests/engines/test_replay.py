"""Recorded steps: the same hypotheses as without recording, from tensors that are only ever overwritten."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import EOS
from nmt.engines import native
from nmt.engines.native import NativeEngine
from nmt.engines.replay import leaves, recorder
from nmt.errors import NmtError
from nmt.models.ensemble import Ensemble
from nmt.models.seq2seq import Seq2Seq
from nmt.search.distribution import Sampling
from tests.models.variants import VARIANTS, random_batch, tiny_model

SIZE = 30
OPTIONS = SearchConfig(
    beam_size=4, min_length_ratio=0.8, max_length_ratio=2.0, max_length_offset=4, precision="fp32", cuda_graphs=True
)


class Recorder:
    """What a graph does, on the CPU: nothing when it is recorded; then, again and again, into the same tensors."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        self.recorded += 1
        answer = function()
        places = leaves(answer)
        for place, again in zip(places, leaves(function()), strict=True):
            if place is not again and place.is_floating_point():
                place.fill_(torch.nan)  # a graph answers nothing before it is replayed

        def replay() -> None:
            self.replayed += 1
            for place, leaf in zip(places, leaves(function()), strict=True):
                if place is not leaf:
                    place.copy_(leaf)

        return answer, replay


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(native, "recorder", lambda device: found)
    return found


def sources() -> list[list[int]]:
    src, _ = random_batch([5, 3, 7, 2, 9, 4, 1, 6], SIZE)
    return [[*(token for token in row if token), EOS] for row in src.tolist()]


def model(variant: str) -> Seq2Seq | Ensemble:
    if variant == "ensemble":
        return Ensemble([tiny_model(name, SIZE) for name in ("transformer-pre", "luong-general")])
    return tiny_model(variant, SIZE)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("variant", [*VARIANTS, "ensemble"])
def test_replays_find_what_steps_find(variant: str, beam_size: int, counted: Recorder) -> None:
    engine = NativeEngine(model(variant))
    options = dataclasses.replace(OPTIONS, beam_size=beam_size)
    plain = engine.search(sources(), dataclasses.replace(options, cuda_graphs=False), 1)
    assert counted.recorded == 0
    found = engine.search(sources(), options, 1)
    assert [[one.tokens for one in each] for each in found] == [[one.tokens for one in each] for each in plain]
    for each, of_plain in zip(found, plain, strict=True):
        assert [one.score for one in each] == pytest.approx([one.score for one in of_plain], abs=1e-5)
    assert 1 <= counted.recorded < counted.replayed


def test_coverage_is_recorded_too(counted: Recorder) -> None:
    engine = NativeEngine(model("transformer-pre"))
    options = dataclasses.replace(OPTIONS, coverage_penalty=0.4)
    plain = engine.search(sources(), dataclasses.replace(options, cuda_graphs=False), 3)
    found = engine.search(sources(), options, 3)
    assert [[one.tokens for one in each] for each in found] == [[one.tokens for one in each] for each in plain]
    assert counted.replayed > counted.recorded > 0


def test_samples_are_the_same(counted: Recorder) -> None:
    engine = NativeEngine(model("transformer-pre"))
    keys = [[line] for line in range(8)]
    plain, found = (
        engine.sample(sources(), dataclasses.replace(OPTIONS, cuda_graphs=graphs), Sampling(), 3, keys)
        for graphs in (False, True)
    )
    assert [[one.tokens for one in each] for each in found] == [[one.tokens for one in each] for each in plain]
    assert counted.replayed > counted.recorded > 0


def test_only_cuda_records() -> None:
    with pytest.raises(NmtError, match=r"search\.cuda_graphs=true needs a CUDA device, and the model is on cpu"):
        NativeEngine(model("transformer-pre")).search(sources(), OPTIONS, 1)
    with pytest.raises(NmtError, match="on mps"):
        recorder(torch.device("mps"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("variant", [*VARIANTS, "ensemble"])
def test_graphs_find_what_steps_find(variant: str, beam_size: int) -> None:
    engine = NativeEngine(model(variant).to("cuda"))
    options = dataclasses.replace(OPTIONS, beam_size=beam_size)
    plain = engine.search(sources(), dataclasses.replace(options, cuda_graphs=False), 1)
    found = engine.search(sources(), options, 1)
    assert [[one.tokens for one in each] for each in found] == [[one.tokens for one in each] for each in plain]


def test_streams_are_refused(counted: Recorder) -> None:
    with pytest.raises(NmtError, match=r"search\.cuda_graphs=true records for one stream, and there are 2"):
        NativeEngine(model("transformer-pre"), streams=2).adopt(OPTIONS)
    assert NativeEngine(model("transformer-pre")).adopt(OPTIONS) == OPTIONS
