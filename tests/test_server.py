"""The server under the API: its port, its stop, and requests that are no requests."""

import contextlib
import errno
import http.client
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from aurora_circus import wire
from aurora_circus.api import Api
from aurora_circus.errors import MachineError
from aurora_circus.server import ApiServer, PortTakenError
from aurora_circus.wire import MOST_BODY, MOST_DISCARDED, MOST_UNSENT, Channel
from tests.fake_backend import PATIENCE, ROOT, Aside, Client, FakeBackend, Served, serve
from tests.platforms import WINDOWS

REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = f"POST {ROOT}/stop/brain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.fixture
def served() -> Iterator[Served]:
    """The API of two healthy systems."""
    with serve() as it:
        yield it


@pytest.fixture
def holder() -> Iterator[socket.socket]:
    """Somebody else, listening on a port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def read_answer(reader: BinaryIO) -> int:
    """Read one answer to its end, and return its status."""
    status = int(reader.readline().split()[1])
    reader.read(int(http.client.parse_headers(reader)["Content-Length"]))
    return status


def healthy(connection: socket.socket, more: bytes = b"") -> bool:
    """Ask for health on a connection, ``more`` in the same piece, and read the answer."""
    connection.sendall(REQUEST + more)
    with connection.makefile("rb") as reader:
        return read_answer(reader) == 200


# --- The port --------------------------------------------------------------------------------------------


def test_a_taken_port_can_be_tried_again(holder: socket.socket) -> None:
    """A port that somebody else has is an error that names it; once it is free, the same server starts."""
    port = holder.getsockname()[1]
    server = ApiServer(Api(FakeBackend()), "127.0.0.1", port)
    before = set(threading.enumerate())
    why = r"\S" if WINDOWS else ".*[Aa]ddress"  # Wine has no words for it, but a number
    for _ in range(2):
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port}: {why}") as caught:
            server.start()
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
    assert not server.serving
    assert set(threading.enumerate()) <= before, "nothing is left of a try"
    holder.close()
    server.start()
    assert Client(port).get("/health").status == 200
    assert server.stop(PATIENCE)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "x" * 70])
def test_an_address_that_is_not_ours_is_an_error(host: str) -> None:
    """An address this machine has not, and a name nobody knows, are errors that name them."""
    app = Api(FakeBackend())
    with pytest.raises(MachineError, match=f"listening on {host}:0: ") as caught:
        ApiServer(app, host, 0).start()
    assert not isinstance(caught.value, PortTakenError)


def test_a_stop_frees_the_port(served: Served) -> None:
    """After a stop the port is anybody's, though connections to it were open; no thread is left."""
    port = served.server.port
    with served.client.connect() as idle, served.client.connect() as half:
        half.sendall(b"GET /hea")
        assert healthy(idle)
        names = {each.name for each in threading.enumerate()}
        assert served.server.stop(PATIENCE)
        assert not served.server.serving
        assert names - {each.name for each in threading.enumerate()} >= {"api", "waitress-0"}
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()


def test_the_port_is_free_before_the_last_request_ends(served: Served) -> None:
    """A request that nothing can hurry does not hold the port: a stop tells of it, and drops it."""
    entered, leave = threading.Event(), threading.Event()

    def hang(key: str) -> dict[str, object]:
        entered.set()
        assert leave.wait(PATIENCE)
        return {"server": key}

    served.backend.explain = hang  # type: ignore[method-assign]  # a backend that breaks its promise
    with served.client.connect() as connection:
        connection.sendall(f"GET {ROOT}/explain/brain HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert entered.wait(PATIENCE)
        port = served.server.port
        assert served.server.stop(0.1) is False
        with pytest.raises(ConnectionRefusedError):
            Client(port).connect()
        leave.set()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_who_comes_late_to_a_stopped_server_harms_nobody(served: Served) -> None:
    """A request that ends after the stop does not wake a loop whose pipe's number may be another file's by now."""
    httpd = served.server._httpd
    assert httpd is not None
    assert served.server.stop(PATIENCE)
    httpd.pull_trigger()


def test_start_and_stop_in_turn(served: Served) -> None:
    """A server that has stopped can start again; a stop of a stopped one is nothing, a second start an error."""
    with pytest.raises(RuntimeError, match="already serving"):
        served.server.start()
    for _ in range(3):
        assert served.server.stop(PATIENCE)
        assert served.server.stop(PATIENCE)
        served.server.start()
        assert Client(served.server.port).get(f"{ROOT}/status").status == 200
        assert not served.api.closing.is_set()


def test_a_child_does_not_inherit_the_port(served: Served) -> None:
    """A program started meanwhile, even one that is given every inheritable file, does not keep the port."""
    port = served.server.port
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        assert served.server.stop(PATIENCE)
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
            other.listen()
        child.communicate(b"\n")


def has_ipv6() -> bool:
    """Say whether this machine has IPv6's loopback."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6(host: str) -> None:
    """The API can listen on IPv6's loopback, with brackets or without."""
    with serve(host) as served:
        assert Client(served.server.port, "::1").get("/health").status == 200


def test_a_name_with_two_addresses_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has addresses of both kinds is listened to on IPv4's, which is what everybody tries."""

    def both(*_asked: object, **_named: object) -> list[tuple[object, ...]]:
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(socket.AF_INET6, *kind, ("::1", 0, 0, 0)), (socket.AF_INET, *kind, ("127.0.0.1", 0))]

    with monkeypatch.context() as patch:
        patch.setattr("aurora_circus.server.socket.getaddrinfo", both)
        server = ApiServer(Api(FakeBackend()), "localhost", 0)
        server.start()
    assert Client(server.port, "127.0.0.1").get("/health").status == 200
    assert server.stop(PATIENCE)


