"""What a record of the journal is: six fields, the last but one of them free, and one line of JSON. Pure.

In the file the line has a seventh field, its link; ``chain`` knows of that.

A record is made of whatever the caller has, and making one never fails: what JSON cannot hold is replaced,
what is too long is cut, and one record's size is bounded whatever was put into it.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any

from aurora_circus.chain import FIELD
from aurora_circus.escapes import in_json

Record = dict[str, Any]
"""``timestamp``, ``seq``, ``event``, ``server``, ``details``, ``system``."""

GAP = "journal_gap"
"""The event that stands for numbers ``first`` to ``last`` of its details, and bears the last of them."""
MAX_TEXT = 4096
"""Characters of one string; what is longer ends in an ellipsis."""
MAX_LINE = 1 << 20
"""Bytes. Far more than a record can have: a line that is longer is not ours."""
_MAX_ALL_TEXT = 32_768
"""Characters of all strings of a record's details, keys included."""
_MAX_ITEMS = 1000
_MAX_DEPTH = 8
_MAX_BITS = 1024
"""Of an integer; Python refuses to write one of more than 4,300 digits."""
_BYTES = (bytes, bytearray, memoryview)
_TELLING = (BaseException, PurePath)
"""What is best told by its own ``str``."""
_CONTAINERS = (dict, list, tuple, Mapping, AbstractSet)
_ELLIPSIS = "…"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)
"""Somebody else's line may hold NaN, which JSON does not have."""


def plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``details`` as JSON can hold them, sharing nothing mutable with them.

    NaN and the infinities become null, bytes text, enums their value, tuples and sets lists; lone surrogates
    are replaced, and of an object that is none of JSON's own the type's name is left. Strings are cut after
    :data:`MAX_TEXT` characters; a structure that is deep, endless or large is cut with an ellipsis.
    """
    return _Plain().mapping(details, 0)


def text(value: str) -> str:
    """Return one string as a record may hold it."""
    return _Plain().text(value)


def encode(record: Record) -> bytes:
    """Return the line that stands for a record made of plain values; a terminal that is shown it obeys nothing."""
    return in_json(_ENCODER.encode(record)).encode() + b"\n"


def decode(line: bytes) -> Record | None:
    """Return the record that a line stands for, or None: it is torn, or somebody else's, or rubbish.

    Without its link: that is the line's, and what readers are told before a line is written has none yet.
    """
    if not line.startswith(b"{"):
        return None
    try:
        record = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    record.pop(FIELD, None)
    seq, event, details = record.get("seq"), record.get("event"), record.get("details")
    ours = type(seq) is int and seq > 0 and isinstance(event, str) and isinstance(details, dict)
    return record if ours else None


def first_number(record: Record) -> int:
    """Return the first number that a record stands for: its own, but for a gap."""
    seq = int(record["seq"])
    first = record["details"].get("first") if record["event"] == GAP else None
    return first if type(first) is int and 0 < first <= seq else seq


def last_number(block: bytes) -> int | None:
    """Return the number of the last record in a block of lines, or None."""
    for line in reversed(block.split(b"\n")):
        if (record := decode(line)) is not None:
            return int(record["seq"])
    return None


class _Plain:
    """Makes one record's details plain, and knows how much room is left in it."""

    def __init__(self) -> None:
        self._characters = _MAX_ALL_TEXT
        self._items = _MAX_ITEMS

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        result = {}
        for key, item in islice(value.items(), self._items + 1):
            if self._items <= 0:
                result[_ELLIPSIS] = _ELLIPSIS
                break
            self._items -= 1
            name = key if isinstance(key, str) else str(self.value(key, _MAX_DEPTH))
            result[self.text(name)] = self.value(item, depth + 1)
        return result

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        result: list[Any] = []
        for item in islice(value, self._items + 1):
            if self._items <= 0:
                result.append(_ELLIPSIS)
                break
            self._items -= 1
            result.append(self.value(item, depth + 1))
        return result

    def value(self, value: Any, depth: int) -> Any:  # noqa: ANN401 - that is what it is for
        if value is None or value is True or value is False:
            return value
        if isinstance(value, Enum):
            return self.value(value.value, depth + 1) if depth < _MAX_DEPTH else _ELLIPSIS
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int):
            return int(value) if value.bit_length() <= _MAX_BITS else self.text(hex(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, _BYTES):
            return self.text(bytes(value[: 4 * MAX_TEXT]).decode(errors="replace"))
        if isinstance(value, _TELLING):
            return self.text(str(value))
        if not isinstance(value, _CONTAINERS):
            return self.text(f"<{type(value).__qualname__}>")
        if depth >= _MAX_DEPTH:
            return _ELLIPSIS
        return self.mapping(value, depth) if isinstance(value, Mapping) else self._list(value, depth)

    def text(self, value: str) -> str:
        room = max(1, min(MAX_TEXT, self._characters))
        cut = value if len(value) <= room else value[: room - 1] + _ELLIPSIS
        self._characters -= len(cut)
        return cut if cut.isascii() else _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", str(cut))
