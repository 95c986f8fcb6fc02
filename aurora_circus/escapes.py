"""Text that others wrote, without anything that a terminal would obey. Pure.

A system's output, the words of its health and the command of whoever holds a port are all somebody else's. Colours and
cursor movements are left out, whole, so that the rest can be read; what else shows nothing of itself (control
characters, those of C1 and of writing direction among them) becomes a blank or a question mark.
"""

import json
import re
from collections.abc import Mapping, Sequence

ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x1b\x07\n]*(?:\x07|\x1b\\)"  # OSC and other strings, with their end: titles, links
    r"|\x1b[ -/]*[0-~]"  # the short ones
)
"""What ECMA-48 has for a terminal to do."""
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def clean(text: str) -> str:
    """Return ``text`` on one line, with nothing in it but what is seen."""
    if text.isprintable():
        return text
    return "".join(_seen(each) for each in ESCAPE.sub("", text))


def only_colours(text: str) -> str:
    """Return our own text, which may have colours and lines, with nothing else in it that a terminal would obey."""
    if text.isprintable():
        return text
    parts = _COLOUR.split(text)
    parts[::2] = ["\n".join("".join(map(_seen, line)) for line in part.split("\n")) for part in parts[::2]]
    return "".join(parts)


def to_json(value: Mapping[str, object] | Sequence[object], indent: int | None = None) -> str:
    """Return ``value`` as JSON that reads back the same and is safe to look at: what is not seen is escaped."""
    return in_json(json.dumps(value, indent=indent, ensure_ascii=False))


def in_json(text: str) -> str:
    """Return JSON that reads back the same and is safe to look at: JSON itself lets some of what is not seen stand."""
    if text.isprintable():
        return text
    # Line breaks stand between the values alone: within them, JSON itself escapes those.
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def _seen(character: str) -> str:
    return character if character.isprintable() else " " if character.isspace() else "?"