def test_more_threads_than_may_wait() -> None:
    """A server whose threads could all be waiting is not made."""
    with pytest.raises(ValueError, match="threads: found 4"):
        ApiServer(Api(FakeBackend(), waits=4), threads=4)


def test_how_things_are_is_told_while_everything_else_takes_long(served: Served) -> None:
    """More requests than there are threads, none of which comes to its end: whoever asks how it is does not notice."""
    held, busy = threading.Event(), threading.Semaphore(0)

    def take_long(_: object) -> None:
        busy.release()
        held.wait(PATIENCE)

    served.backend.on_command = take_long
    asking = [Aside(lambda: served.client.post(f"{ROOT}/stop/brain")) for _ in range(20)]
    for _ in range(6):
        assert busy.acquire(timeout=PATIENCE)
    assert served.client.get(f"{ROOT}/status").status == 200
    assert served.client.get(f"{ROOT}/status/brain").status == 200
    assert served.client.get("/health").status == 200
    assert served.client.ask("HEAD", f"{ROOT}/status").status == 200
    assert not busy.acquire(blocking=False), "and no other thread was there for the others"
    held.set()
    assert {each.reply().status for each in asking} == {202}


def test_what_is_answered_at_once_is_answered_in_its_turn(served: Served) -> None:
    """Requests that come together on one connection have their answers in their order, whoever gives them."""
    paths = ["status/brain", "explain/brain", "status/router", "status/brain", "explain/router"]
    last = "Connection: close\r\n"
    with served.client.connect() as connection:
        connection.sendall(
            "".join(
                f"GET {ROOT}/{path} HTTP/1.1\r\nHost: localhost\r\n{last if number == len(paths) else ''}\r\n"
                for number, path in enumerate(paths, 1)
            ).encode()
        )
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    alone = [served.client.get(f"{ROOT}/{path}").body for path in paths]
    assert [each.partition(b"\r\n\r\n")[2] for each in received.split(b"HTTP/1.1 200 OK\r\n")[1:]] == alone


