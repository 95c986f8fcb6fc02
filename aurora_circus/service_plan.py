"""What a service manager has to be told of a fleet, and what is to be done for it: the words all three have. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MARK = "Written by aurora-circus install-service"
"""Stands at the top of every file that is ours, and nowhere else."""
FLEET_FILE = "Fleet file: "
"""Begins the line, or the sentence, that says whose service a file is."""
STOP_MARGIN = 30.0
"""Seconds beyond what a fleet may take to come down, twice, until a service manager ends it by force."""
START_LIMIT = 180
"""Seconds until a start that says nothing has failed: circusd and its plugin have a minute, another ``up`` one more."""
_SAFE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One fleet as a service. All paths are absolute."""

    fleet: str
    """The fleet's name, for people."""
    file: str
    """Its fleet.toml."""
    argv: tuple[str, ...]
    """What is to run: it stays in the foreground."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """What it needs of the environment of who installs it."""
    stop_within: float
    """Seconds that an orderly stop may take."""
    system: bool = False
    """Whether it is the machine's, started at boot, or its user's."""
    user: str | None = None
    """Who it runs as, where the manager is to be told."""
    log: str = ""
    """Where its own output goes, where the manager keeps no journal."""
    writable: tuple[str, ...] = ()
    """Directories that the fleet writes to."""

    @property
    def slug(self) -> str:
        """The fleet's name as part of a file name; one that had to be changed is told apart by a digest."""
        plain = _SAFE.sub("-", self.fleet).strip("-")[:_LONGEST]
        if plain and plain == self.fleet:
            return plain
        digest = hashlib.sha256(self.fleet.encode(errors="surrogatepass")).hexdigest()[:8]
        return f"{plain}-{digest}".lstrip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of the service manager's."""

    argv: tuple[str, ...]
    says: str
    """What was done once it has succeeded."""
    patience: float = 30.0
    """Seconds it may take."""
    needed: bool = True
    """Whether everything ends when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a fleet becomes a service, and ceases to be one."""

    name: str
    """What the service manager calls it."""
    file: str
    """Where its text goes."""
    text: str
    encoding: str = "utf-8"
    probe: Step
    """Succeeds where there is such a service manager to talk to."""
    install: tuple[Step, ...]
    start: tuple[Step, ...]
    stop: tuple[Step, ...]
    """Ends it and has it forgotten, while its file is still there."""
    removed: tuple[Step, ...] = ()
    """What is to be done once the file is gone."""
    look: tuple[str, ...]
    """Commands to look at it."""
    notes: tuple[str, ...] = ()


def one_line(text: str) -> str:
    """Return text that ends no line and no comment of a unit, a plist or a task."""
    flat = "".join(each if each.isprintable() else "?" for each in text)
    return flat.replace("--", "- -").rstrip("\\")


def header(service: Service) -> tuple[str, ...]:
    """Return the lines at the top of a file of ours."""
    return (
        f"{MARK} for the fleet {one_line(service.fleet)}.",
        f"{FLEET_FILE}{one_line(service.file)}",
        "Remove it by aurora-circus uninstall-service; it is written anew by the next install-service.",
    )


def is_ours(text: str) -> bool:
    """Say whether a file was written by us."""
    return MARK in text[:2000]


def is_of(text: str, service: Service) -> bool:
    """Say whether a file of ours is this very fleet's."""
    return f"{FLEET_FILE}{one_line(service.file)}" in text
