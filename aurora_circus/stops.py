"""How the plugin is asked to end: by signals, and on Windows by an event that our hooks in circusd set instead."""

import asyncio
import signal
import sys
from collections.abc import Callable

from aurora_circus.facts import Process

if sys.platform == "win32":
    from aurora_circus import winapi

    class Stops:
        """Takes what asks this process to end."""

        def __init__(
            self, loop: asyncio.AbstractEventLoop, end: Callable[[str], object], hang_up: Callable[[], object]
        ) -> None:
            """Leave a console's Ctrl-C and Ctrl-Break to circusd, which has the same console."""
            del hang_up  # there is no SIGHUP
            self._loop = loop
            self._end = end
            for number in (signal.SIGINT, signal.SIGBREAK):
                signal.signal(number, signal.SIG_IGN)

        def answer_for(self, process: Process) -> None:
            """Be told what ``process`` is told, which circusd takes for this one."""
            event = winapi.create_event(winapi.name_of("stop", process.pid, process.started))
            self._registration = winapi.Registration(event, self._told)

        def _told(self) -> None:
            self._loop.call_soon_threadsafe(self._end, "circusd asked for it")

else:

    class Stops:
        """Takes what asks this process to end: ``end`` is called with the reason, ``hang_up`` for a SIGHUP."""

        def __init__(
            self, loop: asyncio.AbstractEventLoop, end: Callable[[str], object], hang_up: Callable[[], object]
        ) -> None:
            """Take the signals over."""
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, end, f"circusd sent {number.name}")
            loop.add_signal_handler(signal.SIGHUP, hang_up)

        def answer_for(self, process: Process) -> None:
            """Be told what ``process`` is told; signals come to this one anyway."""
