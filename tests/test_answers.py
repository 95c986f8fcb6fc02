"""What every answer looks like."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_circus.answers import encode


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_json_has_no_word_for_is_null(number: float) -> None:
    """However deep it lies, and what stands beside it stays."""
    assert encode({"a": [1, {"b": number}], "c": "é"}) == b'{"a":[1,{"b":null}],"c":"\\u00e9"}'


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters()) | st.lists(st.text(st.characters()))))
def test_an_answer_is_seen_ascii_that_every_reader_takes(payload: dict[str, object]) -> None:
    """Raw on a terminal it does nothing; and no escape in it is half of a character, which stricter readers refuse."""
    answer = encode(payload)
    assert re.fullmatch(rb"[ -~]*", answer)
    json.dumps(json.loads(answer), ensure_ascii=False).encode()  # refuses halves


def test_a_half_of_a_character_is_replaced_and_a_whole_one_kept() -> None:
    """Also where it looks like one and is none."""
    told = json.loads(encode({"half \ud83d": "\udc00", "whole": "🚀", "text": "\\ud800"}))
    assert told == {"half \ufffd": "\ufffd", "whole": "🚀", "text": "\\ud800"}
