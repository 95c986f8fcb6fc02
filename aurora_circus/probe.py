"""One look at a system's health over HTTP. An adapter: it asks and reports, it decides nothing.

It speaks by h11 over a non-blocking connection, so that two hundred silent systems cost two hundred sockets and no
thread, and its timeout holds for the whole answer, however slowly that drips. It follows no redirect, unpacks nothing,
obeys no proxy, resolves no name, reads at most :data:`MOST_BYTES` of a body and :data:`MOST_READ` of an answer, and
repeats little of what it hears in a reason.

The rule: healthy is 200 within the timeout, unless the body is a JSON object whose ``status`` says ``fail``,
``failed``, ``unhealthy``, ``down``, ``error`` or ``critical``. A 200 with any other body is healthy, without metrics.
"""

import asyncio
import errno
import functools
import json
import os
import socket
import sys
from collections.abc import Mapping

import h11

from aurora_circus.facts import Outcome
from aurora_circus.settings import Probe

MOST_BYTES = 65_536
"""Bytes of a body that are looked at, and of headers that are borne; what is longer is no health report."""
BAD = frozenset({"fail", "failed", "unhealthy", "down", "error", "critical"})
MOST_READ = 4 * MOST_BYTES
"""Bytes of an answer that are taken apart, framing and all: who sends "100 Continue" without end, or chunks of a byte
with kilobytes of extensions, would keep us busy until the timeout, and everybody else waiting."""
MOST_SAID = 200
"""Characters of a library's words about an answer, which may hold all of the answer."""
MOST_NUMBER = 2**53 - 1
"""What a metric may be at most, up or down: every reader of JSON keeps it whole (RFC 8259, 6)."""
OK = 200
"""The one status that means healthy."""
LEAST_METRICS_TIME = 0.05
"""Seconds that the metrics get, however long health has taken."""
OUT_OF_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
"""What a connection fails by for want of something of ours, or the machine's; the system has nothing to do with it."""
METRICS: Mapping[str, type | tuple[type, ...]] = {
    "autonomous_mode": bool,
    "tasks_processed": (int, float),
    "decisions_made": (int, float),
    "systems_healed": (int, float),
    "uptime": (int, float),
    "last_activity": str,
}
"""The metrics a system may give of itself, and what they must be to be believed."""


class _NotMadeError(Exception):
    """There was nothing to ask with."""


async def look(port: int, settings: Probe) -> Outcome:
    """Probe 127.0.0.1:``port`` once; never raises, and is back within ``settings.timeout`` seconds."""
    now = asyncio.get_running_loop().time
    began = now()
    try:
        status, body, trouble = await _get(port, settings.path, settings.timeout)
    except _NotMadeError as error:
        return Outcome(ok=False, reason=str(error), made=False)
    latency = now() - began
    if trouble is not None:
        return Outcome(ok=False, reason=trouble)
    if status != OK:
        return Outcome(ok=False, reason=f"GET {settings.path} answered {status}", latency=latency)
    report = _object(body)
    word = report.get("status")
    if isinstance(word, str) and word.lower() in BAD:
        return Outcome(ok=False, reason=f"GET {settings.path} says {word!r}", latency=latency)
    metrics = _metrics(report, settings.metrics)
    if settings.metrics_path is not None and len(metrics) < len(METRICS):
        left = max(settings.timeout - latency, LEAST_METRICS_TIME)
        try:
            status, body, trouble = await _get(port, settings.metrics_path, left)
        except _NotMadeError as error:
            trouble = str(error)
        if trouble is None and status == OK:
            metrics = {**_metrics(_object(body), settings.metrics), **metrics}
    return Outcome(ok=True, latency=latency, metrics=metrics)


