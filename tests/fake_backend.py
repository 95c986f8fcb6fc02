"""What the API is tested against: a backend that does what it is told, and a client that hides nothing."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from email import message_from_string
from email.message import Message
from typing import Any, NamedTuple

from aurora_circus.access import Tokens
from aurora_circus.answers import encode
from aurora_circus.api import Api, Operation
from aurora_circus.drills import Order, RefusedDrillError
from aurora_circus.facts import State
from aurora_circus.server import ApiServer

ROOT = "/api/autonomous"
PATIENCE = 30.0
"""Seconds until a test that hangs gives up; nothing here is expected to take any."""


class FakeOperation:
    """A command that is settled by the test."""

    def __init__(self, ident: str, verb: str, servers: Sequence[str], by: str, waiting: threading.Semaphore) -> None:
        self.id, self.verb, self.servers, self.by = ident, verb, list(servers), by
        self.state = "running"
        self.error: str | None = None
        self.warning: str | None = None
        self.patient = True
        self._settled = threading.Event()
        self._waiting = waiting

    def settle(self, state: str = "succeeded", error: str | None = None) -> None:
        """Come to an end."""
        self.state, self.error = state, error
        self._settled.set()

    def wait(self, timeout: float) -> bool:
        """Wait as the real one does; unless patient, the time is always up."""
        self._waiting.release()
        return self._settled.wait(timeout if self.patient else 0)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "id": self.id,
            "command": self.verb,
            "servers": self.servers,
            "by": self.by,
            "accepted_at": "2026-01-02T03:04:05.678Z",
            "state": self.state,
            "error": self.error,
            "finished_at": None if self.state == "running" else "2026-01-02T03:04:06.789Z",
        }


class FakeBackend:
    """Two systems, and whatever a test wants to be true of them."""

    def __init__(self) -> None:
        self.keys: Sequence[str] = ("brain", "router")
        self.operations: dict[str, FakeOperation] = {}
        self.waiting = threading.Semaphore(0)
        """Released each time that somebody begins to wait."""
        self.well = True
        self.idle = False
        self.on_command: Callable[[FakeOperation], None] = lambda _: None
        self.trouble: Exception | None = None
        self.systems = {key: system(5020 + at) for at, key in enumerate(self.keys)}
        self.asked: list[tuple[object, ...]] = []
        self.drills: list[tuple[str, Order | None, str]] = []
        self.refuses_drills: str | None = None
        self.records: list[dict[str, object]] = []
        self._news = threading.Condition()

    def status_text(self) -> bytes:
        """Return the systems as they are."""
        self._fail()
        return encode(self.systems)

    def status_of(self, key: str) -> dict[str, object]:
        """Return one of them."""
        self._fail()
        return self.systems[key]

    def command(self, verb: str, keys: Sequence[str] | None, by: str) -> tuple[Operation, bool]:
        """Accept everything."""
        self._fail()
        servers = self.keys if keys is None else keys
        operation = FakeOperation(f"op-{len(self.operations) + 1}", verb, servers, by, self.waiting)
        self.operations[operation.id] = operation
        self.on_command(operation)
        return operation, self.idle

    def drill(self, key: str, order: Order | None, by: str) -> dict[str, object]:
        """Note what was asked; refuse it where the test says why."""
        self._fail()
        self.drills.append((key, order, by))
        if order is None:
            return {"ended": True}
        if self.refuses_drills is not None:
            raise RefusedDrillError(self.refuses_drills)
        return {"fault": str(order.fault), "pid": 1234, "seconds": order.seconds, "strikes": 1}

    def operation(self, ident: str) -> Operation | None:
        """Look it up."""
        return self.operations.get(ident)

    def explain(self, key: str) -> dict[str, object]:
        """Return the system, and a reason."""
        self._fail()
        return {
            **self.systems[key],
            "server": key,
            "cause": None,
            "attempts_used": 0,
            "attempts_left": 3,
            "next": {"action": "the next probe", "at": "2026-01-02T03:04:05.678Z", "in_seconds": 5.0},
            "last_command": None,
            "probes": [{"ok": True}],
            "output": ["up"],
        }

    def events(
        self, since: int | None, limit: int, server: str | None, event: str | None, wait: float
    ) -> dict[str, object]:
        """Return the records after ``since``; note what was asked."""
        self.asked.append((since, limit, server, event, wait))
        if wait:
            self.waiting.release()
        with self._news:
            self._news.wait_for(lambda: len(self.records) > (since or 0), wait)
            found = self.records[since or 0 :][:limit]
            return {"events": found, "next": (since or 0) + len(found), "oldest": 1, "truncated": False}

    def record(self) -> None:
        """Have something happen."""
        with self._news:
            stamp = {"timestamp": "2026-01-02T03:04:05.678Z", "seq": len(self.records) + 1, "system": "aurora"}
            self.records.append({**stamp, "event": "server_started", "server": "brain", "details": {}})
            self._news.notify_all()

    def logs(self, key: str, tail: int) -> list[str]:
        """Return as many lines as asked for."""
        self._fail()
        return [f"{key} {number}" for number in range(tail)]

    def health(self) -> tuple[bool, dict[str, object]]:
        """Be well, or not."""
        return self.well, {"journal": {"ok": self.well}}

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble


def system(port: int) -> dict[str, object]:
    """Return the status of a healthy system."""
    return {
        "healthy": True,
        "state": str(State.HEALTHY),
        "error": None,
        "port": port,
        "pid": 1234,
        "critical": True,
        "autonomous": True,
        "autonomous_mode": False,
        "tasks_processed": 0,
        "decisions_made": 0,
        "systems_healed": 0,
        "uptime": 1.5,
        "last_activity": "unknown",
        "reported": [],
        "last_check": "2026-01-02T03:04:05.678Z",
        "latency_ms": 1.25,
        "restarts": 0,
        "attempt": 0,
        "next_attempt_at": None,
        "depends_on": [],
        "drill": None,
    }


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, taken for JSON."""
        assert self.headers["Content-Type"] == "application/json"
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """What went wrong, of an answer that says so in the one way there is."""
        assert self.json["success"] is False
        assert isinstance(self.json["error"], str)
        return str(self.json["error"])


