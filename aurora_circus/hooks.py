"""What runs inside circusd: hooks that its watchers name, and a listener to its commands.

circus imports this while it reads its configuration, before it takes over the signals; that is the one moment early
enough for :func:`install`, which is why it runs on import. It leans on the inside of circus 0.19, which is pinned for
that. Nothing here may block while the fleet is serving, and nothing here decides what runs: the plugin does.

What it adds:

- A quit is never lost. circus drops one that meets another command; here it is said again until it is heard.
- ``reloadconfig`` of a file that would take down what runs is refused (``refusals``).
- Every command is remembered with its sender, so that the plugin knows whose wish it was, also of a system circus
  holds for stopped, and also of what was said while the plugin was away.
- A shutdown goes in reverse order: a system is signalled when everything that depends on it is gone, and of each
  everybody is gone before its turn is over, whoever has left its group or lost its parent included.
- Whoever of a system loses its parent becomes circusd's child, and each system bears marks (``adoption``).
- ``reload`` and SIGHUP start and replace nothing behind the plugin's back.
- A system's environment is exactly what its settings say, unmangled, and without what is between us and systemd.
- Whatever the clock is set to, circusd looks after its processes, and says why one could not be started (``mending``).
- The plugin is kept up (``guard``), circusd stays findable (``presence``), and a fleet has one circusd (``claim``).
- A plugin whose circusd is kept (``kept``) is told how that was started.
- On Windows, a stop is asked for before it is done by force.
"""

import copy
import functools
import json
import os
import re
import signal
import sys
import time
from collections import deque
from fnmatch import translate
from typing import Any

from circus import __version__ as circus_version
from circus import logger
from circus.commands import errors
from circus.controller import Controller
from circus.sighandler import SysHandler
from circus.watcher import Watcher

from aurora_circus import adoption, locks, marks, mending, processes, refusals, upkeep
from aurora_circus.endpoints import CIRCUSD_LOCK
from aurora_circus.facts import Process
from aurora_circus.marks import Mark
from aurora_circus.notify import PRIVATE

WINDOWS = sys.platform == "win32"
SAY_AGAIN = 0.05
"""Seconds after which a quit that was not heard is said again."""
REVIVE = 0.5
"""Seconds after which a plugin that could not be started, for want of descriptors, say, is tried again."""
KEPT = 500
"""Commands that are remembered for the plugin."""
TAKES_LOCK = frozenset(
    {"start", "stop", "restart", "reload", "rm", "add", "incr", "decr", "set", "reloadconfig", "quit"}
)
OURS = "aurora-plugin-"
"""How the names begin by which the plugin's commands come in."""
SHUTDOWN_MARGIN = 1.0
"""Seconds beyond a grace period until what is left of a group has to be gone after SIGKILL."""

_commands: deque[dict[str, Any]] = deque(maxlen=KEPT)
_sequence = 0
_lock: int | None = None
"""Held for as long as this circusd lives."""
_whole_fleet = False
"""True while a stop of everything is being carried out."""
_moment: int | None = None
"""When somebody was last waited for in it: a look at the machine that began later will do until that happens again."""


# --- hooks, by the names circus gives them -------------------------------------------------------------------------


def before_start(watcher: Any, arbiter: Any, **_: Any) -> bool:
    """Refuse to start a stopped system when ``reload`` would; show the plugin's watcher what was said so far."""
    if _is_plugin(watcher):
        if not _is_the_only_one(watcher.working_dir):
            logger.error("aurora: another circusd runs this fleet (it holds %s): this one ends", watcher.working_dir)
            _insist_on_quit(arbiter.ctrl)
            return False
        upkeep.starts()
        global _whole_fleet  # noqa: PLW0603 - one circusd, one state; circus gives hooks no place for it
        _whole_fleet = False
        _show(watcher)
        return True
    return arbiter._exclusive_running_command not in {"arbiter_reload", "watcher_reload"}


