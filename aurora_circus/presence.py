"""Keeps a circusd findable: its sockets and its pidfile are made again when somebody has removed them.

A pidfile that cannot be written at the start, since the disk is full, is what circus itself dies of; here it comes
later.

It runs within circusd and on its loop, and must never block. Unix only: elsewhere there are no such files. Whoever
removes the run directory of a fleet that runs (a clean-up of /tmp, an ``rm -rf .aurora``) would otherwise leave one
that nobody can talk to any more, and beside which a second one may be started.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from circus import logger
from circus.pidfile import Pidfile

from aurora_circus import claim, means

if sys.platform == "win32":

    def _is_ours(_found: os.stat_result) -> bool:
        """Never have to say."""
        return False

else:

    def _is_ours(found: os.stat_result) -> bool:
        """Say whether it belongs to us."""
        return found.st_uid == os.geteuid()


def install() -> None:
    """Have circusd begin although its pidfile cannot be written just now: :class:`Presence` writes it when it can."""

    def create(self: Any, pid: int) -> None:
        try:
            write_pidfile(self.fname, pid)
        except OSError as error:
            logger.warning("aurora: %s cannot be written yet: %s", self.fname, means.told(error))

    Pidfile.create = create


def write_pidfile(path: str, pid: int) -> None:
    """Write a pidfile, whole or not at all: circus leaves an empty one, and a descriptor open each time.

    Raises:
        RuntimeError: it names another process that lives.
        OSError: it cannot be written.
    """
    other = Pidfile(path).validate()
    if other == pid:
        return
    if other:
        message = f"the pidfile {path} names process {other}, which lives"
        raise RuntimeError(message)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NONBLOCK", 0), 0o644)
    try:
        os.write(descriptor, f"{pid}\n".encode())
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            Path(path).unlink()
        raise
    finally:
        os.close(descriptor)


class Presence:
    """What one circusd is found by."""

    def __init__(self, arbiter: Any) -> None:
        """Look at nothing yet."""
        self._arbiter = arbiter
        self._fault: str | None = None

    def look(self) -> None:
        """Make again what is not there; what cannot be made is said, once, and tried again."""
        claim.answer()
        if self._arbiter._stopping:
            return
        try:
            for path, make in self._belongings():
                if not os.path.lexists(path):
                    _private(os.path.dirname(path))  # noqa: PTH120 - once a second, and seldom more than this
                    make()
                    logger.warning("aurora: %s was not there while circusd runs; it is there again", path)
        except Exception as error:  # noqa: BLE001 - zmq's, the system's, circus's own: all mean the same, later again
            if str(error) != self._fault:
                logger.error("aurora: what circusd is found by cannot be made again: %s", error)
            self._fault = str(error)
        else:
            self._fault = None

    def _belongings(self) -> list[tuple[str, Callable[[], object]]]:
        """Return where they lie, and how they are made.

        A socket is bound a second time and the first binding kept: so nobody's connection is cut.
        """
        arbiter = self._arbiter
        found: list[tuple[str, Callable[[], object]]] = []
        if arbiter.pidfile:  # on Windows there is none, nor a socket
            found.append((arbiter.pidfile, lambda: write_pidfile(arbiter.pidfile, os.getpid())))
        for endpoint, wire in (
            (arbiter.endpoint, arbiter.ctrl.ctrl_socket),
            (arbiter.pubsub_endpoint, arbiter.evpub_socket),
        ):
            if endpoint.startswith("ipc://"):
                found.append((endpoint.removeprefix("ipc://"), lambda to=endpoint, on=wire: on.bind(to)))  # type: ignore[misc] # mypy knows no defaults of a lambda
        return found


def _private(folder: str) -> None:
    """Make a directory that only we may enter; refuse one that somebody else could have prepared.

    Raises:
        PermissionError: it is such a one.
    """
    place = Path(os.path.realpath(folder))
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or not _is_ours(found):
        message = f"{place} is not a directory of ours"
        raise PermissionError(message)
    if stat.S_IMODE(found.st_mode) & 0o077:
        if any(place.iterdir()):
            message = f"others may enter {place} (mode {stat.S_IMODE(found.st_mode):04o}), and it holds other things"
            raise PermissionError(message)
        place.chmod(0o700)