class Client:
    """Asks one server, each time on a new connection."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, port

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None) -> Reply:
        """Ask and read the whole answer."""
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())

    def get(self, path: str, **headers: str) -> Reply:
        """GET ``path``; ``X_Some_Header="…"`` for headers."""
        return self.ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, **headers: str) -> Reply:
        """POST ``path`` without a body."""
        return self.ask("POST", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def connect(self) -> socket.socket:
        """Return a bare connection."""
        return socket.create_connection((self.host, self.port), timeout=PATIENCE)

    def raw(self, data: bytes) -> Reply:
        """Send these very bytes, and read one answer until the server hangs up."""
        with self.connect() as connection:
            connection.sendall(data)
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        first, _, headers = head.decode().partition("\r\n")
        return Reply(int(first.split()[1]), message_from_string(headers), body)


class Aside(threading.Thread):
    """A request that is made aside, while the test goes on."""

    def __init__(self, ask: Callable[[], Reply]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self._reply: Reply | None = None
        self.start()

    def run(self) -> None:
        """Make the request."""
        self._reply = self._ask()

    def reply(self) -> Reply:
        """Return its answer once it is there."""
        self.join(PATIENCE)
        assert self._reply is not None, "no answer"
        return self._reply


class Served(NamedTuple):
    """The API of a backend, being served."""

    backend: FakeBackend
    api: Api
    server: ApiServer
    client: Client

    def aside(self, method: str, path: str) -> Aside:
        """Make a request aside that waits, and come back once it does."""
        request = Aside(lambda: self.client.ask(method, path))
        assert self.backend.waiting.acquire(timeout=PATIENCE)
        return request


@contextmanager
def serve(host: str = "127.0.0.1", tokens: Tokens | None = None, waits: int = 4) -> Iterator[Served]:
    """Serve a new backend on a port that is free."""
    backend = FakeBackend()
    api = Api(backend, host=host, tokens=tokens, waits=waits)
    server = ApiServer(api, host, 0)
    server.start()
    try:
        yield Served(backend, api, server, Client(server.port, host))
    finally:
        assert server.stop(PATIENCE)
