"""The tables of ``fleet.toml``: what keys each may have, of which type, within which limits. Pure.

Types, limits and defaults are the settings dataclasses' own, so that nothing is stated twice. What is wrong
is collected, never repaired: :func:`take` returns what is right and adds a fault for everything else.
"""

import difflib
import json
import math
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType
from typing import Annotated, Any, Literal

import msgspec

from aurora_circus.errors import ConfigError

Where = tuple[str, ...]
"""The keys that lead to a value, from the top of the file."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 80
"""Characters of a wrong value that a fault shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One value: its type and limits, and in ``words`` what is expected, where these do not say it."""

    hint: Any
    limits: Mapping[str, Any] = field(default_factory=dict)
    default: Any = None
    pattern: str | None = None
    """What all of a string has to match."""
    words: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with keys of its own."""

    keys: Mapping[str, "Key | Table | Named"]
    refused: Mapping[str, str] = field(default_factory=dict)
    """A key that might be expected here, and whatever begins with it and a dot → what to do instead."""
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A table whose keys are names that the person gives; all their values are of one kind."""

    of: "Key | Table"
    pattern: str = "(?s:.*)"
    words: str = "a name"
    reserved: Mapping[str, str] = field(default_factory=dict)
    """A name that may not be given → why."""
    title: str | None = None


class Faults(list[str]):
    """Everything that is wrong with one file, a line each: ``file: key: found …, expected …``."""

    def __init__(self, source: str) -> None:
        """``source`` is what the person calls the file."""
        super().__init__()
        self._source = source
        self._seen: set[Where] = set()

    def add(self, where: Where, found: object, expected: str) -> None:
        """Note that ``where`` holds the value ``found``."""
        self.say(where, shown(found), expected)

    def say(self, where: Where, found: str, expected: str) -> None:
        """Note what was found in words."""
        self._seen.add(where)
        self.append(f"{one_line(self._source)}: {dotted(where)}: found {found}, expected {expected}")

    def check(self) -> None:
        """Raise them all as one ``ConfigError``, if there are any."""
        if self:
            raise ConfigError(list(self))

    def about(self, where: Where) -> bool:
        """Say whether something is known to be wrong with this very value."""
        return where in self._seen


def keys_of(kind: type, *names: str, **changed: Mapping[str, Any]) -> dict[str, Key | Table | Named]:
    """Return the keys of a settings dataclass, or some of them; ``changed`` says more of single ones."""
    hints = typing.get_type_hints(kind)
    return {
        each.name: Key(
            **{
                "hint": _given(hints[each.name]),
                "limits": each.metadata,
                "default": each.default if each.default_factory is MISSING else each.default_factory(),
                **changed.get(each.name, {}),
            }
        )
        for each in fields(kind)
        if not names or each.name in names
    }


def take(table: object, kind: Table | Named, where: Where, faults: Faults) -> dict[str, Any]:
    """Return what is right in ``table``, as the types of ``kind``; everything else becomes a fault."""
    if not isinstance(table, Mapping):
        faults.add(where, table, "a table")
        return {}
    taken = {}
    for name, value in table.items():
        at = (*where, name)
        of = _kind_of(name, kind, at, faults)
        if isinstance(of, Key):
            try:
                taken[name] = _convert(value, of)
            except ValueError:
                faults.add(at, value, expected(of))
        elif of is not None:
            taken[name] = take(value, of, at, faults)
    return taken


def schema(kind: Key | Table | Named) -> dict[str, Any]:
    """Return the JSON Schema of one kind of value."""
    if isinstance(kind, Key):
        found = msgspec.json.schema(_annotated(kind))
        if kind.pattern is not None:
            found["pattern"] = f"^(?:{kind.pattern})$"
        if kind.words is not None:
            found["description"] = kind.words
        if kind.default not in (None, MISSING):
            found["default"] = msgspec.to_builtins(kind.default)
        return found
    titled = {} if kind.title is None else {"title": kind.title}
    if isinstance(kind, Table):
        properties = {name: schema(each) for name, each in kind.keys.items()}
        return {**titled, "type": "object", "additionalProperties": False, "properties": properties}
    names: dict[str, Any] = {"pattern": f"^(?:{kind.pattern})$"}
    if kind.reserved:
        names["not"] = {"enum": list(kind.reserved)}
    return {**titled, "type": "object", "propertyNames": names, "additionalProperties": schema(kind.of)}


def expected(key: Key) -> str:
    """Say in words what a value has to be."""
    if key.words is not None:
        return key.words
    if typing.get_origin(key.hint) is Literal:
        return " or ".join(shown(each) for each in typing.get_args(key.hint))
    if key.hint in {int, float}:
        return _number("an integer" if key.hint is int else "a number", key.limits)
    return {str: "a string", bool: "true or false", tuple[str, ...]: "a list of strings"}[key.hint]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say which of the ``known`` names was meant, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return close[0] if close else f"one of {', '.join(names)}"


def shown(value: object) -> str:
    """Return a value as a fault shows it: on one line, and not all of it when it is long."""
    if isinstance(value, Mapping):
        return "a table"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # an integer beyond Python's limit of digits, lists without end
        return "something too large to show"
    text = one_line({"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(text, text))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def dotted(where: Where) -> str:
    """Return the keys as TOML has them: dotted, and quoted where they need it."""
    return ".".join(each if _BARE.fullmatch(each) else one_line(json.dumps(each, ensure_ascii=False)) for each in where)


def one_line(text: str) -> str:
    """Return ``text`` with everything that does not print, line breaks above all, as an escape."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _kind_of(name: str, kind: Table | Named, at: Where, faults: Faults) -> Key | Table | Named | None:
    if isinstance(kind, Table):
        instead = kind.refused.get(name) or kind.refused.get(name.partition(".")[0])
        if instead is not None:
            faults.say(at, "an option that Aurora sets itself", instead)
        elif name not in kind.keys:
            faults.say(at, "an unknown key", suggestion(name, kind.keys))
        return kind.keys.get(name)
    if not re.fullmatch(kind.pattern, name):
        faults.add(at, name, kind.words)
    elif name in kind.reserved:
        faults.say(at, f"a name that {kind.reserved[name]}", "another name")
    else:
        return kind.of
    return None


def _given(hint: Any) -> Any:  # noqa: ANN401 - a type, a Union or a Literal
    """Return the type without its None: TOML has none, a key is left out."""
    rest = [each for each in typing.get_args(hint) if each is not NoneType]
    return rest[0] if NoneType in typing.get_args(hint) else hint


def _annotated(key: Key) -> Any:  # noqa: ANN401 - a type made at run time
    return Annotated[key.hint, msgspec.Meta(**key.limits)] if key.limits else key.hint


def _convert(value: object, key: Key) -> object:
    """Return ``value`` as the key's type.

    Raises:
        ValueError: it is not of that type, or not within the limits.
    """
    try:
        found = msgspec.convert(value, _annotated(key))
    except msgspec.ValidationError as error:
        raise ValueError from error
    texts = found if isinstance(found, tuple) else (found,)
    if any(isinstance(each, str) and "\0" in each for each in texts):
        raise ValueError  # neither arguments, nor paths, nor the environment can hold one
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueError
    if key.pattern is not None and not re.fullmatch(key.pattern, str(found)):
        raise ValueError
    return found


def _number(noun: str, limits: Mapping[str, Any]) -> str:
    match dict(limits):
        case {"ge": low, "le": high}:
            return f"{noun} from {low} to {high}"
        case {"ge": low}:
            return f"{noun} of at least {low}"
        case {"gt": low}:
            return f"{noun} above {low}"
    return noun
