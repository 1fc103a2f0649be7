"""Tests of the progress display: lines, rate and remaining time, on a terminal and in a log."""

from __future__ import annotations

import io
import sys

import pytest

from nmt.cli.translate.counting import Counter, lines_done, say


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Stderr(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def take(self) -> str:
        said = self.getvalue()
        self.seek(0)
        self.truncate()
        return said


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("nmt.progress.time", clock)
    return clock


def stderr(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> Stderr:
    made = Stderr(terminal)
    monkeypatch.setattr(sys, "stderr", made)
    return made


def test_a_log_gets_a_line_now_and_then(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    err = stderr(monkeypatch, terminal=False)
    shown = lines_done(20_000, done=8_000)
    clock.now += 50  # loading does not count
    shown.reach(8_000)
    for lines in (8_100, 8_200):
        clock.now += 10
        shown.reach(lines)
    assert err.take() == ""
    clock.now += 10
    shown.reach(8_600)
    assert err.take() == "nmt-translate: 8,600 lines (43%), 20 a second, 9:30 left\n"
    clock.now += 30
    shown.reach(8_601)
    assert err.take() == "nmt-translate: 8,601 lines (43%), 10 a second, 18:58 left\n"
    shown.reach(20_000)
    clock.now += 40
    shown.end()
    assert err.take() == "nmt-translate: 12,000 lines in 100.0 s (120 a second)\n"


def test_a_terminal_has_one_line_that_changes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    err = stderr(monkeypatch, terminal=True)
    shown = lines_done(100_000)
    shown.reach(0)
    clock.now += 1
    shown.reach(10)
    assert err.take() == "\r\x1b[K10 lines (0%), 10 a second, 2:46:39 left"
    say("a note")
    assert err.take() == "\r\x1b[Knmt-translate: a note\n"


def test_what_has_no_known_end_has_no_time_left(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    err = stderr(monkeypatch, terminal=True)
    for shown in (lines_done(None), lines_done(None, silent=True)):
        shown.reach(0)
        clock.now += 2
        shown.reach(10)
    assert err.take() == "\r\x1b[K10 lines, 5.0 a second"


def test_batches_are_counted_and_put_right_by_blocks() -> None:
    reached: list[int] = []
    counter = Counter(reached.append)
    counter.batch(3)
    counter.batch(3)  # one line is counted in both batches
    counter.block(5)
    counter.batch(2)
    assert reached == [0, 3, 6, 5, 7]
