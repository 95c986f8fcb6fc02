"""Clients that cost little: one bare HTTP request, and series of calls whose answers are timed one by one.

A series is a closed loop: each client sends its next call when it has its answer. One thread serves all clients, so
what is timed is the server and not clients that fight for an interpreter.
"""

import json
import selectors
import socket
import time
import uuid
from typing import Any, Protocol

import zmq

HOST = "127.0.0.1"
Json = dict[str, Any]


def get(port: int, path: str = "/health", timeout: float = 0.25) -> tuple[int, bytes] | None:
    """Ask once; return status and body, or nothing when no whole answer came in time."""
    deadline = time.monotonic() + timeout
    received = b""
    try:
        with socket.create_connection((HOST, port), timeout=timeout) as connection:
            connection.sendall(request(path, "Connection: close\r\n"))
            while (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                data = connection.recv(65536)
                if not data:
                    head, _, body = received.partition(b"\r\n\r\n")
                    return int(head.split(None, 2)[1]), body
                received += data
    except (OSError, IndexError, ValueError):
        return None
    return None


def health(port: int, timeout: float = 0.25) -> Json | None:
    """Return what a healthy service says of itself."""
    answer = get(port, "/health", timeout)
    if answer is None or answer[0] != 200:  # noqa: PLR2004 - HTTP's own number
        return None
    found: Json = json.loads(answer[1])
    return found


def request(path: str, headers: str = "", body: str = "", method: str = "GET") -> bytes:
    """Return an HTTP request as it is sent."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}{length}\r\n{body}".encode()


def answered(received: bytes) -> bool | None:
    """Say whether an HTTP answer is whole; nothing where only the end of the connection will tell."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
        if line.startswith(b"transfer-encoding:"):
            return body.endswith(b"0\r\n\r\n")
    return None


def kept(received: bytes) -> bool:
    """Say whether the server keeps the connection after this answer."""
    head = received.partition(b"\r\n\r\n")[0].lower()
    return b"\r\nconnection: keep-alive" in head or not (
        head.startswith(b"http/1.0") or b"\r\nconnection: close" in head
    )


class Api(Protocol):
    """A supervisor's status call."""

    def series(self, calls: int, *, clients: int = 1, fresh: bool = False, seconds: float = 20.0) -> list[float]:
        """Call so often, or for so long, and return the seconds that each call took; ``fresh``: connect each time."""


class _Caller:
    """One client of an HTTP server."""

    def __init__(self, address: tuple[str, int] | str, message: bytes) -> None:
        self.address = address
        self.message = message
        self.socket: socket.socket | None = None
        self.received = b""
        self.begun = 0.0

    def call(self) -> socket.socket:
        """Send the next call, on the connection that there is or on a new one."""
        self.received = b""
        self.begun = time.perf_counter()
        if self.socket is None:
            self.socket = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
            self.socket.connect(self.address)
            if self.socket.family == socket.AF_INET:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(self.message)
        return self.socket

    def hear(self) -> float | None:
        """Take what came; return how long the call took when the answer is whole."""
        connection = self.socket
        if connection is None:
            return None
        data = connection.recv(1 << 20)
        self.received += data
        whole = answered(self.received)
        if data and not whole:
            return None
        took = time.perf_counter() - self.begun
        if whole is False or self.received[8:12] != b" 200":
            raise ConnectionError(f"calling {self.address}: answered {self.received[:80]!r}")
        if not data or not kept(self.received):
            self.leave()
        return took

    def leave(self) -> None:
        """End the connection, if there is one; the next call makes another."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class HttpApi:
    """A status call over HTTP, at a TCP address or at the path of a Unix socket."""

    def __init__(self, address: tuple[str, int] | str, message: bytes) -> None:
        self._address = address
        self._message = message

    def series(self, calls: int, *, clients: int = 1, fresh: bool = False, seconds: float = 20.0) -> list[float]:
        """Call so often, or for so long, and return the seconds that each call took."""
        end = time.monotonic() + seconds
        taken: list[float] = []
        callers = [_Caller(self._address, self._message) for _ in range(clients)]
        with selectors.DefaultSelector() as selector:
            for each in callers:
                selector.register(each.call(), selectors.EVENT_READ, each)
            sent = clients
            while selector.get_map():
                for key, _ in selector.select(max(0.0, end - time.monotonic())):
                    caller: _Caller = key.data
                    result = caller.hear()
                    if result is None:
                        continue
                    taken.append(result)
                    selector.unregister(key.fileobj)
                    if fresh:
                        caller.leave()
                    if sent < calls:
                        selector.register(caller.call(), selectors.EVENT_READ, caller)
                        sent += 1
                if time.monotonic() > end:
                    break
        for each in callers:
            each.leave()
        return taken


class ZmqApi:
    """circus's own status call."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def series(self, calls: int, *, clients: int = 1, fresh: bool = False, seconds: float = 20.0) -> list[float]:
        """Call so often, or for so long, and return the seconds that each call took."""
        end = time.monotonic() + seconds
        taken: list[float] = []
        begun: dict[zmq.Socket[bytes], float] = {}
        with zmq.Context() as context:
            poller = zmq.Poller()

            def call(kept: zmq.Socket[bytes] | None) -> None:
                at = time.perf_counter()
                connection = kept
                if connection is None:
                    connection = context.socket(zmq.DEALER)
                    connection.linger = 0
                    connection.connect(self._endpoint)
                    poller.register(connection, zmq.POLLIN)
                begun[connection] = at
                connection.send(json.dumps({"command": "status", "properties": {}, "id": uuid.uuid4().hex}).encode())

            for _ in range(clients):
                call(None)
            sent = clients
            while begun and time.monotonic() < end:
                for connection, _ in poller.poll(int(1000 * max(0.0, end - time.monotonic()))):
                    connection.recv_multipart()
                    taken.append(time.perf_counter() - begun.pop(connection))
                    over = sent >= calls
                    if fresh or over:
                        poller.unregister(connection)
                        connection.close()
                    if not over:
                        call(None if fresh else connection)
                        sent += 1
            for connection in begun:
                connection.close()
        return taken
