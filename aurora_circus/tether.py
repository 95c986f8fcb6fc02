"""The plugin's tie to its circusd: gives it signs of life, sees its end, and sees to the next one where that is wanted.

On the plugin's loop; it must never block. Two things may happen to circusd. It ends: that is an event. Or it is stuck:
it answers nothing any more, although what is asked takes no lock; one that is kept (``kept``) is then ended by force,
so that there is one case only. A circusd that nobody keeps is left alone, whatever becomes of it.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from aurora_circus import keeper, kept, marks, processes
from aurora_circus.clock import Clock
from aurora_circus.errors import MachineError
from aurora_circus.facts import Process

log = logging.getLogger(__name__)

GONE = "circusd is gone"
_BEAT = json.dumps({"id": "beat", "command": "numwatchers", "properties": {}}).encode()
"""Cheap, takes no lock, and is answered."""
_QUIET = 2
"""Seconds without an answer after which it is asked for a sign of life."""
_MOST_UNANSWERED = 30
"""Signs of life that may lie about unheard; beyond that one in so many is sent: it may be stopped for hours."""
if sys.platform == "win32":
    _APART: dict[str, Any] = {
        "creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP,
    }
else:
    _APART: dict[str, Any] = {"start_new_session": True}


class Tether:
    """The tie to one circusd."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        send: Callable[[bytes], object],
        ended: Callable[[str], object],
    ) -> None:
        """``ended`` is called with :data:`GONE`, perhaps more than once."""
        self._loop = loop
        self._send = send
        self._ended = ended
        self._kept = kept.take(os.environ)
        self._watch: processes.Watch | None = None
        self._unanswered = 0
        self._why = ""
        self._clock = clock
        self._since = clock.monotonic()
        self.process: Process | None = None
        """circusd: at first who has started us, then who says that he is it."""
        first = (self._kept and self._kept.circusd) or _starter() or processes.identify(os.getppid())
        self._follow(first)
        if first is not None:
            self._since -= processes.age(first, clock.wall())

    @property
    def replaces(self) -> dict[str, object] | None:
        """What to journal of a circusd that has replaced another one; None for one that has not."""
        known = self._kept
        if known is None or known.old is None or self.process is None:
            return None
        return {"why": known.why, "old": known.old, "new": self.process.pid, "attempt": 1 + (known.attempt or 0)}

    def follow(self, pid: int) -> None:
        """Take ``pid`` for circusd; the ``python.exe`` of a virtual environment may stand between it and us."""
        if self.process is None or self.process.pid != pid:
            self._follow(processes.identify(pid))

    def _follow(self, process: Process | None) -> None:
        if self._watch is not None:
            self._watch.close()
        self.process = process
        self._watch = None if process is None else processes.watch(process)
        if self._watch is not None:
            self._watch.notify(self._loop, lambda: self._ended(GONE))

    def answered(self) -> None:
        """Take note that circusd has said something."""
        self._unanswered = 0

    def beat(self, *, keeps: Callable[[], bool]) -> None:
        """Give a sign of life; look whether circusd gives any. Once a second; ``keeps`` says whether we keep it."""
        if self.process is None or (self._watch is None and not processes.alive(self.process)):
            self._ended(GONE)
            return
        quiet = self._unanswered >= _QUIET  # else it has just answered something: both know of each other
        if quiet and (self._unanswered < _MOST_UNANSWERED or not self._unanswered % _MOST_UNANSWERED):
            self._send(_BEAT)
        self._unanswered += 1
        if self._unanswered >= keeper.STUCK and keeps():
            self._why = f"it did not answer for {self._unanswered} s"
            log.error("circusd (pid %s) is stuck, %s: it is ended by force", self.process.pid, self._why)
            try:
                processes.end(self.process)
            except MachineError as error:
                log.error("%s", error)

    def keeps(self, *, draining: bool, keeper_works: bool | None = None) -> bool:
        """Say whether it is for us to replace this circusd when it is dead or stuck.

        ``keeper_works``: whether the ``up`` that has started it sees to that; None: whether it does just now.
        """
        known = self._kept
        if known is None:
            return False
        if keeper_works is None:
            keeper_works = known.keeper is not None and processes.works(known.keeper)
        return keeper.replaces(marked=kept.marked(known.run_dir), draining=draining, keeper_works=keeper_works)

    def replace(self) -> None:
        """Have a process of its own start the next circusd, which outlives us.

        Raises:
            OSError: there can be none.
        """
        known = self._kept
        assert known is not None  # noqa: S101 - whom we keep
        old = self.process or known.circusd
        told = {**os.environ, kept.VARIABLE: known.dumps()}
        lived = self._clock.monotonic() - self._since
        arguments = [str(old.pid if old else 0), self._why or "it was gone", f"{lived:.3f}"]
        subprocess.Popen(
            [sys.executable, "-P", "-m", "aurora_circus.lookout", *arguments],
            cwd=known.folder,
            env=told,
            stdin=subprocess.DEVNULL,
            **_APART,
        )


def _starter() -> Process | None:
    """Return who has started us as our marks tell it: where it has ended since, our parent is somebody else by now."""
    environ = "\0".join(f"{name}={value}" for name, value in os.environ.items())
    borne = marks.read(environ.encode("utf-8", "surrogateescape"))
    return borne.holder if borne is not None and borne.mark.key == marks.PLUGIN else None
