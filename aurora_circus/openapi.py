"""The description of the REST API, OpenAPI 3.1: every route, what it takes, and what it may answer. Pure.

It is written by hand beside the routes, since it is a promise and not a printout; a test holds the two
together. Limits come from ``query``, states from ``facts``. It is made when asked for, and kept by nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aurora_circus.facts import State
from aurora_circus.query import COMMAND, DRILL, EVENTS, KEY_PATTERN, LOGS, Parameter

VERSION = "1.0.0"
"""Of the contract: the middle rises with what is added, the first with what is changed."""
Json = dict[str, Any]

ABOUT = """\
What the supervisor knows, and what it can be told. HEAD works wherever GET does. Request bodies are \
ignored; one of more than 65,536 bytes is refused, and so is a query parameter that is not listed. No answer \
waits for a system unless `wait` asks for it; only a few may wait at a time, and the next one gets a 503.
"""
TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
WHOLE: Json = {"type": "integer"}
COUNT: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = {"type": "number"}
TIME: Json = {"type": "string", "format": "date-time"}
KEY: Json = {"type": "string", "pattern": KEY_PATTERN}
KEYS: Json = {"type": "array", "items": KEY}
CLIENT: Json = {
    "name": "X-Aurora-Client",
    "in": "header",
    "description": "`cli` has the journal say so; anything else is `api`.",
    "schema": TEXT,
}
DRILL_ABOUT = "Do a fault to one system, or to the controller (`aurora`), for a bounded time."


def describe(keys: Sequence[str], *, protected: bool) -> Json:
    """Return the description for a fleet of ``keys``; ``protected``: tokens are set."""
    security: list[Json] = [{"token": []}] if protected else []
    return {
        "openapi": "3.1.0",
        "info": {"title": "Aurora on circus", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": security,
        "paths": {path: _protected(item, on=protected) for path, item in _paths(keys).items()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The content of token_file, or, to look only, of read_token_file.",
                }
            },
        },
    }


def _protected(item: Mapping[str, Json], *, on: bool) -> Json:
    if on:
        for operation in item.values():
            challenge = {"WWW-Authenticate": {"schema": TEXT, "required": True}}
            operation["responses"]["401"] = _says("There is no valid token.", "Error", challenge)
    return dict(item)


def _paths(keys: Sequence[str]) -> dict[str, dict[str, Json]]:
    root = "/api/autonomous"
    key = {
        "name": "key",
        "in": "path",
        "required": True,
        "description": "A system's key.",
        "schema": KEY,
        "examples": {each: {"value": each} for each in keys},
    }
    ident = {
        "name": "ident",
        "in": "path",
        "required": True,
        "description": "What `operation` was in the answer to a command.",
        "schema": TEXT,
    }
    no_system = {"404": _says("There is no such system.", "Error")}
    health = _get("health", "Say how the controller itself is.", "Health", "It is well.")
    health["responses"]["503"] = _says("It is not well: circusd, its probes or its journal fail.", "Health")
    health["security"] = [{}, {"token": []}]
    paths = {
        "/": {"get": _get("index", "Say where to find what.", "Index", "Where to find what.")},
        "/health": {"get": health},
        "/openapi.json": {"get": _get("openapi", "Describe this API.", None, "An OpenAPI 3.1 description.")},
        f"{root}/status": {"get": _get("status", "Look at all systems.", "Fleet", "All systems, by key.")},
        f"{root}/status/{{key}}": {
            "get": _get("statusOf", "Look at one system.", "System", "The system.", [key], no_system)
        },
    }
    for verb in ("start", "stop", "restart"):
        paths[f"{root}/{verb}/{{key}}"] = {"post": _post(verb, "one system", "Command", [key], no_system)}
        paths[f"{root}/{verb}-all"] = {"post": _post(f"{verb}All", "all systems", "CommandAll", [], {})}
    refused = {"409": _says("It may not be begun: the fleet is not well, or a drill runs.", "Error")}
    paths[f"{root}/drill/{{key}}"] = {
        "post": {
            **_get("drill", DRILL_ABOUT, "Drill", "It is done.", [key, *_in_query(DRILL), CLIENT], no_system | refused)
        }
    }
    gone = {"404": _says("There is no such operation, or it is long forgotten.", "Error")}
    paths |= {
        f"{root}/operations/{{ident}}": {
            "get": _get("operation", "Ask after a command.", "Operation", "The operation.", [ident], gone)
        },
        f"{root}/explain/{{key}}": {
            "get": _get("explain", "Ask why, and what next.", "Explanation", "All of it.", [key], no_system)
        },
        f"{root}/events": {
            "get": _get("events", "Read the journal.", "Events", "A page of it.", _in_query(EVENTS), _busy())
        },
        f"{root}/logs/{{key}}": {
            "get": _get(
                "logs",
                "Read the last lines of a system's output.",
                "Lines",
                "The lines, oldest first.",
                [key, *_in_query(LOGS)],
                no_system,
            )
        },
    }
    return paths


def _in_query(parameters: Iterable[Parameter[object]]) -> list[Json]:
    return [
        {
            "name": each.name,
            "in": "query",
            "description": each.about,
            "schema": dict(each.schema),
            **({"required": True} if each.required else {}),
        }
        for each in parameters
    ]


def _get(  # noqa: PLR0913, PLR0917 - a row of a table
    ident: str,
    summary: str,
    schema: str | None,
    about: str,
    parameters: Sequence[Json] = (),
    more: Mapping[str, Json] | None = None,
) -> Json:
    responses = {"200": _says(about, schema), **_always(), **(more or {})}
    return {"operationId": ident, "summary": summary, "parameters": list(parameters), "responses": responses}


def _post(ident: str, what: str, schema: str, parameters: Sequence[Json], more: Mapping[str, Json]) -> Json:
    return {
        "operationId": ident,
        "summary": f"{ident.removesuffix('All').capitalize()} {what}.",
        "parameters": [*parameters, *_in_query(COMMAND), CLIENT],
        "responses": {
            "200": _says("It has settled as wished, or there was nothing to do.", schema),
            "202": _says("It is accepted; `operation` can be asked after.", schema),
            **_always(),
            "500": _says("It failed or was superseded while waited for, or we failed.", "CommandFailed"),
            **_busy(),
            **more,
        },
    }


def _always() -> dict[str, Json]:
    return {
        "400": _says("The query, or the request as such, is wrong.", "Error"),
        "403": _says("Host, Origin or token do not allow it.", "Error"),
        "413": _says("The body is larger than 65,536 bytes.", "Error"),
        "431": _says("The headers are larger than 16,384 bytes.", "Error"),
        "500": _says("We failed; the plugin's log has more.", "Error"),
        "501": _says("The body has a transfer encoding other than chunked.", "Error"),
    }


def _busy() -> dict[str, Json]:
    again = {"Retry-After": {"schema": COUNT, "required": True, "description": "Seconds."}}
    return {"503": _says("As many as may wait are waiting. Nothing was done.", "Error", again)}


def _says(about: str, schema: str | None, headers: Mapping[str, Json] | None = None) -> Json:
    body = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    answer: Json = {"description": about, "content": {"application/json": {"schema": body}}}
    return {**answer, "headers": dict(headers)} if headers else answer


def _or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


def _object(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    return {"type": "object", "required": [*required], "properties": {**required, **(optional or {})}}


def _schemas() -> dict[str, Json]:
    system = {
        "healthy": FLAG,
        "state": {"type": "string", "enum": [str(each) for each in State]},
        "error": {**_or_null(TEXT), "description": "Why it is not healthy; null when it is."},
        "port": WHOLE,
        "pid": _or_null(WHOLE),
        "critical": FLAG,
        "autonomous": FLAG,
        "autonomous_mode": FLAG,
        "tasks_processed": NUMBER,
        "decisions_made": NUMBER,
        "systems_healed": NUMBER,
        "uptime": {**NUMBER, "description": "Seconds, in the system's own word or else since its spawn."},
        "last_activity": TEXT,
        "reported": {
            "type": "array",
            "items": TEXT,
            "description": "Which of autonomous_mode to last_activity the system gave itself.",
        },
        "last_check": _or_null(TIME),
        "latency_ms": _or_null(NUMBER),
        "restarts": COUNT,
        "attempt": COUNT,
        "next_attempt_at": _or_null(TIME),
        "depends_on": KEYS,
        "drill": {"description": "What is being done to it on purpose; null while nothing is."},
    }
    step = {"action": TEXT, "at": _or_null(TIME), "in_seconds": _or_null(NUMBER)}
    explanation = {
        "server": KEY,
        "cause": _or_null(TEXT),
        "attempts_used": COUNT,
        "attempts_left": COUNT,
        "next": _object(step),
        "last_command": {"type": ["object", "null"]},
        "probes": {"type": "array", "items": {"type": "object"}},
        "output": {"type": "array", "items": TEXT},
    }
    record = {
        "timestamp": TIME,
        "seq": COUNT,
        "event": TEXT,
        "server": _or_null(TEXT),
        "details": {"type": "object"},
        "system": TEXT,
    }
    page = {
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/Record"}},
        "next": {**COUNT, "description": "The `since` to go on from."},
    }
    gone = {"truncated": {**FLAG, "description": "Some records after `since` are gone."}}
    accepted = {"success": {"const": True}, "operation": TEXT}
    warned = {"warning": {**TEXT, "description": "Where what was accepted cannot be saved just now: why."}}
    failed = {"success": {"const": False}, "error": TEXT}
    every = {"message": TEXT, "servers": KEYS}
    operation = {
        "id": TEXT,
        "command": {"enum": ["start", "stop", "restart"]},
        "servers": KEYS,
        "by": TEXT,
        "accepted_at": TIME,
        "state": {"enum": ["running", "succeeded", "failed", "superseded"]},
        "error": _or_null(TEXT),
        "finished_at": _or_null(TIME),
    }
    drill = {"fault": TEXT, "pid": _or_null(WHOLE), "seconds": NUMBER, "strikes": COUNT, "ended": FLAG}
    health = {"success": FLAG, "status": {"enum": ["healthy", "unhealthy"]}}
    told = {"error": TEXT, "details": {"type": "object", "description": "Not for who has no token."}}
    return {
        "Error": _object(failed),
        "Index": _object({"service": TEXT, "openapi": TEXT, "routes": {"type": "array", "items": TEXT}}),
        "Health": _object(health, told),
        "System": _object(system),
        "Fleet": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/System"}},
        "Explanation": {"allOf": [{"$ref": "#/components/schemas/System"}, _object(explanation)]},
        "Command": _object({**accepted, "server": KEY}, warned),
        "CommandAll": _object({**accepted, **every}, warned),
        "CommandFailed": _object(failed, {"operation": TEXT, "server": KEY, **every, **warned}),
        "Operation": _object(operation),
        "Drill": _object({"success": {"const": True}, "server": KEY}, drill),
        "Record": _object(record),
        "Events": _object(page, gone),
        "Lines": _object({"server": KEY, "lines": {"type": "array", "items": TEXT}}),
    }
