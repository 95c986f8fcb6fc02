"""Asks an API over HTTP. An adapter: one exchange at a time, each with a deadline for all of it.

It does without ``requests`` and ``http.client``: their import alone takes 130 and 35 ms, as long as the rest of
``aurora-circus status``. What is needed is little: HTTP/1.0, where an answer ends with its connection; a JSON object;
no proxy, no redirect, no cookie.
"""

import json
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from aurora_circus.clock import Clock, pause
from aurora_circus.errors import AuroraError

ROOT = "/api/autonomous"
PATIENCE = 5.0
"""Seconds for an answer that waits for nothing; it takes milliseconds."""
BUSY_PATIENCE = 30.0
"""Seconds for which a request that is sent away (503 with Retry-After) is sent again."""
LONGEST_POLL = 1.0 if sys.platform == "win32" else 60.0
"""Seconds that one long-poll takes at most: on Windows, Ctrl-C waits for its end."""
MOST_BYTES = 128 << 20
"""Bytes of an answer. The longest that the API gives is 10,000 lines of a log."""
_STATUS_LINE = re.compile(rb"HTTP/1\.\d (\d{3})\b")
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound to it here
"""What is listened on → where that is reached from this machine."""
UNAVAILABLE = 503
_ERRORS = 400


class RefusedError(AuroraError):
    """Nobody listens there."""


class LostError(AuroraError):
    """Somebody listens, and no whole answer came in time."""


class ForeignError(AuroraError):
    """What came back is no HTTP with a JSON object: it is somebody else."""


class ApiError(AuroraError):
    """The API said no; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the status beside what was said."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    body: Mapping[str, Any]
    retry_after: float | None = None
    """Seconds after which to ask again, where that was said."""


class Client:
    """Speaks to the API at ``host`` and ``port``. All its methods raise what stands above, and nothing else."""

    def __init__(self, host: str, port: int, token: str | None = None, *, clock: Clock | None = None) -> None:
        """``host`` is what the API listens on, ``token`` what its file holds."""
        bare = host.removeprefix("[").removesuffix("]")
        self.host = _EVERYWHERE.get(bare, bare)
        self.port = port
        self._token = token
        self._clock = clock or Clock()

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return f"http://{self._authority}"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def get(self, path: str, timeout: float = PATIENCE, **query: object) -> Mapping[str, Any]:
        """Return the answer's object; ``timeout`` is in seconds."""
        return self._checked("GET", path, timeout, query).body

    def poll(self, path: str, wait: float, **query: object) -> Mapping[str, Any] | None:
        """Return the answer to what the API is to wait ``wait`` seconds for, :data:`LONGEST_POLL` at most.

        None where as many wait already as may (503 with Retry-After): the pause that it asked for is over then, but for
        what goes beyond ``wait``.
        """
        wait = min(wait, LONGEST_POLL)
        reply = self.ask("GET", ROOT + path, query={**query, "wait": round(wait, 3)})
        if reply.status == UNAVAILABLE and reply.retry_after is not None:
            pause(min(reply.retry_after, wait))
            return None
        return _accepted("GET", path, reply).body

    def post(self, path: str, timeout: float = PATIENCE, **query: object) -> Reply:
        """Have something done."""
        return self._checked("POST", path, timeout, query)

    def _checked(self, method: str, path: str, timeout: float, query: Mapping[str, object]) -> Reply:
        until = self._clock.monotonic() + BUSY_PATIENCE
        while True:
            reply = self.ask(method, ROOT + path, timeout, query)
            if reply.status != UNAVAILABLE or reply.retry_after is None or self._clock.monotonic() >= until:
                break
            pause(reply.retry_after)
        return _accepted(method, path, reply)

    def ask(
        self, method: str, path: str, timeout: float = PATIENCE, query: Mapping[str, object] | None = None
    ) -> Reply:
        """Ask once and return whatever came back. ``None`` in ``query`` is left out."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = quote(path) + (f"?{urlencode(given)}" if given else "")
        wait = given.get("wait")
        patience = timeout + (float(wait) if isinstance(wait, (int, float)) else 0.0)
        what = f"{method} {self.url}{path}"
        try:
            answer = self._exchange(method, target, patience)
        except ConnectionRefusedError as error:
            raise RefusedError(f"{what}: connection refused") from error
        except TimeoutError as error:
            raise LostError(f"{what}: no answer within {patience:g} s") from error
        except OSError as error:
            raise LostError(f"{what}: {error.strerror or error}") from error
        return _reply(what, answer)

    def _exchange(self, method: str, target: str, timeout: float) -> bytes:
        deadline = self._clock.monotonic() + timeout
        lines = [
            f"{method} {target} HTTP/1.0",
            f"Host: {self._authority}",
            "Accept: application/json",
            "X-Aurora-Client: cli",
            "Content-Length: 0",
        ]
        if self._token is not None:
            lines.append(f"Authorization: Bearer {self._token}")
        request = "".join(f"{each}\r\n" for each in (*lines, "")).encode("latin-1", "replace")
        answer = bytearray()
        with socket.create_connection((self.host, self.port), timeout) as connection:
            connection.sendall(request)
            while len(answer) < MOST_BYTES:
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    raise TimeoutError
                connection.settimeout(left)
                chunk = connection.recv(1 << 16)
                if not chunk:
                    break
                answer += chunk
        return bytes(answer)


def _accepted(method: str, path: str, reply: Reply) -> Reply:
    """Return a reply that is no error."""
    if reply.status >= _ERRORS:
        message = str(reply.body.get("error") or f"{method} {path} was answered with status {reply.status}")
        raise ApiError(reply.status, message)
    return reply


def _reply(what: str, answer: bytes) -> Reply:
    """Take an answer apart."""
    if not answer:
        raise LostError(f"{what}: the connection was closed without an answer")
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    match = _STATUS_LINE.match(first)
    if match is None:
        raise ForeignError(f"{what}: what came back is no HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in rest)}
    length = headers.get(b"content-length", b"")
    if length.isdigit() and len(body) < int(length):
        raise LostError(f"{what}: the connection was closed before the answer was whole")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ForeignError(f"{what}: what came back is no JSON object (status {int(match[1])})")
    after = headers.get(b"retry-after", b"")
    return Reply(int(match[1]), value, float(after) if after.isdigit() else None)
