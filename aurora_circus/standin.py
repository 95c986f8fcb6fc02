"""A small HTTP server that answers for a system's health while a drill lasts. An adapter.

It listens on 127.0.0.1 alone, on a port that was free, and only while its block lasts; it must never outlast it.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

BODY = b'{"status": "a drill of aurora-circus answers here"}'


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking the resolver who we are."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """Say nothing of who hung up: whoever asks one that is too late does."""


class StandIn:
    """Answers everything with ``status``, ``delay`` seconds after it was asked; sooner never, at its end not at all."""

    def __init__(self, status: int, delay: float = 0.0) -> None:
        """Bind, and answer nobody yet."""
        self._over = threading.Event()
        self._httpd = _Server(("127.0.0.1", 0), self._handler(status, delay))
        self.port = self._httpd.server_port
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), name="stand-in", daemon=True)

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Answer nobody any more."""
        self._over.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def _handler(self, status: int, delay: float) -> type[BaseHTTPRequestHandler]:
        over = self._over

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if over.wait(delay):
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(BODY)))
                self.end_headers()
                self.wfile.write(BODY)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstairs
                """Say nothing."""

        return Handler
