"""What the machine has run out of, in words: room on a disk, descriptors, processes, memory. Pure.

One place says it for everybody who meets it, so that ``/health``, the journal and the logs tell the same. The system's
own words stay beside ours: they are what one searches for.
"""

import errno

_LACKS = {
    "ENOSPC": "no room is left on the disk",
    "EDQUOT": "the disk quota is used up",
    "EFBIG": "the file may not grow any further (ulimit -f)",
    "EROFS": "the file system is read-only",
    "EMFILE": "this process has no file descriptor left (ulimit -n)",
    "ENFILE": "the machine has no file descriptor left",
    "EAGAIN": "no process or thread can be started (ulimit -u)",
    "ENOMEM": "the machine has no memory left",
}
_WORDS = {getattr(errno, name): words for name, words in _LACKS.items() if hasattr(errno, name)}


def lacks(error: OSError) -> str | None:
    """Return what is lacking, in words; None where the error is of another kind."""
    return None if error.errno is None else _WORDS.get(error.errno)


def told(error: OSError) -> str:
    """Return what came back, in words where it is something that the machine lacks; once it has it, all goes on."""
    words = lacks(error)
    if words is None:
        return str(error)
    return f"{words} ({error})"
