"""Test the progress through a corpus for every kind of file."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from nmt.config.data import CorpusConfig
from nmt.data.extent import Extent
from nmt.data.sources import source_of
from nmt.progress import Progress
from tests.data.test_corpus import write

COUNT = 40_000


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_the_share_of_files_that_has_been_read(tmp_path: Path, suffix: str) -> None:
    draw = random.Random(1)
    for language in ("de", "en"):
        write(tmp_path / f"text.{language}{suffix}", [f"{draw.random()} {draw.random()}" for _ in range(COUNT)])
    extent = Extent()
    assert extent.share is None
    pairs = source_of(CorpusConfig(prefix=str(tmp_path / "text")), "de", "en").pairs(print, extent)
    list(islice(pairs, COUNT // 2))
    assert extent.share == pytest.approx(0.5, abs=0.05)
    list(pairs)
    assert extent.share == 1


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_rate_and_time_left_are_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(), list[str]()
    monkeypatch.setattr("nmt.progress.time", clock)
    progress = Progress("pairs read", said.append, done=1000)
    for clock.now, done in ((0.0, 1000), (5.0, 1500), (12.0, 2200), (13.0, 2300)):
        progress.reach(done)
    assert said == ["2,200 pairs read, 100 a second"]
    progress.total, clock.now = 10_000, 30.0
    progress.reach(4000)
    assert said[1:] == ["4,000 pairs read (40%), 100 a second, 1:00 left"]
    progress.end()
    assert said[2:] == ["3,000 pairs read in 30.0 s (100 a second)"]


def test_a_terminal_has_a_live_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock, said = Clock(), list[str]()
    monkeypatch.setattr("nmt.progress.time", clock)
    progress = Progress("pairs read", said.append, total=100, live=True)
    progress.reach(0)
    clock.now = 1.0
    progress.reach(20)
    assert capsys.readouterr().err == "20 pairs read (20%), 20 a second, 0:04 left"
    assert not said