def test_who_asks_for_much_in_one_piece_lets_others_have_their_turn(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one loop that answers everybody: an answer for each in a turn, whoever has asked for a hundred."""
    asked: list[Channel] = []
    serve_one, httpd = Channel.service, served.server._httpd
    assert httpd is not None

    def service(self: Channel) -> None:
        asked.append(self)
        serve_one(self)

    monkeypatch.setattr(Channel, "service", service)
    held, all_there = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert all_there.wait(PATIENCE)

    with served.client.connect() as greedy, served.client.connect() as other:
        assert healthy(greedy)
        assert healthy(other)
        asked.clear()
        httpd.trigger.pull_trigger(hold)
        assert held.wait(PATIENCE)
        greedy.sendall(REQUEST * 100)
        other.sendall(REQUEST)
        all_there.set()
        with other.makefile("rb") as reader, greedy.makefile("rb") as greedy_reader:
            assert read_answer(reader) == 200
            assert [read_answer(greedy_reader) for _ in range(100)] == [200] * 100
    assert len(asked) == 101
    assert len(set(asked[:3])) == 2, "the other one is among the first"


def test_a_look_costs_no_thread(served: Served) -> None:
    """It is the loop that answers, so that nobody who asks often takes turns with it."""
    told: list[int | None] = []
    text = served.backend.status_text

    def note() -> bytes:
        told.append(threading.current_thread().ident)
        return text()

    served.backend.status_text = note  # type: ignore[method-assign]  # to see who asks
    assert served.client.get(f"{ROOT}/status").status == 200
    loop = served.server._loop
    assert loop is not None
    assert told == [loop.ident]


def test_a_server_that_cannot_be_made_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor for the pipe that wakes its loop, say; it is tried again each second."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    server, before = ApiServer(Api(FakeBackend()), "127.0.0.1", 0), set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setattr("aurora_circus.server.Httpd", fails)
        for _ in range(3):
            with pytest.raises(OSError, match="too many"):
                server.start()
    assert set(threading.enumerate()) <= before  # those of other tests may end meanwhile
    server.start()
    assert server.stop(PATIENCE)


def test_connections_are_accepted_many_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn of the loop looks at all connections: one at a time, a thousand would take a million looks."""
    turns: list[int] = []
    accept = wire.Httpd.handle_accept

    def count(self: wire.Httpd) -> None:
        accept(self)
        turns.append(len(self.active_channels))

    monkeypatch.setattr(wire.Httpd, "handle_accept", count)
    many = 3 * wire.AT_ONCE
    held, asked = threading.Event(), threading.Event()

    def hold() -> None:
        asked.set()
        held.wait(PATIENCE)

    httpd = served.server._httpd
    assert httpd is not None
    httpd.trigger.pull_trigger(hold)  # the loop looks up when all of them are there
    assert asked.wait(PATIENCE)
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", served.server.port))) for _ in range(many)
        ]
        held.set()
        assert all(healthy(each) for each in connections)
        assert len(turns) <= many // wire.AT_ONCE + 1


# --- How an answer travels -------------------------------------------------------------------------------


