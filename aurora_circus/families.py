"""Everybody of a system on Unix: its group, what has left that, and what has lost its parent; and the end of them all.

Part of ``processes``. The group is told by the kernel at once; who else there is takes a look at the whole machine
(:mod:`~aurora_circus.procfs`), so it is looked for when something ends, and never in between. Who was once seen to be
of a system is held for it until all of them are gone, whatever becomes of its parent.
"""

import sys

assert sys.platform != "win32"  # noqa: S101 - for the type checker: there is nothing of this there

import contextlib  # noqa: E402 - what follows is not there on Windows
import os  # noqa: E402
import signal  # noqa: E402
from collections.abc import Iterable  # noqa: E402

from aurora_circus import unix  # noqa: E402
from aurora_circus.errors import MachineError  # noqa: E402
from aurora_circus.facts import Process  # noqa: E402
from aurora_circus.marks import Mark  # noqa: E402
from aurora_circus.procfs import Censuses  # noqa: E402

ROUNDS = 8
"""How often it is looked for children that were begotten while their parents were being stopped."""

_censuses = Censuses()
_known: dict[Process, set[Process]] = {}
"""Whom a leader's system was seen to have."""
_held: dict[Mark, set[Process]] = {}
"""Whom circusd is known to hold for each system: nobody's strays, whatever they bear."""


def moment() -> int:
    """Return what stands for now: a look at the machine that began later will do for whatever is asked now."""
    return _censuses.now()


def everybody(leader: Process, mark: Mark | None, after: int | None = None) -> list[Process]:
    """Return who runs of the system that ``leader`` leads or led, the leader first; they are known from now on.

    It takes some milliseconds, unless somebody else has looked since ``after``.
    """
    census = _censuses.fresh() if after is None else _censuses.after(after)
    found = census.of(mark, leader, _known.get(leader, ()), _holds(mark))
    if found:
        _known.setdefault(leader, set()).update(found)
    return found


def left(leader: Process, mark: Mark | None, after: int | None = None) -> list[Process]:
    """Return who is left of a system that is ending; nobody is the truth, somebody need not be all."""
    found = {*unix.members(leader), *(each for each in _known.get(leader, ()) if unix.alive(each))}
    return sorted(found, key=lambda each: each != leader) or everybody(leader, mark, after)


def hold(leader: Process, mark: Mark) -> None:
    """Take note that circusd holds ``leader`` for its system, until all that came of it are gone."""
    _held[mark] = {leader, *_holds(mark)}


def forget(leader: Process) -> None:
    """Take note that nobody of that system is left."""
    _known.pop(leader, None)
    for mark in [mark for mark, leaders in _held.items() if leader in leaders]:
        _held[mark] = _held[mark] - {leader}


def terminate_all(leader: Process, mark: Mark | None, after: int | None = None) -> bool:
    """Send SIGTERM to everybody of a system, each of them once; False when nobody is left. Who is stopped goes on.

    Raises:
        MachineError: the signal was refused.
    """
    found = everybody(leader, mark, after)
    unix.terminate(leader)
    _send_all(_apart(leader, found), signal.SIGTERM, signal.SIGCONT)
    return bool(found)


def terminate_others(leader: Process, mark: Mark | None, after: int | None = None) -> None:
    """Send SIGTERM to everybody of a system but ``leader``, whom somebody else tells."""
    with contextlib.suppress(MachineError, OSError):  # what is not told is ended by force when its time is over
        others = [each for each in everybody(leader, mark, after) if each != leader]
        _send_all(others, signal.SIGTERM, signal.SIGCONT)


def kill_all(leader: Process, mark: Mark | None, after: int | None = None) -> bool:
    """Send SIGKILL to everybody of a system; False when nobody is left.

    Of the group nobody can get away. The others are stopped first, until no look finds one more: who has been stopped
    begets nobody while the next one is ended.

    Raises:
        MachineError: the signal was refused.
    """
    found = everybody(leader, mark, after)  # as long as the leader lives, it tells who has come of it
    some = unix.kill(leader)
    caught: list[Process] = []
    for _ in range(ROUNDS):
        new = [each for each in _apart(leader, found) if each not in caught]
        if not new:
            break
        with contextlib.suppress(MachineError):
            _send_all(new, signal.SIGSTOP)
        caught += new
        found = everybody(leader, mark)
    _send_all(caught, signal.SIGKILL)
    return some or bool(caught)


def left_of(run_dir: str, keys: Iterable[str] = (), after: int | None = None) -> dict[str, list[Process]]:
    """Return who runs of each system of a fleet, and of its plugin, that no living circusd holds.

    ``keys``: systems that the fleet has, as far as they are known; others are found by their environment alone.
    """
    return (_censuses.fresh() if after is None else _censuses.after(after)).left_of(run_dir, keys, _held)


def zombies() -> list[int]:
    """Return which children of ours have ended, and nobody has waited for yet."""
    return _censuses.fresh().zombies_of(os.getpid())


def _holds(mark: Mark | None) -> set[Process]:
    return _held.get(mark, set()) if mark is not None else set()


def _apart(leader: Process, found: Iterable[Process]) -> list[Process]:
    """Return who does not get what the group gets."""
    group = {each.pid for each in unix.members(leader)}
    return [each for each in found if each.pid not in group]


def _send_all(found: Iterable[Process], *numbers: signal.Signals) -> None:
    refused = None
    for each in found:
        try:
            for number in numbers:
                unix.send(each, number)
        except MachineError as error:
            refused = error
    if refused is not None:
        raise refused
