"""How requests and answers travel: waitress, made to keep our promises.

- An answer leaves in one write. Two cost 44 ms on a kept-alive connection where Nagle's algorithm meets a
  delayed acknowledgement; waitress's TCP_NODELAY ends the wait, but not the second packet.
- What waitress itself refuses (bad syntax, too large) is answered in JSON like all else.
- A body that is too large is read and thrown away, up to a bound, before it is refused: a client that writes
  before it reads would see a broken connection in place of the 413.
- Whoever sends a request or takes an answer too slowly is disconnected; waitress does so with the silent.
- Idle connections keep no new one waiting: when there are too many, the one that is idle the longest goes.

It leans on classes of waitress 3.0 that its documentation does not name. It must never know what is asked.
"""

import threading
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, Task, WSGITask
from waitress.utilities import RequestEntityTooLarge

from aurora_circus.answers import HEADERS, encode, failure

MOST_BODY = 65_536
"""Bytes of a request's body, its framing included where it is chunked. No call needs one."""
MOST_DISCARDED = 16 * 2**20
"""Bytes of a refused body that are read all the same."""


class _OneWrite(Task):
    """Sends head and body together where the body is all there."""

    def write(self, data: bytes) -> None:
        if self.wrote_header or not self.has_body or len(data) != self.content_length:
            super().write(data)
            return
        self.channel.write_soon(self.build_response_header() + data)
        self.wrote_header = True
        self.content_bytes_written = len(data)


class _Answer(_OneWrite, WSGITask):
    """What the application answers."""


class _Refusal(_OneWrite, ErrorTask):
    """What waitress answers by itself."""

    def execute(self) -> None:
        request: Any = self.request  # the stubs take it for the error itself
        error = request.error
        body = encode(failure(f"{error.reason}: {error.body}"))
        self.status = f"{error.code} {error.reason}"
        self.response_headers = list(HEADERS.items())
        self.content_length = len(body)
        self.set_close_on_finish()
        if getattr(request, "command", None) != "HEAD":
            self.write(body)


class _Nowhere:
    """A buffer that keeps nothing."""

    def append(self, data: bytes) -> None:
        """Forget ``data``."""

    def close(self) -> None:
        """Have nothing to close."""


class _Parser(HTTPRequestParser):
    """Reads on when a body is too large, so that the refusal can be read."""

    _discarded: int | None = None

    def received(self, data: bytes) -> int:
        body: Any = self.body_rcv
        if self._discarded is None:
            taken = super().received(data)
            body = self.body_rcv
            if not isinstance(self.error, RequestEntityTooLarge) or body is None:
                return taken
            self.error = RequestEntityTooLarge(f"a body may have {MOST_BODY} bytes")
            if self.expect_continue:  # it asks before it sends: there is nothing to read, and no "100 Continue"
                self.expect_continue = False
                return taken
            body.getbuf().close()
            body.buf = _Nowhere()
            self._discarded = 0
        else:
            taken = body.received(data)
            self._discarded += taken
        self.completed = bool(body.completed or body.error) or self._discarded >= MOST_DISCARDED
        return taken


class Channel(HTTPChannel):
    """One connection."""

    task_class = _Answer
    error_task_class = _Refusal
    parser_class = _Parser

    _unfinished: HTTPRequestParser | None = None

    def is_idle(self) -> bool:
        """Say whether there is neither a request here, or part of one, nor an answer to be sent."""
        return not self.requests and self.request is None and not self.total_outbufs_len

    def is_slow(self, cutoff: float) -> bool:
        """Say whether a request was half here last time already, or an answer is stuck since ``cutoff``."""
        before, self._unfinished = self._unfinished, self.request
        unfinished = before is not None and before is self.request
        return unfinished or (self.total_outbufs_len > 0 and self.last_activity < cutoff)


class Httpd(TcpWSGIServer):
    """The listening socket and its connections, all in one loop; the socket comes bound and listening."""

    channel_class = Channel
    # Wrong in the stubs.
    trigger: Any
    active_channels: Any
    adj: Any
    effective_port: str
    _map: Any

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - waitress's own
        self._waking = threading.Lock()
        self._over = False
        super().__init__(*arguments, **named)

    def set_reuse_addr(self) -> None:
        """Leave the socket as it is."""

    def handle_accept(self) -> None:
        """Accept a connection, and leave room for another."""
        super().handle_accept()
        if len(self._map) < self.adj.connection_limit:
            return
        idle = [each for each in self.active_channels.values() if each.is_idle()]
        if idle:
            min(idle, key=lambda each: each.last_activity).handle_close()

    def maintenance(self, now: float) -> None:
        """Disconnect who is idle for too long, and who is too slow."""
        super().maintenance(now)  # type: ignore[arg-type]  # the stubs' int is time.time()
        for channel in list(self.active_channels.values()):
            if channel.is_slow(now - self.adj.channel_timeout):
                channel.will_close = True

    def pull_trigger(self) -> None:
        """Wake the loop, unless it is over: later, the number of its pipe may be another file's."""
        with self._waking:
            if not self._over:
                super().pull_trigger()

    def end(self) -> None:
        """Drop every connection, and the loop has nothing left to do; to be called within it."""
        for channel in list(self.active_channels.values()):
            channel.handle_close()  # which also wakes a thread that waits for room in the channel's buffer
        self.trigger.del_channel()

    def release(self) -> None:
        """Close the pipe that wakes the loop; to be called when that is over."""
        with self._waking:
            self._over = True
            self.trigger.close()