def test_an_answer_is_one_write(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and body leave together, be the answer small, large or an error: two writes cost 44 ms.

    On Windows a large one may leave in more pieces than one, the first of which holds more than the head.
    """
    written: list[bytes] = []

    def send(self: Channel, data: bytes, do_close: bool = True) -> int:
        written.append(data)
        sent = original(self, data, do_close)
        if sent < len(data):
            written[-1] = data[:sent]
        return sent

    original = Channel.send
    monkeypatch.setattr(Channel, "send", send)
    for method, path in (("GET", "/health"), ("GET", f"{ROOT}/logs/brain?tail=5000"), ("PUT", "/"), ("HEAD", "/")):
        written.clear()
        answer = served.client.ask(method, path)
        assert len(written) == 1 or WINDOWS
        assert b"".join(written).endswith(answer.body)
        assert not answer.body or not written[0].endswith(b"\r\n\r\n")


def test_no_delay(served: Served) -> None:
    """Connections have TCP_NODELAY, should an answer ever be two writes."""
    with served.client.connect() as connection:
        assert healthy(connection)
        assert served.server._httpd is not None
        (channel,) = served.server._httpd.active_channels.values()
        assert channel.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- Bodies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "chunked"), [(0, False), (2, False), (MOST_BODY, False), (0, True), (2, True), (60_000, True)]
)
def test_a_body_is_ignored(served: Served, size: int, chunked: bool) -> None:
    """A command may come with a body of up to 64 KiB, of whatever kind; nobody reads it."""
    body = iter([b"x" * size]) if chunked else b"x" * size
    assert served.client.ask("POST", f"{ROOT}/stop/brain", body=body).status == 202


@pytest.mark.parametrize("size", [MOST_BODY + 1, 10 * 2**20])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_a_body_is_bounded(served: Served, size: int, chunked: bool, method: str) -> None:
    """A body of more than 64 KiB is a 413, which a client that sends all of it first gets to read."""
    pieces = (b"x" * min(65_536, size - at) for at in range(0, size, 65_536))
    answer = served.client.ask(method, f"{ROOT}/stop/brain", body=pieces if chunked else b"x" * size)
    assert answer.status == 413
    assert str(MOST_BODY) in answer.error
    assert not served.backend.operations


def test_a_body_without_end_is_cut_off(served: Served) -> None:
    """A body that goes on and on is read to a bound and no further."""
    with served.client.connect() as connection:
        connection.sendall(f"{HEAD}Content-Length: {10**15}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(MOST_DISCARDED // 2**20 + 64):
                connection.sendall(b"x" * 2**20)
            pytest.fail("it was read to its end")


@pytest.mark.parametrize("size", [20_000, 10 * 2**20])
@pytest.mark.parametrize("line", [b"", b"X: ", b"X-Y: z\r\n" * 4000 + b"X: "])
@pytest.mark.parametrize("pieces", [1, 3])
def test_headers_are_bounded(served: Served, size: int, line: bytes, pieces: int) -> None:
    """Headers of more than 16 KiB are a 431, which a client that sends all of them first gets to read.

    Also where their end comes in pieces.
    """
    head = b"GET / HTTP/1.1\r\n" if line else b"GET /"
    with served.client.connect() as connection:
        connection.sendall(head + line + b"x" * size)
        for each in (b"\r\n\r\n",) if pieces == 1 else (b"\r", b"\n\r", b"\n"):
            connection.sendall(each)
        with connection.makefile("rb") as reader:
            assert read_answer(reader) == 431


def test_headers_without_end_are_cut_off(served: Served) -> None:
    """Headers that go on and on are read to a bound and no further."""
    with served.client.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(MOST_DISCARDED // 2**20 + 64):
                connection.sendall(b"X: y\r\n" * (2**20 // 6))
            pytest.fail("they were read to their end")


def test_who_asks_first_is_told_at_once(served: Served) -> None:
    """A client that asks whether to send its large body (Expect) is refused before it does."""
    answer = served.client.raw(f"{HEAD}Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n".encode())
    assert (answer.status, bool(answer.error)) == (413, True)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (f"{HEAD}Content-Length: -1\r\n\r\n".encode(), 400),
        (f"{HEAD}Content-Length: 1, 1\r\n\r\n".encode(), 400),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\nxyz\r\n".encode(), 400),
        (f"{HEAD}Transfer-Encoding: gzip\r\n\r\n".encode(), 501),
        (f"{HEAD}X: {'x' * 20_000}\r\n\r\n".encode(), 431),
        (f"GET /{'x' * 20_000} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), 431),
    ],
)
def test_what_is_no_request_is_refused_in_json(served: Served, data: bytes, status: int) -> None:
    """What waitress refuses before anybody sees it is answered as every error is."""
    answer = served.client.raw(data)
    assert (answer.status, bool(answer.error)) == (status, True)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "waitress" not in answer.body.decode()
    assert not served.backend.operations


def test_a_refusal_of_head_has_no_body(served: Served) -> None:
    """A HEAD that is refused on the way is told its status, and how long the reason would have been."""
    head = HEAD.replace("POST", "HEAD")
    answer = served.client.raw(f"{head}Transfer-Encoding: gzip\r\n\r\n".encode())
    assert (answer.status, answer.body) == (501, b"")
    assert int(answer.headers["Content-Length"]) > 0


def test_requests_in_one_piece_are_answered_in_turn(served: Served) -> None:
    """Requests that come without waiting for answers (pipelining) are answered, in their order."""
    paths = ("/nothing", f"{ROOT}/status", "/health")
    with served.client.connect() as connection:
        connection.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths))
        with connection.makefile("rb") as reader:
            assert [read_answer(reader) for _ in paths] == [404, 200, 200]


# --- Slow clients ----------------------------------------------------------------------------------------


def maintain(served: Served, now: float) -> None:
    """Have the server look after its connections, as it does every few seconds."""
    httpd, done = served.server._httpd, threading.Event()
    assert httpd is not None

    def act() -> None:
        httpd.maintenance(now)
        done.set()

    httpd.trigger.pull_trigger(act)
    assert done.wait(PATIENCE)


def test_a_request_that_drips_in_is_dropped(served: Served) -> None:
    """A request that is not all there from one look to the next loses its connection, however busy it keeps it."""
    with served.client.connect() as slow, served.client.connect() as idle:
        assert healthy(slow, REQUEST[:8])
        assert healthy(idle)
        maintain(served, now=0)
        maintain(served, now=0)
        assert slow.recv(1) == b""
        assert healthy(idle), "it may be idle for longer"


def test_a_request_may_take_a_while(served: Served) -> None:
    """A request that is half here at one look and all there at the next is served."""
    with served.client.connect() as connection:
        assert healthy(connection, REQUEST[:8])
        for _ in range(3):
            maintain(served, now=0)
            connection.sendall(REQUEST[8:])
            with connection.makefile("rb") as reader:
                assert read_answer(reader) == 200
            assert healthy(connection, REQUEST[:8])


def test_a_waiting_request_is_not_idle(served: Served) -> None:
    """One who waits for an answer is left alone, however long that takes; one who is just idle is not."""
    command = served.aside("POST", f"{ROOT}/start/brain?wait=60")
    with served.client.connect() as idle:
        assert healthy(idle)
        maintain(served, now=1e12)
        assert idle.recv(1) == b""
    served.backend.operations["op-1"].settle()
    assert command.reply().status == 200


def test_who_takes_no_answers_keeps_no_thread(served: Served) -> None:
    """Clients that ask for many large answers in one piece and read none hold up nobody, and fill no disk.

    They are more than there are threads; whoever then reads gets all that he asked for.
    """
    large = f"GET {ROOT}/logs/brain HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    size, many = 2**20, 90
    served.backend.logs = lambda key, tail: ["x" * size]  # type: ignore[method-assign]  # a system's endless line
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client.connect()) for _ in range(12)]
        for each in clients:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            each.sendall(large * many)
        assert served.server._httpd is not None
        honest = stack.enter_context(served.client.connect())
        assert all(healthy(honest) for _ in range(60))
        channels = list(served.server._httpd.active_channels.values())
        assert max(each.total_outbufs_len for each in channels) < 2 * size + MOST_UNSENT
        with clients[0].makefile("rb") as reader:
            assert [read_answer(reader) for _ in range(many)] == [200] * many


def test_an_answer_that_nobody_takes_is_dropped() -> None:
    """An answer that its client does not read holds its memory for a while, not for ever."""
    ours, theirs = socket.socketpair()
    with theirs, serve() as served:
        httpd = served.server._httpd
        assert httpd is not None
        channel = Channel(httpd, ours, ("127.0.0.1", 0), httpd.adj, {})
        channel.last_activity = 100
        assert not channel.is_slow(200)
        channel.total_outbufs_len = 1
        assert channel.is_slow(200)
        assert not channel.is_slow(99)
        channel.total_outbufs_len = 0
        channel.prompt()
        assert channel.is_slow(200), "nor does one that is to be given as soon as he takes something"
        assert channel.reluctance() == (1, 100)
        channel.handle_close()


def test_requests_that_drip_in_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many requests as there may be connections, all half here (slow-loris): an old one makes room for a new one."""
    monkeypatch.setattr(wire, "MOST_CONNECTIONS", 5)
    with serve() as served, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(served.client.connect()) for _ in range(5)]
        for each in slow:
            each.sendall(REQUEST[:8])
        for _ in range(3):
            assert healthy(stack.enter_context(served.client.connect()))
        dropped, _, _ = select.select(slow, [], [], PATIENCE)
        assert 1 <= len(dropped) <= 3
        other = next(each for each in slow if each not in dropped)
        other.sendall(REQUEST[8:])
        with other.makefile("rb") as reader:
            assert read_answer(reader) == 200, "the others go on"