def before_spawn(watcher: Any, arbiter: Any, **_: Any) -> bool:
    """Give the process its environment; refuse a second one beside the first (``reload``, ``set``)."""
    watcher.aurora_error = None
    if _is_plugin(watcher):
        watcher.loop.call_later(REVIVE, _revive, watcher)
        upkeep.hand_on(watcher)
        adoption.bear(watcher, Mark(watcher.working_dir, marks.PLUGIN), sealed=False)
        # refused on Windows alone, where it gets no SIGHUP in place of a successor
        return arbiter._exclusive_running_command not in {"arbiter_reload", "watcher_reload"} or not watcher.processes
    if arbiter._exclusive_running_command in {"arbiter_reload", "watcher_reload", "watcher_do_action"}:
        return False
    settings = json.loads(watcher._options["aurora"])
    if set(watcher.env or ()) == {"AURORA_PORT"}:  # the plugin has chosen another one, by circus's `set`
        watcher.aurora_port = watcher.env["AURORA_PORT"]
    port = getattr(watcher, "aurora_port", settings["port"])
    watcher.env = {
        **{name: value for name, value in os.environ.items() if name not in PRIVATE},
        **settings["env"],
        "PORT": str(port),
        "AURORA_PORT": str(port),
    }
    adoption.bear(watcher, _mark(watcher))
    return True


def _revive(watcher: Any) -> None:
    """Start the plugin again where it could not be started: circus gives a watcher up for that."""
    arbiter = watcher.arbiter
    if watcher.aurora_error is None or not watcher.is_stopped() or arbiter._stopping or _whole_fleet:
        return
    if watcher in arbiter.watchers:
        watcher._start()


def before_stop(watcher: Any, arbiter: Any, **_: Any) -> bool:
    """Keep the order of a shutdown; tell the plugin when ``reloadconfig`` brings a system down.

    All that go without waiting for anybody share one look at who is to be told: a hundred looks would take a second.
    """
    global _moment  # noqa: PLW0603
    if _is_plugin(watcher):
        upkeep.stops(arbiter)
    if _whole_fleet or arbiter._stopping:
        if _is_plugin(watcher):
            _await_gone([each for each in arbiter.watchers if "aurora" in each.optnames])
            _end_strays(watcher, arbiter)
        else:
            dependents = _dependents(watcher, arbiter)
            _await_gone(dependents)
            if dependents or _moment is None:
                _moment = processes.moment()
            for leader in _leaders(watcher):
                processes.terminate_others(leader, _mark(watcher), _moment)
    elif arbiter._exclusive_running_command == "arbiter_reload_config":
        _remember(arbiter, {"command": "reconfigured", "properties": {"name": watcher.name}, "client": None})
    return True


def before_signal(pid: int, signum: int, **_: Any) -> bool:
    """Ask a process to stop where there are no signals: on Windows circus's SIGTERM ends it at once.

    What cannot be asked is left to circus, which ends it.
    """
    leader = processes.identify(pid)
    return signum != signal.SIGTERM or leader is None or not processes.terminate(leader)


def _is_the_only_one(run_dir: str) -> bool:
    """Take the fleet's lock, where circus has no pidfile that would keep a second circusd from it."""
    global _lock  # noqa: PLW0603 - it must be open until the end
    if not WINDOWS or _lock is not None:
        return True
    descriptor = locks.open_lock(run_dir, CIRCUSD_LOCK)
    if locks.try_lock(descriptor):
        _lock = descriptor
        return True
    os.close(descriptor)
    return False


# --- the listener --------------------------------------------------------------------------------------------------


def install() -> None:
    """Listen to circusd's commands, and mend what circus leaves broken. Once for each circusd."""
    if not circus_version.startswith("0.19"):
        logger.warning("aurora: circus %s is not the 0.19 this was made for; circusctl is not followed", circus_version)
        return
    if getattr(Controller, "aurora", False):
        return
    Controller.aurora = True
    original, make, start = Controller.dispatch, Controller.__init__, Controller.start

    def init(self: Any, *arguments: Any) -> None:
        upkeep.claim_fleet(arguments[4])  # the arbiter; before there are a pidfile and sockets: they are the first's
        make(self, *arguments)

    def begin(self: Any) -> None:
        start(self)
        if self.caller is not None:
            self.caller.stop()  # what it does is done with each look of ours
        upkeep.begin(self.arbiter, lambda: _plugin_to_keep(self.arbiter))

    def dispatch(self: Any, job: tuple[bytes | None, bytes]) -> Any:
        if job[0] is not None and job[0].startswith(OURS.encode()):
            upkeep.heard()
        said = _read(job[1])
        heard = None if said is None else _listen(self, job[0], said)
        if said is None or heard is None:
            return original(self, job)
        if "reason" in heard:
            _remember(self.arbiter, heard)
            cast = said.get("msg_type") == "cast"
            return self.send_error(said.get("id"), *job, heard["reason"], cast=cast, errno=errors.COMMAND_ERROR)
        if heard["command"] != "set":
            _remember(self.arbiter, heard)  # whatever comes of it, whose wish it was is known first
            return original(self, job)
        if mending.carried_out(self, original, job):  # what is set may be refused, and what is left for us comes after
            _remember(self.arbiter, heard)
        return None

    def quit_(self: Any) -> None:
        self.controller.loop.add_callback_from_signal(_quit_by_signal, self.controller)

    Controller.__init__, Controller.start, Controller.dispatch = init, begin, dispatch
    SysHandler.quit = quit_
    Watcher.aurora_systems = property(_systems)
    mending.install()


