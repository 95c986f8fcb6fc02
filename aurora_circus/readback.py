"""Reads a rendered ``circus.ini`` back with circus's own code and compares. An adapter to circus's parser.

It knows nothing of what a value means: what does not come back as it went in is a fault of its key.
"""

import configparser
import contextlib
import functools
import itertools
import locale
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_circus.tables import Faults, Where, shown

_CONTEXT = 20
"""Characters that a fault shows before the place at which two values differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of ``circus.ini``."""

    name: str
    comment: Sequence[str]
    options: Mapping[str, str]
    origin: Mapping[str, Where]
    """Option → the key of fleet.toml it comes from; ``""`` stands for all other options."""
    argv: Sequence[str] | None = None
    """The arguments that circus has to make of a watcher's ``cmd`` and ``args``."""


def compare(text: str, sections: Sequence[Section], environment: Mapping[str, str], faults: Faults) -> None:
    """Add a fault for every value that circus reads otherwise than ``sections`` has it.

    ``environment`` is what a process has at its spawn, as far as its arguments name it.
    """
    # circus takes 0.2 s to import, and only rendering pays for it
    from circus.config import get_config, read_config  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="aurora-") as folder:
        path = Path(folder) / "circus.ini"
        path.write_bytes(text.encode())
        try:
            with _in_utf8():
                parser, _ = read_config(str(path))
                watchers = {each["name"]: each for each in get_config(str(path))["watchers"]}
        except (OSError, ValueError, configparser.Error) as error:
            faults.say(("fleet",), f"values that circus cannot read back ({error})", "those that it can, in UTF-8")
            return
    if parser.sections() != [each.name for each in sections]:
        faults.say((), f"values that circus takes for sections {parser.sections()}", "values that it can read back")
        return
    for section in sections:
        read = {name: value for name, value in parser.items(section.name) if name != "__name__"}
        _compare_options(section, read, faults)
        watcher = watchers.get(section.name.partition(":")[2])
        if section.argv is not None and not faults.about(section.origin["args"]):
            argv = None if watcher is None else _argv(watcher, environment)
            if argv != [_as_read(each) for each in section.argv]:
                faults.add(section.origin["args"], argv, "arguments that circus hands over as they are")


@contextlib.contextmanager
def _in_utf8() -> Iterator[None]:
    """Have circus read UTF-8 on Windows, as the circusd does that we start (``-X utf8``), whatever we run in."""
    from circus import config  # noqa: PLC0415 - as above

    if sys.platform == "win32":
        config.open = functools.partial(open, encoding="utf-8")
    try:
        yield
    finally:
        vars(config).pop("open", None)


def _compare_options(section: Section, read: Mapping[str, str], faults: Faults) -> None:
    for name in {**section.options, **read}:
        wrote, got = section.options.get(name), read.get(name)
        if wrote is None or got != _as_read(wrote):
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(wrote or "", got or "", strict=False))
            start = max(0, sum(1 for _ in same) - _CONTEXT)
            wrote, got = (each and f"{'…' * (start > 0)}{each[start:]}" for each in (wrote, got))
            expected = f"a value that circus can hold, not one it reads back as {shown(got)}"
            faults.add(section.origin.get(name, section.origin[""]), wrote, expected)


def _as_read(text: str) -> str:
    """Return ``text`` as circus sees it, who reads UTF-8 in whatever encoding this process has; not on Windows."""
    if sys.platform == "win32":
        encoding = "utf-8"
    else:
        encoding = locale.getpreferredencoding(do_setlocale=False)
    return text.encode().decode(encoding)


def _argv(watcher: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Return the arguments that circus would start the watcher's process with."""
    from circus.process import Process  # noqa: PLC0415 - as above

    process = Process(
        watcher["name"],
        1,
        watcher["cmd"],
        args=watcher["args"],
        env=dict(environment),
        working_dir="/",
        spawn=False,
        pipe_stdout=False,
        pipe_stderr=False,
    )
    argv: list[str] = process.format_args()
    return argv
