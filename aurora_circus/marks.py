"""What a process bears that tells of which system it is, whoever its parent is by now. Pure.

Three things are handed down from parent to child: marks in the environment, which a child may clear and a stranger may
copy; on Linux a seal, which nobody can do either with (:func:`seal`); and for as long as it lives, its parent.
"""

from hashlib import blake2b
from typing import NamedTuple

from aurora_circus.facts import Process

RUN_DIR = "AURORA_RUN_DIR"
SYSTEM = "AURORA_SYSTEM"
LEADER = "AURORA_LEADER"
"""The pid of the process that circusd started; its shell puts it there."""
ADOPTERS = "AURORA_ADOPTERS"
"""Whose child one becomes that loses its parent: circusd, and who does that once circusd is gone; ``PID@START,…``."""
SEAL = "AURORA_SEAL"
"""The number of its seal; the shell puts that on, and takes the name away: nobody is handed it down."""
ALL = (RUN_DIR, SYSTEM, LEADER, ADOPTERS, SEAL)
PLUGIN = "aurora"
"""What the plugin bears in place of a system's key, which no system can have: its watcher is called that."""

_NUMBERS = 20
"""Bits of a seal that number the spawns of one system."""


class Mark(NamedTuple):
    """Which system of which fleet."""

    run_dir: str
    key: str


class Marks(NamedTuple):
    """What one process bears in its environment."""

    mark: Mark
    leader: int | None = None
    adopters: frozenset[Process] = frozenset()
    holder: Process | None = None
    """The circusd that has started the leader: the first of its adopters."""


def environment(mark: Mark, adopters: tuple[Process, ...]) -> dict[str, str]:
    """Return what is put into the environment of a system; its shell adds :data:`LEADER`."""
    told = ",".join(f"{each.pid}@{each.started!r}" for each in adopters)
    return {RUN_DIR: mark.run_dir, SYSTEM: mark.key, ADOPTERS: told}


def read(environ: bytes) -> Marks | None:
    """Return the marks in an environment as /proc/PID/environ has it; None where there are none, or no sense in them.

    Of a name that is there twice, the last one counts: that is what our own environment has at its end.
    """
    if RUN_DIR.encode() not in environ:
        return None
    pairs = (each.partition(b"=") for each in environ.split(b"\0"))
    found = {name.decode("ascii", "replace"): value for name, _, value in pairs if name.startswith(b"AURORA_")}
    try:
        mark = Mark(found[RUN_DIR].decode("utf-8", "surrogateescape"), found[SYSTEM].decode("utf-8", "surrogateescape"))
        leader = found.get(LEADER, b"").decode()
        adopters = [
            Process(int(pid), float(started))
            for pid, _, started in (
                each.partition("@") for each in found.get(ADOPTERS, b"").decode().split(",") if each
            )
        ]
        return Marks(mark, int(leader) if leader else None, frozenset(adopters), adopters[0] if adopters else None)
    except (KeyError, ValueError):
        return None


def seal(mark: Mark, number: int) -> int:
    """Return the number that a system's processes bear as a limit that Linux has kept and not looked at since 2.4.25.

    RLIMIT_LOCKS goes from parent to child, through execve(2), setsid(2) and a cleared environment, and is to be seen
    of every process (getrlimit(2), proc_pid_limits(5)). ``number`` counts the spawns of one circusd.
    """
    return _fingerprint(mark) << _NUMBERS | number % (1 << _NUMBERS)


def sealed_for(mark: Mark, number: int) -> bool:
    """Say whether ``number`` is a :func:`seal` of that system."""
    return number >> _NUMBERS == _fingerprint(mark)


def _fingerprint(mark: Mark) -> int:
    digest = blake2b("\0".join(mark).encode("utf-8", "surrogateescape"), digest_size=5).digest()
    return 1 << 40 | int.from_bytes(digest)
