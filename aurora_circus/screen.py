"""How a fleet that comes up is shown: a table that changes in place, or, where there is no terminal, line by line."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from aurora_circus.progress import Progress
from aurora_circus.records import Record
from aurora_circus.terminal import Terminal

Show = Callable[[Sequence[Record], Mapping[str, Mapping[str, Any]], float], None]
"""Takes new records, everybody's status and the time of day."""


@contextlib.contextmanager
def screen(terminal: Terminal, progress: Progress) -> Iterator[Show]:
    """Show progress while this block lasts; the last table stays."""
    if not terminal.tty:
        yield _plain(terminal, progress)
        return
    from rich.console import Console  # noqa: PLC0415 - 60 ms, where there is somebody to look at it
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Live(console=Console(no_color=not terminal.colour), auto_refresh=False) as live:

        def show(records: Sequence[Record], status: Mapping[str, Mapping[str, Any]], now: float) -> None:
            progress.lines(records)
            table = progress.table(status, now, terminal.width)
            live.update(Text.from_ansi(table) if terminal.colour else Text(click.unstyle(table)), refresh=True)

        yield show


def _plain(terminal: Terminal, progress: Progress) -> Show:
    def show(records: Sequence[Record], _status: Mapping[str, Mapping[str, Any]], _now: float) -> None:
        for each in progress.lines(records):
            terminal.say(each)

    return show
