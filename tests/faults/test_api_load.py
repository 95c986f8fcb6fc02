"""Clients that send too much, too little, too slowly or rubbish: each of them harms himself alone.

All the while an honest client asks for the status ten times a second; his slowest answer stands in the table.
"""

import contextlib
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from aurora_circus.wire import MOST_BODY, MOST_CONNECTIONS
from tests.e2e.harness import unix_only
from tests.faults.arena import Arena, MakeArena
from tests.faults.clients import HEALTH, HOST, ROOT, connect, drip, honest, is_json, is_refused, raw, read, unharmed

SYSTEMS = {"one": {"probe": {"timeout": 10.0}}, "two": {"depends_on": ["one"], "probe": {"timeout": 10.0}}}
"""Their probes are patient: what is tried here is the API, on a machine that may be busy."""
POST = f"POST {ROOT}/stop/one HTTP/1.1\r\n".encode() + HOST


@pytest.fixture
def fleet(arena: MakeArena) -> Arena:
    """Return a fleet of two."""
    return arena(SYSTEMS)


def room_for(count: int) -> None:
    """Skip a test that this process has not the descriptors for."""
    import resource  # noqa: PLC0415 - Unix alone

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft < count + 200:
        pytest.skip(f"this process may open {soft} files, and the test takes {count}")


@pytest.mark.fault("api", "slow-loris: 250 connections that drip")
@unix_only
def test_requests_that_drip_in_keep_nobody_out(fleet: Arena) -> None:
    """There are more of them than there may be connections, and they never end; an honest client is served."""
    plugin, pids = fleet.plugin(), fleet.pids()
    many = MOST_CONNECTIONS + 50
    with contextlib.ExitStack() as stack:
        slow: list[socket.socket] = []
        for _ in range(many):
            slow.append(stack.enter_context(connect(fleet)))
            drip(slow[-1:], b"GET /health HTTP/1.1\r\nX: ")
        for _ in range(10):
            honest(fleet, 5)
            alive = drip(slow, b"x")
        assert alive, "they are there all the while"
        unharmed(fleet, plugin, pids)


@pytest.mark.fault("api", "1,000 connections at once")
@unix_only
def test_a_thousand_connections_keep_nobody_out(fleet: Arena) -> None:
    """Some are dropped, since 200 are enough for anybody; a new one is served at any time."""
    room_for(1000)
    plugin, pids = fleet.plugin(), fleet.pids()
    with contextlib.ExitStack() as stack:
        crowd = []
        for _ in range(1000):
            each = stack.enter_context(socket.socket())
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                each.connect(("127.0.0.1", fleet.api_port))
            crowd.append(each)
        honest(fleet)
        answered = 0
        for each in crowd:
            each.settimeout(60.0)
            with contextlib.suppress(OSError):
                each.sendall(HEALTH)
                with each.makefile("rb") as reader:
                    answered += read(reader).status == 200
        fleet.figure("of 1,000 answered", answered, "")
        assert answered
        unharmed(fleet, plugin, pids)


@pytest.mark.fault("api", "bodies of 10 MB, plain, chunked and without end")
def test_large_bodies_are_refused(fleet: Arena) -> None:
    """Each is a 413 that can be read; no command comes of it."""
    plugin, pids = fleet.plugin(), fleet.pids()
    size = 10 * 2**20
    plain = POST + f"Content-Length: {size}\r\n\r\n".encode() + b"x" * size
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n" + piece * (size // 65_536) + b"0\r\n\r\n"
    with ThreadPoolExecutor(8) as pool:
        for reply in pool.map(lambda data: raw(fleet, data), [plain, chunked] * 8):
            is_refused(reply, 413)
            assert str(MOST_BODY) in reply.json["error"]
    with connect(fleet) as endless, contextlib.suppress(ConnectionError):
        endless.sendall(POST + b"Content-Length: 1000000000000\r\n\r\n")
        for _ in range(100):
            endless.sendall(b"x" * 2**20)
        pytest.fail("it was read to its end")
    assert not fleet.events("command"), "none was carried out"
    unharmed(fleet, plugin, pids)


