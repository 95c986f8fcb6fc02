"""The systems' own log files: rotated while they are written to, and read from the end. An adapter.

Each system appends to its log through a descriptor that it keeps (``O_APPEND``), so a log that is too long
cannot be renamed: it is copied to ``.1`` and then emptied. What the system writes between the last look at
the file's end and its emptying, microseconds later, is lost. That is the price of reading nobody's pipe.

Only regular files are touched: a symbolic link, FIFO or device at a log's path is a ``MachineError``, not
followed.
"""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aurora_circus import means
from aurora_circus.errors import MachineError
from aurora_circus.escapes import ESCAPE
from aurora_circus.files import backup, open_regular, remove, shift

TAIL_BYTES = 1 << 20
"""Of a log that one :func:`tail` reads."""
MAX_LINE = 8192
"""Characters of a line in a tail."""
MAX_REASON = 500
"""Characters of a last line, which is for a sentence and not for reading."""
_REASON_BYTES = 1 << 16
_BLOCK = 1 << 18
_ROUNDS = 10
"""How often a copy looks whether the log has grown meanwhile: a program may write faster than we copy."""
_FAR = 4
"""How many times too long a log is emptied even if it cannot be copied first."""
_ELLIPSIS = "…"
_NO_KERNEL_COPY = {getattr(errno, name, 0) for name in ("EBADF", "EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM", "EXDEV")}
"""Errors of ``copy_file_range`` that say no more than that this kernel or file system has it not."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did."""

    kept: int
    """Bytes that are now in ``.1``."""
    dropped: int
    """Bytes that are nowhere any more: more than ``.1`` may hold, or than there was room for."""
    error: str | None = None
    """Why not all was copied."""


