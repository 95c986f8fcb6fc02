"""What a record may hold, and its line."""

import json
from collections import ChainMap
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aurora_circus.records import MAX_LINE, MAX_TEXT, decode, encode, last_number, plain, text


class Colour(Enum):
    """An enum whose values are no strings."""

    RED = 1


class State(StrEnum):
    """An enum as the lifecycle has it."""

    HEALTHY = "healthy"


class Opaque:
    """A thing that JSON does not know and that does not even know itself."""

    def __str__(self) -> str:
        raise RuntimeError


LINE = (
    b'{"timestamp": "2026-01-02T03:04:05.678Z", "seq": 7, "event": "e", "server": null, "details": {}, "system": "s"}'
)


@pytest.mark.parametrize(
    ("given_value", "kept"),
    [
        (None, None),
        (True, True),
        (2**70, 2**70),
        (1.5, 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        ("grün ✓", "grün ✓"),
        ("torn \ud83d apart", "torn \ufffd apart"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (State.HEALTHY, "healthy"),
        (Colour.RED, 1),
        ((1, [2, {"a": 3}]), [1, [2, {"a": 3}]]),
        ({5}, [5]),
        (ChainMap({"a": 1}), {"a": 1}),
        ({1: "one", None: "none"}, {"1": "one", "None": "none"}),
        (Path("a") / "b", str(Path("a") / "b")),
        (ValueError("no such port"), "no such port"),
        (Opaque(), "<Opaque>"),
        pytest.param(10**5000, hex(10**5000)[: MAX_TEXT - 1] + "…", id="more digits than Python writes"),
    ],
)
def test_details_become_what_json_can_hold(given_value: object, kept: object) -> None:
    """NaN is null, bytes are text, enums their value; of a thing that is none of JSON's own the type is left."""
    assert plain({"it": given_value}) == {"it": kept}


def test_a_long_string_is_cut_with_an_ellipsis() -> None:
    """One of just the limit stays whole."""
    assert plain({"a": "x" * MAX_TEXT, "b": "x" * (MAX_TEXT + 1)}) == {
        "a": "x" * MAX_TEXT,
        "b": "x" * (MAX_TEXT - 1) + "…",
    }


def test_a_structure_without_an_end_is_cut() -> None:
    """Details that hold themselves end in an ellipsis a few levels down."""
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert "…" in json.dumps(plain(endless), ensure_ascii=False)


@pytest.mark.parametrize(
    "details",
    [
        {"all": ["\0" * MAX_TEXT] * 100_000},
        {str(number): number for number in range(100_000)},
        {"nested": [[[[[[[["x"] * 30] * 30] * 30] * 30] * 30] * 30] * 30]},
        {"\x01" * 100_000 + str(number): 1 for number in range(100)},
    ],
    ids=["strings", "items", "nested", "keys"],
)
def test_a_record_is_bounded_whatever_it_is_made_of(details: dict[str, Any]) -> None:
    """No details make a line so long that a reader would pass over it."""
    assert len(encode({"details": plain(details)})) < MAX_LINE // 2


def test_details_are_not_shared_with_the_caller() -> None:
    """What the caller does with its lists afterwards changes no record."""
    mine = {"servers": ["a"]}
    kept = plain(mine)
    mine["servers"].append("b")
    assert kept == {"servers": ["a"]}


strings = st.text(st.characters(), max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=20) | strings,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(strings | st.integers(), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=8,
)


@hypothesis_settings(deadline=None)
@given(st.dictionaries(strings, anything, max_size=5))
def test_any_record_is_one_line_that_reads_back_as_it_was(details: dict[str, Any]) -> None:
    """Whatever goes in: one newline, at the end; valid UTF-8 and JSON; and the same record out."""
    record = {"seq": 1, "event": "e", "server": None, "details": plain(details)}
    line = encode(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == record


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        LINE[:-1],
        LINE[1:],
        b"\0" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"seq": 1}',
        b'{"seq": true, "event": "e", "details": {}}',
        b'{"seq": 0, "event": "e", "details": {}}',
        b'{"seq": "1", "event": "e", "details": {}}',
        b'{"seq": ' + b"9" * 5000 + b', "event": "e"}',
        b'{"seq": 1, "event": "\xff", "details": {}}',
        b'{"seq": 1, "event": "e", "details": []}',
        LINE + LINE,
    ],
)
def test_what_is_no_record_is_none(line: bytes) -> None:
    """Torn lines, rubbish and other people's JSON are no records, and no error."""
    assert decode(line) is None


def test_a_line_reads_without_its_newline_too() -> None:
    """The newline belongs to the file, not to the record."""
    record = decode(LINE)
    assert record is not None
    assert record == decode(LINE + b"\r\n")
    assert record["seq"] == 7


def test_nan_in_somebody_elses_line_is_null() -> None:
    """What is read from a journal can be written as JSON again."""
    record = decode(b'{"seq": 1, "event": "e", "details": {"latency": NaN}}')
    assert record is not None
    assert record["details"] == {"latency": None}


def test_the_last_number_of_a_block_is_that_of_its_last_record() -> None:
    """Rubbish behind it does not matter, and a block of rubbish has none."""
    assert last_number(LINE + b"\n" + LINE.replace(b"7", b"8") + b"\nrubbish\n{") == 8
    assert last_number(b"rubbish\n") is None


def test_names_are_made_plain_too() -> None:
    """A name that JSON could not hold is mended like any other text."""
    assert text("a\udc80") == "a\ufffd"
