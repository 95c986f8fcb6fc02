"""What ``fleet.toml`` says → checked settings, in start order. Pure: it opens no file and asks no machine.

Everything that is wrong is said at once, each ``file: key: found …, expected …``; nothing is repaired in
silence. :mod:`~aurora_circus.document` says what each key may hold; here stands what one means for another.
"""

import re
import shlex
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePath
from typing import Any

from aurora_circus import tables
from aurora_circus.access import is_loopback
from aurora_circus.document import BUILTIN, DEVICES, DOCUMENT, LOG_DIR, RUN_DIR, UNIX_ONLY
from aurora_circus.settings import Api, Fleet, Journal, Logs, Probe, Restart, System
from aurora_circus.tables import Faults, Where, dotted, shown, suggestion

AT_SPAWN = "\0"
"""Stands in an argument for the port that a system with ``port_policy = "dynamic"`` gets at its spawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the file does not say of itself. All paths are absolute."""

    source: str
    """What the person calls the file."""
    file: str
    """Its absolute path, or what stands in its place."""
    base: PurePath
    """The folder that relative paths start from."""
    home: PurePath | None
    """What ``~`` stands for, where the person has one."""
    bundled: PurePath
    """The folder of the five reference systems."""
    interpreter: str
    """The Python that runs us: what ``{python}`` stands for unless somebody says otherwise."""
    project_root: str | None = None
    """By option or environment, which beat the file."""
    python: str | None = None
    windows: bool = False
    """Whether the fleet runs on Windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How one system is run."""

    argv: tuple[str, ...]
    """May hold :data:`AT_SPAWN`."""
    working_dir: str
    circus: Mapping[str, str]
    """Options for circus's watcher, as its configuration has them."""
    stop_path: str | None = None
    """What to POST to on Windows, where there is no SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A checked fleet: nothing in it contradicts anything else."""

    source: str
    """What the person calls the file it came from."""
    file: str
    """The absolute path of that."""
    fleet: Fleet
    systems: tuple[System, ...]
    """In start order: whatever a system depends on stands before it, and each level before the next."""
    commands: Mapping[str, Command]
    """By the system's key."""
    python: str
    """What ``{python}`` stands for."""


def parse(data: Mapping[str, Any], around: Surroundings) -> Config:
    """Check what a TOML reader made of ``fleet.toml``.

    Raises:
        ConfigError: with everything that is wrong.
    """
    faults = Faults(around.source)
    given = tables.take(data, DOCUMENT, (), faults)
    reading = _Reading(given, around, faults)
    drafts = reading.drafts()
    order = _order(drafts, reading.disabled, faults)
    fleet = reading.fleet(drafts, order)
    commands = {key: reading.command(key, draft) for key, draft in drafts.items()}
    _check_ports(drafts, fleet, faults)
    if not drafts and not faults:
        faults.say(("system",), "no enabled system", "at least one")
    faults.check()
    systems = tuple(reading.system(key, drafts[key], fleet) for key in order)
    return Config(
        source=around.source,
        file=around.file,
        fleet=fleet,
        systems=systems,
        commands=commands,
        python=reading.python,
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of ``fleet.toml``, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **tables.schema(DOCUMENT)}


