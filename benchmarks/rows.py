"""One measured number is one line of JSON."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

MACHINE = "the machine"
"""Who is named as a peer where the machine's own limit was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of whom. Seconds, unless the page says otherwise of that measure."""

    measure: str
    peer: str
    value: float | None
    """None: it did not happen as long as it was waited for."""
    variant: str = ""
    """What of several ways, or of several numbers, this is."""
    services: int = 0
    trial: int = 0
    run: str = ""
    """When the run began: rows of one run were measured in turns."""
    more: dict[str, Any] = field(default_factory=dict)
    """What else is worth keeping; no table shows it."""


def read(text: str) -> Iterator[Row]:
    """Yield the rows of some lines; a line that a broken-off run left unfinished is none."""
    names = {each.name for each in fields(Row)}
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        yield Row(**{name: value for name, value in found.items() if name in names})


class Sink:
    """Where rows go, each as soon as it is known: a run that breaks off keeps what it has measured."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._begun = time.monotonic()
        self.run = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def put(self, rows: Iterable[Row]) -> None:
        """Write rows as they come."""
        for row in rows:
            said = {**asdict(row), "run": self.run, "at": round(time.time(), 1)}
            if isinstance(row.value, float):
                said["value"] = round(row.value, 7)
            self._file.write(json.dumps(said) + "\n")
            self._file.flush()

    def say(self, text: str) -> None:
        """Tell whoever looks on."""
        sys.stderr.write(f"[{time.monotonic() - self._begun:7.1f} s] {text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Write no more."""
        self._file.close()
