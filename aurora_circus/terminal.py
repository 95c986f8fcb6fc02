"""Text for a terminal: tables, colours and times of a kind that a tired person reads at once. Pure but for its writer.

A renderer returns text, and whoever called it writes it; it makes what others said :func:`clean` where it takes it in,
and what it forgot is harmless all the same: of what a terminal obeys, only colours are ever written. Colour only ever
repeats what a word says. Text is always made with its colours; :class:`Terminal` leaves them out where nobody can see
them (no terminal, ``NO_COLOR``).
"""

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

import click

from aurora_circus import escapes

GAP = "  "
NOTHING = "–"
"""Stands where there is no value."""
LEAST_LAST = 24
"""Columns that the last cell of a row needs to be wrapped in; with less room it goes on a line of its own."""
COLOURS = {
    "healthy": {"fg": "green"},
    "starting": {"fg": "cyan"},
    "waiting": {"fg": "cyan"},
    "stopping": {"fg": "yellow"},
    "backoff": {"fg": "yellow"},
    "unhealthy": {"fg": "yellow", "bold": True},
    "failed": {"fg": "red", "bold": True},
    "stopped": {"dim": True},
}
"""The colour of each state."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Terminal:
    """Where a command writes: what it is asked for to standard output, everything else to standard error."""

    def __init__(self, out: TextIO | None = None) -> None:
        """Look at the terminal once."""
        self._out = out or sys.stdout
        dumb = os.environ.get("TERM") == "dumb"
        self._plain = dumb or bool(os.environ.get("NO_COLOR"))
        self.tty = self._out.isatty() and not dumb
        self.colour = self.tty and not self._plain
        self.forgiving = False
        """Whether it does not matter that nobody can be told any more."""

    @property
    def width(self) -> int | None:
        """Columns there are; None where lines may be as long as they like."""
        return shutil.get_terminal_size().columns if self.tty else None

    def say(self, text: str) -> None:
        """Write text and a line break to standard output."""
        self._write(text, self._out)

    def warn(self, text: str) -> None:
        """Write text and a line break to standard error."""
        self._write(text, sys.stderr)

    def _write(self, text: str, to: TextIO) -> None:
        try:
            click.echo(escapes.only_colours(text), file=to, color=False if self._plain else None)
        except OSError:
            if not self.forgiving:
                raise


def state(word: str) -> str:
    """Return the word of a state in its colour."""
    return click.style(word, **COLOURS.get(word, {}))  # type: ignore[arg-type] # what style() takes, by its names


def dim(text: str) -> str:
    """Return text that is less important."""
    return click.style(text, dim=True)


def strong(text: str) -> str:
    """Return text that is more important."""
    return click.style(text, bold=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return rows in columns, ``head`` above them; the last cell of a row may be long, and is wrapped to ``width``.

    Cells may hold colours.
    """
    every = [[dim(each) for each in head], *rows]
    columns = [max(_width(row[number]) for row in every) for number in range(len(head) - 1)]
    begins = sum(columns) + len(GAP) * len(columns)
    return "\n".join(_row(row, columns, begins, width) for row in every)


def _row(row: Sequence[str], columns: Sequence[int], begins: int, width: int | None) -> str:
    first = GAP.join(cell + " " * (size - _width(cell)) for cell, size in zip(row, columns, strict=False))
    last = row[-1]
    if not last:
        return first.rstrip()
    if width is None or begins + _width(last) <= width:
        return f"{first}{GAP}{last}"
    own_line = width - begins < LEAST_LAST
    indent = 4 if own_line else begins
    lines = textwrap.wrap(click.unstyle(last), max(width - indent, LEAST_LAST), break_on_hyphens=False)
    rest = [" " * indent + each for each in lines]
    if own_line:
        return "\n".join([first.rstrip(), *rest])
    return "\n".join([first + GAP + rest[0].lstrip(), *rest[1:]])


def duration(seconds: float) -> str:
    """Return a length of time in at most two units: ``0.42 s``, ``3 min 12 s``, ``2 d 4 h``."""
    if seconds < 10:  # noqa: PLR2004 - from there on, hundredths say nothing
        return f"{max(seconds, 0.0):.2f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    for unit, word, below, small in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {word} {rest} {small}" if rest else f"{whole // unit} {word}"
    raise AssertionError  # the loop has returned: it is a minute or more


def clock_time(epoch: float, now: float) -> str:
    """Return a moment in local time: the time of day, with the date where that is not today's."""
    moment, today = datetime.fromtimestamp(epoch).astimezone(), datetime.fromtimestamp(now).astimezone()
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M:%S}"


def clean(text: object) -> str:
    """Return what somebody else said, on one line and without anything that a terminal would obey."""
    return escapes.clean(str(text))


def one(count: int, what: str, many: str | None = None) -> str:
    """Return ``1 attempt``, ``2 attempts``."""
    return f"{count} {what if count == 1 else many or what + 's'}"


def _width(text: str) -> int:
    """Return how many columns a text takes, its colours none."""
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in plain
    )
