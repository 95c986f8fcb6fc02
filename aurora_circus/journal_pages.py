"""How pages of the journal are found: those records that fit, from memory and from its files.

Part of the adapter ``journal``. One call looks through a bounded part of the files: a filter may match next to nothing.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from aurora_circus.journal_archive import Archive
from aurora_circus.journal_backlog import Entry
from aurora_circus.records import Record, decode, last_number


@dataclass(frozen=True, slots=True)
class Page:
    """What a reader gets."""

    events: list[Record]
    """Oldest first."""
    oldest: int
    """The number of the oldest record there is; where there is none, the one that the first will get."""
    next: int
    """What to give as ``since`` to go on: all up to it was looked at, whether it matched or not."""
    more: bool
    """Whether there were records beyond ``next``."""
    truncated: bool
    """Whether records after ``since`` are no longer there."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Of which system, and of which kind, records are wanted; None: of all."""

    server: str | None
    event: str | None

    def fits(self, server: str | None, event: str) -> bool:
        """Say whether it is one of those."""
        return self.server in (None, server) and self.event in (None, event)

    def records(self, block: bytes) -> Iterator[Record]:
        """Yield the records of a block of lines that fit; where there can be none, no JSON is read."""
        words = [word.encode(errors="replace") for word in (self.server, self.event) if word is not None]
        if not all(word in block for word in words):
            return
        for line in block.split(b"\n"):
            record = decode(line) if all(word in line for word in words) else None
            if record is not None and self.fits(record.get("server"), record["event"]):
                yield record


class Pages:
    """Looks through the files of an archive."""

    def __init__(self, archive: Archive, scan_bytes: int) -> None:
        """``scan_bytes`` is how much of them one call looks through."""
        self._archive = archive
        self._scan_bytes = scan_bytes

    def older(self, since: int, begins: int, limit: int, wanted: Filter) -> tuple[list[Record], int]:
        """Return what the files have between the two, and the number up to which they were looked through."""
        found: list[Record] = []
        passed = 0
        with closing(self._archive.forward(since)) as blocks:
            for block in blocks:
                for record in wanted.records(block):
                    if record["seq"] >= begins:
                        return found, begins - 1
                    if record["seq"] > since:
                        found.append(record)
                    if len(found) >= limit:
                        return found, found[-1]["seq"]
                passed += len(block)
                here = last_number(block) if passed > self._scan_bytes else None
                if here is not None:
                    return found, max(since, min(here, begins - 1))
        return found, begins - 1

    def newest(self, memory: list[Entry], begins: int, limit: int, wanted: Filter) -> list[Record]:
        """Return the last ``limit`` that fit, of what is in ``memory`` and what the files have before ``begins``."""
        fitting = [entry for entry in memory if wanted.fits(entry.server, entry.event)]
        found = [entry.record for entry in fitting[-limit:]]
        passed = 0
        with closing(self._archive.backward()) as blocks:
            while len(found) < limit and passed <= self._scan_bytes and (block := next(blocks, b"")):
                found[:0] = [record for record in wanted.records(block) if record["seq"] < begins]
                passed += len(block)
        return found[-limit:]
