"""Signals to the command line.

A command that has something to bring to an end (``up``) says what a signal means; all others are simply ended. What is
left half done is worse than what comes a moment later: within :meth:`Interrupts.held` a signal waits.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

CAUGHT = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, a polite request, a terminal that was closed; and Ctrl-Break. What a system has not is left out."""


class Interrupted(KeyboardInterrupt):
    """A signal came, and is passed on by whoever passes Ctrl-C on: asyncio, for one."""

    def __init__(self, number: int) -> None:
        """Keep which one."""
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """While entered, the signals of :data:`CAUGHT` raise :class:`Interrupted` in the main thread."""

    def __init__(self) -> None:
        """Change nothing yet."""
        self.action: Callable[[int], None] = self._raise
        """What is done about a signal; may be replaced while entered."""
        self._before: dict[int, Any] = {}
        self._holding = False
        self._pending: int | None = None

    def __enter__(self) -> Self:
        """Take the signals over. One that is ignored (``nohup``) stays ignored."""
        for name in CAUGHT:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals as they were."""
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        self._before.clear()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait until this block is over."""
        self._holding = True
        try:
            yield
        finally:
            self.release()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._holding:
            self._pending = number
        else:
            self.action(number)

    def release(self) -> None:
        """Let signals come through again, also the one that came meanwhile."""
        self._holding = False
        pending, self._pending = self._pending, None
        if pending is not None:
            self.action(pending)

    def _raise(self, number: int) -> None:
        self._holding = True  # whoever brings things to an end is not disturbed until :meth:`release`
        raise Interrupted(number)