@pytest.mark.fault("api", "headers of 10 MB")
def test_large_headers_are_refused(fleet: Arena) -> None:
    """One long line, many lines, a long path: each is a 431 that can be read."""
    plugin, pids = fleet.plugin(), fleet.pids()
    size = 10 * 2**20
    tries = [
        POST + b"X: " + b"x" * size + b"\r\n\r\n",
        POST + b"X: y\r\n" * (size // 6) + b"\r\n",
        b"GET /" + b"x" * size + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ]
    with ThreadPoolExecutor(6) as pool:
        for reply in pool.map(lambda data: raw(fleet, data), tries * 4):
            is_refused(reply, 431)
    assert not fleet.events("command"), "none was carried out"
    unharmed(fleet, plugin, pids)


@pytest.mark.fault("api", "pipelining: 1,000 requests in one piece")
@pytest.mark.quick
def test_requests_in_one_piece_are_answered_in_their_order(fleet: Arena) -> None:
    """Also where some of them are errors; the connection is kept for all of them."""
    plugin, pids = fleet.plugin(), fleet.pids()
    paths = ["/nothing", "/health", f"{ROOT}/status/one", f"{ROOT}/logs/one?tail=x"] * 250
    with connect(fleet) as connection, connection.makefile("rb") as reader, ThreadPoolExecutor(1) as pool:
        data = b"".join(f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n" for path in paths)
        sent = pool.submit(connection.sendall, data)
        assert [read(reader).status for _ in paths] == [404, 200, 200, 400] * 250
        sent.result()
    unharmed(fleet, plugin, pids)


@pytest.mark.fault("api", "pipelining large answers, and reading none")
def test_who_reads_no_answers_holds_up_nobody(fleet: Arena) -> None:
    """More clients than there are threads ask for a megabyte again and again; who then reads gets all of it."""
    plugin, pids = fleet.plugin(), fleet.pids()
    with (fleet.folder / ".aurora" / "logs" / "one.log").open("ab") as log:
        log.write((b"x" * 1000 + b"\n") * 1000)
    many = 60
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(connect(fleet)) for _ in range(16)]
        for each in deaf:
            each.sendall((f"GET {ROOT}/logs/one?tail=1000 HTTP/1.1\r\n".encode() + HOST + b"\r\n") * many)
        honest(fleet, 60)
        with deaf[0].makefile("rb") as reader:
            assert {read(reader).status for _ in range(many)} == {200}
    unharmed(fleet, plugin, pids)


@pytest.mark.fault("api", "clients that leave in the middle, by reset")
def test_who_leaves_takes_nothing_along(fleet: Arena) -> None:
    """Before the request is whole, before the answer, within it, and in a wait."""
    plugin, pids = fleet.plugin(), fleet.pids()
    wait = f"GET {ROOT}/events?wait=60 HTTP/1.1\r\n".encode() + HOST + b"\r\n"
    for data in [HEALTH[:9], HEALTH, HEALTH * 50, wait, POST + b"Content-Length: 99\r\n\r\nx"] * 20:
        with connect(fleet) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(data)
    assert not fleet.events("command"), "none was carried out"
    unharmed(fleet, plugin, pids)
    fleet.until("a place among those who wait", lambda: raw(fleet, wait.replace(b"60", b"0.1")).status == 200)


NO_REQUESTS = (
    b"\r\n\r\n\r\n\r\nrubbish\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    b"GET /health\r\n\r\n",
    b"POST /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "GET /é HTTP/1.1\r\n".encode("latin-1") + HOST + b"\r\n",
    "GET /é HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    b"GET /%zz%f0%28 HTTP/1.1\r\n" + HOST + b"\r\n",
    f"GET {ROOT}/status/%ff HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    f"GET {ROOT}/status/on%ffe HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    f"POST {ROOT}/stop/on%c3e HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    f"POST {ROOT}/stop/one%00 HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    f"POST {ROOT}/stop/one?wait=%ff HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    f"POST {ROOT}/stop/one?wait=1\xe9 HTTP/1.1\r\n".encode("latin-1") + HOST + b"\r\n",
    f"POST {ROOT}/stop/one HTTP/1.1\r\nHost: local\x00host\r\n\r\n".encode(),
    f"POST {ROOT}/stop/one HTTP/1.1\r\nHost: \xe9\xff\r\n\r\n".encode("latin-1"),
    f"POST {ROOT}/stop/one HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n".encode(),
    POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    POST + b"Content-Length: -1\r\n\r\n",
    POST + b"X\x00Y: z\r\n\r\n",
    POST + b"X : y\r\n\r\n",
    POST + b"Bare: lf\n\r\n\r\n",
    POST + b"Origin: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
)
"""What means nothing, or two things at once."""


@pytest.mark.fault("api", "bad encodings and bad requests: percent, UTF-8, NUL, latin-1, in path, query and headers")
def test_what_is_no_request_is_refused(fleet: Arena) -> None:
    """Each is a 4xx (501 for a transfer encoding that nobody knows) in JSON; nothing is guessed or carried out."""
    plugin, pids = fleet.plugin(), fleet.pids()
    for data in NO_REQUESTS:
        reply = raw(fleet, data)
        assert 400 <= reply.status < 500 or reply.status == 501, data
        is_refused(reply, reply.status)
    strange = HEALTH.replace(HOST, HOST + b"X-Latin: \xe9\xff\r\nAuthorization: Bearer \xff\xfe\r\nCookie: \x80\r\n")
    reply = raw(fleet, strange)
    assert reply.status == 200, "what nobody reads may be of any kind"
    is_json(reply)
    assert not fleet.events("command"), "none was carried out"
    unharmed(fleet, plugin, pids)
