"""What a fleet and its systems are set to: frozen types, their defaults and their limits, and their JSON form.

These are the types both sides share: ``config`` fills them from ``fleet.toml``, ``render`` writes them into
``circus.ini`` and the plugin reads them back from circusd. They must stay importable without any third-party
package, since the plugin lives on a memory budget.

Seconds are ``float``; bytes are ``int``. A field's ``metadata`` holds its limits in the words of JSON Schema's
cousins ``gt``, ``ge`` and ``le``, for ``config`` to check and for the schema to state.
"""

import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar

POSITIVE = {"gt": 0}
NOT_NEGATIVE = {"ge": 0}
PORT = {"ge": 1, "le": 65535}

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How a system is asked for its health (``[probe]``)."""

    path: str = "/health"
    interval: float = field(default=5.0, metadata=POSITIVE)
    """Seconds between the probes of a healthy system."""
    timeout: float = field(default=2.0, metadata=POSITIVE)
    """Seconds for the whole probe, not for each read."""
    failure_threshold: int = field(default=2, metadata={"ge": 1})
    """Consecutive failures that make a system unhealthy."""
    metrics_path: str | None = None
    """Where the metrics are when the health body has none; never affects health."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Contract name of a metric → the name the system gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """When and how often a failed system is started again (``[restart]``)."""

    max_retries: int = field(default=3, metadata=NOT_NEGATIVE)
    """Attempts after a failure; twice as many for a critical system."""
    backoff_base: float = field(default=1.0, metadata=NOT_NEGATIVE)
    backoff_cap: float = field(default=60.0, metadata=NOT_NEGATIVE)
    jitter: float = field(default=0.1, metadata={"ge": 0, "le": 1})
    """Share of a wait that is added or taken away at random."""
    stable_after: float = field(default=60.0, metadata=POSITIVE)
    """Healthy for so many seconds: attempts start again from none."""
    start_timeout: float = field(default=15.0, metadata=POSITIVE)
    """Spawned and not healthy after so many seconds: a failed attempt."""
    retry_failed_after: float = field(default=300.0, metadata=NOT_NEGATIVE)
    """Seconds between the lone attempts of a system given up; 0 means never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system, as the plugin must know it. Its command line is circus's business and stands beside this."""

    key: str
    title: str
    port: int = field(metadata=PORT)
    port_policy: Literal["fixed", "dynamic"] = "fixed"
    critical: bool = False
    autonomous: bool = True
    """False: started, stopped and shown, never restarted by itself."""
    wanted: bool = True
    """Wanted up when nothing else is known of it, such as an operator's wish."""
    depends_on: tuple[str, ...] = ()
    gate: Literal["bounded", "strict"] = "bounded"
    """``bounded``: a first start waits for one ``start_timeout`` at most; ``strict``: until all are healthy."""
    graceful_timeout: float = field(default=5.0, metadata=NOT_NEGATIVE)
    """Seconds between SIGTERM and SIGKILL."""
    log: str = ""
    """The file that the system writes its output to."""
    run_dir: str = ""
    """The fleet's, by which a process that has gone astray is known for one of this fleet."""
    env: dict[str, str] = field(default_factory=dict)
    probe: Probe = field(default_factory=Probe)
    restart: Restart = field(default_factory=Restart)

    @property
    def max_attempts(self) -> int:
        """Attempts before it is given up: twice as many for a critical system."""
        return self.restart.max_retries * (2 if self.critical else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Where the REST API listens and who may use it (``[api]``)."""

    host: str = "127.0.0.1"
    port: int = field(default=5025, metadata=PORT)
    token_file: str | None = None
    """Needed as soon as ``host`` is not loopback."""
    read_token_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The audit trail (``[journal]``)."""

    heartbeat: float = field(default=30.0, metadata=NOT_NEGATIVE)
    """Seconds after which a system's ``health_check`` is recorded again; 0 means on changes only."""
    max_bytes: int = field(default=10_000_000, metadata={"ge": 1000})
    backups: int = field(default=5, metadata=NOT_NEGATIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Rotation by size of the systems' own log files (``[logs]``)."""

    max_bytes: int = field(default=10_000_000, metadata={"ge": 1000})
    backups: int = field(default=3, metadata=NOT_NEGATIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What belongs to no single system. All paths are absolute."""

    name: str = "aurora"
    file: str = ""
    """The fleet file that it was read from, or what is said in its place."""
    run_dir: str = ""
    """Sockets, pidfile and state; mode 0700."""
    log_dir: str = ""
    """``events.jsonl`` and one log file for each system."""
    systems: tuple[str, ...] = ()
    """The keys that were rendered, for the plugin to miss one that circusd has dropped."""
    bundled: bool = False
    """True where the reference systems run in place of somebody's own scripts."""
    port_range: tuple[int, int] | None = None
    api: Api = field(default_factory=Api)
    journal: Journal = field(default_factory=Journal)
    logs: Logs = field(default_factory=Logs)


def to_dict(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the dataclasses above
    """Return ``settings`` as plain JSON values, every field named."""
    return {
        each.name: to_dict(value) if is_dataclass(value) else list(value) if isinstance(value, tuple) else value
        for each in fields(settings)
        for value in (getattr(settings, each.name),)
    }


def from_dict(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make a ``kind`` of what :func:`to_dict` returned; what is absent takes its default.

    Raises:
        ValueError: a key is unknown, or a value is not of its field's type.
    """
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        message = f"{kind.__name__}: unknown {', '.join(unknown)}"
        raise ValueError(message)
    return kind(**{name: _convert(f"{kind.__name__}.{name}", hints[name], value) for name, value in values.items()})


def _convert(where: str, hint: Any, value: Any) -> Any:  # noqa: ANN401 - any value of any field
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_dict(hint, value)
    if origin is tuple and isinstance(value, list):
        return tuple(value)
    if origin is Literal and value in arguments:
        return value
    if origin is dict and isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values()):
        return dict(value)
    if value is None and type(None) in arguments:
        return None
    if type(None) in arguments:
        return _convert(where, next(each for each in arguments if each is not type(None)), value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    message = f"{where}: found {value!r}, expected {getattr(hint, '__name__', hint)}"
    raise ValueError(message)


def dumps(settings: Any) -> str:  # noqa: ANN401 - any of the dataclasses above
    r"""Return ``settings`` as one line of JSON that circus's configuration parser reads back unchanged.

    ``$``, ``(`` and ``;`` become ``\u0024``, ``\u0028`` and ``\u003b``: circus expands ``$(circus.x)`` and
    ``((circus.x))`` and cuts at a `` ;``.
    """
    text = json.dumps(to_dict(settings), ensure_ascii=True, sort_keys=False)
    return text.replace("$", "\\u0024").replace("(", "\\u0028").replace(";", "\\u003b")


def loads(kind: type[Settings], text: str) -> Settings:
    """Read what :func:`dumps` wrote.

    Raises:
        ValueError: it is not JSON, or not of that kind.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        message = f"{kind.__name__}: found {values!r}, expected an object"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for whatever is wrong with the text
    return from_dict(kind, values)
