"""What every answer looks like: one JSON object, and the headers that go with it. Pure."""

import json
import math
import re
from collections.abc import Mapping

HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer carries."""
_COMPACT = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_HALF = re.compile("[\ud800-\udfff]")
"""A surrogate that has lost its other half."""


def encode(payload: Mapping[str, object]) -> bytes:
    """Return ``payload`` as compact JSON.

    What a system says of itself may hold NaN or infinity, which JSON has not: they become null, so that one
    system's nonsense does not spoil the answer about all; so do halves of characters, which readers refuse, become
    U+FFFD. All of it is ASCII that a terminal shows as it is.
    """
    try:
        text = _COMPACT.encode(payload)
    except ValueError:
        text = ""
    if not text or ("\\" in text and "\\ud" in text):  # of a megabyte, one character is found in 16 µs, three in 650
        text = _COMPACT.encode(_plain(payload))
    return text.encode().replace(b"\x7f", b"\\u007f")  # JSON lets DEL stand


def failure(message: str) -> Mapping[str, object]:
    """Return the body of an error."""
    return {"success": False, "error": message}


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return _HALF.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {_plain(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
