"""Takes any journal apart line by line, whatever the lines hold: ours, an old log's of five fields, or rubbish.

It never gives up on a file for what stands in it: a line that is irregular is given with what is wrong with it, and
with as much of it as can be read. No line makes it hold more than :data:`MAX_LINE` bytes. It reads the file that it is
given, and touches nothing else.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from aurora_circus.errors import MachineError
from aurora_circus.records import MAX_LINE

_BOM = b"\xef\xbb\xbf"
_SAID = 100
"""Characters of what a parser says."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file."""

    number: int
    """From 1 on."""
    raw: bytes
    """Without its end; nothing of a line that is too long."""
    ended: bool
    """Whether it has an end; only a file's last line may have none."""
    record: dict[str, Any] | None
    """The JSON object that stands there."""
    trouble: str | None
    """What is irregular about it; None where nothing is."""


def lines(file: BinaryIO, name: str) -> Iterator[Line]:
    """Yield the lines of a file, its last one too where that has no end.

    Raises:
        MachineError: it cannot be read any further.
    """
    number = 0
    try:
        while piece := file.readline(MAX_LINE):
            number += 1
            if not piece.endswith(b"\n") and len(piece) >= MAX_LINE:
                size, ended = _skip(file, len(piece))
                trouble = f"{size} bytes long, which no record is"
                yield Line(number, b"", ended=ended, record=None, trouble=trouble)
                continue
            ended = piece.endswith(b"\n")
            raw = piece.rstrip(b"\r\n")
            marked = number == 1 and raw.startswith(_BOM)
            raw = raw.removeprefix(_BOM) if marked else raw
            found, wrong = _read(raw, ended=ended)
            wrong = wrong or ("begins with a byte order mark" if marked else None)
            yield Line(number, raw, ended=ended, record=found, trouble=wrong)
    except (OSError, EOFError, zlib.error) as error:
        raise MachineError(f"{name}: cannot be read beyond line {number}: {error}") from error


def _skip(file: BinaryIO, size: int) -> tuple[int, bool]:
    """Read up to the end of a line, and return its whole size and whether it has an end."""
    while piece := file.readline(MAX_LINE):
        size += len(piece)
        if piece.endswith(b"\n"):
            return size - 1, True
    return size, False


def _read(raw: bytes, *, ended: bool) -> tuple[dict[str, Any] | None, str | None]:
    """Return the JSON object of a line, and what is irregular about it."""
    if not raw.strip():
        return None, "blank"
    trouble: str | None = None
    strange: list[str] = []
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text, trouble = raw.decode("latin-1"), "not UTF-8; read as Latin-1"
    try:
        found = json.loads(text, parse_constant=strange.append)
    except RecursionError:
        return None, "nested too deeply to be read"
    except ValueError as error:
        told = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        said = told[:_SAID]
        return None, f"not JSON: {said}" if ended else f"torn, it has no end: {said}"
    if not isinstance(found, dict):
        return None, "no JSON object"
    if not isinstance(found.get("event"), str):
        trouble = trouble or "an object without an event"
    if strange:
        trouble = trouble or f"holds {strange[0]}, which JSON has not; read as null"
    return found, trouble
