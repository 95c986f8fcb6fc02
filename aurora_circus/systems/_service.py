"""What the five reference systems share: a small HTTP/1.1 server, the six metrics, and a clean end.

It imports little, because a fleet's start waits for it: ``http.server`` alone would cost more than all of
this. It must never speak to another system, and no number it gives may be made up.

The systems run as plain scripts (``python aurora_master_controller.py``, from any directory) and can be
imported as parts of the package too, which is what the two forms of import at the top of each are for.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

TYPE_CHECKING = False  # checkers take it for typing's own, whose import would cost the start milliseconds
if TYPE_CHECKING:
    from typing import Any, BinaryIO, NoReturn, TypeVar

    T = TypeVar("T")
    N = TypeVar("N", int, float)

Body = dict[str, "Any"]  # a JSON object
Answer = tuple[int, Body]  # a status and what goes with it
Handler = Callable[[Body], Answer]

HOST = "127.0.0.1"
HEAD_MAX = 16_384  # bytes of a request's line and headers
BODY_MAX = 65_536  # bytes of a request's body
CONNECTIONS_MAX = 100  # at once; those beyond wait in the kernel. macOS gives a process 256 files
IDLE_TIMEOUT = 60.0  # seconds without a byte until a connection is closed
LINGER_TIMEOUT = 2.0  # seconds for which the other side may go on sending what was refused …
LINGER_MAX = 16 * 1024 * 1024  # … and bytes, so that it reads the answer before it meets a reset
LINE_MAX = 500  # characters of what is logged of a piece of work
ID_DIGITS = 9
CRLF = "\r\n"
REASONS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "a string",
}


class RequestError(Exception):
    """A request that is not carried out: the ``status`` to answer with, and why."""

    def __init__(self, status: int, why: str, allow: str = "") -> None:
        super().__init__(why)
        self.status = status
        self.allow = allow
        """The methods that the path has, for a 405."""


def field(body: Body, name: str, kind: type[T], default: T | None = None) -> T:
    """Give a field's value, or its default; ``RequestError`` 400 where it is not of that very kind."""
    value = body.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found = json.dumps(value)[:80] if name in body else "nothing"
        raise RequestError(400, f"{name}: found {found}, expected {KINDS[kind]}")
    return value


def whole(body: Body, name: str, low: int, high: int, default: int | None = None) -> int:
    """Give an integer field from ``low`` to ``high``, both included; ``RequestError`` 400 where it is not."""
    value = field(body, name, int, default)
    if not low <= value <= high:
        raise RequestError(400, f"{name}: found {value}, expected an integer from {low} to {high}")
    return value


def setting(name: str, default: N, low: N, high: N) -> N:
    """Give a number from the environment. The program ends with 2 if it is none from ``low`` to ``high``."""
    text = os.environ.get(name) or str(default)
    try:
        value = type(default)(text)
        if low <= value <= high:  # which nan is not
            return value
    except ValueError:
        pass  # said below, as for one that is out of bounds
    raise _ending(2, f"{name}: found {text!r}, expected {KINDS[type(default)]} from {low} to {high}")


