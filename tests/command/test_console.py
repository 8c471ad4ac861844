from __future__ import annotations

import io
import os
import sys

import pytest

from falx.command import console
from falx.command.console import Progress, Table
from falx.words import plain


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("narrow")
def test_a_row_is_one_line_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "38")
    stream = io.StringIO()
    table = Table([8, 9], stream)
    table.row(["a.png", "glioma", "one two three four five six seven"], "red")
    table.row(["a/very/long/path.png", "ambiguous", ""], "yellow")
    assert stream.getvalue().split("\n") == [
        "a.png     glioma     one two three fo…",
        "…ath.png  ambiguous",
        "",
    ]


@pytest.mark.usefixtures("narrow")
def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert console.colour("x", "red", io.StringIO()) == "x"
    assert console.colour("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert console.colour("x", "red", Terminal()) == "x"
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert console.colour("x", "red", Terminal()) == "x"


@pytest.mark.parametrize(("told", "columns"), [("50", 50), ("0", 100), ("wide", 100), ("", 100)])
def test_the_width_is_the_one_told_else_a_fallback(
    told: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", told)
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((0, 0)))
    assert console.width() == columns
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((70, 20)))
    assert console.width() == (columns if told == "50" else 70)
    monkeypatch.setattr("sys.__stdout__", None)
    assert console.width(80) == (columns if told == "50" else 80)


def test_control_characters_of_file_names_do_not_reach_the_terminal() -> None:
    assert plain("a\x1b[2Jb\nc.png") == "a\\x1b[2Jb\\nc.png"
    assert plain("Tête ä.png") == "Tête ä.png"


@pytest.mark.usefixtures("narrow")
def test_pairs() -> None:
    text = console.pairs({"name": "tiny", "intended use": "research " * 8})
    assert text.split("\n") == [
        "name          tiny",
        "intended use  research research research research",
        "              research research research research",
    ]


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(Progress, "INTERVAL_S", 0)
    progress = Progress(20)
    progress.update(10)
    assert stream.getvalue() == "\r[###############...............] 10 of 20"
    progress.clear()
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("stream", "total"), [(io.StringIO(), 1000), (Terminal(), 9)])
def test_no_progress_elsewhere_or_on_short_work(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, total: int
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress(total)
    progress.update(5)
    progress.clear()
    assert stream.getvalue() == ""
