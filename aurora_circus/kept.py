"""What is known of a circusd that somebody keeps up, and the mark that says that nobody should any more.

Who keeps it: the ``up`` that has started it, for as long as that runs; after that, its own plugin. Both must know how
it was started. ``up`` puts that into circusd's environment, our hooks there hand it on to the plugin, and no system
ever sees it: so nothing lies in a file that could be lost, or be found by the next circusd. A circusd that was started
by hand has none, and nobody keeps it.

The mark is a file in ``run_dir``: the fleet is being taken down, or was, on purpose. Whoever takes it down makes it,
whoever brings it up removes it.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_circus import marks, settings
from aurora_circus.facts import Process

VARIABLE = "AURORA_KEPT"
"""In the environment of circusd and of the plugin."""
MARK = "down"
WISHES = "wishes"
"""A file beside it: this end is a service manager's, at a shutdown perhaps, and no wish of an operator ends with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How one circusd was started, and why."""

    keeper: Process | None = None
    """The ``up`` that keeps it while it lives; None: its plugin alone does."""
    attempt: int | None = None
    """Which replacement in a row it is, from 0; None where it replaces nobody."""
    old: int | None = None
    """The pid of the one that it replaces; None where it is the first."""
    why: str = ""
    """Why it replaces that."""
    circusd: Process | None = None
    """Itself; what follows is known from then on."""
    argv: tuple[str, ...] = ()
    folder: str = ""
    """Where it was started."""
    pythonpath: str | None = None
    """Its own; its plugin has another one."""
    fleet: str = ""
    """The fleet's settings as they stand in ``circus.ini``."""

    @property
    def run_dir(self) -> str:
        """Where the mark lies."""
        return settings.loads(settings.Fleet, self.fleet).run_dir

    def dumps(self) -> str:
        """Return it as the variable holds it."""
        return json.dumps(dataclasses.asdict(self))

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for the next circusd, made from its plugin's ``own``."""
        values = {name: value for name, value in own.items() if name not in {VARIABLE, "PYTHONPATH", *marks.ALL}}
        if self.pythonpath is not None:
            values["PYTHONPATH"] = self.pythonpath
        return {**values, VARIABLE: self.dumps()}


def take(environment: "os._Environ[str]") -> Kept | None:
    """Take it out of an environment; None where it is not there, or makes no sense."""
    text = environment.pop(VARIABLE, None)
    return None if text is None else loads(text)


def loads(text: str) -> Kept | None:
    """Read what :meth:`Kept.dumps` returned; None where it makes no sense."""
    try:
        values = json.loads(text)
        for name in ("keeper", "circusd"):
            values[name] = _process(values.get(name))
        return Kept(**{**values, "argv": tuple(values.get("argv", ()))})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _process(value: Any) -> Process | None:  # noqa: ANN401 - whatever JSON holds
    return None if value is None else Process(int(value[0]), float(value[1]))


def mark(run_dir: str) -> None:
    """Say that the fleet is taken down on purpose: nobody starts it again. ``OSError``: it cannot be said."""
    (Path(run_dir) / MARK).touch(mode=0o600)


def marked(run_dir: str) -> bool:
    """Say whether it was."""
    return os.path.lexists(Path(run_dir) / MARK)


def unmark(run_dir: str) -> None:
    """Say that the fleet is wanted up again. ``OSError``: it cannot be said."""
    (Path(run_dir) / MARK).unlink(missing_ok=True)


def keep_wishes(run_dir: str) -> None:
    """Have the next orderly end keep what was wished. ``OSError``: it cannot be said."""
    (Path(run_dir) / WISHES).touch(mode=0o600)


def wishes_kept(run_dir: str) -> bool:
    """Say whether the end to come keeps what was wished."""
    return (Path(run_dir) / WISHES).exists()


def wishes_last(run_dir: str) -> bool:
    """Say whether this end keeps what was wished, and forget that it does."""
    try:
        (Path(run_dir) / WISHES).unlink()
    except OSError:
        return False
    return True
