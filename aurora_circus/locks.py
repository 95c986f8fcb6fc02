"""Locks on files: one holder at a time, and none once its process is gone, whatever ended it. A leaf."""

import errno
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _TAKEN = {errno.EACCES, errno.EDEADLK, 0}
    """What the C runtime says of a byte that somebody else has locked; Wine's says nothing."""

    def open_lock(directory: str, name: str) -> int:
        """Open what is locked, and return its descriptor. ``OSError``: it cannot be opened."""
        return os.open(Path(directory) / name, os.O_RDWR | os.O_CREAT, 0o600)

    def try_lock(descriptor: int) -> bool:
        """Take a lock; False when somebody has it. It is given back when the descriptor is closed."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            return False
        return True

else:
    import fcntl

    def open_lock(directory: str, name: str) -> int:
        """Open what is locked, and return its descriptor; a directory can be. ``OSError``: it cannot be opened."""
        del name
        return os.open(directory, os.O_RDONLY | os.O_CLOEXEC)

    def try_lock(descriptor: int) -> bool:
        """Take a lock; False when somebody has it. It is given back when the descriptor is closed."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
