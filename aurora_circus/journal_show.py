"""The command line's look at journals as files: their records in words, or whether their chain is whole.

Nothing that stands in a file is trusted: irregular lines are named on standard error and stand in nobody's way, and
what is shown is cleaned of all that a terminal would obey.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from aurora_circus import chain, leftovers, reach, sentences, verdict
from aurora_circus.clock import Clock
from aurora_circus.context import Context
from aurora_circus.errors import AuroraError, MachineError, UnknownServerError
from aurora_circus.escapes import to_json
from aurora_circus.feed import journal_path
from aurora_circus.journal_files import STDIN, NoJournalError, opened, row
from aurora_circus.journal_lines import Line, lines
from aurora_circus.records import Record
from aurora_circus.terminal import Terminal, clean
from aurora_circus.verify import Chain, Known, Report

WHOLE, BROKEN, NO_JOURNAL = 0, 1, 3
"""Exit codes."""
_SERVERS = 20
"""How many names of systems are told at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records of a file."""

    server: str | None = None
    event: str | None = None
    since: int | None = None
    """Only those with a greater number; where an old log's have none, the lines count."""
    count: int | None = None
    """The last so many; with ``since`` the first; None: all."""

    def fits(self, line: Line, record: Record) -> bool:
        """Say whether a record is one of them."""
        seq = record.get("seq")
        number = seq if type(seq) is int else line.number
        return (
            self.server in {None, _text(record.get("server"))}
            and self.event in {None, _text(record.get("event"))}
            and (self.since is None or number > self.since)
        )


def show(name: str, wanted: Wanted, terminal: Terminal, *, as_json: bool, clock: Clock | None = None) -> None:
    """Write the records of a file that are wanted, and name its irregular lines on standard error.

    Raises:
        NoJournalError: there is no such file.
        MachineError: it cannot be read, or no further than to what was shown.
        UnknownServerError: no record is of that system.
    """
    now = (clock or Clock()).wall()
    servers: set[str] = set()
    with opened(name) as file:
        found = _wanted(_named(lines(file, _called(name)), terminal), wanted, servers)
        chosen: Iterable[Record] = found
        if wanted.count is not None:
            chosen = islice(found, wanted.count) if wanted.since is not None else deque(found, wanted.count)
        for record in chosen:
            terminal.say(to_json(record) if as_json else sentences.line(record, now))
    if wanted.server is not None and wanted.server not in servers:
        said = ", ".join(clean(each) for each in sorted(servers)[:_SERVERS]) or "none"
        raise UnknownServerError(f"there is no system {clean(wanted.server)!r} in {_called(name)}; it names: {said}")


def verify_file(name: str, terminal: Terminal, *, as_json: bool) -> int:
    """Follow the chain through one file, say what was found, and return the exit code."""
    looked = Chain()
    looked.file(_called(name))
    try:
        with opened(name) as file:
            for each in lines(file, _called(name)):
                looked.take(each)
    except NoJournalError:
        raise
    except MachineError as error:
        looked.unreadable(str(error))
    return _tell(looked.report(), terminal, as_json=as_json)


def verify_fleet(context: Context, *, as_json: bool) -> int:
    """Follow the chain through all files of the fleet's journal, say what was found, and return the exit code.

    The saved state and the running API know the newest record, or an earlier one: what they knew before the files were
    read must be in them.
    """
    known = [*_known(context)]
    path = journal_path(context.fleet)
    looked = Chain()
    with row(path) as (files, faults):
        for each, file in files:
            looked.file(str(each))
            try:
                for line in lines(file, str(each)):
                    looked.take(line)
            except MachineError as error:
                looked.unreadable(str(error))
        for fault in faults:
            looked.unreadable(fault)
    if not files and not faults:
        knows = "".join(f"; {who} knows {head.seq} records" for who, head in known if head.seq)
        raise NoJournalError(f"there is no journal at {path}{knows}")
    return _tell(looked.report(known), context.terminal, as_json=as_json)


def _tell(report: Report, terminal: Terminal, *, as_json: bool) -> int:
    terminal.say(to_json(verdict.values(report), indent=2) if as_json else verdict.words(report))
    return WHOLE if report.whole else BROKEN


def _known(context: Context) -> Iterator[Known]:
    """Ask the saved state and, where it runs, the API for the newest record that was written."""
    saved = chain.read(leftovers.saved_state(context.fleet).get("journal")).head
    if saved.seq:
        yield Known("state.json", saved)
    try:
        _, health = reach.connect(context, patience=0.0)
    except AuroraError:
        return
    said = chain.read(health.get("journal")).head
    if said.seq:
        yield Known("the API", said)


def _wanted(found: Iterator[Line], wanted: Wanted, servers: set[str]) -> Iterator[Record]:
    for line in found:
        if line.record is None:
            continue
        if (server := _text(line.record.get("server"))) is not None:
            servers.add(server)
        if wanted.fits(line, line.record):
            yield line.record


def _named(found: Iterator[Line], terminal: Terminal) -> Iterator[Line]:
    """Pass lines on, and name those that are irregular; once those that follow each other and have the same trouble."""
    first, last, trouble = 0, 0, None
    for line in found:
        if line.trouble != trouble:
            _name(first, last, trouble, terminal)
            first, trouble = line.number, line.trouble
        last = line.number
        yield line
    _name(first, last, trouble, terminal)


def _name(first: int, last: int, trouble: str | None, terminal: Terminal) -> None:
    if trouble is not None:
        which = f"line {first}" if first == last else f"lines {first} to {last}"
        terminal.warn(f"{which}: {clean(trouble)}")


def _called(name: str) -> str:
    return "standard input" if name == STDIN else clean(name)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
