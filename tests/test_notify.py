"""How the service manager is spoken to: one datagram each, never waiting for anybody."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aurora_circus import notify
from aurora_circus.errors import MachineError
from aurora_circus.facts import State
from aurora_circus.notify import Notifier
from aurora_circus.standing import Standing
from tests.platforms import sockets
from tests.world import system

LINUX = os.uname().sysname == "Linux" if hasattr(os, "uname") else False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A manager that listens on a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(str(tmp_path / "n"))
        wire.settimeout(10)
        yield wire


def to(wire: socket.socket) -> Notifier:
    """Return who speaks to it."""
    found = Notifier.of({"NOTIFY_SOCKET": wire.getsockname()})
    assert found is not None
    return found


@sockets
def test_what_is_said_comes_as_one_datagram(manager: socket.socket) -> None:
    """With its line breaks, in UTF-8."""
    to(manager).send("READY=1\nSTATUS=fünf")
    assert manager.recv(100) == "READY=1\nSTATUS=fünf".encode()


@pytest.mark.skipif(not LINUX, reason="abstract sockets are Linux'")
def test_an_at_sign_means_an_abstract_socket() -> None:
    """As containers have it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(f"\0aurora-test-{os.getpid()}")
        wire.settimeout(10)
        found = Notifier.of({"NOTIFY_SOCKET": f"@aurora-test-{os.getpid()}"})
        assert found is not None
        found.send("READY=1")
        assert wire.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_where_there_is_none_nobody_is_spoken_to(environ: dict[str, str]) -> None:
    """Nor one that is reached otherwise."""
    assert Notifier.of(environ) is None


@sockets
def test_a_manager_that_does_not_read_costs_a_message_and_no_time(manager: socket.socket) -> None:
    """Its queue is full at some point, and then it is said that nothing could be said."""
    manager.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    speaker = to(manager)

    def say_much() -> None:
        for _ in range(100_000):
            speaker.send("STATUS=" + "x" * 1000)

    with pytest.raises(MachineError, match=r"telling the service manager on .*/n: "):
        say_much()


@sockets
@pytest.mark.parametrize("name", ["gone", "x" * 200])
def test_one_that_is_not_there_is_an_error(name: str, tmp_path: Path) -> None:
    """Nor one whose path is too long for a socket."""
    with pytest.raises(MachineError, match="telling the service manager"):
        Notifier(str(tmp_path / name)).send("READY=1")


@pytest.mark.parametrize(
    ("value", "seconds"), [("60000000", 60.0), ("0", None), ("-1", None), ("", None), ("soon", None), (None, None)]
)
def test_the_watchdogs_time_is_in_microseconds(value: str | None, seconds: float | None) -> None:
    """What is none is none."""
    assert notify.watchdog({} if value is None else {"WATCHDOG_USEC": value}) == seconds


class FakeDriver:
    """What a standing looks at: one healthy system, and all is well."""

    def __init__(self) -> None:
        """Look at circusd just now."""
        self.lock = threading.Lock()
        self.clock = SimpleNamespace(monotonic=lambda: 100.0)
        self.fleet = [SimpleNamespace(state=State.HEALTHY, last_at=None, system=system("one"))]
        self.looked_at = 100.0
        self.trouble = self.state_error = None
        self.journal = SimpleNamespace(writable=True, last_error=None)
        self.draining = self.orderly = False


@pytest.fixture
def driver() -> FakeDriver:
    """The driver of one healthy system."""
    return FakeDriver()


@sockets
def test_a_full_journal_is_said_and_the_watchdog_is_fed(manager: socket.socket, driver: FakeDriver) -> None:
    """Nobody is helped by a fleet that is bounced for it."""
    standing = Standing({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1000000"})
    driver.journal = SimpleNamespace(writable=False, last_error="No space left on device")
    standing.look(cast("Any", driver))
    said = manager.recv(1000).decode().split("\n")
    assert {"READY=1", "WATCHDOG=1"} <= set(said)
    assert said[-1] == "STATUS=1 of 1 systems healthy; not written: No space left on device"


@sockets
@pytest.mark.parametrize(("orderly", "first"), [(True, "STOPPING=1"), (False, "WATCHDOG_USEC=0")])
def test_an_end_is_said_as_soon_as_it_begins(
    manager: socket.socket, driver: FakeDriver, orderly: bool, first: str
) -> None:
    """And not once more when it comes."""
    standing = Standing({"NOTIFY_SOCKET": manager.getsockname()})
    driver.draining, driver.orderly = True, orderly
    standing.look(cast("Any", driver))
    standing.end(cast("Any", driver), "circusd sent SIGTERM")
    assert manager.recv(1000).decode().split("\n")[0] == first
    manager.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.recv(1000)


@sockets
def test_a_plugin_that_goes_alone_says_so(manager: socket.socket) -> None:
    """Also one that has not begun."""
    Standing({"NOTIFY_SOCKET": manager.getsockname()}).end(None, "circusd is gone")
    assert manager.recv(1000) == b"STATUS=nobody watches the systems until the next plugin is there: circusd is gone"


@sockets
def test_a_manager_that_is_gone_is_logged_once(
    tmp_path: Path, driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    """And harms nobody."""
    standing = Standing({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1"})
    with caplog.at_level(logging.ERROR):
        standing.look(cast("Any", driver))
        driver.looked_at = 0.0
        standing.look(cast("Any", driver))
    assert len(caplog.records) == 1


def test_without_a_manager_nothing_is_looked_at() -> None:
    """It costs nothing."""
    standing = Standing({})
    standing.look(cast("Any", None))
    standing.end(None, "circusd is gone")
