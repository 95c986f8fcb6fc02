"""A checked fleet → the text of ``circus.ini``. An adapter to Jinja2 and, through ``readback``, to circus.

The same fleet gives the same bytes. What was rendered is read back by circus before anybody gets to see it:
a value comes out exactly as it went in, or is refused. circus cuts at `` ;``, strips edges,
takes a carriage return for the end of a line and expands ``$(circus.x)`` and ``((circus.x))``, twice
Quoting gets arguments past all of that but the carriage return; settings travel as JSON.
"""

import hashlib
import os
import re
import shlex
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import aurora_circus
from aurora_circus import marks, readback, settings
from aurora_circus.config import AT_SPAWN, Command, Config
from aurora_circus.endpoints import endpoints, socket_dir
from aurora_circus.errors import MachineError
from aurora_circus.files import replace
from aurora_circus.readback import Section
from aurora_circus.rundir import PIDFILE, make_directories, prepare_endpoints
from aurora_circus.settings import Fleet, System
from aurora_circus.tables import Faults, Where, one_line

__all__ = ["PLUGIN", "SHELL", "endpoints", "make_directories", "prepare_endpoints", "render", "write"]

PLUGIN = "aurora"
"""The watcher that runs the plugin."""
SHELL = (
    f'export {marks.LEADER}=$$; [ -z "${{{marks.SEAL}:-}}" ] || ulimit -w "${marks.SEAL}" 2>/dev/null || '
    f'ulimit -x "${marks.SEAL}" 2>/dev/null || :; unset {marks.SEAL}; '
    '{ [ -f "$0" ] || [ ! -e "$0" ]; } && true 2>/dev/null >>"$0" || exec "$@" >/dev/null 2>&1; exec "$@" >>"$0" 2>&1'
)
"""Runs its arguments with their output appended to the file ``$0``; where that cannot be opened, without.

What is there and no regular file is not even tried: a FIFO that nobody reads would be opened for ever.
Whoever comes of it bears its pid, which is that of the system's leader, and its seal: :mod:`~aurora_circus.marks`.
The limit that this is has one letter in dash and in BusyBox, and another one in bash.
"""
RUNNER = "import sys; sys.path.insert(0, sys.argv.pop(1)); from aurora_circus import runner; runner.main()"
"""On Windows: runs a system by ``runner``, whatever else that interpreter is used for."""
PLUGIN_RUNNER = "from circus import plugins; plugins.main()"
"""Runs the plugin as circus itself does."""
_PORT_AT_SPAWN = "$(circus.env.aurora_port)"
"""circus puts the variable's value there when it spawns the process; the hook has set it by then."""
_PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./_-]+")
_FIRST = 1000
"""The priority of what depends on nothing; the plugin's is above it, a dependent's below that of all it needs."""
_STEP = 10
"""Between the priorities of two systems, so that a watcher of somebody's own fits in."""
_PRIVATE = 0o600
_ALWAYS: Mapping[str, str] = {"singleton": "True", "numprocesses": "1", "copy_env": "True", "max_age": "0"}


def render(config: Config, *, python: str, platform: str = sys.platform) -> str:
    """Return the text of ``circus.ini``; ``python`` is the absolute path of the interpreter for the plugin.

    ``platform`` is the ``sys.platform`` of the machine that it is for; another one's is good for a look only.

    Raises:
        ConfigError: circus would read something else than what the person wrote.
    """
    faults = Faults(config.source)
    form = (_Windows if platform == "win32" else _Unix)(config.fleet, python)
    sections = [form.circus(), _plugin(config.fleet, form)]
    levels: dict[str, int] = {}
    for system in config.systems:
        levels[system.key] = 1 + max((levels[each] for each in system.depends_on), default=-1)
        priority = _FIRST - _STEP * levels[system.key]
        sections.append(_system(system, config.commands[system.key], priority, form))
    for section in sections:
        for name, value in section.options.items():
            if "\r" in value or not _encodable(value):  # they would take other values along with them
                where = section.origin.get(name, section.origin[""])
                faults.add(where, value, "a value in UTF-8 without carriage returns, which circus loses")
    faults.check()
    text = _fill(config, sections, form.endpoints[0], windows=platform == "win32")
    readback.compare(text, sections, {"AURORA_PORT": "1"}, faults)
    faults.check()
    return text


