"""Tables, times and colours."""

import io
from datetime import UTC, datetime

import click
import pytest

from aurora_circus import terminal
from aurora_circus.terminal import Terminal


class Tty(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Be one."""
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0.00 s"),
        (0.4213, "0.42 s"),
        (9.994, "9.99 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (60.0, "1 min"),
        (192.0, "3 min 12 s"),
        (7500.0, "2 h 5 min"),
        (187_200.0, "2 d 4 h"),
        (172_800.0, "2 d"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    """Hundredths below ten seconds, and no more than two units above a minute."""
    assert terminal.duration(seconds) == text


def test_columns_are_as_wide_as_their_longest_cell_whatever_its_colour() -> None:
    """Colours take no room, wide characters two columns, and there is nothing behind the last cell."""
    rows = [(terminal.state("failed"), "1", "why"), ("漢字", "22", "")]
    lines = click.unstyle(terminal.table(("STATE", "N", ""), rows)).split("\n")
    assert lines == ["STATE   N   ", "failed  1   why", "漢字    22"]


def test_a_long_last_cell_is_wrapped_into_its_column() -> None:
    """Nothing is cut off: the rest stands below, under the beginning."""
    text = terminal.table(("A", ""), [("x", "one two three four five six seven")], width=27)
    assert text.split("\n")[1:] == ["x  one two three four five", "   six seven"]


def test_a_last_cell_without_room_has_lines_of_its_own() -> None:
    """On a narrow terminal the note stands below its row."""
    text = terminal.table(("A" * 20, ""), [("x" * 20, "one two three four five six")], width=30)
    assert text.split("\n")[1:] == ["x" * 20, "    one two three four five", "    six"]


@pytest.mark.parametrize(
    ("variables", "colours"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_may_have_them(
    variables: dict[str, str], colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR and a dumb terminal get plain text; an empty NO_COLOR means nothing (no-color.org)."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = Tty()
    Terminal(out).say(terminal.state("failed"))
    assert ("\x1b[" in out.getvalue()) is colours
    assert "failed" in out.getvalue()


def test_a_file_gets_no_colours_and_no_line_breaks() -> None:
    """What is no terminal gets plain text, as wide as it is."""
    out = io.StringIO()
    found = Terminal(out)
    found.say(terminal.state("failed"))
    assert out.getvalue() == "failed\n"
    assert found.width is None


def test_a_lost_terminal_is_an_error_unless_nobody_needs_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a fleet is being taken down, a closed terminal must not get in the way."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    found = Terminal(Gone())
    with pytest.raises(BrokenPipeError):
        found.say("x")
    found.forgiving = True
    found.say("x")


def test_a_time_of_another_day_has_its_date() -> None:
    """Today's is the time of day alone, in local time."""
    now = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC).timestamp()
    assert len(terminal.clock_time(now, now)) == len("12:00:00")
    assert len(terminal.clock_time(now - 100_000, now)) == len("2026-01-01 12:00:00")


def test_what_others_say_cannot_steer_the_terminal() -> None:
    """Escapes are left out, line breaks and tabs become blanks."""
    assert terminal.clean("a\x1b[31mb\tc\nd é") == "ab c d é"


def test_what_a_command_forgot_to_clean_reaches_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a terminal obeys, only colours and line breaks are ever written: to either stream."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = Tty(), Tty()
    monkeypatch.setattr("sys.stderr", err)
    found = Terminal(out)
    text = "\x1b]0;title\x07\x1b[2J\x9b2J\x1bc\r\b\u202e" + terminal.state("failed") + "\nnext\tone"
    found.say(text)
    found.warn(text)
    assert out.getvalue() == err.getvalue() == f"?]0;title??[2J?2J?c ??{terminal.state('failed')}\nnext one\n"


def test_one_is_one() -> None:
    """Numbers go with the right word."""
    assert [terminal.one(1, "system"), terminal.one(2, "system"), terminal.one(0, "try", "tries")] == [
        "1 system",
        "2 systems",
        "0 tries",
    ]
