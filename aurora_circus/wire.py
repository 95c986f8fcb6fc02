"""How requests and answers travel: waitress, made to keep our promises.

- An answer leaves in one write. Two cost 44 ms on a kept-alive connection where Nagle's algorithm meets a
  delayed acknowledgement; waitress's TCP_NODELAY ends the wait, but not the second packet.
- What waitress itself refuses (bad syntax, too large) is answered in JSON like all else.
- A body that is too large, and headers that are, are read and thrown away, up to a bound, before they are refused: a
  client that writes before it reads would see a broken connection in place of the 413 or 431.
- Whoever sends a request or takes an answer too slowly is disconnected; waitress does so with the silent.
- No thread waits for a client: who has not taken his answers gets no further ones until he has.
- What is answered at once is answered by the loop itself: it never stands behind what takes longer, and no two threads
  hand the interpreter to and fro for it, which took ten times as long when twenty clients asked.
- Old connections keep no new one waiting: when there are too many, the one that is idle the longest goes; where none
  is, the one that has been sending its request, or taking nothing of its answer, for the longest.

It leans on classes of waitress 3.0 that its documentation does not name. It must never know what is asked.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, Task, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from aurora_circus.answers import HEADERS, encode, failure
from aurora_circus.clock import pause

_log = logging.getLogger(__name__)

MOST_BODY = 65_536
"""Bytes of a request's body, its framing included where it is chunked. No call needs one."""
MOST_DISCARDED = 16 * 2**20
"""Bytes of a refused request that are read all the same."""
MOST_CONNECTIONS = 200
"""Connections beyond which a new one takes the place of an old one."""
AT_ONCE = 50
"""Connections accepted in one turn of the loop: each turn looks at all that there are."""
MOST_UNSENT = 65_536
"""Bytes of answers that a client has not taken, from which on his next request waits."""
_VERSIONS = ("1.0", "1.1")
NO_ROOM_PAUSE = 0.05
"""Seconds until it is tried again to accept a connection for which there was no descriptor; nothing tells when."""
_END = b"\r\n\r\n"
"""Stands behind the headers."""


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
    """Reads on when a body or the headers are too large, so that the refusal can be read."""

    _discarded: int | None = None
    _last = b""
    """The end of discarded headers, which may hold a part of their end."""

    def received(self, data: bytes) -> int:
        if isinstance(self.error, RequestHeaderFieldsTooLarge):
            return self._skip_headers(data)
        before = self.header_plus
        taken = self._received(data)
        if isinstance(self.error, RequestHeaderFieldsTooLarge) and _END not in before + data:
            self.completed = False
            self._discarded, self._last = 0, (before + data)[1 - len(_END) :]
        return taken

    def parse_header(self, header_plus: bytes) -> None:
        """Refuse, besides what waitress does, versions that we do not speak, and chunks in one that has none."""
        super().parse_header(header_plus)
        if self.version not in _VERSIONS:
            raise ParsingError("HTTP version is not supported")
        if (
            self.version == _VERSIONS[0] and "TRANSFER_ENCODING" in self.headers
        ):  # waitress would take them for requests
            raise ParsingError("Transfer-Encoding in HTTP/1.0")

    def _skip_headers(self, data: bytes) -> int:
        self._discarded = (self._discarded or 0) + len(data)
        seen = self._last + data
        self.completed = _END in seen or self._discarded >= MOST_DISCARDED
        self._last = seen[1 - len(_END) :]
        return len(data)

    def _received(self, data: bytes) -> int:
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
    _held = False
    """Whether the next request waits for answers to be taken."""
    _begun: float = 0
    """When the request that is not all here began to come."""
    _answered = False
    """Whether there was a request already, all of it."""
    _prompt = False
    """Whether the next request is to be answered by the loop."""

    def received(self, data: bytes) -> bool:
        """Take what has come; note when a request begins."""
        before = self.request
        taken: bool = super().received(data)
        if self.request is not before:
            self._begun = self.last_activity
        return taken

    def hold(self) -> bool:
        """Say whether the next request has to wait; it then comes by itself."""
        self._held = self.total_outbufs_len > MOST_UNSENT
        return self._held

    def writable(self) -> bool:
        """Say whether there is something to be sent, or a request that may have waited long enough."""
        return bool(self._held or self._prompt or super().writable())

    def prompt(self) -> None:
        """Have the next request answered by the loop, as soon as that is back: it may be here, holding a lock."""
        self._prompt = True

    def handle_read(self) -> None:
        """Take what has come, and answer what can be answered at once."""
        super().handle_read()
        self._answer()

    def handle_write(self) -> None:
        """Send what can be sent, and go on with the request that waited for that."""
        super().handle_write()
        if self._held and not self.hold() and self.connected and self.requests:
            channel: Any = self  # the stubs want a Task
            self.server.add_task(channel)
        self._answer()

    def _answer(self) -> None:
        """Give one answer: who asks for many in one piece has the next one in the next turn, after the others."""
        if self._prompt and self.connected:
            self._prompt = False
            self.service()

    def service(self) -> None:
        """Answer a request."""
        self._answered = True
        super().service()

    def reluctance(self) -> tuple[int, float] | None:
        """Say in what order connections make room for others, the least first; None: this one stays."""
        if self.total_outbufs_len or self._prompt:
            return 1, self.last_activity
        if self.requests:
            return None
        if self.request is not None:
            return 1, self._begun
        return (0, self.last_activity) if self._answered else (1, self.creation_time)

    def is_slow(self, cutoff: float) -> bool:
        """Say whether a request was half here last time already, or an answer is stuck since ``cutoff``.

        That is so of one that is not given yet, too: the loop gives it as soon as the client takes something.
        """
        before, self._unfinished = self._unfinished, self.request
        unfinished = before is not None and before is self.request
        stuck = self.total_outbufs_len > 0 or self._prompt
        return unfinished or (stuck and self.last_activity < cutoff)


