"""A fleet as a job of macOS' launchd: its property list, and the commands that go with it. Pure.

Nobody here has seen it run: it follows launchd.plist(5) and launchctl(1).
"""

import math
import plistlib

from aurora_circus.service_plan import START_LIMIT, Plan, Service, Step, header

DAEMONS = "/Library/LaunchDaemons"
THROTTLE = 5
"""Seconds between two starts of it, at least."""


def plan(service: Service, *, home: str, uid: int) -> Plan:
    """Return how ``service`` is installed and removed; ``home`` is where a user's jobs lie, ``uid`` is who that is."""
    label = f"org.aurora-circus.{service.slug}"
    domain = "system" if service.system else f"gui/{uid}"
    file = f"{DAEMONS if service.system else home}/{label}.plist"
    return Plan(
        name=label,
        file=file,
        text=text(service, label),
        probe=Step(argv=("launchctl", "print", domain), says="launchd answers"),
        install=(Step(argv=("launchctl", "enable", f"{domain}/{label}"), says=f"{label} is enabled"),),
        start=(
            Step(
                argv=("launchctl", "bootstrap", domain, file), says=f"{label} is started", patience=float(START_LIMIT)
            ),
        ),
        stop=(
            Step(
                argv=("launchctl", "bootout", f"{domain}/{label}"),
                says=f"{label} is stopped and forgotten",
                patience=math.ceil(service.stop_within) + 30.0,
                needed=False,
            ),
        ),
        look=(f"launchctl print {domain}/{label}", f"tail -f {service.log}"),
        notes=()
        if service.system
        else ("it starts when you log in and ends when you log out; to have it start at boot: sudo, and --system",),
    )


def text(service: Service, label: str) -> str:
    """Return the property list, with our header as a comment above it."""
    job = {
        "Label": label,
        "ProgramArguments": list(service.argv),
        "EnvironmentVariables": dict(service.environ),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": THROTTLE,
        "ExitTimeOut": math.ceil(service.stop_within),
        "AbandonProcessGroup": True,
        "StandardOutPath": service.log,
        "StandardErrorPath": service.log,
        **({"UserName": service.user} if service.user is not None else {}),
    }
    written = plistlib.dumps(job, sort_keys=False).decode()
    first, rest = written.split("\n", 1)
    return "\n".join([first, "<!--", *header(service), "-->", rest])
