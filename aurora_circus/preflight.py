"""What this machine has to say to a checked fleet before anything starts. It looks and asks, no more.

An *error* is what keeps the fleet, or a system, from ever starting; a *warning* is what a person should know
and the fleet can live with; a *note* explains. Everything is looked at, and everything found is told.
"""

import os
import shlex
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aurora_circus import ports
from aurora_circus.config import AT_SPAWN, Command, Config, is_path, words
from aurora_circus.document import BUILTIN
from aurora_circus.endpoints import socket_dir
from aurora_circus.facts import Holder
from aurora_circus.settings import System

WINDOWS = sys.platform == "win32"
_NEEDED = ("circus", "aurora_circus.hooks")
"""What circusd must be able to import: without our hooks, every watcher vanishes."""
_IMPORTS = f"from importlib.util import find_spec; raise SystemExit(not all(map(find_spec, {_NEEDED})))"
_PATIENCE = 20.0
"""Seconds until an interpreter that does not answer is called broken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen. ``key`` is the key of ``fleet.toml`` that it is about, or ``circusd``."""

    severity: Literal["error", "warning", "note"]
    key: str
    message: str


def inspect(
    config: Config,
    *,
    own: Collection[int] = (),
    circusd: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Return everything worth saying, errors first.

    ``own`` are the processes of this very fleet, whose ports are no news. ``circusd`` is the program that runs
    it, :func:`find_circusd`'s unless given; ``environ`` is its environment, ours unless given.
    """
    variables = os.environ if environ is None else environ
    found = [
        *_circusd(circusd or find_circusd(variables), variables),
        *_directories(config),
        *_tokens(config),
        *(each for system in config.systems for each in _program(system, config, variables)),
        *(each for system in config.systems for each in _account(system.key, config.commands[system.key])),
        *_ports(config, own),
        *_scripts_here(config),
    ]
    order = ("error", "warning", "note")
    return sorted(dict.fromkeys(found), key=lambda each: order.index(each.severity))


def find_circusd(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the circusd beside the interpreter that runs us, or the first on the PATH."""
    path = (os.environ if environ is None else environ).get("PATH", os.defpath)
    beside = Path(sys.executable).parent
    if WINDOWS:  # where a search would look into the current directory first
        here = (each / "circusd.exe" for each in (beside, beside / "Scripts"))
        found = next((str(each) for each in here if each.is_file()), None)
    else:
        found = shutil.which("circusd", path=str(beside))
    return found or shutil.which("circusd", path=path)


def _circusd(program: str | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    if program is None:
        yield Finding("error", "circusd", f"there is none beside {sys.executable}, nor on the PATH")
        return
    try:
        interpreter = _interpreter(Path(program))
        done = subprocess.run(
            [*interpreter, "-c", _IMPORTS],
            env=dict(environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        yield Finding("error", "circusd", f"{program} cannot be run: {error}")
        return
    if done.returncode:
        told = f"{program} is run by {shlex.join(interpreter)}, which cannot import circus and aurora_circus"
        yield Finding("error", "circusd", f"{told}: install aurora-circus there")
    else:
        yield Finding("note", "circusd", f"{program} runs the fleet")


def _interpreter(script: Path) -> list[str]:
    """Return the command that runs a Python script, from its first lines.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no such lines.
    """
    if script.suffix.lower() == ".exe":
        return _interpreter_of_launcher(script)
    with script.open("rb") as file:
        first, second = (os.fsdecode(file.readline(4096)).strip() for _ in range(2))
    if not first.startswith("#!"):
        raise ValueError("it does not say which Python runs it")
    # what pip writes where the path is too long, or has a space in it, for the first line
    return [shlex.split(second)[1]] if second.startswith("'''exec' ") else shlex.split(first[2:])


def _interpreter_of_launcher(program: Path) -> list[str]:
    """Return the command that a launcher of Windows' runs: between the program and the archive at its end.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    try:
        with zipfile.ZipFile(program) as archive:
            begins = min(each.header_offset for each in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError("it does not say which Python runs it") from error
    line = program.read_bytes()[:begins].rpartition(b"#!")[2].strip()
    return words(os.fsdecode(line), windows=True)


def _directories(config: Config) -> Iterator[Finding]:
    fleet = config.fleet
    for key, path in (
        ("fleet.run_dir", fleet.run_dir),
        ("fleet.run_dir", socket_dir(fleet)),
        ("fleet.log_dir", fleet.log_dir),
    ):
        there = next(each for each in (Path(path), *Path(path).parents) if os.path.lexists(each))
        if not there.is_dir():
            yield Finding("error", key, f"{path} cannot be made: {there} is no directory")
        elif not os.access(there, os.W_OK | os.X_OK):
            what = "is" if there == Path(path) else f"cannot be made: {there} is"
            yield Finding("error", key, f"{path} {what} not writable for us")
    logs = Path(fleet.log_dir)
    if not WINDOWS and logs.is_dir() and logs.stat().st_mode & stat.S_IWOTH:
        yield Finding("warning", "fleet.log_dir", f"everybody may write to {logs}, and redirect what goes there")


def _tokens(config: Config) -> Iterator[Finding]:
    api = config.fleet.api
    for key, name in (("api.token_file", api.token_file), ("api.read_token_file", api.read_token_file)):
        if name is None:
            continue
        file = Path(name)
        try:
            text = file.read_text(encoding="utf-8").strip() if file.is_file() or not file.exists() else ""
            mode = file.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            yield Finding("error", key, f"{name} cannot be read: {error}")
            continue
        if len(text.split()) != 1:
            yield Finding("error", key, f"{name} holds {'blanks in the token' if text else 'no token'}")
        if not WINDOWS and mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
            yield Finding("warning", key, f"others may read or change {name}: chmod 600 {shlex.quote(name)}")


def _program(system: System, config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    command = config.commands[system.key]
    key = f"system.{system.key}.command"
    folder = Path(command.working_dir)
    if not folder.is_dir():
        yield Finding("error", f"system.{system.key}.working_dir", f"{folder} is no directory")
        return
    program, *arguments = (each.replace(AT_SPAWN, str(system.port)) for each in command.argv)
    python = program == config.python
    path = _search_path(folder, {**environ, **system.env})
    by_path = is_path(program, windows=WINDOWS)
    if shutil.which(str(folder / program) if by_path else program, path=path) is None:
        where = "" if by_path else " on the PATH"
        yield Finding("error", "fleet.python" if python else key, f"there is no program {program}{where}")
    if python and arguments and not arguments[0].startswith("-") and not (folder / arguments[0]).exists():
        yield Finding("error", key, f"there is no script {folder / arguments[0]}")


def _search_path(folder: Path, variables: Mapping[str, str]) -> str:
    """Return where a program is looked for; on Windows first in its own directory, and however PATH is written."""
    if not WINDOWS:
        return variables.get("PATH", os.defpath)
    path = next((value for name, value in reversed(list(variables.items())) if name.upper() == "PATH"), os.defpath)
    return f"{folder}{os.pathsep}{path}"


def _account(key: str, command: Command) -> Iterator[Finding]:
    """Say what keeps circus from starting a process as the user and with the limits that were asked for."""
    found: Iterable[tuple[str, str]] = ()
    if sys.platform != "win32" and command.circus:
        from aurora_circus import accounts  # noqa: PLC0415 - Unix only, like the options themselves

        found = accounts.faults(command.circus)
    for option, message in found:
        yield Finding("error", f"system.{key}.circus.{option}", message)


def _ports(config: Config, own: Collection[int]) -> Iterator[Finding]:
    api = config.fleet.api.port
    taken = _holders({api, *(each.port for each in config.systems)}, own)
    if api in taken:
        until = "the fleet runs without its API until that is free"
        yield Finding("warning", "api.port", f"{api} is taken by {taken[api]}: {until}")
    for system in config.systems:
        if system.port not in taken:
            continue
        key, told = f"system.{system.key}.port", f"{system.port} is taken by {taken[system.port]}"
        if system.port_policy == "dynamic":
            yield Finding("note", key, f"{told}: it gets a free one of fleet.port_range")
        else:
            yield Finding("warning", key, f"{told}: it cannot come up until that is free")


def _holders(wanted: Collection[int], own: Collection[int]) -> dict[int, Holder]:
    """Return who else holds which of the ports; one look for all of them, as most are free."""
    taken = ports.taken()
    found = {port: ports.holder(port) for port in sorted(set(wanted) if taken is None else taken & set(wanted))}
    return {port: holder for port, holder in found.items() if holder is not None and holder.pid not in own}


def _scripts_here(config: Config) -> Iterator[Finding]:
    """Say how to run the person's own scripts where the bundled ones are about to run beside them."""
    names = [str(each["command"]).split()[-1] for each in BUILTIN.values()]
    here = [name for name in names if Path(name).is_file()]
    if config.fleet.bundled and here:
        how = 'to run these, say --project-root . or project_root = "." in fleet.toml'
        yield Finding("note", "fleet.project_root", f"the bundled systems run, but {', '.join(here)} lie here: {how}")