def write(text: str, path: Path) -> None:
    """Put ``text`` into the file ``path``, whole or not at all, and for its owner only: it may hold secrets.

    A file that holds it already is left as it is: that takes no room on a disk that has none.

    Raises:
        MachineError: it cannot be written; what was there before is still there.
    """
    try:
        if _holds(path, text.encode()):
            return
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8", newline="\n")  # /dev/stdout, say: nothing to be replaced
        else:
            _replace(text, path)
    except OSError as error:
        raise MachineError(f"writing {path}: {error.strerror}") from error


def _holds(path: Path, data: bytes) -> bool:
    """Say whether a regular file holds just that, and is its owner's alone."""
    try:
        found = path.lstat()
        own = sys.platform == "win32" or stat.S_IMODE(found.st_mode) == _PRIVATE
        return stat.S_ISREG(found.st_mode) and own and found.st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _replace(text: str, path: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123 - a descriptor is no path
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        replace(Path(name), path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# --- sections ----------------------------------------------------------------------------------------------


class _Unix:
    """How circus runs things on Unix: sockets in a private directory, and a shell that opens a log."""

    hooks: tuple[str, ...] = ("before_start", "before_spawn", "before_stop")
    plugin_hooks: tuple[str, ...] = ("before_start", "before_spawn", "before_stop")
    send_hup = "True"

    def __init__(self, fleet: Fleet, python: str) -> None:
        self.fleet = fleet
        self.python = python
        self.endpoints = endpoints(fleet, "linux")

    def circus(self) -> Section:
        """Return circusd's own section."""
        comment = [
            "The sockets lie in a private directory: by TCP, every local user could run commands as you.",
            "An empty multicast_endpoint keeps circus from binding a UDP port on all addresses.",
        ]
        if socket_dir(self.fleet) != self.fleet.run_dir:
            folder = one_line(shlex.quote(socket_dir(self.fleet)))
            comment += [
                "The path of run_dir is too long for a Unix socket: the sockets have a directory of their own.",
                f"Should it be gone (/tmp after a reboot): mkdir -m 700 {folder}",
            ]
        return self._circus(comment, {"pidfile": f"{self.fleet.run_dir}/{PIDFILE}"})

    def _circus(self, comment: list[str], more: Mapping[str, str]) -> Section:
        options = {
            "check_delay": "1",
            "endpoint": self.endpoints[0],
            "pubsub_endpoint": self.endpoints[1],
            "multicast_endpoint": "",
            **more,
            "warmup_delay": "0",
            "httpd": "False",
        }
        return Section(name="circus", comment=comment, options=options, origin={"": ("fleet", "run_dir")})

    def system(self, system: System, command: Command) -> tuple[Mapping[str, str], Sequence[str]]:
        """Return the options and the arguments by which a system is run."""
        return {"working_dir": command.working_dir}, _logged(system.log, command.argv)

    def plugin(self, *arguments: str) -> tuple[Mapping[str, str], Sequence[str]]:
        """Return the options and the arguments by which circus's plugin runner is run with ``arguments``."""
        log = f"{self.fleet.log_dir}/{PLUGIN}.log"
        return {"working_dir": self.fleet.run_dir}, _logged(log, (self.python, "-c", PLUGIN_RUNNER, *arguments))


class _Windows(_Unix):
    """How circus runs things on Windows: ports, no pidfile, and a runner of our own that opens a log.

    circus reads a program's path right only in ``executable``, and what stands in ``cmd`` becomes its ``argv[0]``.
    """

    hooks = ("before_start", "before_spawn", "before_stop", "before_signal")
    plugin_hooks = hooks
    send_hup = "False"

    def __init__(self, fleet: Fleet, python: str) -> None:
        super().__init__(fleet, python)
        self.endpoints = endpoints(fleet, "win32")

    def circus(self) -> Section:
        """Return circusd's own section."""
        comment = [
            "Two ports of this fleet alone, and no password, since circus knows none: whoever has logged in to this",
            "machine can reach them, and run commands as you.",
            "An empty multicast_endpoint keeps circus from binding a UDP port on all addresses.",
        ]
        return self._circus(comment, {})

    def system(self, system: System, command: Command) -> tuple[Mapping[str, str], Sequence[str]]:
        """Return the options and the arguments by which a system is run."""
        python, *arguments = by_runner(self.python, command, system.log, system.graceful_timeout)
        return self._run(python, command.working_dir, *arguments)

    def plugin(self, *arguments: str) -> tuple[Mapping[str, str], Sequence[str]]:
        """Return the options and the arguments by which circus's plugin runner is run with ``arguments``."""
        log = str(Path(self.fleet.log_dir) / f"{PLUGIN}.log")
        return self._run(
            self.python, self.fleet.run_dir, "-P", "-X", "utf8", "-m", "aurora_circus.logged", log, *arguments
        )

    @staticmethod
    def _run(python: str, working_dir: str, *arguments: str) -> tuple[Mapping[str, str], Sequence[str]]:
        return {"executable": python, "working_dir": working_dir}, ("python.exe", *arguments)


def _plugin(fleet: Fleet, form: _Unix) -> Section:
    endpoint, pubsub = form.endpoints
    where = ("--endpoint", endpoint, "--pubsub", pubsub, "--config", f"watcher:{PLUGIN}", "--log-level", "info")
    how, argv = form.plugin(*where, "aurora_circus.plugins.aurora.AuroraPlugin")
    options = {
        **how,
        "autostart": "True",
        "respawn": "True",
        **_ALWAYS,
        "copy_path": "True",
        "stop_signal": "SIGTERM",
        "stop_children": "False",
        "send_hup": form.send_hup,
        "graceful_timeout": "10",
        "priority": str(_FIRST + _STEP),
        "max_retry": "1",
        **_hooks(*form.plugin_hooks),
        "fleet": settings.dumps(fleet),
        "aurora_commands": "",
    }
    comment = ["The Aurora plugin: it decides when each system below is started, stopped and restarted."]
    origin = {"": ("fleet", "run_dir"), "args": ("fleet",)}
    return _watcher(PLUGIN, comment, options, argv, origin)


def _system(system: System, command: Command, priority: int, form: _Unix) -> Section:
    where = ("system", system.key)
    how, argv = form.system(system, command)
    options = {
        **how,
        "autostart": "False",
        "respawn": "False",
        **_ALWAYS,
        "copy_path": "False",
        "stop_signal": "SIGTERM",
        "stop_children": "False",
        "send_hup": "False",
        "graceful_timeout": str(system.graceful_timeout),
        "priority": str(priority),
        "max_retry": "1",
        **_hooks(*form.hooks),
        **command.circus,
        "aurora": settings.dumps(system),
    }
    origin: dict[str, Where] = {
        "": where,
        "args": (*where, "command"),
        "working_dir": (*where, "working_dir"),
        **{name: (*where, "circus", *name.split(".")) for name in command.circus},
    }
    critical = ", critical" if system.critical else ""
    after = f", after {', '.join(system.depends_on)}" if system.depends_on else ""
    comment = [f"{one_line(system.title)}: port {system.port}{critical}{after}"]
    return _watcher(system.key, comment, options, argv, origin)


def _watcher(
    name: str,
    comment: list[str],
    options: Mapping[str, str],
    argv: Sequence[str],
    origin: Mapping[str, Where],
) -> Section:
    """Return a watcher's section.

    Its last option changes with any other: circus's reloadconfig sees a changed value, but not a new option.
    """
    cmd, *args = argv
    every = {"cmd": cmd, "args": " ".join(_word(each) for each in args), **options}
    digest = hashlib.sha256("\n".join(_line(*each) for each in every.items()).encode(errors="surrogatepass"))
    return Section(
        name=f"watcher:{name}",
        comment=comment,
        options={**every, "aurora_hash": digest.hexdigest()[:12]},
        origin=origin,
        argv=[each.replace(AT_SPAWN, "1") for each in argv],
    )


def _hooks(*names: str) -> dict[str, str]:
    return {f"hooks.{name}": f"aurora_circus.hooks.{name}" for name in names}


def _logged(log: str, argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with its output appended to ``log``: circusd reads nothing."""
    return ["/bin/sh", "-c", SHELL, log, *argv]


def by_runner(python: str, command: Command, log: str, grace: float) -> list[str]:
    """Return the command line that runs ``command`` on Windows, by our runner.

    A stop call gets half of the ``grace`` period, in seconds: when it is of no use, there is time for CTRL_BREAK.
    It is run by the base interpreter: the ``python.exe`` of a virtual environment would be one more process.
    """
    base = getattr(sys, "_base_executable", None) if python == sys.executable else None
    root = str(Path(aurora_circus.__path__[0]).resolve().parent)
    options = ("-I", "-S", "-X", "utf8", "-c", RUNNER)
    return [base or python, *options, root, command.stop_path or "-", f"{grace / 2:g}", log, *command.argv]


# --- text --------------------------------------------------------------------------------------------------


def _word(argument: str) -> str:
    """Return an argument as a word of circus's ``args``."""
    return _PORT_AT_SPAWN.join(_quoted(part) if part else "" for part in argument.split(AT_SPAWN)) or "''"


def _quoted(text: str) -> str:
    r"""Quote ``text`` for shlex so that circus's parser and expansions find nothing in it.

    ``$(`` and ``((`` are taken apart by a pair of quotes. A line break stands outside the quotes, behind a
    backslash, so that no line of the file is blank or has blanks at its edges.
    """
    if _PLAIN.fullmatch(text):
        return text
    quoted = re.sub(r"(?<=[$(])(?=\()", "''", text.replace("'", "'\"'\"'")).replace("\n", "'\\\n'")
    return f"'{quoted}'"


def _line(name: str, value: str) -> str:
    """Return an option as the file has it, the lines of its value after the first one indented."""
    return f"{name} = {value}".rstrip(" ").replace("\n", "\n    ")


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fill(config: Config, sections: Sequence[Section], endpoint: str, *, windows: bool) -> str:
    import jinja2  # noqa: PLC0415 - only rendering pays for it

    loader = jinja2.FileSystemLoader(list(aurora_circus.__path__))
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - this is no HTML
    )
    circusctl = f"circusctl --endpoint {shlex.quote(endpoint)}"
    header = [
        f"The fleet {one_line(config.fleet.name)}, as aurora-circus read it from {one_line(config.file)}.",
        "",
        "Run it:     circusd circus.ini",
        f"See it:     {one_line(circusctl)} status",
        "Change it:  there, and `aurora-circus render` or `up` writes this file anew. What is changed here",
        "            lasts until then, and takes hold of the systems that stand here already with",
        f"            {one_line(circusctl)} reloadconfig",
    ]
    if windows and not "".join(each for section in sections for each in section.options.values()).isascii():
        header[2:2] = [
            "First:      set PYTHONUTF8=1 in circusd's environment; else it reads this file in the code page."
        ]
    shown = [
        {
            "name": each.name,
            "comment": each.comment,
            "lines": [_line(*option) for option in each.options.items()],
        }
        for each in sections
    ]
    return environment.get_template("circus.ini.j2").render(header=header, sections=shown)
