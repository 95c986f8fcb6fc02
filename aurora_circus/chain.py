"""The chain over the journal's records: each bears a link made of the link before it and of its own bytes. Pure.

A link is the first half of a SHA-256, in hexadecimal digits. It stands in the line as the last field, ``chain``; what
is hashed is the line without that field and without its end. So whoever changes, removes, adds or moves a line leaves a
link that does not fit. The chain has no key: it does not keep anybody from making all links anew from a changed line
on, but then the last link is another one than the saved state, the API or a copy elsewhere knows.

Links are made when a line is written, not when an event is recorded: a ``journal_gap`` may stand in its place by then.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard

FIELD = "chain"
BEGIN = ""
"""What stands for the link before the first one."""
DIGITS = 32
"""Of a link: 128 bits, so that nobody finds two lines with the same one."""
_MOST = 2**53 - 1
"""Every reader of JSON keeps a number up to this one whole."""
_OPEN = b', "chain": "'
_CLOSE = b'"}'
_LINKED = re.compile(rb', "chain": "([0-9a-f]{32})"\}')
_TAIL = len(_OPEN) + DIGITS + len(_CLOSE)


class Head(NamedTuple):
    """A record that was written, by its number and its link."""

    seq: int
    """0: there is none yet."""
    link: str = BEGIN
    """:data:`BEGIN` where the record has none: it is older than the chain."""


class Past(NamedTuple):
    """What an earlier life of the journal's writer has saved of it."""

    head: Head = Head(0)
    """A record that it had written."""
    given: int = 0
    """The last number that it had given, whether that record was written or not."""


def link(before: str, bare: bytes) -> str:
    """Return the link of a record of which ``bare`` is the line, without its link and its end."""
    return hashlib.sha256(before.encode() + bare).hexdigest()[:DIGITS]


def save(past: Past) -> dict[str, object]:
    """Return it as JSON can hold it."""
    return {"seq": past.head.seq, FIELD: past.head.link, "given": past.given}


def read(said: object) -> Past:
    """Read what was saved or told of a journal; numbers are 0 where that makes no sense."""
    found = said if isinstance(said, Mapping) else {}
    seq, link, given = found.get("seq"), found.get(FIELD), found.get("given")
    head = Head(seq, link) if _is_number(seq) and isinstance(link, str) else Head(0)
    return Past(head, given if _is_number(given) else 0)


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= _MOST


def bind(before: str, lines: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
    """Return lines of records with their links in them, and those links; ``before`` is the link they go on from."""
    bound, links = [], []
    for line in lines:
        bare = line.rstrip(b"\n")
        before = link(before, bare)
        bound.append(bare[:-1] + _OPEN + before.encode() + _CLOSE + b"\n")
        links.append(before)
    return bound, links


def split(line: bytes) -> tuple[bytes, str | None]:
    """Return a record's line without its link and its end, and the link; None where there is none.

    The line's end may be another system's: a copy in which each line ends with CR LF is a copy all the same.
    """
    line = line.rstrip(b"\r\n")
    found = _LINKED.fullmatch(line, max(0, len(line) - _TAIL))
    return (line, None) if found is None else (line[: found.start()] + b"}", found[1].decode())
