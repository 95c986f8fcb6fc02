"""One thread that does what must not hold up the event loop: a step, tried until it succeeds.

A leaf below the adapters that write files. What is to be written, and how, is theirs: a step here is a
callable that says whether everything was done. It is never called twice at the same time, never in a busy
loop, and nobody who asks for it ever waits for it.
"""

import threading
from collections.abc import Callable


class Background:
    """Calls a step in a daemon thread: a disk that hangs must not keep the process from ending."""

    def __init__(
        self, name: str, step: Callable[[], bool], retry: float = 1.0, rest: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Keep what to do; :meth:`start` begins.

        ``step`` does all there is to do and returns whether it succeeded; if not, it is called again after
        ``retry`` seconds. ``rest`` returns for how many seconds after a step there is no other, unless
        somebody waits for it. An exception ends the thread, see :attr:`dead`. ``name`` is the thread's.
        """
        self._name = name
        self._step = step
        self._retry = retry
        self._rest = rest
        self._awaited = 0
        """How many wait for what was asked for."""
        self._changed = threading.Condition()
        self._asked = 0
        self._done = 0
        self._failing = self._resting = False
        self._closing = False
        self._abandoned = False
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def dead(self) -> bool:
        """Whether the thread was started and has ended."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; a second call changes nothing."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Ask for a step; returns at once. While steps fail, and after one, the next still waits for its time."""
        with self._changed:
            self._asked += 1
            if not self._failing and not self._resting:
                self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until what was asked for is done, ``timeout`` seconds at most; return whether it is."""
        with self._changed:
            goal = self._asked
            self._awaited += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._done >= goal, timeout)
            finally:
                self._awaited -= 1

    def close(self, timeout: float) -> bool:
        """Wait like :meth:`flush`, end the thread, and return whether what was asked for is done.

        If the thread was never started, the step is called once, here.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            return self._done == self._asked or self._step()
        self._thread.join(timeout)
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
            return self._done >= self._asked

    def _run(self) -> None:
        while self._wait_for_work():
            with self._changed:
                goal = self._asked
            succeeded = self._step()
            with self._changed:
                self._failing = not succeeded
                if succeeded:
                    self._done = goal
                    self._changed.notify_all()
                    self._resting = True
                    self._changed.wait_for(lambda: self._awaited or self._closing, self._rest())
                    self._resting = False
                else:
                    self._changed.wait_for(lambda: self._abandoned, self._retry)

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._asked > self._done)
            return self._asked > self._done and not self._abandoned
