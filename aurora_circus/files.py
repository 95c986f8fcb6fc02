"""Regular files: opened without falling for what else may lie at their path, and their numbered backups.

A leaf below the adapters that keep files. It follows no link that it was not told to follow, and it never
waits: a FIFO or a device that somebody put at the path is an ``OSError``, not a thread that hangs.

On Windows a file that somebody has open can be renamed, replaced or removed only where he allows it. We do, and wait a
moment for those who do not: an editor, a virus scanner, a backup.
"""

import errno
import itertools
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aurora_circus.clock import pause

if sys.platform == "win32":
    from aurora_circus import winapi

PATIENCE = 0.5
"""Seconds for others to let go of a file on Windows, which is when they have read or scanned it."""
_AGAIN = 0.02
_ALWAYS: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


def open_regular(path: Path, flags: int, mode: int = 0o666, *, follow: bool = False) -> int:
    """Open the regular file at ``path`` with the ``flags`` of ``os.open`` and return its descriptor.

    ``mode`` is that of a file it creates, before the umask. ``follow``: a symbolic link will do (on Windows
    it always does). ``OSError``: it cannot be opened, or it is no regular file.
    """
    try:
        fd = _open(path, flags | _ALWAYS | (0 if follow else _NO_FOLLOW), mode)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow and path.is_symlink():
            raise OSError(errno.ELOOP, "a symbolic link, which is not followed", str(path)) from error
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


if sys.platform == "win32":

    def _open(path: Path, flags: int, _mode: int) -> int:
        return winapi.open_shared(os.fspath(path), flags)

    def replace(source: Path, target: Path) -> None:
        """Move a file, over another one where there is one. ``OSError``: it could not be moved."""
        _insist(lambda: source.replace(target))

    def remove(path: Path) -> None:
        """Remove a file. ``OSError``: it could not be removed, or is not there."""
        _insist(path.unlink)

    def _insist(change: Callable[[], object]) -> None:
        for _ in range(round(PATIENCE / _AGAIN)):
            try:
                change()
            except PermissionError:
                pause(_AGAIN)  # nobody tells us when he is done with it
            else:
                return
        change()

else:
    _open = os.open

    def replace(source: Path, target: Path) -> None:
        """Move a file, over another one where there is one. ``OSError``: it could not be moved."""
        source.replace(target)

    def remove(path: Path) -> None:
        """Remove a file. ``OSError``: it could not be removed, or is not there."""
        path.unlink()


def same_place(one: str, other: str) -> bool:
    """Say whether two paths lead to the same place, however they are written, and whether or not it is there."""
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def backup(path: Path, number: int) -> Path:
    """Return where the backup ``number`` of ``path`` lies; number 0 is the file itself."""
    return path.with_name(f"{path.name}.{number}") if number else path


def shift(path: Path, backups: int, replace: Callable[[Path, Path], object] = replace) -> None:
    """Move the backups of ``path`` up by one, so that ``path.1`` may be overwritten; the last one goes.

    Only those below the first free number move: a rotation that fails half-way and is tried again each second
    must not push one backup after the other over the edge. What lies beyond ``backups``, left by a larger
    setting, goes too. ``OSError``: one could not be moved; at most the last one is lost.
    """
    numbers = range(1, backups)
    free = next((number for number in numbers if not os.path.lexists(backup(path, number))), backups)
    for number in range(free, 1, -1):
        with suppress(FileNotFoundError):
            replace(backup(path, number - 1), backup(path, number))
    for number in itertools.count(backups + 1):
        try:
            remove(backup(path, number))
        except FileNotFoundError:
            break
