"""A disk that fails when it is told to, and a look at the journal's files that shares no code with the journal."""

import errno
import io
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aurora_circus import journal_lines
from aurora_circus.journal_appender import Disk
from aurora_circus.verify import Chain

PAGE = Path(__file__).parent.parent / "docs" / "journal.md"
SOON = 10.0
"""Seconds; a deadline that is met at once unless something is broken."""


class FakeDisk(Disk):
    """Real files on a disk that may be full, or refuse this and that."""

    def __init__(self) -> None:
        self.free: int | None = None
        """Bytes that are left; None: plenty."""
        self.truncates = True
        self.renames = True
        self.syncs = 0
        self.last = 0
        """How many bytes the last write took."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Take what there is room for."""
        room = len(data) if self.free is None else min(len(data), self.free)
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.free is not None:
            self.free -= room
        self.last = os.write(fd, data[:room])
        return self.last

    def truncate(self, fd: int, size: int) -> None:
        """Fail while it is broken."""
        if not self.truncates:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        """Fail while the directory is locked."""
        if not self.renames:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        super().replace(source, target)

    def sync(self, fd: int) -> None:
        """Count."""
        super().sync(fd)
        self.syncs += 1


def documented() -> dict[str, set[str]]:
    """Which details each event has, as the journal's page says."""
    table = PAGE.read_text(encoding="utf-8").split("| event |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): set(re.findall(r"`(\w+)`", row[3])) for row in rows}


def files(path: Path) -> list[Path]:
    """The journal's files, oldest first."""
    backups = sorted(path.parent.glob(f"{path.name}.*"), key=lambda each: -int(each.suffix[1:]))
    return [*backups, *([path] if path.exists() else [])]


def followed(paths: Iterable[Path]) -> Chain:
    """The chain through some files, oldest first."""
    chain = Chain()
    for path in paths:
        chain.file(path.name)
        for line in journal_lines.lines(io.BytesIO(path.read_bytes()), path.name):
            chain.take(line)
    return chain


def lines(path: Path) -> list[bytes]:
    """All lines of all files, oldest first; an unfinished one among them."""
    return [line for file in files(path) for line in file.read_bytes().splitlines(keepends=True)]


def records(path: Path) -> list[dict[str, Any]]:
    """All records of all files, oldest first; every line must be one."""
    return [json.loads(line) for line in lines(path)]


def numbers(path: Path) -> list[int]:
    """The numbers of all records, oldest first."""
    return [record["seq"] for record in records(path)]


def missing(found: list[dict[str, Any]], since: int = 0) -> set[int]:
    """Check that numbers rise from ``since`` and that a gap lies where any are missing; return those."""
    gone: set[int] = set()
    for record in found:
        first = record["details"]["first"] if record["event"] == "journal_gap" else record["seq"]
        assert first == since + 1, f"{since} is followed by {record}"
        assert record["event"] != "journal_gap" or record["details"]["last"] == record["seq"]
        gone |= set(range(first, record["seq"] + (record["event"] == "journal_gap")))
        since = record["seq"]
    return gone
