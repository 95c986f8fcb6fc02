"""Finds and opens journals: all files of a fleet's own, and whatever a person names. An adapter.

It writes nothing. What begins like a file of gzip's is unpacked, as log rotation leaves it.
"""

import gzip
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from aurora_circus.errors import AuroraError, MachineError
from aurora_circus.files import open_regular
from aurora_circus.journal_lines import lines
from aurora_circus.records import decode, first_number

STDIN = "-"
_GZIP = b"\x1f\x8b"
_ROTATED = re.compile(r"(\.\d+|-\d{8}.*)?(\.gz)?")
"""What our rotation, and logrotate's with or without ``dateext``, puts behind a file's name."""


_BEYOND = 1 << 62


class NoJournalError(AuroraError):
    """There is no such file."""


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open whatever a person names, a pipe too; ``-`` is standard input.

    Raises:
        NoJournalError: it is not there.
        MachineError: it cannot be opened.
    """
    if name == STDIN:
        yield _unpacked(sys.stdin.buffer)
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - it is closed below; what fails there is not the opening
    except FileNotFoundError as error:
        raise NoJournalError(f"{name}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise MachineError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield _unpacked(file)


@contextmanager
def row(path: Path) -> Iterator[tuple[list[tuple[Path, BinaryIO]], list[str]]]:
    """Open the journal at ``path`` and all that was rotated away from it, oldest first; and say what cannot be opened.

    The newest is opened first, and a rotation meanwhile moves files up, the oldest to a name that was not there before:
    it is looked for names until all that they name is open. A file that is met again is the same inode.
    """
    with ExitStack() as stack:
        found: list[_Opened] = []
        seen: set[tuple[int, int]] = set()
        faults: dict[Path, str] = {}
        while new := list(_unseen(path, seen, faults, stack)):
            found += new
        found.reverse()  # files that begin alike, such as those without any record, stay as their names have it
        ordered = sorted(found, key=lambda each: each.begins)
        yield [(each.path, _unpacked(each.file)) for each in ordered], [*faults.values()]


class _Opened(NamedTuple):
    begins: int
    path: Path
    file: BinaryIO


def _unseen(path: Path, seen: set[tuple[int, int]], faults: dict[Path, str], stack: ExitStack) -> Iterator[_Opened]:
    """Open, until ``stack`` is left, each file of the journal that was not ``seen`` before; say what cannot be."""
    for each in _names(path):
        try:
            with ExitStack() as opening:
                file = opening.enter_context(os.fdopen(open_regular(each, os.O_RDONLY, follow=True), "rb"))
                status = os.fstat(file.fileno())
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    begins = _begins(file)
                    stack.push(opening.pop_all())
                    yield _Opened(begins, each, file)
        except FileNotFoundError:
            continue
        except (OSError, MachineError) as error:
            faults[each] = f"{each}: cannot be read: {error}"


def _names(path: Path) -> list[Path]:
    """Return the journal and what was rotated away from it, newest first as far as names tell that."""
    try:
        beside = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    except OSError:
        return []
    rotated = [each for each in beside if _ROTATED.fullmatch(each.name.removeprefix(path.name))]
    numbers = re.compile(r"\d+")
    return sorted(
        rotated, key=lambda each: (len(each.name), [int(n) for n in numbers.findall(each.name[len(path.name) :])])
    )


def _begins(file: BinaryIO) -> int:
    """Return the number that the first record of a file begins at; of one without any, one beyond all others."""
    try:
        for line in lines(_unpacked(file), ""):
            if (record := decode(line.raw)) is not None:
                return first_number(record)
        return _BEYOND
    finally:
        file.seek(0)


def _unpacked(file: Any) -> BinaryIO:  # noqa: ANN401 - what stands for standard input in a test is of any type
    buffered = file if hasattr(file, "peek") else io.BufferedReader(file)
    packed = buffered.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
    return cast("BinaryIO", gzip.GzipFile(fileobj=buffered) if packed else buffered)
