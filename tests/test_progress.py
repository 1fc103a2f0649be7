"""Test Pulse: when "... still running" is printed, and which message it quotes."""

from __future__ import annotations

import threading

from nmt.progress import Pulse


def test_still_running_is_repeated_in_silence_until_the_work_ends() -> None:
    said: list[str] = []
    thrice = threading.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        if len(said) == 3:
            thrice.set()

    with Pulse(say, every=0.05) as pulse:
        pulse.begins("stirring")
        assert thrice.wait(20)
    count = len(said)
    assert all(
        sentence.startswith("... still running, 0:0") and sentence.endswith(" since: stirring") for sentence in said
    )
    assert not any(thread.name == "pulse" for thread in threading.enumerate())
    assert len(said) == count


def test_each_message_postpones_still_running_and_the_last_is_quoted() -> None:
    said: list[str] = []
    beaten = threading.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        if sentence.startswith("..."):
            beaten.set()

    with Pulse(say, every=1.5) as pulse:
        for number in range(8):  # 2 s in total, but never nearly 1.5 s without a message
            pulse.heard(f"line {number}") if number % 2 else pulse.say(f"line {number}")
            assert not beaten.wait(0.25)
        assert beaten.wait(20)
    assert said == ["line 0", "line 2", "line 4", "line 6", said[-1]]
    assert said[-1].endswith("since: line 7")