async def _get(port: int, path: str, timeout: float) -> tuple[int, bytes, str | None]:  # noqa: ASYNC109 - it is the probe's
    """Return (status, body, None), or (0, b"", what went wrong).

    Raises:
        _NotMadeError: for want of means of our own.
    """
    what = f"GET {path} on port {port}"
    try:
        async with asyncio.timeout(timeout):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
                connection.settimeout(0)
                try:
                    await _connect(connection, port)
                    status, body = await _exchange(connection, port, path)
                finally:
                    _forget(connection)
    except TimeoutError:
        return 0, b"", f"{what}: no answer within {timeout:g} s"
    except ConnectionRefusedError:
        return 0, b"", f"{what}: connection refused"
    except ConnectionError:
        return 0, b"", f"{what}: the connection was broken off"
    except h11.RemoteProtocolError as error:
        said = str(error)
        cut = said if len(said) <= MOST_SAID else said[: MOST_SAID - 1] + "…"
        return 0, b"", f"{what}: no HTTP/1.1 came back: {cut}"
    except (OSError, h11.LocalProtocolError) as error:
        if isinstance(error, OSError) and error.errno in OUT_OF_MEANS:
            raise _NotMadeError(f"{what} cannot be asked for: {error.strerror}") from error
        return 0, b"", f"{what}: {error}"
    return status, body, None


async def _connect(connection: socket.socket, port: int) -> None:
    """Connect as soon as the system says so: on this machine it usually knows at once, and no event is waited for.

    Raises:
        OSError: it cannot.
    """
    loop, address = asyncio.get_running_loop(), ("127.0.0.1", port)
    if sys.platform == "win32":
        await loop.sock_connect(connection, address)
    else:
        code = connection.connect_ex(address)
        if code == errno.EINPROGRESS:
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code and not _connected(connection):
                writable = asyncio.Event()
                loop.add_writer(connection, writable.set)
                await writable.wait()
                loop.remove_writer(connection)
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))


def _connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def _forget(connection: socket.socket) -> None:
    """Wait for nothing of it any more: its number may be another one's as soon as it is closed."""
    if sys.platform != "win32":
        loop, number = asyncio.get_running_loop(), connection.fileno()
        loop.remove_reader(number)  # by its number: of a socket that is not watched, the whole repr would be made
        loop.remove_writer(number)


async def _exchange(connection: socket.socket, port: int, path: str) -> tuple[int, bytes]:
    """Ask once and return the status with the body, or with nothing where the body is too long to be a report."""
    loop, http = asyncio.get_running_loop(), h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_BYTES)
    await loop.sock_sendall(connection, http.send(_request(port, path)) or b"")
    http.send(h11.EndOfMessage())
    status, body, length, taken = 0, [], 0, 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if taken >= MOST_READ:
                if not status:
                    raise h11.RemoteProtocolError(f"no status in {taken} bytes")
                return status, b""
            data = await loop.sock_recv(connection, MOST_BYTES)
            taken += len(data)
            http.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body.append(bytes(event.data))
            length += len(event.data)
            if length > MOST_BYTES:
                return status, b""
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return status, b"".join(body)


@functools.lru_cache(maxsize=1024)
def _request(port: int, path: str) -> h11.Request:
    """Return what asks for ``path``: the same each time.

    Raises:
        h11.LocalProtocolError: there is no such request.
    """
    headers = [("Host", f"127.0.0.1:{port}"), ("User-Agent", "aurora-circus"), ("Accept", "application/json, */*")]
    return h11.Request(method="GET", target=path, headers=[*headers, ("Connection", "close")])


def _object(body: bytes) -> Mapping[str, object]:
    """Return the JSON object in ``body``; an empty one where there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _metrics(report: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    """Pick the metrics out of ``report`` that are of their type; ``names`` are other names for the same things."""
    found: dict[str, object] = {}
    for name, kind in METRICS.items():
        value = report.get(names.get(name, name))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            continue
        if isinstance(value, (int, float)) and not -MOST_NUMBER <= value <= MOST_NUMBER:
            continue  # nor is NaN
        found[name] = value[:200] if isinstance(value, str) else value
    return found