def prepare(path: str | Path) -> int:
    """Make the directory of a log and return the log's size: where the output of the next process begins.

    ``MachineError``: the directory cannot be made, or what lies in the log's place is no log that we can read. The next
    process's output then goes nowhere, or where nobody here can read it.
    """
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"log directory {file.parent}: cannot be made: {means.told(error)}") from error
    try:
        fd = open_regular(file, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise MachineError(f"log {file}: cannot be used: {means.told(error)}") from error
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def rotate(path: str | Path, max_bytes: int, backups: int) -> Rotated | None:
    """If the log is longer than ``max_bytes``, make it the first of ``backups`` backups and empty it.

    All is kept of a log that is up to a quarter too long, the last ``max_bytes`` of one that is longer. So
    log and backups together stay near ``(backups + 1) * max_bytes``, whatever the program writes, but for
    what it writes between two calls. None: there is nothing to do, or no log.

    A disk without room does not keep the log from being emptied, nor does other trouble with the copy once the
    log is far too long. Its last lines then go to ``.1`` in the room that this makes.

    ``MachineError``: it could not be done, and the log is as it was.
    """
    with suppress(OSError):  # which is said of what cannot be opened
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode) and found.st_size <= max_bytes:
            return None
    file = Path(path)
    try:
        fd = open_regular(file, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MachineError(f"log {file}: cannot be rotated: {means.told(error)}") from error
    try:
        size = os.fstat(fd).st_size
        return _rotate(file, fd, size, max_bytes, backups) if size > max_bytes else None
    except OSError as error:
        raise MachineError(f"log {file}: cannot be rotated: {means.told(error)}") from error
    finally:
        os.close(fd)


def tail(path: str | Path, lines: int, max_bytes: int = TAIL_BYTES) -> list[str]:
    """Return the last ``lines`` lines, oldest first, from the last ``max_bytes`` of the log and ``.1``.

    What is no UTF-8 becomes replacement characters, of a line beyond :data:`MAX_LINE` the rest an ellipsis.
    Without a log there are no lines. ``MachineError``: it is there and cannot be read.
    """
    file = Path(path)
    try:
        data, cut = _end(file, max_bytes)
    except FileNotFoundError:
        data, cut = b"", False
    except OSError as error:
        raise MachineError(f"log {file}: cannot be read: {means.told(error)}") from error
    if not cut and data.count(b"\n") <= lines:
        with suppress(OSError):
            before, cut = _end(backup(file, 1), max_bytes - len(data))
            data = before + data
    pieces = data.removesuffix(b"\n").rsplit(b"\n", lines) if data and lines > 0 else []
    partial = cut and 0 < len(pieces) <= lines
    shown = [_text(piece) for piece in pieces[-lines:]]
    return [_text(pieces[0], keep_end=True), *shown[1:]] if partial else shown


def last_line(path: str | Path) -> str | None:
    """Return the last line of the log that says anything, for people: no escapes, no control characters.

    It is looked for in the last 64 KiB of the log, then of ``.1``, and cut after :data:`MAX_REASON`
    characters. None: there is none.
    """
    return last_line_since(path, 0) or last_line_since(backup(Path(path), 1), 0)


def last_line_since(path: str | Path, offset: int) -> str | None:
    """Return :func:`last_line` of what was written after the log was ``offset`` bytes long.

    With what :func:`prepare` returned before a spawn, a process that dies in silence is not credited with the
    words of the one before it. A log that is shorter was rotated meanwhile: all of it was written since.
    """
    try:
        data, cut = _end(Path(path), _REASON_BYTES, offset)
    except OSError:
        return None
    first, *others = data.split(b"\n")
    for piece in reversed(others):
        if reason := _reason(piece):
            return reason
    return _reason(first, keep_end=cut) or None


def _rotate(file: Path, fd: int, size: int, max_bytes: int, backups: int) -> Rotated:
    most = max_bytes + max_bytes // 2  # with what is written while it is copied
    start = 0 if size <= max_bytes + max_bytes // 4 else _line_start(fd, size - max_bytes)
    end, trouble = _back_up(file, fd, start, most, backups) if backups else (start, None)
    size = os.fstat(fd).st_size
    if trouble and trouble.errno not in {errno.ENOSPC, errno.EDQUOT} and size <= _FAR * max_bytes:
        with suppress(OSError):
            remove(backup(file, 1))  # the next attempt must find the number free, not shift again
        raise trouble
    last = _last_words(fd, max(end, size - _BLOCK)) if trouble else b""
    os.ftruncate(fd, 0)
    kept = end - start + (_save(backup(file, 1), last) if last else 0)
    return Rotated(kept, max(0, size - kept), str(trouble) if trouble else None)


def _back_up(file: Path, fd: int, start: int, most: int, backups: int) -> tuple[int, OSError | None]:
    """Copy from ``start`` to the file's end, wherever that is by then, to ``.1``.

    Return where the copy ends, and what ended it too early.
    """
    end = start
    try:
        shift(file, backups)
        first = backup(file, 1)
        with suppress(FileNotFoundError):
            remove(first)
        mode = os.fstat(fd).st_mode & 0o777
        target = open_regular(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            for _ in range(_ROUNDS):
                goal = min(os.fstat(fd).st_size, start + most)
                if goal <= end:
                    break
                while end < goal and (count := _copy(fd, target, end, goal - end)):
                    end += count
        finally:
            os.close(target)
    except OSError as error:
        return end, error
    return end, None


def _last_words(fd: int, start: int) -> bytes:
    with suppress(OSError):
        os.lseek(fd, start, os.SEEK_SET)
        return os.read(fd, _BLOCK)
    return b""


def _save(path: Path, data: bytes) -> int:
    """Append what fits to a backup, now that emptying the log has made room, and return how much did."""
    with suppress(OSError):
        fd = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)
    return 0


def _copy(source: int, target: int, offset: int, count: int) -> int:
    """Copy up to ``count`` bytes and return how many; 0 at the end of the source."""
    if hasattr(os, "copy_file_range"):
        try:
            copied: int = os.copy_file_range(source, target, count, offset)
            if copied:
                return copied
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
    os.lseek(source, offset, os.SEEK_SET)
    return os.write(target, os.read(source, min(count, _BLOCK)))


def _line_start(fd: int, offset: int) -> int:
    """Return where the next line begins, if that is near."""
    os.lseek(fd, offset, os.SEEK_SET)
    return offset + os.read(fd, _REASON_BYTES).find(b"\n") + 1


def _end(path: Path, max_bytes: int, offset: int = 0) -> tuple[bytes, bool]:
    """Return the last ``max_bytes`` of what follows ``offset``, and whether anything was left out."""
    fd = open_regular(path, os.O_RDONLY)
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        begins = offset if offset <= size else 0
        start = max(begins, size - max_bytes)
        file.seek(start)
        return file.read(size - start), start > begins


def _text(line: bytes, *, keep_end: bool = False) -> str:
    most = 4 * MAX_LINE
    text = (line[-most:] if keep_end else line[:most]).decode(errors="replace").rstrip("\r")
    return _cut(text.replace("\0", "\N{REPLACEMENT CHARACTER}"), MAX_LINE, keep_end=keep_end)


def _reason(line: bytes, *, keep_end: bool = False) -> str:
    """Return what a terminal would show of a line in the end."""
    text = ESCAPE.sub("", line.decode(errors="replace"))
    for shown in reversed(text.split("\r")):
        clean = "".join(" " if c.isspace() else c for c in shown if c.isprintable() or c.isspace()).strip()
        if clean:
            return _cut(clean, MAX_REASON, keep_end=keep_end)
    return ""


def _cut(text: str, most: int, *, keep_end: bool) -> str:
    if keep_end:
        return _ELLIPSIS + text[1 - most :]
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS
