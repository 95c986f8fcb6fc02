"""What every answer looks like: one JSON object, and the headers that go with it. Pure."""

import json
import math
from collections.abc import Mapping

HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer carries."""


def encode(payload: Mapping[str, object]) -> bytes:
    """Return ``payload`` as compact JSON.

    What a system says of itself may hold NaN or infinity, which JSON has not: they become null, so that one
    system's nonsense does not spoil the answer about all.
    """
    try:
        return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(payload), separators=(",", ":")).encode()


def failure(message: str) -> Mapping[str, object]:
    """Return the body of an error."""
    return {"success": False, "error": message}


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