def _plugin_to_keep(arbiter: Any) -> Any:
    """Return the plugin's watcher, unless it is being stopped, or was stopped by anything but a start that failed."""
    if arbiter._stopping or arbiter._restarting or _whole_fleet:
        return None
    ours = (each for each in arbiter.watchers if _is_plugin(each))
    return next((each for each in ours if each.is_active() or (each.is_stopped() and upkeep.failed())), None)


def _quit_by_signal(controller: Any) -> None:
    if not controller.arbiter._stopping:
        upkeep.farewell(controller.arbiter)
    _insist_on_quit(controller)


def _insist_on_quit(controller: Any) -> None:
    arbiter = controller.arbiter
    if arbiter._stopping:
        return
    controller.dispatch((None, b'{"command": "quit", "properties": {}}'))
    controller.loop.call_later(SAY_AGAIN, _insist_on_quit, controller)


def _read(message: bytes) -> dict[str, Any] | None:
    """Return a command as it was said; None for what circus will not understand, and says so itself."""
    try:
        said = json.loads(message)
        return {**said, "command": str(said["command"]).lower(), "properties": dict(said.get("properties") or {})}
    except (ValueError, KeyError, TypeError):
        return None


def _listen(controller: Any, client: bytes | None, said: dict[str, Any]) -> dict[str, Any] | None:
    """Return what is to be remembered of a command before circus begins with it; None for what changes nothing.

    That is who said it, whether circus will refuse it since another is under way, and as ``reason`` why it must not be
    carried out, if so. What circus will not understand changes nothing.
    """
    global _whole_fleet, _moment
    arbiter, name, properties = controller.arbiter, said["command"], said["properties"]
    if name == "get":
        for watcher in arbiter.watchers:
            if _is_plugin(watcher):
                _show(watcher)  # what the plugin asks for is to be true now
    if (name not in TAKES_LOCK and name not in {"kill", "signal"}) or not _is_understood(controller, name, properties):
        return None
    refused = name in TAKES_LOCK and (arbiter._restarting or arbiter._exclusive_running_command is not None)
    if refused and client is None:
        return None  # a signal's quit, said again soon
    reason = refusals.of_reload(arbiter) if name == "reloadconfig" and not refused else None
    everything = name == "quit" or (name in {"stop", "restart"} and _names_everything(arbiter, properties))
    if name in TAKES_LOCK and not refused and reason is None:
        _whole_fleet, _moment = everything, None
        if name == "quit" and client is not None:
            upkeep.farewell(arbiter)
    who = None if client is None else client.decode("ascii", "replace")
    if who is not None and who.startswith(OURS):
        return None  # what the plugin says is nobody's wish
    entry = {"command": name, "properties": properties, "client": who, "refused": refused, "whole": everything}
    return entry if reason is None else {**entry, "refused": True, "reason": reason}


def _is_understood(controller: Any, name: str, properties: dict[str, Any]) -> bool:
    """Say whether circus finds nothing wrong with what was said."""
    try:
        controller.commands[name].validate(copy.deepcopy(properties))
    except Exception:  # noqa: BLE001 - whatever it is: circus is about to raise it itself, and to answer with it
        return False
    return True


def _remember(arbiter: Any, entry: dict[str, Any]) -> None:
    global _sequence  # noqa: PLW0603
    _sequence += 1
    entry = {"seq": _sequence, "at": time.time(), "refused": False, "whole": False, **entry}
    _commands.append(entry)
    for watcher in arbiter.watchers:
        if _is_plugin(watcher):
            _show(watcher)
            watcher.notify_event("command", entry)


def _show(watcher: Any) -> None:
    """Put what the plugin asks for where circus's ``get`` finds it.

    The remembered commands and the number of the last one, the command under way, and a number that is another one when
    something has changed with the watchers; :func:`_systems` is asked only when that is asked for.
    """
    if "aurora_heard" not in watcher.optnames:
        watcher.optnames += ("aurora_heard", "aurora_busy", "aurora_watchers", "aurora_systems")
    watcher.aurora_commands = list(_commands)
    watcher.aurora_heard = _sequence
    watcher.aurora_busy = watcher.arbiter._exclusive_running_command
    watcher.aurora_watchers = hash(tuple((each.name, each.status()) for each in watcher.arbiter.watchers))