def test_answers_that_nobody_takes_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many clients as there may be connections, none of which reads: the oldest makes room for a new one."""
    monkeypatch.setattr(wire, "MOST_CONNECTIONS", 5)
    large = f"GET {ROOT}/logs/brain?tail=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with serve() as served, contextlib.ExitStack() as stack:
        for _ in range(6):
            deaf = stack.enter_context(served.client.connect())
            deaf.sendall(large * 90)
        for _ in range(3):
            assert healthy(stack.enter_context(served.client.connect()))


def test_idle_connections_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are as many connections as may be, whoever is idle the longest makes room for a new one."""
    monkeypatch.setattr(wire, "MOST_CONNECTIONS", 5)
    serve_one, idles = Channel.service, threading.Semaphore(0)

    def service(self: Channel) -> None:
        serve_one(self)
        idles.release()

    monkeypatch.setattr(Channel, "service", service)
    with serve() as served, contextlib.ExitStack() as stack:
        command = served.aside("POST", f"{ROOT}/start/brain?wait=60")
        half = stack.enter_context(served.client.connect())
        assert healthy(half, REQUEST[:8])
        assert idles.acquire(timeout=PATIENCE), "it is idle a moment after its answer has come"
        idle = []
        for _ in range(8):
            idle.append(stack.enter_context(served.client.connect()))
            assert healthy(idle[-1]), "each is served as it comes"
            assert idles.acquire(timeout=PATIENCE)
        assert [connection.recv(1) for connection in idle[:5]] == [b""] * 5
        assert all(healthy(connection) for connection in idle[5:])
        half.sendall(REQUEST[8:])
        with half.makefile("rb") as reader:
            assert read_answer(reader) == 200
        served.backend.operations["op-1"].settle()
        assert command.reply().status == 200
