"""Who listens on a port: seen on sockets of our own."""

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from aurora_circus import ports
from tests.platforms import listeners


def listener(host: str = "127.0.0.1") -> socket.socket:
    """Return a listening socket."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.bind((host, 0))
    found.listen()
    return found


@listeners
def test_a_listener_belongs_to_who_has_it_open() -> None:
    """Ours is ours, and not that of process 1."""
    with listener() as ours:
        port = ours.getsockname()[1]
        assert ports.listening(port)
        assert ports.belongs(port, [1, os.getpid()]) is True
        assert ports.belongs(port, []) is False


@listeners
def test_the_holder_is_named_with_pid_and_command() -> None:
    """Also one on all addresses, and one on IPv6's that takes IPv4 as well."""
    for host in ("127.0.0.1", "0.0.0.0", "::"):
        with listener(host) as ours:
            found = ports.holder(ours.getsockname()[1])
            assert found is not None
            assert found.pid == os.getpid()
            assert "python" in str(found.command)
            assert str(found).startswith(f"pid {os.getpid()} (")


@listeners
def test_a_holders_command_is_told_without_what_a_terminal_obeys() -> None:
    """It goes into the journal, which people look at with whatever they have."""
    code = "'\x1b[2J\x9b1m\u202eb'; import socket; s = socket.create_server(('127.0.0.1', 0)); "
    code += "print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-X", "utf8", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        found = ports.holder(int(other.stdout.readline()))
        other.communicate("\n")
    assert found is not None
    assert str(found.command).isprintable()
    assert " '?b'; import socket" in str(found.command)


@pytest.mark.skipif(sys.platform != "linux", reason="this is about Linux alone")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"])
def test_both_ways_to_ask_linux_say_the_same(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short one, and the one that every kernel has; who is connected there is no listener."""
    from aurora_circus import sockdiag  # noqa: PLC0415 - it is there on Linux alone

    with listener(host) as ours, contextlib.closing(socket.create_connection(ours.getsockname()[:2])):
        port = ours.getsockname()[1]
        asked = sockdiag.listeners(port)
        assert list(asked) == [str(os.fstat(ours.fileno()).st_ino)]
        assert ports._in_tables(port) == asked
        found = ports.holder(port)

        def refused(_: int) -> dict[str, str]:
            raise OSError

        monkeypatch.setattr(ports, "_asked", refused)
        assert ports.holder(port) == found
    assert ports._in_tables(port) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="this is about Linux alone")
@pytest.mark.parametrize(("what", "number"), [("_SOCK_DIAG_BY_FAMILY", 99), ("_PROTOCOL", 253)])
def test_a_kernel_that_cannot_be_asked_says_so(what: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one without such a module does, or without its part for TCP: that nobody listens is no answer."""
    from aurora_circus import sockdiag  # noqa: PLC0415 - it is there on Linux alone

    monkeypatch.setattr(sockdiag, what, number)
    with pytest.raises(OSError, match="sock_diag"):
        sockdiag.listeners(1)


def test_nobody_holds_a_free_port() -> None:
    """And a bound socket that does not listen is nobody."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert not ports.listening(port)
        assert ports.holder(port) is None
        assert ports.belongs(port, [os.getpid()]) is None


def test_the_next_free_port_is_neither_taken_nor_promised() -> None:
    """From the low end; None when there is none."""
    with listener() as ours:
        port = ours.getsockname()[1]
        assert ports.free_port(port, port, []) is None
        assert ports.free_port(port, port + 50, [port + 1]) not in {port, port + 1}
