"""The REST API: which call leads to what, and in what words it is answered.

It asks a :class:`Backend` and decides nothing about any system; it must never wait for one either, except
where a request asks to (``wait``), and of those only a few at a time are let in. Every answer, an error too,
is one JSON object. It runs in the threads of ``server``.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

import bottle

from aurora_circus import query
from aurora_circus.access import Access, RefusedError, Right, Tokens
from aurora_circus.answers import HEADERS, encode, failure
from aurora_circus.drill_names import CONTROLLER, Fault
from aurora_circus.drills import Order, RefusedDrillError
from aurora_circus.errors import AuroraError, UnknownServerError

log = logging.getLogger(__name__)

SLICE = 0.25
"""Seconds after which one who waits looks whether his client is gone, or the server about to be."""
ROOT = "/api/autonomous"

Answer = tuple[int, Mapping[str, object] | bytes]
"""A status and a body; what is bytes already is JSON."""
Query = Mapping[str, str]
Handler = Callable[..., Answer]


class Operation(Protocol):
    """One accepted command."""

    @property
    def id(self) -> str:
        """The name to ask after it by."""

    @property
    def state(self) -> str:
        """``running``, ``succeeded``, ``failed`` or ``superseded``."""

    @property
    def warning(self) -> str | None:
        """What whoever asked for it should know although it was accepted."""

    @property
    def error(self) -> str | None:
        """Why it did not succeed."""

    def as_dict(self) -> dict[str, object]:
        """Return id, command, servers, by, accepted_at, state, error, finished_at."""

    def wait(self, timeout: float) -> bool:
        """Block until it has settled; False when ``timeout`` seconds ran out first."""


class Backend(Protocol):
    """What the API asks; callable from any thread, and back at once unless it says otherwise."""

    @property
    def keys(self) -> Sequence[str]:
        """The systems, in start order."""

    def status_text(self) -> bytes:
        """Return one object for each system, by key, as JSON."""

    def status_of(self, key: str) -> dict[str, object]:
        """Return one of them; UnknownServerError: there is no such system."""

    def command(self, verb: str, keys: Sequence[str] | None, by: str) -> tuple[Operation, bool]:
        """Accept ``start``, ``stop`` or ``restart`` of ``keys`` (None: all); True: nothing needs doing."""

    def drill(self, key: str, order: Order | None, by: str) -> dict[str, object]:
        """Begin a drill of a system or of the controller, None: end it; RefusedDrillError where it may not be."""

    def operation(self, ident: str) -> Operation | None:
        """Return an accepted command, None for one that is unknown or forgotten."""

    def explain(self, key: str) -> dict[str, object]:
        """Return why a system is in its state, and what happens next."""

    def events(
        self, since: int | None, limit: int, server: str | None, event: str | None, wait: float
    ) -> dict[str, object]:
        """Return journal records as ``events``, oldest first, and as ``next`` the ``since`` to go on from.

        Blocks up to ``wait`` seconds while there is none. ``truncated``: some after ``since`` are gone.
        """

    def logs(self, key: str, tail: int) -> list[str]:
        """Return the last lines of a system's output."""

    def health(self) -> tuple[bool, dict[str, object]]:
        """Return whether the controller itself is well, and the details."""


