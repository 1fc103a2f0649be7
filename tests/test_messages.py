"""Test nmt.messages: messages and live lines on a terminal, in a log, and with stderr closed."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from nmt.messages import on_terminal, renew, tell


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_message_replaces_the_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert on_terminal()
    renew("12 pairs read")
    tell("a note", "nmt-prepare")
    assert terminal.getvalue() == "\r\x1b[K12 pairs read\r\x1b[Knmt-prepare: a note\n"


def test_a_log_gets_the_sentence_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a note")
    assert capsys.readouterr().err == "a note\n"
    assert not on_terminal()


def test_a_closed_stderr_is_no_error() -> None:
    code = "from nmt.messages import on_terminal, renew, tell; tell('a note'); renew('x'); print(on_terminal())"
    done = subprocess.run(["bash", "-c", f'"{sys.executable}" -c "{code}" 2>&-'], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


ORDERS = "a\x1b]0;owned\x07b\x9b2J\rc\x7f\u202ed"
SHOWN = r"a\x1b]0;owned\x07b\x9b2J\rc\x7f\u202ed"


@pytest.mark.parametrize("on_a_terminal", [True, False])
def test_control_characters_of_others_give_no_orders(monkeypatch: pytest.MonkeyPatch, on_a_terminal: bool) -> None:
    stream = Terminal() if on_a_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    tell(f"no checkpoint {ORDERS}\nüber 日本語\u00a0\u3000.", ORDERS)
    renew(ORDERS)
    own = "\r\x1b[K" if on_a_terminal else ""
    assert stream.getvalue() == f"{own}{SHOWN}: no checkpoint {SHOWN}\nüber 日本語\u00a0\u3000.\n{own}{SHOWN}"