class Lanes:
    """Has what is answered at once answered by the loop, and the rest by threads. A dispatcher of waitress."""

    def __init__(self, prompt: Callable[[str, str], bool]) -> None:
        """``prompt``: whether a method of a path is answered at once."""
        self._prompt = prompt
        self._rest: Any = ThreadedTaskDispatcher()

    def begin(self, threads: int) -> None:
        """Start so many threads."""
        self._rest.set_thread_count(threads)

    @property
    def running(self) -> int:
        """How many threads there are."""
        return len(self._rest.threads)

    def add_task(self, channel: Any) -> None:  # noqa: ANN401 - a Channel, which the stubs know nothing of
        """Have a channel's next request answered."""
        request = channel.requests[0]
        if request.error is not None or self._prompt(request.command, request.path):
            channel.prompt()
        else:
            self._rest.add_task(channel)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:  # noqa: FBT001, FBT002 - waitress's own
        """End all threads, within ``timeout`` seconds; what has not begun is dropped."""
        self._rest.set_thread_count(0)
        return bool(self._rest.shutdown(cancel_pending, timeout))


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
        self._loop: int | None = None
        """The thread that runs it."""
        self._crowded = False
        """Whether the last connection could not be accepted."""
        super().__init__(*arguments, **named)

    def set_reuse_addr(self) -> None:
        """Leave the socket as it is."""

    def handle_accept(self) -> None:
        """Accept connections; where there are too many, others make room for them.

        Not before: what is closed while the loop looks around for what to wait for may lend its number to a new one.
        """
        others = list(self.active_channels.values())
        for before in range(len(others), len(others) + AT_ONCE):
            super().handle_accept()
            if len(self.active_channels) == before:
                break
        surplus = len(self.active_channels) - MOST_CONNECTIONS
        if surplus > 0:
            self._make_room(others, surplus)

    @staticmethod
    def _make_room(among: Sequence[Any], count: int) -> None:
        ranks = ((each.reluctance(), each) for each in among)
        willing = sorted(((rank, each) for rank, each in ranks if rank), key=lambda each: each[0])
        for _, each in willing[:count]:
            each.handle_close()

    def accept(self) -> Any:  # noqa: ANN401 - as the one that it stands for
        """Accept a connection; where there is no descriptor for it, another one makes room, as above.

        waitress would try again as fast as it can, with a traceback in the log each time.
        """
        try:
            accepted = super().accept()
        except OSError as error:
            if not self._crowded:
                _log.error("no connection can be accepted: %s", error)
            self._crowded = True
            self._make_room(list(self.active_channels.values()), 1)
            pause(NO_ROOM_PAUSE)
            return None
        self._crowded = False
        return accepted

    def add_task(self, task: Any) -> None:  # noqa: ANN401 - the stubs take it for a Task; it is a Channel
        """Have a channel's next request answered, unless its client has answers to take first."""
        if not task.hold():
            super().add_task(task)

    def maintenance(self, now: float) -> None:
        """Disconnect who is idle for too long, and who is too slow."""
        super().maintenance(now)  # type: ignore[arg-type]  # the stubs' int is time.time()
        for channel in list(self.active_channels.values()):
            if channel.is_slow(now - self.adj.channel_timeout):
                channel.will_close = True

    def run(self) -> None:
        """Be the loop."""
        self._loop = threading.get_ident()
        super().run()

    def pull_trigger(self) -> None:
        """Wake the loop, unless it is awake, or over: later, the number of its pipe may be another file's."""
        if threading.get_ident() == self._loop:
            return
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
