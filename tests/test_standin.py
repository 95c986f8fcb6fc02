"""The stand-in: what it answers, when, where, and that it is gone with its block."""

import asyncio
import contextlib
import socket

import pytest

from aurora_circus import probe
from aurora_circus.facts import Outcome
from aurora_circus.settings import Probe
from aurora_circus.standin import StandIn


def look(port: int, timeout: float) -> Outcome:
    """Probe it as the plugin does."""
    return asyncio.run(probe.look(port, Probe(timeout=timeout)))


def test_it_answers_with_its_status() -> None:
    """Every time, to whoever asks."""
    with StandIn(500) as standin:
        for _ in range(2):
            outcome = look(standin.port, 30.0)
            assert (outcome.ok, outcome.reason) == (False, "GET /health answered 500")
            assert outcome.latency is not None


def test_one_that_is_too_late_does_not_answer_in_time() -> None:
    """The probe gives up first."""
    with StandIn(200, 3600.0) as standin:
        outcome = look(standin.port, 0.05)
        assert (outcome.ok, outcome.latency) == (False, None)
        assert "no answer within" in str(outcome.reason)


def test_late_is_not_never() -> None:
    """Whoever waits is answered that all is well."""
    with StandIn(200, 0.05) as standin:
        assert look(standin.port, 30.0).ok


def test_it_listens_on_loopback_alone() -> None:
    """Nobody else's business."""
    with StandIn(500) as standin:
        assert standin._httpd.socket.getsockname()[0] == "127.0.0.1"


def test_at_its_end_nobody_waits_and_nobody_is_answered() -> None:
    """Whoever asked is let go, the port is free, and no thread is left."""
    with StandIn(200, 3600.0) as standin:
        waiting = socket.create_connection(("127.0.0.1", standin.port))
        waiting.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    with waiting:
        waiting.settimeout(30.0)
        with contextlib.suppress(ConnectionError):  # where it was not even accepted
            assert waiting.recv(1) == b""
    with pytest.raises(OSError):  # noqa: PT011 - refused; how, each system says in its own way
        socket.create_connection(("127.0.0.1", standin.port), 5.0)
    assert not standin._thread.is_alive()
