"""Follows the chain through a journal, and finds each line that was lost, changed, added or moved. Pure.

Whoever reads the files hands their lines over, oldest file first; :meth:`Chain.report` then says what was found. Each
line is compared by its link with the line before it, or, where lines are in disorder, with the record that has the
number before its own. A finding is what should not be in a journal; a note tells what is as it should be and yet worth
a word: where the chain begins, and what was lost when the disk was full, which a ``journal_gap`` says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from aurora_circus.chain import BEGIN, Head, link, split
from aurora_circus.journal_lines import Line
from aurora_circus.records import GAP, decode, first_number

_RUNS = frozenset({"twice"})
"""What is said once for lines that follow each other although each has words of its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, or a note."""

    what: str
    """``changed``, ``missing``, ``moved``, ``twice``, ``unlinked``, ``irregular``, ``gone``, ``other``, ``unreadable``;
    of a note: ``starts``, ``begins``, ``gap``, ``torn``, ``copy``."""
    text: str
    file: str | None = None
    line: int | None = None
    to_line: int | None = None
    """The last of several lines of which it is said."""
    seq: int | None = None
    last: int | None = None
    """The last of several numbers."""


class Known(NamedTuple):
    """What somebody beside the journal knows of it."""

    who: str
    head: Head


@dataclass(slots=True)
class File:
    """What was read of one file."""

    name: str
    lines: int = 0
    records: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What became of it all."""

    files: Sequence[File]
    findings: Sequence[Finding]
    notes: Sequence[Finding]
    head: Head
    """The newest record."""
    begins: int | None
    """The number of the first record that has a link; None: none has."""
    records: int
    """How many different ones."""
    compared: Sequence[str]
    """Who else knew the newest record, or an earlier one, and agreed."""

    @property
    def whole(self) -> bool:
        """Whether there is nothing to find fault with."""
        return not self.findings


@dataclass(slots=True)
class _Place:
    """Where a record stands."""

    file: str
    line: int
    link: str
    should: str | None = None
    """The link that it should have, where it has another one."""


@dataclass(frozen=True, slots=True)
class _Jump:
    """Numbers that are not there, and the line before which they should be."""

    first: int
    last: int
    file: str
    line: int


