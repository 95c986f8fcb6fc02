"""Clients of the API that do not behave: they speak by bare sockets, as whoever means harm does."""

import http.client
import json
import socket
from contextlib import suppress
from email.message import Message
from typing import Any, BinaryIO, NamedTuple

from tests.e2e.harness import DEADLINE
from tests.faults.arena import Arena

ROOT = "/api/autonomous"
HOST = b"Host: localhost\r\n"
HEALTH = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, taken for JSON."""
        return json.loads(self.body)


def connect(fleet: Arena) -> socket.socket:
    """Return a bare connection to a fleet's API."""
    return socket.create_connection(("127.0.0.1", fleet.api_port), timeout=DEADLINE)


def read(reader: BinaryIO) -> Reply:
    """Read one answer to its end; ConnectionError where there is none."""
    first = reader.readline().split()
    if len(first) < 2:
        raise ConnectionError("closed without an answer")
    headers = http.client.parse_headers(reader)
    return Reply(int(first[1]), headers, reader.read(int(headers["Content-Length"])))


def raw(fleet: Arena, data: bytes) -> Reply:
    """Send these very bytes, and read one answer."""
    with connect(fleet) as connection:
        connection.sendall(data)
        with connection.makefile("rb") as reader:
            return read(reader)


def ask(fleet: Arena, method: str, path: str, **headers: str) -> Reply:
    """Ask as these headers say (``X_Some_Header="…"``), and read the answer."""
    lines = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return raw(fleet, f"{method} {path} HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n".encode("latin-1"))


def is_json(reply: Reply) -> None:
    """Check that an answer is what all are: a JSON object that nobody takes for something else, seen ASCII."""
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"
    assert isinstance(reply.json, dict)
    assert all(0x20 <= each < 0x7F for each in reply.body)


def is_refused(reply: Reply, *statuses: int) -> None:
    """Check that a request was refused in the one way there is."""
    assert reply.status in statuses
    is_json(reply)
    assert reply.json["success"] is False
    assert reply.json["error"]


def honest(fleet: Arena, times: int = 20) -> None:
    """Ask as an honest client does, each time anew: the answer comes, and it is the status."""
    for _ in range(times):
        reply = ask(fleet, "GET", f"{ROOT}/status")
        assert reply.status == 200
        assert set(reply.json) == set(fleet.ports)


def unharmed(fleet: Arena, plugin: int, pids: dict[str, int]) -> None:
    """Check that neither the plugin nor a system was replaced, and that nothing went wrong that nobody expected."""
    honest(fleet)
    assert fleet.plugin() == plugin
    assert fleet.alive(plugin)
    assert fleet.pids() == pids
    log = fleet.folder / ".aurora" / "logs" / "aurora.log"
    assert "Traceback" not in (log.read_text(encoding="utf-8") if log.exists() else "")


def drip(connections: list[socket.socket], data: bytes) -> list[socket.socket]:
    """Send something on each connection; return those that are still there."""
    alive = []
    for each in connections:
        with suppress(OSError):
            each.sendall(data)
            alive.append(each)
    return alive