class Api:
    """The API as a WSGI application.

    ``host`` is what it listens on, ``waits`` how many requests may wait at once. Whoever serves it sets
    ``closing`` when about to stop: nobody waits any longer then.

    Raises ConfigError where other machines can reach ``host`` and no full token keeps them off.
    """

    def __init__(
        self, backend: Backend, *, host: str = "127.0.0.1", tokens: Tokens | None = None, waits: int = 4
    ) -> None:
        self.closing = threading.Event()
        self.waits = waits
        self._backend = backend
        self._access = Access(host, tokens or Tokens())
        self._slots = threading.BoundedSemaphore(waits)
        self._app = bottle.Bottle()
        self._app.uninstall(True)  # all of its plugins: what we answer is JSON already, …  # noqa: FBT003 - Bottle's way
        self._app.config["catchall"] = False  # … and what goes wrong is answered in _serve
        self._app.default_error_handler = self._no_route
        self._app.add_hook("before_request", self._admit)
        self._add_routes()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer one WSGI request."""
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every route as its method and its rule, ``<key>`` for what varies. HEAD works wherever GET does."""
        return [(route.method, route.rule) for route in self._app.routes]

    def _add_routes(self) -> None:
        self._add("GET", "/", self._index)
        self._add("GET", "/health", self._health)
        self._add("GET", "/openapi.json", self._openapi)
        self._add("GET", f"{ROOT}/status", self._status)
        self._add("GET", f"{ROOT}/status/<key>", self._status)
        for verb in ("start", "stop", "restart"):
            self._add("POST", f"{ROOT}/{verb}/<key>", partial(self._command, verb), query.COMMAND)
            self._add("POST", f"{ROOT}/{verb}-all", partial(self._command, verb), query.COMMAND)
        self._add("POST", f"{ROOT}/drill/<key>", self._drill, query.DRILL)
        self._add("GET", f"{ROOT}/operations/<ident>", self._operation)
        self._add("GET", f"{ROOT}/explain/<key>", self._explain)
        self._add("GET", f"{ROOT}/events", self._events, query.EVENTS)
        self._add("GET", f"{ROOT}/logs/<key>", self._logs, query.LOGS)

    def _add(self, method: str, rule: str, handler: Handler, known: Sequence[query.Parameter[object]] = ()) -> None:
        self._app.route(rule, method, partial(self._serve, handler, known))

    # --- From a request to an answer ------------------------------------------------------------------------

    def _admit(self) -> None:
        environ = bottle.request.environ
        try:
            self._access.admit(environ)
            # Bottle leaves out what is no UTF-8: /api/autonomous/stop/br%ffain would stop the brain.
            environ["bottle.raw_path"].encode("latin-1").decode()
        except RefusedError as refused:
            raise _response(refused.status, failure(str(refused)), refused.headers) from None
        except UnicodeDecodeError:
            raise _response(400, failure("the path is no UTF-8")) from None

    def _serve(self, handler: Handler, known: Sequence[query.Parameter[object]], **path: str) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        try:
            return _response(*handler(query.split(environ["QUERY_STRING"], known), **path))
        except RefusedError as refused:
            return _response(refused.status, failure(str(refused)), refused.headers)
        except query.QueryError as fault:
            return _response(400, failure(str(fault)))
        except UnknownServerError as unknown:  # taken out of the fleet since we looked
            return _response(404, failure(str(unknown)))
        except Exception as error:
            # A border, as the driver's step is one: waitress, beyond it, takes an OSError for a client's.
            log.exception("%s %r failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            meant = isinstance(error, AuroraError)  # … to be read by people
            return _response(500, failure(str(error) if meant else "internal error, see the plugin's log"))

    def _no_route(self, error: bottle.HTTPError) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        path = environ["PATH_INFO"]
        allowed = error.get_header("Allow")
        if not allowed:
            return _response(404, failure(f"there is no {path}; /openapi.json says what there is"))
        methods = ", ".join(
            name for each in allowed.split(",") for name in (("GET", "HEAD") if each == "GET" else (each,))
        )
        message = f"there is no {environ['REQUEST_METHOD']} {path}; it takes {methods}"
        return _response(405, failure(message), {"Allow": methods})

    # --- Waiting, which is rationed -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _slot(self, seconds: float) -> Iterator[None]:
        if not seconds:
            yield
            return
        self._access.keep(bottle.request.environ)
        if not self._slots.acquire(blocking=False):
            raise RefusedError(503, f"{self.waits} requests wait already: try again", {"Retry-After": "1"})
        try:
            yield
        finally:
            self._slots.release()

    def _wait(self, look: Callable[[float], bool], seconds: float) -> bool:
        # Counting slices needs no clock.
        gone = bottle.request.environ.get("waitress.client_disconnected", bool)
        while seconds > 0 and not self.closing.is_set() and not gone():
            if look(min(seconds, SLICE)):
                return True
            seconds -= SLICE
        return False

    # --- The routes -----------------------------------------------------------------------------------------

    def _index(self, _given: Query) -> Answer:
        routes = [f"{method} {rule}" for method, rule in self.routes]
        return 200, {"service": "aurora_circus", "openapi": "/openapi.json", "routes": routes}

    def _openapi(self, _given: Query) -> Answer:
        from aurora_circus.openapi import describe  # noqa: PLC0415 - asked for rarely, and never in most lives

        return 200, describe(tuple(self._backend.keys), protected=self._access.tokens.any)

    def _health(self, _given: Query) -> Answer:
        well, details = self._backend.health()
        answer = {"success": True, "status": "healthy"}
        if not well:
            answer = {**failure("the controller is unhealthy"), "status": "unhealthy"}
        if self._access.right(bottle.request.environ) is not Right.NOTHING:
            answer["details"] = details
            if not well:
                answer["error"] = f"the controller is unhealthy: {_faults(details)}"
        return 200 if well else 503, answer

    def _status(self, _given: Query, key: str | None = None) -> Answer:
        return 200, self._backend.status_text() if key is None else self._backend.status_of(self._known(key))

    def _command(self, verb: str, given: Query, key: str | None = None) -> Answer:
        wait = query.WAIT.of(given)
        keys = None if key is None else [self._known(key)]
        with self._slot(wait):  # before the command: whoever is sent away has changed nothing
            operation, idle = self._backend.command(verb, keys, _sender())
            settled = idle or self._wait(operation.wait, wait)
        if idle:
            status, outcome = 200, "nothing to do"
        elif not settled:
            status, outcome = 202, "accepted"
        else:
            status, outcome = (200, "done") if operation.state == "succeeded" else (500, operation.state)
        answer: dict[str, object] = {"success": status < 400, "operation": operation.id}  # noqa: PLR2004 - HTTP's own
        if key is None:
            answer |= {"message": f"{verb} of all: {outcome}", "servers": operation.as_dict()["servers"]}
        else:
            answer["server"] = key
        if not answer["success"]:
            answer["error"] = operation.error or outcome
        if operation.warning is not None:
            answer["warning"] = operation.warning
        return status, answer

    def _drill(self, given: Query, key: str) -> Answer:
        order = query.drill_order(given)
        if key != CONTROLLER:
            self._known(key)
        if order is not None and (order.fault is Fault.PLUGIN_KILL) != (key == CONTROLLER):
            raise query.QueryError(f"fault: found {order.fault} of {key}, expected plugin-kill of {CONTROLLER} alone")
        try:
            done = self._backend.drill(key, order, _sender())
        except RefusedDrillError as refused:
            raise RefusedError(409, str(refused)) from None
        return 200, {"success": True, "server": key, **done}

    def _operation(self, _given: Query, ident: str) -> Answer:
        operation = self._backend.operation(ident)
        if operation is None:
            raise RefusedError(404, f"there is no operation {ident!r}, or it is long over")
        return 200, operation.as_dict()

    def _explain(self, _given: Query, key: str) -> Answer:
        return 200, self._backend.explain(self._known(key))

    def _events(self, given: Query) -> Answer:
        since, limit, wait = query.SINCE.of(given), query.LIMIT.of(given), query.POLL.of(given)
        server, event = query.SERVER.of(given), query.EVENT.of(given)
        found = self._backend.events(since, limit, server, event, 0.0)

        def look(seconds: float) -> bool:
            nonlocal found
            found = self._backend.events(cast("int", found["next"]), limit, server, event, seconds)
            return bool(found["events"] or found.get("truncated"))

        if wait and not (found["events"] or found.get("truncated")):
            with self._slot(wait):
                self._wait(look, wait)
        return 200, found

    def _logs(self, given: Query, key: str) -> Answer:
        return 200, {"server": key, "lines": self._backend.logs(self._known(key), query.TAIL.of(given))}

    def _known(self, key: str) -> str:
        if key not in self._backend.keys:
            raise _unknown(key)
        return key


def prompt(method: str, path: str) -> bool:
    """Say whether a call is answered at once, whatever else is asked: how the systems are, and how we are."""
    looks = path in {"/health", f"{ROOT}/status"} or path.startswith(f"{ROOT}/status/")
    return looks and method in {"GET", "HEAD"}


def _sender() -> str:
    return "cli" if bottle.request.environ.get("HTTP_X_AURORA_CLIENT") == "cli" else "api"


def _faults(details: Mapping[str, object]) -> str:
    """Return what is wrong with each part of the controller, in words."""
    wrong = {name: part for name, part in details.items() if isinstance(part, Mapping) and part.get("ok") is False}
    return "; ".join(
        f"{name}: {part.get('error') or ', '.join(part.get('late', ())) or 'not well'}" for name, part in wrong.items()
    )


def _unknown(key: str) -> RefusedError:
    return RefusedError(404, f"there is no system {key!r}")


def _response(
    status: int, payload: Mapping[str, object] | bytes, headers: Mapping[str, str] | None = None
) -> bottle.HTTPResponse:
    body = payload if isinstance(payload, bytes) else encode(payload)
    return bottle.HTTPResponse(body, status, {**HEADERS, **(headers or {})})