class _Reading:
    """One file being read: what its tables hold, once each value is known to be right by itself."""

    def __init__(self, given: Mapping[str, Any], around: Surroundings, faults: Faults) -> None:
        self._given = given
        self._around = around
        self._faults = faults
        head = given.get("fleet", {})
        self._root = around.project_root or head.get("project_root")
        self._builtin = BUILTIN if head.get("builtin", True) else {}
        python = around.python or head.get("python", around.interpreter)
        self.python = self._path(python, ("fleet", "python")) if is_path(python, windows=around.windows) else python
        self.disabled = {key for key, table in given.get("system", {}).items() if not table.get("enabled", True)}

    def drafts(self) -> dict[str, dict[str, Any]]:
        """Return what is said of each enabled system, the five first, over the fleet-wide defaults."""
        own = self._given.get("system", {})
        keys = [key for key in dict.fromkeys((*self._builtin, *own)) if key not in self.disabled]
        for key in DEVICES.intersection(keys) if self._around.windows else ():
            self._faults.say(("system", key), f"the key {key}, a device on Windows", "a key that a log can be called")
        return {key: self._draft(self._builtin.get(key, {}), own.get(key, {})) for key in keys}

    def _draft(self, builtin: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        layers = (self._given, builtin, own)
        merged = {
            name: {key: value for layer in layers for key, value in layer.get(name, {}).items()}
            for name in ("probe", "restart", "stop")
        }
        bundled = bool(builtin) and not self._root and not {"command", "working_dir"} & own.keys()
        return {**builtin, **own, **merged, "bundled": bundled}

    def fleet(self, drafts: Mapping[str, Mapping[str, Any]], order: Iterable[str]) -> Fleet:
        """Return what belongs to no single system."""
        head = self._given.get("fleet", {})
        ports = head.get("port_range")
        if ports is not None and ports[0] > ports[1]:
            self._faults.add(("fleet", "port_range"), ports, "two ports [low, high], low no higher than high")
        return Fleet(
            **{name: head[name] for name in ("name", "port_range") if name in head},
            file=self._around.file,
            run_dir=self._path(head.get("run_dir", RUN_DIR), ("fleet", "run_dir")),
            log_dir=self._path(head.get("log_dir", LOG_DIR), ("fleet", "log_dir")),
            systems=tuple(order),
            bundled=any(draft["bundled"] for draft in drafts.values()),
            api=self._api(),
            journal=Journal(**self._given.get("journal", {})),
            logs=Logs(**self._given.get("logs", {})),
        )

    def _api(self) -> Api:
        table = self._given.get("api", {})
        files = {
            name: self._path(table[name], ("api", name)) for name in ("token_file", "read_token_file") if name in table
        }
        api = Api(**{**table, **files})
        where = ("api", "token_file")
        if api.token_file is None and not is_loopback(api.host) and not self._faults.about(where):
            self._faults.say(where, "nothing", f"a file, since api.host {shown(api.host)} is not loopback")
        if api.token_file is not None and api.token_file == api.read_token_file:
            self._faults.add(("api", "read_token_file"), api.read_token_file, "another file than api.token_file")
        return api

    def command(self, key: str, draft: Mapping[str, Any]) -> Command:
        """Return how a system is run; in the place of what is wrong, something that need not make sense."""
        where = ("system", key)
        for name in ("command", "port"):
            if name not in draft and not self._faults.about((*where, name)):
                self._faults.say((*where, name), "nothing", f"a {name}, since it is no built-in system")
        folder = draft.get("working_dir", self._root) or (self._around.bundled if draft["bundled"] else ".")
        port = AT_SPAWN if draft.get("port_policy") == "dynamic" else str(draft.get("port"))
        names = {"python": self.python, "port": port}
        circus = dict(_flat(draft.get("circus", {})))
        for name in circus if self._around.windows else ():
            if name.startswith(UNIX_ONLY):
                self._faults.add((*where, "circus", name), circus[name], "it left out: Windows has nothing like it")
        return Command(
            argv=self._argv(draft.get("command"), names, (*where, "command")),
            working_dir=self._path(str(folder), (*where, "working_dir")),
            circus=circus,
            stop_path=draft["stop"].get("path"),
        )

    def _argv(self, command: str | None, names: Mapping[str, str], where: Where) -> tuple[str, ...]:
        if command is None:
            return ()
        try:
            argv = words(command, windows=self._around.windows)
        except ValueError as error:
            self._faults.add(where, command, f"a command line whose quotes and escapes are closed ({error})")
            return ()
        if not argv or not argv[0]:
            self._faults.add(where, command, "a program and its arguments")
        if any("\r" in word for word in argv):
            self._faults.add(where, command, "arguments without carriage returns, which circus's configuration loses")
        try:
            return tuple(_filled(word, names) for word in argv)
        except ValueError:
            self._faults.add(where, command, "no placeholders but {python} and {port}; {{ and }} for braces")
            return ()

    def system(self, key: str, draft: Mapping[str, Any], fleet: Fleet) -> System:
        """Return what the plugin must know of a system about which nothing is wrong."""
        plain = {name: draft[name] for name in _PLAIN if name in draft}
        if self._around.windows:  # where Python would write in the code page of the machine
            plain["env"] = {"PYTHONUTF8": "1", **plain.get("env", {})}
        probe = {**draft["probe"], "metrics_path": draft["probe"].get("metrics_path") or None}
        return System(
            key=key,
            **{"title": key, **plain, **{name: draft["stop"][name] for name in _STOP if name in draft["stop"]}},
            log=str(self._around.base / fleet.log_dir / f"{key}.log"),
            run_dir=fleet.run_dir,
            probe=Probe(**probe),
            restart=Restart(**draft["restart"]),
        )

    def _path(self, text: str, where: Where) -> str:
        """Return ``text`` as an absolute path."""
        first, _, rest = (text.replace("\\", "/") if self._around.windows else text).partition("/")
        if first.startswith("~"):
            if first != "~" or self._around.home is None:
                self._faults.add(where, text, "a path written out, or in one's own home directory (~/)")
                return text
            text = str(self._around.home / rest)
        path = str(self._around.base / text)
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", path):
            self._faults.add(where, path, "a path in UTF-8, without line breaks and the like")
        return path


_PLAIN = ("title", "port", "port_policy", "critical", "autonomous", "depends_on", "gate", "env")
"""What of a system's table is a field of its settings as it stands."""
_STOP = ("graceful_timeout",)
"""Likewise, of its table ``stop``."""


def is_path(program: str, *, windows: bool) -> bool:
    """Say whether a program is named by its path, and not to be looked for on the PATH."""
    return "/" in program or (windows and "\\" in program)


def words(command: str, *, windows: bool) -> list[str]:
    r"""Return the words of a command line; on Windows a ``\`` is one, and escapes nothing.

    Raises:
        ValueError: a quote or an escape is not closed.
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if windows:
        lexer.escape = ""
    return list(lexer)


def _check_ports(drafts: Mapping[str, Mapping[str, Any]], fleet: Fleet, faults: Faults) -> None:
    """Every port has one owner, and there are ports for those that may move."""
    owners = {fleet.api.port: "api.port"}
    for key, draft in drafts.items():
        port = draft.get("port")
        if port in owners:
            faults.say(("system", key, "port"), f"{port}, which is {owners[port]} too", "a port of its own")
        elif port is not None:
            owners[port] = dotted(("system", key, "port"))
    moving = [key for key, draft in drafts.items() if draft.get("port_policy") == "dynamic"]
    where = ("fleet", "port_range")
    if not moving or faults.about(where):
        return
    if fleet.port_range is None:
        faults.say(
            where,
            "nothing",
            f'[low, high], since {dotted(("system", moving[0]))} has port_policy = "dynamic"',
        )
    elif all(port in owners for port in range(fleet.port_range[0], fleet.port_range[1] + 1)):
        faults.add(where, fleet.port_range, "at least one port that is no system's and not the API's")


def _order(drafts: Mapping[str, Mapping[str, Any]], disabled: set[str], faults: Faults) -> list[str]:
    """Return the keys in start order: level by level of the dependencies, each level as the file has it."""
    edges: dict[str, list[str]] = {}
    for key, draft in drafts.items():
        edges[key] = []
        for other in draft.get("depends_on", ()):
            wrong = _not_a_dependency(key, other, drafts, disabled)
            if wrong:
                faults.add(("system", key, "depends_on"), other, wrong)
            else:
                edges[key].append(other)
    while cycle := _cycle(edges):
        faults.say(("system", cycle[0], "depends_on"), f"a cycle {' → '.join(cycle)}", "systems that can start first")
        edges = {key: [] if key in cycle else others for key, others in edges.items()}
    place = {key: number for number, key in enumerate(drafts)}
    sorter = TopologicalSorter(edges)
    sorter.prepare()
    order: list[str] = []
    while level := sorter.get_ready():
        order += sorted(level, key=place.__getitem__)
        sorter.done(*level)
    return order


def _not_a_dependency(key: str, other: str, drafts: Mapping[str, Any], disabled: set[str]) -> str | None:
    if other == key:
        return "another system than itself"
    if other in disabled:
        return f"a system that runs: {other} has enabled = false; leave it out here, or enable it"
    if other not in drafts:
        return suggestion(other, [each for each in drafts if each != key])
    return None


def _cycle(edges: Mapping[str, list[str]]) -> list[str]:
    """Return a cycle, each depending on the next and the first one last again; or an empty list."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][::-1]
        return cycle
    return []


def _filled(word: str, names: Mapping[str, str]) -> str:
    """Return ``word`` with its placeholders filled in.

    Raises:
        ValueError: there is another one, or a brace alone.
    """
    text = ""
    for literal, name, form, conversion in string.Formatter().parse(word):
        text += literal
        if name is None:
            continue
        if name not in names or form or conversion:
            raise ValueError(name)
        text += names[name]
    return text


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Go through circus options as circus's configuration spells them, inner tables as dotted names."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
