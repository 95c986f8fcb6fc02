"""Nothing that others wrote steers a terminal, and nothing that can be seen is lost."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_circus import escapes

HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\x1b\x9b\x9d\x07\x08\x7f\x85\r\n\t[]()0;mHJ\\ \u202e\u2066\u200b\u2028\ud800\U000e0041"),
        st.characters(),
    )
)


def seen(text: str) -> bool:
    """Say whether all of a text is of the kinds of characters that only show."""
    return all(each == " " or unicodedata.category(each)[0] in "LMNPS" for each in text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 🚀", "plain é 漢字 🚀"),
        ("a\x1b[1;31mred\x1b[0m b", "ared b"),
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b]8;;http://x.invalid\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;a title without end", "0;a title without end"),
        ("\x1b[2J\x1b[H\x1bcgone", "gone"),
        ("\x9b31mC1\x9d0;t\x07", "C1?0;t?"),
        ("one\r\ntwo\tthree\x00\x7f\x08", "one  two three???"),
        ("abc\u202egnp.exe\u2066\u200b", "abc?gnp.exe??"),
        ("half \ud800 of one", "half ? of one"),
        ("\x1b", "?"),
    ],
)
def test_what_is_left_of_a_text(text: str, shown: str) -> None:
    """Escape sequences go whole, blanks become one, whatever else shows nothing of itself a question mark."""
    assert escapes.clean(text) == shown


@given(HOSTILE)
def test_whatever_comes_only_what_is_seen_is_left(text: str) -> None:
    """Also where taking one escape sequence out makes another of what stood around it."""
    assert seen(escapes.clean(text))
    assert escapes.clean(escapes.clean(text)) == escapes.clean(text)


@given(HOSTILE)
def test_our_own_text_keeps_its_colours_and_lines_and_nothing_else(text: str) -> None:
    """The net below everything that is written."""
    left = escapes.only_colours(f"{text}\x1b[1;31mred\x1b[0m\nnext")
    assert left.endswith("\x1b[1;31mred\x1b[0m\nnext")
    assert seen(escapes.ESCAPE.sub("", left).replace("\n", ""))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(HOSTILE, JSON, max_size=4), st.sampled_from([None, 2]))
def test_json_for_a_terminal_reads_back_the_same(value: dict[str, Any], indent: int | None) -> None:
    """What is not seen is escaped in JSON's own way: nothing is lost, nothing obeyed."""
    text = escapes.to_json(value, indent)
    assert json.loads(text) == value
    assert seen(text.replace("\n", ""))


def test_json_for_a_terminal_is_for_people() -> None:
    """Letters of all scripts stay as they are."""
    assert escapes.to_json({"é": "漢字 🚀"}) == '{"é": "漢字 🚀"}'
