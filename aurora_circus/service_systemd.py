"""A fleet as a systemd unit: its text, and the commands that go with it. Pure.

Each value is written so that systemd reads back exactly what it is (systemd.syntax(7), systemd.service(5)), or is
refused. ``docs/service.md`` gives the reason for each line of the unit.
"""

import math
import re

from aurora_circus.errors import ConfigError
from aurora_circus.service_plan import START_LIMIT, Plan, Service, Step, header, one_line

WATCHDOG = 60
"""Seconds without word of the plugin until all of it is replaced: six times what it takes to notice its own hang."""
RESTART = 1
"""Seconds until a unit that has failed is started again."""
SYSTEM_DIR = "/etc/systemd/system"
LINGER = (
    "a user's services start with the first log-in and end with the last log-out; "
    "to have them start at boot, and stay: loginctl enable-linger"
)
_PLAIN = re.compile(r"[A-Za-z0-9@+=:,./_-]+")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
_FIRST_DEL = "\x7f"
_HARDENED = (
    "NoNewPrivileges=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
)
"""What takes no namespace and no privilege, so that a user's manager can do it too."""
_HARDENED_SYSTEM = (
    "ProtectSystem=full",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
)


def plan(service: Service, *, home: str) -> Plan:
    """Return how ``service`` is installed and removed; ``home`` is where a user's units lie.

    Raises:
        ConfigError: a path is not UTF-8, which no unit can hold.
    """
    name = f"aurora-circus-{service.slug}.service"
    folder = SYSTEM_DIR if service.system else home
    systemctl = ("systemctl",) if service.system else ("systemctl", "--user")
    journalctl = "journalctl -u" if service.system else "journalctl --user -u"
    shown = " ".join(systemctl)
    return Plan(
        name=name,
        file=f"{folder}/{name}",
        text=text(service),
        probe=Step(argv=(*systemctl, "show", "--property=Version"), says="systemd answers"),
        install=(
            Step(argv=(*systemctl, "daemon-reload"), says="systemd has read its units"),
            Step(argv=(*systemctl, "enable", name), says=f"{name} is enabled"),
        ),
        start=(Step(argv=(*systemctl, "start", name), says=f"{name} is started", patience=START_LIMIT + 20.0),),
        stop=(
            Step(
                argv=(*systemctl, "disable", "--now", name),
                says=f"{name} is stopped and disabled",
                patience=2 * math.ceil(service.stop_within) + 30.0,
            ),
        ),
        removed=(
            Step(argv=(*systemctl, "daemon-reload"), says="systemd has forgotten it"),
            Step(argv=(*systemctl, "reset-failed", name), says="and its failures", needed=False),
        ),
        look=(f"{shown} status {name}", f"{journalctl} {name} -f"),
        notes=() if service.system else (LINGER,),
    )


def text(service: Service) -> str:
    """Return the text of the unit."""
    target = "multi-user.target" if service.system else "default.target"
    lines = [*(f"# {each}" for each in header(service)), "", "[Unit]"]
    lines.append(f"Description=The fleet {_specified(one_line(service.fleet))} (aurora-circus)")
    if service.system:
        lines.append("After=network.target")
        lines += _paths("RequiresMountsFor", "", (service.file, *service.writable))
    lines += ["StartLimitIntervalSec=0", "", "[Service]", "Type=notify", "NotifyAccess=all"]
    lines.append(f"ExecStart={command(service.argv)}")
    if service.user is not None:
        lines.append(f"User={service.user}")
    lines += [f"Environment={_quoted(f'{name}={value}')}" for name, value in service.environ.items()]
    lines += [
        "Restart=on-failure",
        f"RestartSec={RESTART}",
        f"WatchdogSec={WATCHDOG}",
        "WatchdogSignal=SIGKILL",
        f"TimeoutStartSec={START_LIMIT}",
        f"TimeoutStopSec={math.ceil(service.stop_within)}",
        "KillMode=process",
        "OOMPolicy=continue",
        *_HARDENED,
    ]
    if service.system:
        lines += _HARDENED_SYSTEM
        lines += _paths("ReadWritePaths", "-", service.writable)
    lines += ["", "[Install]", f"WantedBy={target}"]
    return "\n".join(lines) + "\n"


def command(argv: tuple[str, ...]) -> str:
    """Return a command line as ``ExecStart=`` takes it.

    The path of a program may hold no quote, backslash or control character there, and what looks like a variable in it
    would be replaced in ``argv[0]``, by which Python finds its home: such a program is run by a shell, which is
    replaced by it.
    """
    program = argv[0]
    if re.search(r"[\x00-\x1f\x7f\"'\\$]", program) or not program.startswith("/"):
        argv = ("/bin/sh", "-c", 'exec "$0" "$@"', *argv)
    return " ".join(_word(each) for each in argv)


def _word(argument: str) -> str:
    """Return one argument: ``$`` begins a variable there, wherever it stands."""
    return _quoted(argument).replace("$", "$$")


def _quoted(argument: str) -> str:
    """Return one word between quotes, where it needs any, with ``%`` doubled: it begins a specifier."""
    if _PLAIN.fullmatch(argument):
        return argument
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise ConfigError([f"a systemd unit holds UTF-8 only: found {argument!a}, expected a path in UTF-8"]) from error
    return '"' + _specified("".join(_ESCAPED.get(each) or _escaped(each) for each in argument)) + '"'


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}" if character < " " or character == _FIRST_DEL else character


def _specified(value: str) -> str:
    return value.replace("%", "%%")


def _paths(setting: str, prefix: str, paths: tuple[str, ...]) -> list[str]:
    """Return a line for each path. Quotes and backslashes cannot be escaped in these settings."""
    found = []
    for path in dict.fromkeys(paths):
        if re.search(r"[\x00-\x1f\x7f\"'\\]", path):
            found.append(f"# {setting}= cannot hold {one_line(ascii(path))}")
        else:
            _quoted(path)
            found.append(f'{setting}="{prefix}{_specified(path)}"')
    return found
