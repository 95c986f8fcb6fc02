"""What may stand behind the ``?``: each parameter's name, limits and default, and how it is read. Pure.

One table for two readers: the routes read requests by it, and the description of the API prints it, so the
limits that are told are the limits that hold. It must never repair: a value out of its limits, a parameter
that nobody knows and one that is given twice are faults.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

from aurora_circus.drill_names import STANDS_IN, Fault
from aurora_circus.drills import LONGEST as LONGEST_DRILL
from aurora_circus.drills import Order
from aurora_circus.errors import AuroraError

KEY_PATTERN = "^[a-z0-9_-]+$"
"""How a system's key is spelled."""
MOST_FIELDS = 16
"""More parameters than any route has; a query of more is not even taken apart."""
LONGEST = 100
"""Characters of a name."""
LONGEST_NUMBER = 32
"""Characters of a number: more than any float's repr has, few enough for int() to be quick."""

Value = TypeVar("Value", covariant=True)  # noqa: PLC0105 - it reads better than Value_co
Number = TypeVar("Number", int, float)


class QueryError(AuroraError):
    """A request's query is wrong; the message says what was found and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(Generic[Value]):
    """One query parameter.

    ``schema`` is its JSON Schema; ``read`` raises ValueError with what it expected.
    """

    name: str
    about: str
    default: Value
    schema: Mapping[str, object]
    read: Callable[[str], Value]
    required: bool = False
    """Whether a request makes no sense without it; the route says so, since another parameter may be wrong, too."""

    def of(self, given: Mapping[str, str]) -> Value:
        """Return the parameter's value, or its default; QueryError for one out of its limits."""
        text = given.get(self.name)
        if text is None:
            return self.default
        try:
            return self.read(text)
        except ValueError as error:
            raise QueryError(f"{self.name}: found {text[:LONGEST]!r}, expected {error}") from None


def split(query: str, known: Sequence[Parameter[object]]) -> dict[str, str]:
    """Take a query string apart, values unread; QueryError for what is not ``known``, or there twice."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise QueryError(f"found more than {MOST_FIELDS} parameters") from None
    names = [each.name for each in known]
    given: dict[str, str] = {}
    for name, text in pairs:
        if name not in names:
            raise QueryError(f"found parameter {name[:LONGEST]!r}, expected {' or '.join(names) or 'none'}")
        if name in given:
            raise QueryError(f"{name}: found twice, expected once")
        given[name] = text
    return given


def _within(
    convert: Callable[[str], Number], pattern: str, low: Number, high: Number, wanted: str
) -> Callable[[str], Number]:
    def read(text: str) -> Number:
        # The pattern comes first: int() and float() take "1_0", " 1", "nan" and other scripts' digits too.
        spelled = len(text) <= LONGEST_NUMBER and re.fullmatch(pattern, text)
        if not spelled or not low <= (value := convert(text)) <= high:
            raise ValueError(f"{wanted} from {low} to {high}")
        return value

    return read


def _whole(name: str, about: str, default: int, low: int, high: int) -> Parameter[int]:
    return Parameter(
        name=name,
        about=about,
        default=default,
        schema={"type": "integer", "minimum": low, "maximum": high, "default": default},
        read=_within(int, "-?[0-9]+", low, high, "a whole number"),
    )


def _seconds(name: str, about: str, high: float, low: float = 0, default: float = 0) -> Parameter[float]:
    return Parameter(
        name=name,
        about=about,
        default=float(default),
        schema={"type": "number", "minimum": low, "maximum": high, "default": default},
        read=_within(float, r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", low, high, "seconds"),
    )


def _one_of(
    name: str, about: str, words: Sequence[str], default: str | None = None, *, required: bool = False
) -> Parameter[str | None]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    schema: dict[str, object] = {"type": "string", "enum": list(words)}
    if default is not None:
        schema["default"] = default
    return Parameter(name=name, about=about, default=default, schema=schema, read=read, required=required)


def _word(name: str, about: str, pattern: str) -> Parameter[str | None]:
    def read(text: str) -> str:
        if len(text) > LONGEST or not re.fullmatch(pattern.strip("^$"), text):
            raise ValueError(f"a name that fits {pattern}")
        return text

    return Parameter(
        name=name,
        about=about,
        default=None,
        schema={"type": "string", "pattern": pattern, "minLength": 1, "maxLength": LONGEST},
        read=read,
    )


NEWEST = 2**53 - 1
"""The greatest number that every reader of JSON keeps whole."""

WAIT = _seconds("wait", "Seconds to wait for the command to settle; after that the answer is the 202.", 3600)
SINCE: Parameter[int | None] = Parameter(
    name="since",
    about="Records with a greater `seq` only. Without it: the newest ones.",
    default=None,
    schema={"type": "integer", "minimum": 0, "maximum": NEWEST},
    read=_within(int, "-?[0-9]+", 0, NEWEST, "a whole number"),
)
LIMIT = _whole("limit", "How many records at most.", 100, 1, 1000)
SERVER = _word("server", "Records of this system only, be it one that is configured no longer.", KEY_PATTERN)
EVENT = _word("event", "Records of this event only.", "^[a-z0-9_]+$")
POLL = _seconds("wait", "Seconds to wait for a record when there is none yet.", 60)
TAIL = _whole("tail", "How many lines at most.", 100, 1, 10_000)
NO_FAULT = "none"
"""Ends a drill."""
FAULT = _one_of(
    "fault",
    "What to do; `none` ends the drill of this system.",
    [*map(str, Fault), NO_FAULT],
    required=True,
)
PORT: Parameter[int | None] = Parameter(
    name="port",
    about="Where a stand-in on 127.0.0.1 answers for the system's health; for slow-health and http-500 alone.",
    default=None,
    schema={"type": "integer", "minimum": 1, "maximum": 65535},
    read=_within(int, "-?[0-9]+", 1, 65535, "a whole number"),
)
SECONDS = _seconds("seconds", "After so many seconds the drill ends by itself.", LONGEST_DRILL, 1, 60)
FORCE = _one_of("force", "`true` begins it although another system is not well.", ["true", "false"], "false")

COMMAND: Sequence[Parameter[object]] = (WAIT,)
EVENTS: Sequence[Parameter[object]] = (SINCE, LIMIT, SERVER, EVENT, POLL)
LOGS: Sequence[Parameter[object]] = (TAIL,)
DRILL: Sequence[Parameter[object]] = (FAULT, PORT, SECONDS, FORCE)


def drill_order(given: Mapping[str, str]) -> Order | None:
    """Return the drill that a query asks for, None for the end of one; QueryError where it makes no sense."""
    word, port, seconds, force = FAULT.of(given), PORT.of(given), SECONDS.of(given), FORCE.of(given) == "true"
    if word is None:
        raise QueryError(f"fault: found none, expected one of {', '.join(FAULT.schema['enum'])}")  # type: ignore[arg-type] # its words
    if word == NO_FAULT:
        return None
    fault = Fault(word)
    if (port is not None) != (fault in STANDS_IN):
        wanted = "the stand-in's" if fault in STANDS_IN else f"none for {fault}"
        raise QueryError(f"port: found {port}, expected {wanted}")
    return Order(fault, seconds, port, force=force)
