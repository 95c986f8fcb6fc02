"""A service manager of the tests' own: it does for one fleet what systemd does with the unit that we write.

``Type=notify`` on a socket of its own, ``Restart=on-failure``, ``KillMode=process`` and, while it is asked to, the
watchdog with ``WatchdogSignal=SIGKILL``. To a test it looks like the process it started, but lives as long as the
service does, whichever process that is.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.e2e.harness import DEADLINE

RESTART = 0.1
_LOOK = 0.05


class ServiceManager:
    """Runs ``aurora-circus serve`` on one fleet.toml and keeps what it is told."""

    def __init__(self, folder: Path, watchdog: float, *, abstract: bool = False) -> None:
        """Start it; ``watchdog`` in seconds is what it is told, and watched by only after :meth:`watch`."""
        self.folder = folder
        self.watchdog = watchdog
        self.messages: list[dict[str, str]] = []
        self.mains: list[subprocess.Popen[bytes]] = []
        self.codes: list[int] = []
        """How each main process ended that is no more."""
        self._news = threading.Condition()
        self._wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wire.bind(f"\0aurora-test-{os.getpid()}-{id(self)}" if abstract else str(folder / "notify"))
        self._wire.settimeout(_LOOK)
        name = self._wire.getsockname()
        self.address = "@" + name[1:].decode() if abstract else name
        self._watching = False
        self._fed = time.monotonic()
        self._stopping = False
        self._inactive = threading.Event()
        self._start()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._listen, self._restart)]
        for each in self._threads:
            each.start()

    # --- what it is told -------------------------------------------------------------------------------------------

    def heard(self, name: str, *, nth: int = 1, since: int = 0) -> dict[str, str]:
        """Wait for the ``nth`` message that holds ``name`` after the first ``since`` ones, and return it."""

        def fitting() -> list[dict[str, str]]:
            return [each for each in self.messages[since:] if name in each]

        with self._news:
            came = self._news.wait_for(lambda: len(fitting()) >= nth, DEADLINE)
            assert came, f"{nth} × {name} did not come after {since}: {self.messages}\n{self.said()}"
            return fitting()[nth - 1]

    def says(self, words: str) -> int:
        """Wait until a status holds these words, and return how many messages came until then."""

        def found() -> int:
            return next((n for n, each in enumerate(self.messages, 1) if words in each.get("STATUS", "")), 0)

        with self._news:
            assert self._news.wait_for(found, DEADLINE), f"nobody said {words!r}: {self.messages}\n{self.said()}"
            return found()

    def watch(self) -> None:
        """Kill the main process when no ``WATCHDOG=1`` comes in time, once."""
        with self._news:
            self._fed = time.monotonic()
            self._watching = True

    def _listen(self) -> None:
        while not self._inactive.is_set():
            try:
                text = self._wire.recv(4096).decode()
            except TimeoutError:
                text = ""
            with self._news:
                if text:
                    said = dict(line.split("=", 1) for line in text.split("\n"))
                    self.messages.append(said)
                    if "WATCHDOG" in said:
                        self._fed = time.monotonic()
                    self._news.notify_all()
                silent = self._watching and time.monotonic() - self._fed > self.watchdog
                self._watching &= not silent
            if silent:
                self.main.kill()

    # --- what it runs ----------------------------------------------------------------------------------------------

    @property
    def main(self) -> "subprocess.Popen[bytes]":
        """The main process there is, or was last."""
        return self.mains[-1]

    @property
    def pid(self) -> int:
        """The main process's."""
        return self.main.pid

    def said(self) -> str:
        """Return what the service wrote."""
        return (self.folder / "service.out").read_text(errors="replace")

    def _start(self) -> None:
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": self.address,
            "WATCHDOG_USEC": str(round(self.watchdog * 1e6)),
            "WATCHDOG_PID": "1",
        }
        with (self.folder / "service.out").open("ab") as out:
            self.mains.append(
                subprocess.Popen(
                    [sys.executable, "-m", "aurora_circus", "serve", "--fleet", str(self.folder / "fleet.toml")],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def _restart(self) -> None:
        pause = threading.Event()
        while True:
            code = self.main.wait()
            with self._news:
                self.codes.append(code)
                self._news.notify_all()
            if code == 0 or self._stopping:
                break
            pause.wait(RESTART)
            self._start()
        self._inactive.set()

    def ended(self, count: int = 1) -> int:
        """Wait until that many main processes have ended, and return how the last of them did."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.codes) >= count, DEADLINE), self.said()
            return self.codes[count - 1]

    # --- as a process ----------------------------------------------------------------------------------------------

    def poll(self) -> int | None:
        """Return how it ended; None while it is active, or to be started again."""
        return self.codes[-1] if self._inactive.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is active no more."""
        if not self._inactive.wait(timeout):
            raise subprocess.TimeoutExpired("service", timeout or 0.0)
        return self.codes[-1]

    def terminate(self) -> None:
        """Stop the service."""
        self._stopping = True
        self.main.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Stop it by force."""
        self._stopping = True
        self.main.kill()

    def close(self) -> None:
        """Listen no more."""
        if not self._inactive.is_set():
            self.kill()
        for each in self._threads:
            each.join(DEADLINE)
        with contextlib.suppress(OSError):
            self._wire.close()
            (self.folder / "notify").unlink()