def _systems(watcher: Any) -> dict[str, dict[str, Any]]:
    """Return what the plugin reads of each system when it begins: of hundreds, two questions for each take a second."""
    return {
        each.name.lower(): {
            "aurora": each._options["aurora"],
            "priority": each.priority,
            "pids": [] if each.is_stopped() else each.get_active_pids(),
        }
        for each in watcher.arbiter.watchers
        if "aurora" in each.optnames
    }


def _names_everything(arbiter: Any, properties: dict[str, Any]) -> bool:
    """Say whether a stop or restart means everything: it names nothing, or all of ours by a pattern."""
    if "name" not in properties:
        return True
    name, match = str(properties["name"]).lower(), properties.get("match", "glob")
    if match == "simple":
        return False
    try:
        pattern = re.compile(translate(name) if match == "glob" else name)
    except re.error:
        return False
    ours = [each for each in arbiter.watchers if {"aurora", "aurora_commands"} & set(each.optnames)]
    return all(pattern.match(each.name.lower()) for each in ours)


# --- the order of a shutdown ---------------------------------------------------------------------------------------


def _dependents(watcher: Any, arbiter: Any) -> list[Any]:
    return [
        each
        for each in arbiter.watchers
        if "aurora" in each.optnames and watcher.name in _depends_on(each._options["aurora"])
    ]


@functools.lru_cache(maxsize=4096)
def _depends_on(settings: str) -> frozenset[str]:
    """Return what a system depends on: each asks it of all the others, and none of them changes any more."""
    return frozenset(json.loads(settings)["depends_on"])


def _await_gone(watchers: list[Any]) -> None:
    """Wait until everybody of ``watchers``, all told to end by now, is gone; end them by force when late.

    This blocks circusd, which has nothing else to do any more, for the longest grace period and a second at most.
    """
    moment = processes.moment()
    for watcher in watchers:
        deadline = time.monotonic() + watcher.graceful_timeout
        for leader in _leaders(watcher):
            if _all_gone(_mark(watcher), leader, deadline, moment):
                continue
            logger.warning("aurora: %s outlived its %g s of grace: SIGKILL", watcher.name, watcher.graceful_timeout)
            processes.kill_all(leader, _mark(watcher))
            _all_gone(_mark(watcher), leader, time.monotonic() + SHUTDOWN_MARGIN)


def _leaders(watcher: Any) -> list[Process]:
    """Return the processes that circus holds for a watcher; dead ones too, since others that came of them may live."""
    return [leader for each in watcher.processes.values() if (leader := processes.identify(each.pid)) is not None]


def _all_gone(mark: Mark, leader: Process, deadline: float, moment: int | None = None) -> bool:
    """Wait until nobody of the system that ``leader`` leads runs; False when ``deadline`` came first."""
    while running := processes.left(leader, mark, moment):
        left, moment = deadline - time.monotonic(), None
        if left <= 0:
            return False
        processes.await_end(running[0], left)
    return True


def _end_strays(watcher: Any, arbiter: Any) -> None:
    """End what still runs of this fleet, whoever it was left by: circusd's systems are gone by now."""
    graces = {each.name: each.graceful_timeout for each in arbiter.watchers}
    left = processes.left_of(watcher.working_dir, graces)
    left.pop(marks.PLUGIN, None)
    began = time.monotonic()
    for key, strays in left.items():
        logger.warning("aurora: left over of %s: %s", key, ", ".join(f"pid {each.pid}" for each in strays))
        processes.terminate_all(strays[0], Mark(watcher.working_dir, key))
    for key, strays in left.items():
        mark = Mark(watcher.working_dir, key)
        if not _all_gone(mark, strays[0], began + graces.get(key, 0.0)):
            processes.kill_all(strays[0], mark)
            _all_gone(mark, strays[0], time.monotonic() + SHUTDOWN_MARGIN)
    adoption.wait_for_orphans({pid for each in arbiter.watchers for pid in each.processes})


def _mark(watcher: Any) -> Mark:
    settings = json.loads(watcher._options["aurora"])
    return Mark(settings.get("run_dir", ""), settings["key"])


def _is_plugin(watcher: Any) -> bool:
    return "aurora_commands" in watcher.optnames


install()
