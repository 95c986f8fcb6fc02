"""Finds and reads ``fleet.toml`` and adds what it does not say of itself. An adapter to the file system.

Option beats environment beats file, for ``project_root`` and ``python``. What is wrong with the file as such
is said in the words of ``config``: ``file: where: found …, expected …``. Nothing is written or started.
"""

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aurora_circus import config
from aurora_circus.config import Config, Surroundings
from aurora_circus.errors import ConfigError, MachineError
from aurora_circus.files import open_regular
from aurora_circus.tables import one_line

NAME = "fleet.toml"
"""Looked for in the current directory when nobody names a file."""
NO_FILE = "the built-in defaults"
"""What the source of a fleet without a file is called."""
PROJECT_ROOT = "AURORA_PROJECT_ROOT"
PYTHON = "AURORA_PYTHON"
"""Environment variables; an empty one says nothing."""
BUNDLED = Path(__file__).resolve().parent / "systems"
"""The five reference systems."""


def load(
    file: str | None = None,
    *,
    project_root: str | None = None,
    python: str | None = None,
    environ: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> Config:
    """Return the checked fleet of ``file``, of the ``fleet.toml`` here, or the built-in one if there is none.

    ``project_root`` and ``python`` are the options of the command line, relative to the current directory.
    ``environ`` is ``os.environ`` unless given; ``platform`` is the ``sys.platform`` that the fleet is for.

    Raises:
        ConfigError: with everything that is wrong.
    """
    windows = platform == "win32"
    variables = os.environ if environ is None else environ
    here, path = _here(), find(file)
    data = {} if path is None else read(path)  # first: a loop of symbolic links leads nowhere
    root, interpreter = project_root or variables.get(PROJECT_ROOT), python or variables.get(PYTHON)
    around = Surroundings(
        source=NO_FILE if path is None else str(path),
        file=NO_FILE if path is None else str(here / path),
        base=here if path is None else path.resolve().parent,
        home=_home(),
        bundled=BUNDLED,
        interpreter=sys.executable,
        project_root=_absolute(root, here) if root else None,
        python=_absolute(interpreter, here)
        if interpreter and config.is_path(interpreter, windows=windows)
        else interpreter or None,
        windows=windows,
    )
    return config.parse(data, around)


def find(file: str | None = None) -> Path | None:
    """Return the path of the fleet file; None when nobody named one and there is none here."""
    if file is not None:
        return Path(file)
    here = Path(NAME)
    return here if os.path.lexists(here) else None


def read(path: Path) -> dict[str, Any]:
    """Return what the TOML file at ``path`` holds.

    Raises:
        ConfigError: it cannot be read, or is no TOML in UTF-8.
    """
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY, follow=True), "rb") as file:
            raw = file.read()
    except OSError as error:
        raise _fault(path, "file", f"nothing to read ({error.strerror})", "a readable TOML file") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _fault(path, "line 1", "text in UTF-16", "text in UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{raw[error.start]:02x}"
        raise _fault(path, f"line {line}", found, "text in UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).removesuffix(")").rpartition(" (at ")
        raise _fault(path, where, f"what TOML does not allow ({what})", "TOML 1.0") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a list 1,000 lists deep
        raise _fault(path, "file", f"what nobody can read ({error})", "values of a reasonable size") from error


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise MachineError(f"looking up the current directory: {error.strerror}") from error


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry in the user database, and without HOME
        return None


def _absolute(path: str, here: Path) -> str:
    return path if path.startswith("~") else str(here / path)


def _fault(path: Path, where: str, found: str, expected: str) -> ConfigError:
    return ConfigError([one_line(f"{path}: {where}: found {found}, expected {expected}")])
