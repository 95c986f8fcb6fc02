"""How the journal is read: the current file and its backups as one row of lines whose numbers rise.

Part of the adapter ``journal``; any thread may read, while the writer appends and rotates. No file is ever
read whole: a number is found by binary search, the last records from the end. Lines that are no records stand
in nobody's way.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aurora_circus.chain import BEGIN, Head, split
from aurora_circus.files import backup, open_regular
from aurora_circus.records import MAX_LINE, Record, decode, first_number

_BLOCK = 1 << 16
"""Bytes that are read at once."""
_NEAR = 1 << 12
"""Bytes at which a binary search ends and plain reading begins."""
_SEARCHED = 64 << 20
"""Bytes of rubbish in a row after which no record is looked for."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a new writer must know of the files that it goes on with."""

    seq: int
    """The last number that was given; 0: none ever was."""
    torn: bytes = b""
    """What stands of a last line that was never written whole."""
    at: float = 0.0
    """When that line was torn, in seconds since 1970."""
    link: str = BEGIN
    """The link of the last record."""


class Archive:
    """Reads the lines of ``path`` and its backups. What is missing or cannot be read is passed over."""

    def __init__(self, path: Path, backups: int) -> None:
        self._path = path
        self._numbers = range(max(backups, 1) + 1)

    def recover(self) -> Recovered:
        """Return where numbering stands, looking from the end of the newest file that has a record.

        When none of ours has, other files beside them may: ``events.jsonl-20260102`` is what another rotation
        leaves.
        """
        torn, at = b"", 0.0
        with ExitStack() as opened:
            for file in self._files(opened, self._paths()):
                with suppress(OSError):
                    _, piece = unterminated(file)
                    if not torn and piece and decode(piece) is None:
                        torn, at = piece, os.fstat(file.fileno()).st_mtime
                    if (found := _last(file)).seq:
                        return Recovered(found.seq, torn, at, found.link)
        found = self._last_of_others()
        return Recovered(found.seq, torn, at, found.link)

    def oldest(self) -> int | None:
        """Return the number that the oldest record begins at."""
        with ExitStack() as opened:
            for file in self._files(opened, reversed([*self._paths()])):
                with suppress(OSError):
                    if (first := _first(file)) is not None:
                        return first
        return None

    def forward(self, since: int) -> Generator[bytes, None, None]:
        """Yield blocks of lines from number ``since`` + 1 on, oldest first; some earlier lines may come first."""
        with ExitStack() as opened:
            wanted: list[BinaryIO] = []
            for file in self._files(opened, self._paths()):
                wanted.append(file)
                first = _first(file)
                if first is not None and first <= since + 1:
                    break
            for file in reversed(wanted):
                file.seek(_find(file, since) if file is wanted[-1] else 0)
                while block := file.read(_BLOCK):
                    yield block + file.readline(MAX_LINE)

    def backward(self) -> Generator[bytes, None, None]:
        """Yield blocks of lines, the newest block first."""
        with ExitStack() as opened:
            for file in self._files(opened, self._paths()):
                yield from _backward(file)

    def _paths(self) -> Iterator[Path]:
        return (backup(self._path, number) for number in self._numbers)

    def _files(self, opened: ExitStack, paths: Iterator[Path]) -> Iterator[BinaryIO]:
        """Open one file after the other.

        A rotation meanwhile moves files up, highest number first; going up too, none is missed, and one that
        is met again is the same inode.
        """
        seen = set()
        for path in paths:
            try:
                fd = open_regular(path, os.O_RDONLY, follow=True)
            except OSError:
                continue
            file = opened.enter_context(os.fdopen(fd, "rb", _BLOCK))
            status = os.fstat(fd)
            if (identity := (status.st_dev, status.st_ino)) not in seen:
                seen.add(identity)
                yield file

    def _last_of_others(self) -> Head:
        """Return the record with the highest number in any other file whose name begins like ours."""
        found = Head(0)
        with suppress(OSError), ExitStack() as opened:
            beside = [each for each in self._path.parent.iterdir() if each.name.startswith(self._path.name)]
            for file in self._files(opened, iter(beside)):
                with suppress(OSError):
                    found = max(found, _last(file))
        return found


def unterminated(file: BinaryIO) -> tuple[int, bytes]:
    """Return where what follows a file's last newline begins, and up to :data:`MAX_LINE` bytes of it."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - 1)
    file.seek(start)
    data = file.read(1)
    if data != b"\n":
        start = max(0, size - MAX_LINE)
        file.seek(start)
        data = file.read(size - start)
    cut = data.rfind(b"\n") + 1
    return start + cut, data[cut:]


def _last(file: BinaryIO) -> Head:
    """Return the last record, or number 0."""
    passed = 0
    for block in _backward(file):
        for line in reversed(block.split(b"\n")):
            if (record := decode(line)) is not None:
                return Head(record["seq"], split(line)[1] or BEGIN)
        passed += len(block)
        if passed > _SEARCHED:
            break
    return Head(0)


def _first(file: BinaryIO) -> int | None:
    """Return the number that the first record begins at."""
    file.seek(0)
    record = _next(file, _SEARCHED)
    return None if record is None else first_number(record)


def _next(file: BinaryIO, within: int) -> Record | None:
    """Return the first record that begins within so many bytes from here."""
    while within > 0 and (line := file.readline(MAX_LINE)):
        if (record := decode(line)) is not None:
            return record
        within -= len(line)
    return None


def _find(file: BinaryIO, since: int) -> int:
    """Return an offset close to the first record beyond ``since``, and not behind it."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _NEAR:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(MAX_LINE)
        record = _next(file, MAX_LINE)
        if record is not None and record["seq"] <= since:
            low = middle
        else:
            high = middle
    return low


def _backward(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file in blocks of whole lines from the end on; of an endless line only a part."""
    end = file.seek(0, os.SEEK_END)
    rest = b""
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        data = file.read(end - start) + rest[:MAX_LINE]
        cut = data.find(b"\n") + 1 or len(data)
        if not start:
            cut = 0
        if block := data[cut:]:
            yield block
        rest, end = data[:cut], start