@dataclass(slots=True)
class Chain:
    """Takes in a journal. Call :meth:`file` before the lines of each file."""

    _files: list[File] = field(default_factory=list)
    _findings: list[Finding] = field(default_factory=list)
    _notes: list[Finding] = field(default_factory=list)
    _places: dict[int, _Place] = field(default_factory=dict)
    """Of each record, by its number."""
    _missing: list[_Jump] = field(default_factory=list)
    _doubt: tuple[_Jump, int] | None = None
    """A line whose number, which is added, is too high: others are missing before it, or its own was changed."""
    _first: int | None = None
    _last: int = 0
    """The highest number so far."""
    _before: str | None = None
    """The link of the record before; None where there is none."""
    _begins: int | None = None

    def file(self, name: str) -> None:
        """Go on with the next file."""
        self._files.append(File(name))

    def unreadable(self, text: str) -> None:
        """Take note that a file cannot be read, or no further."""
        self._findings.append(Finding("unreadable", text))

    def take(self, line: Line) -> None:
        """Look at the next line of the file."""
        file = self._files[-1]
        file.lines = line.number
        record = decode(line.raw)
        if record is None:
            if line.ended:
                trouble = line.trouble or "it has no number, no event or no details"
                self._find("irregular", f"no record: {trouble}", line.number)
            else:
                self._note("torn", "a torn line at the end; the next start mends it", line.number)
            return
        seq, first = int(record["seq"]), first_number(record)
        bare, found = split(line.raw)
        file.records += 1
        file.first, file.last = file.first or seq, max(file.last or 0, seq)
        if found is None and self._begins is not None:
            self._find("unlinked", "no link: the journal has not written this", line.number, seq)
        elif found is not None and self._begins is None:
            self._begins = seq
            if self._first is not None:
                self._note(
                    "begins", "the chain begins here; what is before it is older, and has no links", line.number, seq
                )
        self._take(_Place(file.name, line.number, found or BEGIN), bare, first, seq)
        if record["event"] == GAP:
            self._gap(record["details"], line.number, first, seq)

    def report(self, known: Sequence[Known] = ()) -> Report:
        """Say what was found, and compare it with what others know."""
        self._settle()
        self._findings += [
            Finding("missing", f"{_numbers(each.first, each.last)} missing before this line", *_where(each))
            for each in self._missing
        ]
        compared = [each.who for each in known if self._agrees(*each)]
        order = {each.name: number for number, each in enumerate(self._files)}
        end = len(order), 0
        self._findings.sort(key=lambda each: (order[each.file], each.line or 0) if each.file and each.line else end)
        newest = self._places.get(self._last)
        head = Head(self._last, BEGIN if newest is None else newest.link)
        return Report(self._files, self._findings, self._notes, head, self._begins, len(self._places), compared)

    def _take(self, place: _Place, bare: bytes, first: int, seq: int) -> None:
        """Find a record's place in the row of numbers, and compare its link."""
        fits = bool(place.link) and self._before is not None and link(self._before, bare) == place.link
        self._before = place.link
        self._settle(first if fits else None)
        if self._first is None:
            self._first, self._last = first, seq
            if first > 1:
                self._note(
                    "starts", f"the journal starts with record {first}; older ones are not here", place.line, seq
                )
            elif place.link:
                self._compare(place, bare, first, seq)
        elif seq in self._places:
            self._again(place, seq)
            return
        elif first > self._last + 1:
            jump = _Jump(self._last + 1, first - 1, place.file, place.line)
            if fits:  # whoever wrote it wrote it after the line before
                self._missing.append(jump)
            else:
                self._doubt = jump, seq
            self._last = seq
        elif seq <= self._last:
            late = self._found(seq) or seq < self._first
            text = f"record {seq} is not in its place" if late else f"record {seq}, which a gap says is lost"
            self._find("moved" if late else "twice", text, place.line, seq)
            self._compare(place, bare, first, seq)
        else:
            self._last = seq
            if place.link and not fits:
                self._compare(place, bare, first, seq)
        self._places[seq] = place

    def _compare(self, place: _Place, bare: bytes, first: int, seq: int) -> None:
        """Compare a record's link with the record that has the number before its own."""
        before = _Place("", 0, BEGIN) if first == 1 else self._places.get(first - 1)
        if before is None or link(before.link, bare) == place.link:
            return
        if before.should is not None and link(before.should, bare) == place.link:
            return  # it is that one's link which was changed, and that has been said
        place.should = link(before.link, bare)
        anew = link(BEGIN, bare) == place.link
        text = (
            "the chain begins anew: what is before it may be anything" if anew else "changed: it does not fit its link"
        )
        self._find("changed", text, place.line, seq)

    def _again(self, place: _Place, seq: int) -> None:
        """Take in a record whose number was there before."""
        other = self._places[seq]
        if other.link and other.link == place.link and other.file != place.file:
            self._note("copy", f"the same as in {other.file}", place.line, seq)
            return
        self._find("twice", f"record {seq} is here twice, before in {other.file}, line {other.line}", place.line, seq)

    def _settle(self, following: int | None = None) -> None:
        """Decide about a number that was too high, now that the line behind it fits, with number ``following``."""
        if self._doubt is None:
            return
        jump, seq = self._doubt
        self._doubt = None
        if following == jump.first + 1:
            text = f"changed: its number is not {seq} but {jump.first}"
            self._findings.append(Finding("changed", text, jump.file, jump.line, None, seq))
            self._places[jump.first] = self._places.pop(seq)
            self._last = jump.first
        else:
            self._missing.append(jump)

    def _found(self, seq: int) -> bool:
        """Take a number out of those that are missing; return whether it was."""
        for index, each in enumerate(self._missing):
            if each.first <= seq <= each.last:
                parts = [replace(each, last=seq - 1), replace(each, first=seq + 1)]
                self._missing[index : index + 1] = [part for part in parts if part.first <= part.last]
                return True
        return False

    def _gap(self, details: Mapping[str, Any], line: int, first: int, seq: int) -> None:
        numbers, last = _numbers(first, seq), _other(first, seq)
        if details.get("gone") is True:
            self._find("gone", f"{numbers} gone: {details.get('error')}", line, first, last)
        elif "torn" in details:
            self._note("gap", f"{numbers} lost: a crash tore a line", line, first, last)
        else:
            self._note("gap", f"{numbers} lost: {details.get('error')}", line, first, last)

    def _agrees(self, who: str, head: Head) -> bool:
        place = self._places.get(head.seq)
        if head.seq > self._last:
            text = f"{_numbers(self._last + 1, head.seq)} gone from the end: {who} knows record {head.seq}"
            name = self._files[-1].name if self._files else None
            self._findings.append(
                Finding("gone", text, name, None, None, self._last + 1, _other(self._last + 1, head.seq))
            )
            return False
        if place is not None and place.link != head.link:
            text = f"another record {head.seq} than the one that {who} knows"
            self._findings.append(Finding("other", text, place.file, place.line, None, head.seq))
            return False
        return place is not None

    def _find(self, what: str, text: str, line: int | None, seq: int | None = None, last: int | None = None) -> None:
        _add(self._findings, Finding(what, text, self._files[-1].name, line, None, seq, last))

    def _note(self, what: str, text: str, line: int, seq: int | None = None, last: int | None = None) -> None:
        _add(self._notes, Finding(what, text, self._files[-1].name, line, None, seq, last))


def _add(found: list[Finding], new: Finding) -> None:
    """Say it once of lines that follow each other."""
    old = found[-1] if found else None
    same = old and (new.what, new.file) == (old.what, old.file) and (old.text == new.text or new.what in _RUNS)
    if old and same and new.line and new.line == (old.to_line or old.line or 0) + 1:
        found[-1] = replace(old, to_line=new.line, last=new.seq)
    else:
        found.append(new)


def _numbers(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"


def _other(first: int, last: int) -> int | None:
    """Return the last of several numbers; None where there is only one."""
    return last if last > first else None


def _where(jump: _Jump) -> tuple[str, int, None, int, int | None]:
    return jump.file, jump.line, None, jump.first, _other(jump.first, jump.last)
