"""What the command line is tested against: an API that says what a test wants, and a fleet that points to it."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aurora_circus import config
from aurora_circus.config import Config, Surroundings
from aurora_circus.context import Context
from aurora_circus.terminal import Terminal
from tests.free_ports import free_port

ROOT = "/api/autonomous"
Query = Mapping[str, str]
Answer = "tuple[int, Mapping[str, Any]] | Mapping[str, Any]"
Route = Callable[[Query], Any]
"""Gives the body, or (status, body), or (status, body, headers); None closes the connection without an answer."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that has left."""


class FakeApi:
    """Answers by ``routes``, ``"GET /path"`` → a :data:`Route`, and remembers what it was asked."""

    def __init__(self, run_dir: str, name: str = "aurora") -> None:
        self.asked: list[tuple[str, Query]] = []
        self.headers: list[Mapping[str, str]] = []
        self.details: dict[str, Any] = {"fleet": name, "run_dir": run_dir, "bundled": False}
        self.routes: dict[str, Route] = {"GET /health": lambda _: {"success": True, "details": self.details}}
        self._httpd = _Server(("127.0.0.1", 0), self._handler())
        self.port = int(self._httpd.server_address[1])

    def on(self, call: str, answer: Any) -> None:
        """Answer ``GET /status``, below the API's root, by a route or always with the same."""
        method, path = call.split()
        self.routes[f"{method} {ROOT}{path}"] = answer if callable(answer) else lambda _: answer

    def calls(self) -> list[str]:
        """Return what was asked, without the root, but for the health."""
        return [call.replace(ROOT, "") for call, _ in self.asked if call != "GET /health"]

    @contextmanager
    def serving(self) -> Iterator["FakeApi"]:
        """Serve while this block lasts."""
        thread = threading.Thread(target=self._httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._httpd.shutdown()
            self._httpd.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                api.asked.append((f"{self.command} {parts.path}", query))
                api.headers.append(dict(self.headers))
                route = api.routes.get(f"{self.command} {parts.path}")
                found = route(query) if route else (404, {"success": False, "error": f"there is no {parts.path}"})
                if found is None:
                    return
                status, body, headers = (*found, {}, {})[:3] if isinstance(found, tuple) else (200, found, {})
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstairs
                """Say nothing."""

        return Handler


def fleet(folder: Path, port: int | None = None, text: str = "", source: str = "fleet.toml") -> Config:
    """Return a fleet of ``brain`` and ``router``, with what ``text`` says; its API is at ``port``."""
    import tomllib  # noqa: PLC0415 - beside its only use

    file = folder / source
    file.write_text(toml(port, text), encoding="utf-8")
    around = Surroundings(
        source=source,
        file=str(file),
        base=folder,
        home=None,
        bundled=folder,
        interpreter="python3",
    )
    return config.parse(tomllib.loads(toml(port, text)), around)


def toml(port: int | None = None, text: str = "") -> str:
    """Return the fleet.toml of :func:`fleet`."""
    return f"""
[fleet]
builtin = false
[api]
port = {port or free_port()}
[system.brain]
command = "brain"
port = 1
critical = true
[system.router]
command = "router"
port = 2
depends_on = ["brain"]
{text}
"""


def context(found: Config) -> Context:
    """Return a command's surroundings, writing to what pytest captures just now."""
    return Context(found, Terminal())


def system(state: str = "healthy", **more: Any) -> dict[str, Any]:
    """Return one system's object of the status."""
    alive = state in {"healthy", "starting", "stopping", "unhealthy"}
    return {
        "state": state,
        "healthy": state == "healthy",
        "error": None if state == "healthy" else "it is so",
        "port": 5000,
        "pid": 42 if alive else None,
        "critical": False,
        "autonomous": True,
        "uptime": 75.0,
        "latency_ms": 1.25,
        "restarts": 0,
        "attempt": 0,
        "attempts": 3,
        "next_attempt_at": None,
        **more,
    }


def record(seq: int, event: str, server: str | None = None, **details: Any) -> dict[str, Any]:
    """Return one record of the journal."""
    return {
        "timestamp": f"2026-01-02T03:04:{seq % 60:02d}.500Z",
        "seq": seq,
        "event": event,
        "server": server,
        "details": details,
        "system": "aurora",
    }


def write_journal(found: Config, *records: Mapping[str, Any]) -> Path:
    """Append records to a fleet's journal."""
    path = Path(found.fleet.log_dir) / "events.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in records)
    return path


def write_state(found: Config, systems: Mapping[str, Any], circusd: int | None = None) -> Path:
    """Save what the plugin saves."""
    path = Path(found.fleet.run_dir) / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"systems": systems, "circusd": [circusd or os.getpid(), 1.0]}), encoding="utf-8")
    return path
