"""Serves the API: binds the port, and runs waitress in threads of its own beside the event loop.

It must never be in the way: a port that is taken is an error to be tried again later, and a server that is to
stop frees its port at once and keeps nobody waiting.
"""

import contextlib
import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable

from waitress.wasyncore import dispatcher

from aurora_circus.api import Api, prompt
from aurora_circus.errors import MachineError
from aurora_circus.wire import MOST_BODY, MOST_CONNECTIONS, Httpd, Lanes

BACKLOG = 1024
"""Connections that wait to be accepted; beyond it, a client tries again after a second."""
LIMITS = {
    "asyncore_use_poll": True,  # select() ends at file descriptor 1023
    "asyncore_loop_timeout": 5,  # what happens wakes the loop; this is for the maintenance alone
    "cleanup_interval": 10,  # a request that is not all there after one to two of these is dropped
    "channel_timeout": 60,  # idle, or taking nothing of its answer
    "channel_request_lookahead": 1,  # reads while a request runs, to notice a client that leaves
    "connection_limit": 2 * MOST_CONNECTIONS,  # beyond it nobody is accepted: all of them are being answered
    "backlog": BACKLOG,
    "max_request_header_size": 16_384,
    "max_request_body_size": MOST_BODY + 1,  # the first size that waitress refuses
    "clear_untrusted_proxy_headers": False,  # nobody looks at them
    "ident": None,  # no Server header
}
"""What waitress is set to; seconds and bytes."""
_TAKEN = {errno.EADDRINUSE, errno.EACCES} if sys.platform == "win32" else {errno.EADDRINUSE}
"""Windows says EACCES where the other holds the port exclusively."""


class PortTakenError(MachineError):
    """Somebody else listens where we want to: ``host`` and ``port``."""

    def __init__(self, host: str, port: int, cause: OSError) -> None:
        super().__init__(f"listening on {_where(host, port)}: {cause.strerror}")
        self.host = host
        self.port = port


class ApiServer:
    """One listening port for one :class:`~aurora_circus.api.Api`, and the threads behind it.

    ``threads`` must be more than those that may wait in ``app``, so that some are always left to answer. ``start`` and
    ``stop`` may be called in turn as often as one likes, but not at the same time.
    """

    def __init__(self, app: Api, host: str = "127.0.0.1", port: int = 5025, *, threads: int = 6) -> None:
        if threads <= app.waits:
            message = f"threads: found {threads}, expected more than the {app.waits} that may wait"
            raise ValueError(message)
        self.host = host
        self._app = app
        self._port = port
        self._threads = threads
        self._httpd: Httpd | None = None
        self._lanes: Lanes | None = None
        self._loop: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port we listen on, or are to listen on; 0 is whichever was free once started."""
        return self._port if self._httpd is None else int(self._httpd.effective_port)

    @property
    def serving(self) -> bool:
        """Whether there is a loop that takes requests."""
        return self._loop is not None and self._loop.is_alive()

    def start(self) -> None:
        """Bind, listen and serve; back as soon as connections are accepted.

        Raises PortTakenError, or another MachineError where the machine has no such address or refuses us the
        port. Nothing is left behind then, and it may be tried again.
        """
        if self._httpd is not None:
            raise RuntimeError(f"already serving on {_where(self.host, self.port)}")
        listener = _listen(self.host, self._port, BACKLOG)
        # Four may wait and a dashboard may ask at the same time: a queue of a task or two is no news.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._app.closing.clear()
        lanes = Lanes(prompt)
        with contextlib.ExitStack() as undo:
            undo.callback(listener.close)
            self._httpd = Httpd(
                self._app,
                dispatcher=lanes,
                _sock=listener,
                bind_socket=False,
                sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
                **LIMITS,
            )
            undo.pop_all()
        self._lanes = lanes
        lanes.begin(self._threads)  # not before there is what they work for: that may fail
        self._loop = threading.Thread(target=self._httpd.run, name="api", daemon=True)
        self._loop.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Free the port, let those who wait go with what they have, and end every thread.

        False when a request went on for more than ``timeout`` seconds; its client is dropped all the same.
        """
        httpd, lanes, loop = self._httpd, self._lanes, self._loop
        if httpd is None or lanes is None or loop is None:
            return True
        self._app.closing.set()
        # Only the loop may close what it polls: from here, the port would stay ours until it looks up again.
        self._within(loop, httpd, lambda: dispatcher.close(httpd), timeout)
        lanes.shutdown(timeout=timeout)
        self._within(loop, httpd, httpd.end, timeout)
        loop.join(timeout)
        if not loop.is_alive():
            httpd.release()
        self._httpd = self._lanes = self._loop = None
        return not (lanes.running or loop.is_alive())

    @staticmethod
    def _within(loop: threading.Thread, httpd: Httpd, action: Callable[[], None], timeout: float) -> None:
        if not loop.is_alive():
            action()
            return
        done = threading.Event()

        def act() -> None:
            try:
                action()
            finally:
                done.set()

        httpd.trigger.pull_trigger(act)
        done.wait(timeout)


def _where(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    name = host.removeprefix("[").removesuffix("]")
    with contextlib.ExitStack() as undo:
        try:
            found = socket.getaddrinfo(
                name or None, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
            )
            # A name such as localhost may have both: IPv4 is what everybody tries.
            family, kind, proto, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
            listener = undo.enter_context(socket.socket(family, kind, proto))
            if sys.platform == "win32":  # where SO_REUSEADDR lets two listen at once
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(backlog)
        except OSError as error:
            if error.errno in _TAKEN:
                raise PortTakenError(host, port, error) from error
            raise MachineError(f"listening on {_where(host, port)}: {error.strerror or error}") from error
        except UnicodeError as error:  # getaddrinfo encodes a name before it looks it up
            raise MachineError(f"listening on {_where(host, port)}: {error}") from error
        undo.pop_all()
    return listener
