"""Who listens on a port: seen on sockets of our own."""

import os
import socket
import subprocess
import sys

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
