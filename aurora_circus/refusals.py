"""What ``circusctl reloadconfig`` would break, said before circus begins with it. Runs inside circusd.

circus 0.19 carries a new ``circus.ini`` out while it reads it: it stops and forgets a system before it knows whether
the system's new section makes sense, takes a section that is not there for a system that is not wanted any more, and
for a changed ``[circus]`` section stops everything, in no order, to go on with the old one. So the file is read here
first, by circus's own parser, and each changed watcher is made once, for nothing.

It must never raise into circusd, never wait, and never repeat a value of the file: it may be somebody's secret.
"""

# ruff: noqa: ANN401, SLF001 - circus has no types, and keeps what has to be known here private

import configparser
import copy
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from circus.config import get_config
from circus.watcher import Watcher

from aurora_circus import settings
from aurora_circus.files import open_regular, same_place

_HASH = re.compile(r"[0-9a-f]{12}")
"""What ``render`` ends each section with."""
_SHOWN = 300
"""Characters of a parser's own words that are repeated."""
Section = Mapping[str, Any]


def of_reload(arbiter: Any) -> str | None:
    """Return why the configuration that lies there must not be taken up, all faults in one line; None: it may."""
    path = str(arbiter.config_file)
    try:
        os.close(open_regular(Path(path), os.O_RDONLY, follow=True))  # a FIFO would hold circusd up for ever
        config = get_config(path)
        faults = list(_faults(arbiter, config))
    except OSError as error:
        faults = [f"cannot be read: {error.strerror or error}"]
    except Exception as error:  # noqa: BLE001 - whatever circus's parser raises: circusd is not to see it
        faults = [_without_values(error)]
    return f"{path}: {'; '.join(faults)}: nothing was touched" if faults else None


def _faults(arbiter: Any, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a file that circus can read."""
    found = arbiter.get_arbiter_config(config)
    changed = sorted(each for each in {*found, *arbiter._cfg} if found.get(each) != arbiter._cfg.get(each))
    if changed:
        yield f"[circus]: {', '.join(changed)}: another value than circusd runs with, which takes a down and an up"
    sections: list[Section] = [*config["watchers"], *config["plugins"]]
    for name, count in Counter(str(each["name"]).lower() for each in sections).items():
        if count > 1:
            yield f"[watcher:{name}]: there {count} times, in upper or lower case"
    current = {each.name: each for each in arbiter.watchers}
    ours = {name for name, each in current.items() if "aurora" in each._options}
    plugin = next((name for name, each in current.items() if "aurora_commands" in each._options), None)
    named = {str(each["name"]): each for each in sections}
    if plugin is not None:
        yield from _plugin_faults(current[plugin], named.get(plugin), named)
    for name, section in named.items():
        if name != plugin:
            yield from _system_faults(name, section, name in ours)
        if name not in current or _but_env(section) != _but_env(current[name]._cfg):
            yield from _making(arbiter, config, name)


def _plugin_faults(watcher: Any, section: Section | None, named: Mapping[str, Section]) -> Iterator[str]:
    """Yield what would leave the fleet without its plugin, or the plugin without its fleet."""
    where = f"[{_title(watcher.name)}]"
    if section is None or "aurora_commands" not in section:
        yield f"{where}: not there, and nobody would watch the fleet"
        return
    try:
        text = str(section["fleet"])
        fleet = settings.loads(settings.Fleet, text if text.startswith("{") else unquote(text))
    except (KeyError, ValueError) as error:
        yield f"{where}: fleet: {_without_values(error)}"
        return
    now = str(watcher._options.get("fleet", ""))
    before = settings.loads(settings.Fleet, now if now.startswith("{") else unquote(now))
    if not same_place(fleet.run_dir, before.run_dir):
        yield f"{where}: fleet: another run_dir than circusd runs in, which takes a down and an up"
    for name in fleet.systems:
        if name not in named:
            yield f"[watcher:{name}]: not there, though the fleet has it: was the file cut off?"


def _system_faults(name: str, section: Section, ours: bool) -> Iterator[str]:  # noqa: FBT001 - one call, right above
    """Yield what is wrong with what the plugin has to know of a system."""
    where = f"[watcher:{name}]"
    if "aurora" not in section:
        if ours:
            yield f"{where}: without its option aurora: was the file cut off?"
        return  # a watcher of somebody's own
    if not _HASH.fullmatch(str(section.get("aurora_hash", ""))):
        yield f"{where}: without its option aurora_hash: was the file cut off?"
    try:
        system = settings.loads(settings.System, str(section["aurora"]))
    except ValueError as error:
        yield f"{where}: aurora: {_without_values(error)}"
        return
    if system.key != name:
        yield f"{where}: aurora: it is about another system"


def _making(arbiter: Any, config: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield why circus could not make a watcher of a section; what it made is dropped again."""
    section = arbiter.get_plugin_config(config, name) or arbiter.get_watcher_config(config, name)
    try:
        Watcher.load_from_config(copy.deepcopy(section))
    except Exception as error:  # noqa: BLE001 - as above: a hook that cannot be imported raises whatever it likes
        yield f"[{_title(name)}]: {_without_values(error)}"


def _but_env(section: Section) -> dict[str, Any]:
    """Return a section's options as circus compares them, but for what is circusd's own environment."""
    return {name: value for name, value in section.items() if name != "env"}


def _title(name: str) -> str:
    return name if name.startswith("plugin:") else f"watcher:{name}"


def _without_values(error: Exception) -> str:
    """Return what an error says, but for the values that it found."""
    match error:
        case configparser.MissingSectionHeaderError():
            return f"line {error.lineno}: no section has begun yet"
        case configparser.ParsingError():
            return f"not understood: {', '.join(f'line {number}' for number, _ in error.errors)}"
        case UnicodeDecodeError():
            return f"no text in {error.encoding.upper()}, at byte {error.start}"
        case KeyError():
            return "not there"
    text = str(error).partition(": found ")[0].partition(": {")[0]
    return " ".join(re.sub(r"'[^']*'", "…", text).split())[:_SHOWN] or type(error).__name__
