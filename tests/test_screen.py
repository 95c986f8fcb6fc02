"""How progress is shown: in place on a terminal, line by line elsewhere."""

import io
import re

import pytest

from aurora_circus.progress import Progress
from aurora_circus.screen import screen
from aurora_circus.settings import System
from aurora_circus.terminal import Terminal
from tests.fake_fleet import record, system


class Tty(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Be one."""
        return True


def shown(out: io.StringIO) -> str:
    """Show one system come up, and return what was written."""
    progress = Progress([System(key="brain", title="brain", port=1)], 0.0)
    with screen(Terminal(out), progress) as show:
        show([], {}, 1.0)
        show([record(1, "server_started", "brain", pid=7, took=0.5)], {"brain": system(pid=7)}, 2.0)
    return out.getvalue()


def test_without_a_terminal_there_is_a_line_for_each_event() -> None:
    """And nothing before there is one."""
    assert shown(io.StringIO()).count("\n") == 1


def test_on_a_terminal_there_is_a_table_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """First everybody waits; the last picture stays."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Tty()
    monkeypatch.setattr("sys.stdout", out)
    text = shown(out)
    assert text.index("waiting") < text.index("healthy")
    assert "\x1b[32mhealthy" in text


def test_no_color_means_no_colour_there_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor anything bold or dim."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Tty()
    monkeypatch.setattr("sys.stdout", out)
    assert not re.search(r"\x1b\[[0-9;]+m", shown(out))
