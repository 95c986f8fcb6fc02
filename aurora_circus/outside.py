"""What an operator meant with a ``circusctl`` command, read from the entries that ``hooks`` keeps in circusd. Pure.

circusd carries most commands out itself; this says what each means for the wishes, and what is left for us to do.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

PLAIN_SET = frozenset({"graceful_timeout", "stop_signal", "stop_children", "warmup_delay", "send_hup", "max_retry"})
"""Options that ``circusctl set`` changes without circus wanting a new process for it (Watcher.set_opt)."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What to make of one command.

    ``note``: circusd does it, we take note of the wish. ``order``: circusd leaves it to us. ``all``: the whole fleet is
    wanted up. ``reconfigure``: look at every watcher's options again. ``quit``: circusd is going down, which ends every
    wish. ``down``: circusd takes everything down, us included, and the wishes stay. ``went``: circusd brings these down
    without anybody's wish having changed. ``refused``: we had circusd not do it, and said why.
    """

    kind: Literal["note", "order", "all", "reconfigure", "quit", "down", "went", "refused", "nothing"]
    verb: Literal["start", "stop", "restart"] = "restart"
    servers: tuple[str, ...] = ()


NOTHING = Meaning("nothing")
_CLI = "aurora-cli-"
"""How the names begin by which our own command line's commands come to circusd; ``lookup`` knows it."""


def sender(entry: Mapping[str, Any]) -> str:
    """Return who said ``entry``, in the journal's words."""
    if entry["client"] is None:
        return "signal"
    return "cli" if str(entry["client"]).startswith(_CLI) else "circusctl"


def meaning(entry: Mapping[str, Any], servers: Iterable[str], running: Iterable[str]) -> Meaning:
    """Say what ``entry`` means for a fleet of ``servers``, of which ``running`` have a process and are wanted up.

    A whole ``stop`` is no wish: it ends the plugin as well, and the next ``start`` means everything. A
    ``reload`` without a name that nobody sent is a SIGHUP, such as a closed terminal sends, and bounces nothing.
    """
    if entry["refused"]:
        return Meaning("refused") if "reason" in entry else NOTHING
    command, properties = entry["command"], entry["properties"]
    named = tuple(_matched(properties, servers)) if "name" in properties else None
    match command:
        case "quit":
            return Meaning("quit")
        case "reloadconfig" | "rm" | "add":
            return Meaning("reconfigure")
        case "reconfigured":
            return Meaning("went", servers=named or ())
        case "start" if named is None:
            return Meaning("all", "start")
        case "stop" | "restart" if entry["whole"]:
            return Meaning("down")
        case "start" | "stop" | "restart":
            return Meaning("note", command, named or ())
        case "reload" if named is None:
            by_signal = entry["client"] is None
            return NOTHING if by_signal else Meaning("order", "restart", tuple(running))
        case "reload":
            up = set(running)
            return Meaning("order", "restart", tuple(each for each in named or () if each in up))
        case "set" if set(properties.get("options", {})) - PLAIN_SET:
            up = set(running)
            return Meaning("order", "restart", tuple(each for each in named or () if each in up))
        case _:
            return NOTHING


def _matched(properties: Mapping[str, Any], servers: Iterable[str]) -> list[str]:
    """Return the systems that circus would take the name for: by glob unless told otherwise, in lower case."""
    name, how = str(properties["name"]).lower(), properties.get("match", "glob")
    if how == "simple":
        return [each for each in servers if each == name]
    try:
        pattern = re.compile(fnmatch.translate(name) if how == "glob" else name)
    except re.error:
        return []
    return [each for each in servers if pattern.match(each)]
