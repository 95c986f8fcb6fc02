"""One probe against a real socket that answers in every bad way."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aurora_circus import probe
from aurora_circus.facts import Outcome
from aurora_circus.settings import Probe
from tests.platforms import resets, selectors

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reply(*pieces: bytes, hold: bool = False) -> Peer:
    """Answer a request with these bytes; then close, or say nothing more."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
            if hold:
                await reader.read()
            else:
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except ConnectionError:
            pass  # the prober has seen enough
        finally:
            writer.transport.abort()

    return peer


def answer(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """Return one whole answer."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: " + str(len(body)).encode(), *headers, b"", body]
    return b"\r\n".join(lines)


def looked(peer: Peer, **settings: Any) -> Outcome:
    """Probe a server that behaves like ``peer``."""

    async def play() -> Outcome:
        server = await asyncio.start_server(peer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await probe.look(port, Probe(**{"timeout": 5.0, **settings}))

    return asyncio.run(play())


def test_a_200_is_health_with_whatever_metrics_it_gives() -> None:
    """The six metrics, of their types; others are nobody's business."""
    body = b'{"status": "healthy", "autonomous_mode": true, "tasks_processed": 3, "uptime": 1.5, "colour": "red"}'
    outcome = looked(reply(answer(body)))
    assert outcome.ok
    assert outcome.metrics == {"autonomous_mode": True, "tasks_processed": 3, "uptime": 1.5}
    assert outcome.latency is not None


@pytest.mark.parametrize("word", ["fail", "failed", "unhealthy", "down", "error", "critical", "CRITICAL"])
def test_a_200_that_says_it_is_ill_is_believed(word: str) -> None:
    """The body's status has the last word."""
    outcome = looked(reply(answer(b'{"status": "' + word.encode() + b'"}')))
    assert (outcome.ok, outcome.reason) == (False, f"GET /health says '{word}'")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<h1>fine</h1>",
        b"[1]",
        b'"fail"',
        b'{"status": 5}',
        b'{"status": "warn"}',
        b"[" * 10_000,
        b'{"tasks_processed": NaN, "uptime": "long", "decisions_made": true}',
        b"\xff\xfe",
    ],
)
def test_a_200_with_any_other_body_is_health_without_metrics(body: bytes) -> None:
    """HTML, another JSON, nonsense, too deep: the system answered 200."""
    outcome = looked(reply(answer(body)))
    assert (outcome.ok, dict(outcome.metrics)) == (True, {})


@pytest.mark.parametrize(
    "status", [b"204 No Content", b"301 Moved", b"404 Not Found", b"429 Slow", b"500 Oh", b"503 No"]
)
def test_any_other_status_is_not_health(status: bytes) -> None:
    """And a redirect is not followed."""
    body = b"" if status.startswith(b"204") else b"x"
    outcome = looked(reply(answer(body, status, b"Location: http://192.0.2.1/")))
    assert (outcome.ok, outcome.reason) == (False, f"GET /health answered {status[:3].decode()}")


def test_a_body_beyond_all_measure_is_not_read() -> None:
    """A 200 that would send a gigabyte is healthy, without metrics, after the first 64 KiB."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    outcome = looked(reply(head, b"x" * 200_000, hold=True))
    assert (outcome.ok, dict(outcome.metrics)) == (True, {})


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200 OK\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",),
    ],
)
def test_an_answer_that_does_not_come_to_its_end_is_no_health(pieces: tuple[bytes, ...]) -> None:
    """Accepted and silent, or stuck half-way: the timeout is for the whole of it."""
    outcome = looked(reply(*pieces, hold=True), timeout=0.2)
    assert (outcome.ok, outcome.latency) == (False, None)
    assert "no answer within 0.2 s" in str(outcome.reason)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((b"<h1>hello</h1>\n",), "no HTTP/1.1 came back"),
        ((b"\x15\x03\x01\x00\x02\x02\x46",), "no HTTP/1.1 came back"),
        ((b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 20_000,), "no HTTP/1.1 came back"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",), "no HTTP/1.1 came back"),
        ((), "no HTTP/1.1 came back"),
    ],
)
def test_what_is_not_http_is_not_health(pieces: tuple[bytes, ...], words: str) -> None:
    """HTTP/0.9, TLS, headers for ever, an early end."""
    outcome = looked(reply(*pieces))
    assert not outcome.ok
    assert words in str(outcome.reason)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"x" * 60_000 + b"\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n" + b"\x01" * 60_000 + b"\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"z" * 60_000 + b"\r\n",),
    ],
)
def test_a_reason_does_not_repeat_all_that_came(pieces: tuple[bytes, ...]) -> None:
    """What is not HTTP is quoted, its beginning: the reason goes into every status and the journal."""
    reason = str(looked(reply(*pieces)).reason)
    assert reason.startswith("GET /health on port ")
    assert len(reason) < probe.MOST_SAID + 100


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, piece: bytes) -> int:
    """Answer with ``head`` and then ``piece`` for ever; return how many bytes were taken."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
    writer.transport.abort()
    return sent


