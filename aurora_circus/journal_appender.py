"""How the journal is written: whole lines appended to a file, which is rotated by size.

Part of the adapter ``journal``, whose writer thread alone calls this. It knows nothing of a record but its
number.
"""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from aurora_circus.files import backup, open_regular, remove, replace, shift
from aurora_circus.journal_archive import unterminated
from aurora_circus.records import MAX_LINE, decode


class Disk:
    """The calls that change the disk; a test puts a full or a broken one in their place."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """See ``os.write``."""
        return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        """See ``os.ftruncate``."""
        os.ftruncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        """See ``files.replace``."""
        replace(source, target)

    def sync(self, fd: int) -> None:
        """See ``os.fsync``."""
        os.fsync(fd)


class Appender:
    """Appends lines, whole or not at all, to a file that may be full, taken away or replaced at any time.

    There is no fsync but the one at the end. What ``write`` took outlives our own crash and circusd's; only a
    crash of the machine may take the last seconds with it. An fsync after each record costs from a
    millisecond to, on a busy disk, seconds; the records would pile up behind it just when there is most to
    say.
    """

    def __init__(self, path: Path, max_bytes: int, backups: int, disk: Disk) -> None:
        """``max_bytes`` is what the file may hold before it becomes one of ``backups`` backups."""
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._disk = disk
        self._fd: int | None = None
        self._spare = False
        """Whether ``.1`` is there for a moment only: no backups are kept, but it has the last number."""
        self.opened = 0
        """How often a file was opened: where this differs, the files are not what they were."""
        self.rotation_error: OSError | None = None
        """Why the file could not be rotated. It goes on growing: a long journal is better than none."""

    @property
    def is_open(self) -> bool:
        """Whether there is a file that is open, and ends with a whole line."""
        return self._fd is not None

    def append(self, lines: Sequence[bytes], written: int) -> tuple[int, OSError | None]:
        """Append the first of ``lines``, as many as fit in the file; return how many, and what stopped it.

        Without lines it is opened and mended all the same.

        ``written`` is the number of the last record that was ever written: a last line without its end is
        whole if it is not beyond that.
        """
        try:
            fd, size = self._ready(written)
            if lines and size and size + len(lines[0]) > self._max_bytes:
                fd, size = self._rotate(written)
            return self._write(fd, size, self._fitting(lines, size))
        except OSError as error:
            self._release()
            return 0, error

    def close(self) -> OSError | None:
        """Put what was written on the disk itself, and let go of the file."""
        try:
            if self._fd is not None:
                self._disk.sync(self._fd)
        except OSError as error:
            return error
        finally:
            self._release()
        return None

    def _release(self) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _ready(self, written: int) -> tuple[int, int]:
        """Return the descriptor and the size of the file that now lies at the path."""
        if self._fd is not None:
            ours = os.fstat(self._fd)
            try:
                there = self._path.stat()
            except FileNotFoundError:
                there = None
            if there and (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev):
                return self._fd, ours.st_size
            self._release()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = open_regular(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644, follow=True)
        self.opened += 1
        self._mend(self._fd, written)
        return self._fd, os.fstat(self._fd).st_size

    def _mend(self, fd: int, written: int) -> None:
        """See to it that the file ends with a whole line.

        Cut off is a record that was never reported as written: a torn one, or one that will be written again.
        """
        with os.fdopen(os.dup(fd), "rb") as file:
            start, piece = unterminated(file)
        if not piece:
            return
        record = decode(piece)
        if len(piece) < MAX_LINE and (record is None or record["seq"] > written):
            self._disk.truncate(fd, start)
        elif self._disk.write(fd, b"\n") != 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def _rotate(self, written: int) -> tuple[int, int]:
        """Make the file the first backup and begin another one, or go on with it if that fails."""
        self._release()  # Windows does not rename a file that is open
        try:
            shift(self._path, max(self._backups, 1), self._disk.replace)
            self._disk.replace(self._path, backup(self._path, 1))
        except OSError as error:
            self.rotation_error = error
        else:
            self.rotation_error = None
            self._spare = not self._backups
        return self._ready(written)

    def _fitting(self, lines: Sequence[bytes], size: int) -> Sequence[bytes]:
        if self.rotation_error is not None:
            return lines
        for count, line in enumerate(lines):
            size += len(line)
            if count and size > self._max_bytes:
                return lines[:count]
        return lines

    def _write(self, fd: int, size: int, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        data = b"".join(lines)
        done = 0
        try:
            while done < len(data):
                took = self._disk.write(fd, memoryview(data)[done:])
                if not took:
                    raise OSError(errno.EIO, "a write took nothing", str(self._path))  # noqa: TRY301 - as the system's own
                done += took
        except OSError as error:
            whole = data.rfind(b"\n", 0, done) + 1
            try:
                if whole < done:
                    self._disk.truncate(fd, size + whole)
            except OSError:
                self._release()  # it will be mended when it is opened again
            return data.count(b"\n", 0, whole), error
        if self._spare:
            with suppress(OSError):
                remove(backup(self._path, 1))
            self._spare = False
        return len(lines), None