class System:
    """One reference system: its routes, what it does, and the true counts of that.

    ``tasks_processed``, ``decisions_made`` and ``systems_healed`` change under ``lock``, and only when what
    they count has happened; each system's module says what that is. ``autonomous_mode`` is true for a system
    that acts on its own decisions, false for one that only advises. ``last_activity`` is RFC 3339 in UTC, or
    "none yet".
    """

    key = ""
    port = 0
    """The default, then the one it listens on."""
    autonomous_mode = True

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tasks_processed = 0
        self.decisions_made = 0
        self.systems_healed = 0
        self.last_activity = "none yet"
        self.started = time.monotonic()
        self.routes: dict[str, dict[str, Handler]] = {
            "/health": {"GET": self.health},
            "/status": {"GET": self.status},
        }
        """Path → method → what answers. A path ending in ``/`` takes a number more: the field ``id``."""

    def start(self) -> None:
        """Begin what runs by itself; called once the port is ours."""

    def details(self) -> Body:
        """Give what ``/status`` tells beside the metrics; called under ``lock``."""
        return {}

    def health(self, _: Body) -> Answer:
        """Answer with the six metrics; ``uptime`` is in seconds."""
        with self.lock:
            return 200, {
                "service": self.key,
                "status": "healthy",
                "autonomous_mode": self.autonomous_mode,
                "tasks_processed": self.tasks_processed,
                "decisions_made": self.decisions_made,
                "systems_healed": self.systems_healed,
                "uptime": round(time.monotonic() - self.started, 3),
                "last_activity": self.last_activity,
            }

    def status(self, body: Body) -> Answer:
        """Answer with the six metrics and the system's own details."""
        with self.lock:
            return 200, self.health(body)[1] | self.details()

    def did(self, what: str) -> None:
        """Note a piece of work that was done: the last activity, and a line on standard output."""
        now = time.time()
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
        self.last_activity = stamp
        _say(f"{stamp} {what[:LINE_MAX]}")

    def answer(self, method: str, path: str, content: bytes) -> Answer:
        """Carry out one request; ``RequestError`` where that cannot be."""
        number: Body = {}
        if path not in self.routes:
            path, _, tail = path.rpartition("/")
            path += "/"
            if path not in self.routes or not (tail.isascii() and tail.isdigit() and len(tail) <= ID_DIGITS):
                raise RequestError(404, f"no such path; there are {', '.join(self.routes)}")
            number = {"id": int(tail)}
        methods = self.routes[path]
        if (method := "GET" if method == "HEAD" else method) not in methods:
            allow = ", ".join(methods)
            raise RequestError(405, f"{path} takes {allow}, not {method[:20]}", allow)
        return methods[method](_parsed(content) | number)

    def respond(self, method: str, path: str, content: bytes) -> tuple[int, bytes, str]:
        """Give what answers a request, whatever it is: status, body and, for a 405, the methods allowed."""
        try:
            status, body = self.answer(method, path, content)
            return status, _encoded(body), ""
        except RequestError as error:
            return error.status, _failure(error), error.allow
        except Exception as error:  # noqa: BLE001  a fault in one request must not end the connection unanswered
            sys.excepthook(type(error), error, error.__traceback__)
            return 500, _failure(error), ""

    @classmethod
    def main(cls) -> NoReturn:
        """Serve on ``PORT`` (0: any free one) until SIGTERM, SIGINT or SIGBREAK, and then end with 0.

        A port that cannot be had ends the program with 1, a ``PORT`` that is none with 2, and a line on
        standard error says which.
        """
        system = cls()
        told, teller = socket.socketpair()  # a signal wakes the main thread by a byte, on Windows as well
        teller.settimeout(0)
        signal.set_wakeup_fd(teller.fileno())
        for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: None)
        listener = _listening(f"aurora_{cls.key}", setting("PORT", cls.port, 0, 65535))
        system.port = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(system, listener), daemon=True).start()
        _say(f"aurora_{cls.key}: listening on {HOST}:{system.port}")
        system.start()
        told.recv(1)
        os._exit(0)  # not sys.exit: a thread that is stuck writing to a full pipe must not hold up the end


def _say(line: str) -> None:
    try:
        print(line.encode("ascii", "backslashreplace").decode("ascii"), flush=True)  # noqa: T201  its log
    except OSError:
        return  # nobody reads it any more, which is no reason not to work


def _ending(status: int, why: str) -> SystemExit:
    print(why, file=sys.stderr)  # noqa: T201  for whoever started it
    return SystemExit(status)