@pytest.mark.parametrize(
    ("head", "piece", "ok", "words"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, False, "no HTTP/1.1 came back: no status in"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1;" + b"x" * 30_000 + b"\r\na\r\n",
            True,
            "None",
        ),
        (b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 1000, False, "answered 500"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 1000, False, "no HTTP/1.1 came back: Receive buffer too long"),
    ],
)
def test_what_has_no_end_is_read_to_a_bound(head: bytes, piece: bytes, ok: bool, words: str) -> None:
    """However an answer goes on and on, a probe is done with it long before its timeout, as if it were too long."""
    sent: asyncio.Queue[int] = asyncio.Queue()

    async def play() -> Outcome:
        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sent.put_nowait(await endless(reader, writer, head, piece))

        async with await asyncio.start_server(peer, "127.0.0.1", 0) as server:
            outcome = await probe.look(server.sockets[0].getsockname()[1], Probe(timeout=60.0))
            assert await sent.get() < 100 * probe.MOST_READ  # what the sockets hold, and what we have read
            return outcome

    outcome = asyncio.run(play())
    assert outcome.ok is ok
    assert words in str(outcome.reason)


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, str(2**53), "1e300", "1e400", "-Infinity", "NaN"])
def test_a_number_that_no_reader_keeps_is_no_metric(number: str) -> None:
    """Too large for JSON's readers, infinite, or none at all: as good as not given."""
    outcome = looked(reply(answer(b'{"uptime": 1, "tasks_processed": ' + number.encode() + b"}")))
    assert (outcome.ok, dict(outcome.metrics)) == (True, {"uptime": 1})


def test_nobody_there_is_said_in_words() -> None:
    """Connection refused."""

    async def play() -> Outcome:
        server = await asyncio.start_server(reply(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await probe.look(port, Probe())

    outcome = asyncio.run(play())
    assert str(outcome.reason).endswith("connection refused")


@selectors
def test_one_that_has_no_room_for_a_connection_is_given_up_in_time() -> None:
    """Nobody accepts, and the queue is full: neither made nor refused. Nothing is waited for afterwards."""

    async def play() -> tuple[Outcome, int, int]:
        loop = asyncio.get_running_loop()
        watched = loop._selector.get_map()  # type: ignore[attr-defined] # the one way to see it
        with contextlib.ExitStack() as stack:
            full = stack.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            before = len(watched)
            outcome = await probe.look(full.getsockname()[1], Probe(timeout=0.05))
            return outcome, before, len(watched)

    outcome, before, after = asyncio.run(play())
    assert str(outcome.reason).endswith("no answer within 0.05 s")
    assert before == after


@resets
def test_a_broken_connection_is_said_in_words() -> None:
    """Who closes with something unread resets the connection: a TLS server does so."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        found: socket.socket = writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    assert str(looked(peer).reason).endswith(": the connection was broken off")


def by_path(answers: dict[str, Peer]) -> Peer:
    """Answer by the path that is asked for."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await answers[line.split()[1].decode()](reader, writer)

    return peer


def test_metrics_come_from_their_own_path_and_under_their_own_names() -> None:
    """metrics_path fills in what the health body does not have; metrics renames."""
    peer = by_path(
        {
            "/health": reply(answer(b'{"status": "healthy", "tasks_processed": 1}')),
            "/status": reply(answer(b'{"tasks_processed": 9, "routes": 4}')),
        }
    )
    outcome = looked(peer, metrics_path="/status", metrics={"decisions_made": "routes"})
    assert outcome.metrics == {"tasks_processed": 1, "decisions_made": 4}


@pytest.mark.parametrize("other", [reply(answer(b"", b"500 Oh")), reply(b"nonsense\n"), reply(hold=True)])
def test_a_failing_metrics_call_never_affects_health(other: Peer) -> None:
    """Healthy, with what is known."""
    peer = by_path({"/health": reply(answer(b'{"uptime": 2}')), "/status": other})
    outcome = looked(peer, metrics_path="/status", timeout=0.3)
    assert (outcome.ok, dict(outcome.metrics)) == (True, {"uptime": 2})


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is for others."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert looked(reply(answer(b"ok"))).ok