def _listening(name: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform == "win32":  # where SO_REUSEADDR would let two servers take one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(CONNECTIONS_MAX)
    except OSError as error:
        raise _ending(1, f"{name}: cannot listen on {HOST}:{port}: {error.strerror}") from None
    return listener


def _accept(system: System, listener: socket.socket) -> NoReturn:
    free = threading.BoundedSemaphore(CONNECTIONS_MAX)
    pause = threading.Event()
    while True:
        free.acquire()
        try:
            connection, _ = listener.accept()
            threading.Thread(target=_converse, args=(system, connection, free), daemon=True).start()
        except (OSError, RuntimeError):  # out of files or of threads, or the caller has gone already
            free.release()
            pause.wait(0.05)


def _converse(system: System, connection: socket.socket, free: threading.BoundedSemaphore) -> None:
    try:
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(IDLE_TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while _exchange(system, connection, stream):
                pass
            connection.settimeout(LINGER_TIMEOUT)
            connection.shutdown(socket.SHUT_WR)
            left = LINGER_MAX
            while left > 0 and (unread := connection.recv(65_536)):
                left -= len(unread)
    except OSError:
        return  # the other side has gone, or said nothing for too long
    finally:
        free.release()


def _exchange(system: System, connection: socket.socket, stream: BinaryIO) -> bool:
    """Answer one request; false where no other can follow it."""
    method, keep = "", False
    try:
        if (request := _read(connection, stream)) is None:
            return False
        method, path, content, keep = request
        status, payload, allow = system.respond(method, path, content)
    except RequestError as error:  # what follows on this connection cannot be told apart any more
        status, payload, allow = error.status, _failure(error), ""
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\n"
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
        f"{allow and f'Allow: {allow}{CRLF}'}{'' if keep else f'Connection: close{CRLF}'}\r\n"
    )
    # In one write: the second of two would wait 40 ms for the other side's delayed acknowledgement.
    connection.sendall(head.encode("ascii") + (b"" if method == "HEAD" else payload))
    return keep


def _read(connection: socket.socket, stream: BinaryIO) -> tuple[str, str, bytes, bool] | None:
    """Give method, path, body and whether another may follow; nothing where the connection has ended."""
    if (lines := _read_head(stream)) is None:
        return None
    method, target, version = [*lines[0].split(" "), "", ""][:3]
    if version not in {"HTTP/1.0", "HTTP/1.1"}:
        raise RequestError(400, "expected a request of HTTP/1.1")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = _length(headers)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    content = stream.read(length)
    if len(content) < length:
        return None
    keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return method, target.partition("?")[0], content, keep


def _read_head(stream: BinaryIO) -> list[str] | None:
    """Give the lines of a request's head, at least one; nothing where the connection has ended."""
    lines: list[str] = []
    left = HEAD_MAX
    while True:
        line = stream.readline(left + 1)
        left -= len(line)
        if left < 0:
            raise RequestError(431, f"the request's head is longer than {HEAD_MAX} bytes")
        if not line.endswith(b"\n"):
            return None
        if text := line.decode("latin-1").rstrip("\r\n"):
            lines.append(text)
        elif lines:  # empty lines before a request are to be skipped (RFC 9112, 2.2)
            return lines


def _length(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise RequestError(411, "a body needs a Content-Length")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise RequestError(400, f"Content-Length: found {text[:20]!r}, expected a number")
    if len(text) > ID_DIGITS or int(text) > BODY_MAX:
        raise RequestError(413, f"the body is longer than {BODY_MAX} bytes")
    return int(text)


def _encoded(body: Body) -> bytes:
    return json.dumps(body).encode("ascii") + b"\n"


def _failure(error: Exception) -> bytes:
    return _encoded({"success": False, "error": str(error) or type(error).__name__})


def _parsed(content: bytes) -> Body:
    try:
        body = json.loads(content or b"{}")
        json.dumps(body, allow_nan=False)  # Python reads NaN, and 1e999 as infinity; neither is JSON
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body cannot be read as JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestError(400, "the body: expected a JSON object")
    return body
