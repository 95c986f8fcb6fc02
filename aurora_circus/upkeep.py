"""What this circusd does for its own fleet to be kept up: it claims it, guards the plugin, and says its farewell.

Part of what runs inside circusd, below ``hooks``, which call this; like them it leans on the inside of circus 0.19 and
must never block.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from circus import arbiter as circus_arbiter
from circus import logger

from aurora_circus import claim, kept, presence, processes
from aurora_circus.guard import Guard
from aurora_circus.presence import Presence

_FOLDER = os.getcwd()  # noqa: PTH109 - as a text
_kept = kept.take(os.environ)
"""How this circusd was started by whoever keeps it; the systems are not to inherit it."""
circus_arbiter._ENV_EXCEPTIONS += (kept.VARIABLE,)  # it was there when circus first read its file: that is no change
_guard: Guard | None = None
_failed = False
"""Whether the plugin's watcher was stopped because no process could be started."""
_BY_ITSELF = frozenset({"manage_watchers", "arbiter_start_watchers", "watcher_start"})
"""What circus is about when it stops a watcher of which nobody has said that it is to be stopped."""


def claim_fleet(arbiter: Any) -> None:
    """End this circusd where another one runs the same fleet; say that the fleet is wanted up.

    Whoever keeps us has looked at the mark, and removed it, before he started us.
    """
    presence.install()
    run_dir = _run_dir(arbiter)
    if run_dir is None:
        return
    if not claim.take(run_dir):
        message = f"another circusd runs this fleet, in {run_dir} (pid {claim.holder(run_dir)}): this one ends"
        raise SystemExit(message)
    if _kept is None:
        with contextlib.suppress(OSError):  # it counts for those alone that are kept
            kept.unmark(run_dir)


def begin(arbiter: Any, wanted: Callable[[], Any]) -> None:
    """Keep the plugin up, whose watcher ``wanted`` returns while it is to be; keep circusd findable and at its work."""
    global _guard  # noqa: PLW0603 - circusd makes itself a new arbiter for some changes of its configuration
    if _guard is not None:
        _guard.close()
    found_by, loop = Presence(arbiter), arbiter.loop.asyncio_loop

    def beside() -> None:
        found_by.look()
        looked = arbiter.manage_watchers()  # as circus's own timer would: circusd is awake now
        if looked is not None:
            looked.add_done_callback(_report)

    _guard = Guard(loop, wanted, beside)
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGCHLD, _guard.child)
        # at a shutdown hundreds may end before the loop turns again, and one word is as good as all of them
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    _guard.begin()


def _report(looked: "asyncio.Future[None]") -> None:
    error = None if looked.cancelled() else looked.exception()
    if error is not None:
        logger.error("aurora: looking after the watchers: %s", error, exc_info=error)


def heard() -> None:
    """Take note that the plugin has said something."""
    if _guard is not None:
        _guard.beat()


def starts() -> None:
    """Take note that circus starts the plugin's watcher."""
    global _failed  # noqa: PLW0603 - as above
    _failed = False


def stops(arbiter: Any) -> None:
    """Take note that circus stops the plugin's watcher, and whether that is because it could start no process."""
    global _failed  # noqa: PLW0603 - as above
    reviving = _guard is not None and _guard.reviving
    _failed = not arbiter._stopping and (reviving or arbiter._exclusive_running_command in _BY_ITSELF)


def failed() -> bool:
    """Say whether the plugin is down for want of a process, and not of a wish."""
    return _failed


def farewell(arbiter: Any) -> None:
    """Let whoever keeps this circusd know that its end is wanted."""
    run_dir = _run_dir(arbiter)
    try:
        if run_dir is not None:
            kept.mark(run_dir)
    except OSError as error:  # the plugin hears the command as well
        logger.warning("aurora: saying that this end is wanted: %s", error)


def hand_on(watcher: Any) -> None:
    """Tell the plugin how we were started, where it may have to start the next one: in the environment it gets."""
    if _kept is None:
        return
    known = dataclasses.replace(
        _kept,
        circusd=processes.identify(os.getpid()),
        argv=(sys.executable, *sys.orig_argv[1:]),
        folder=_FOLDER,
        pythonpath=os.environ.get("PYTHONPATH"),
        fleet=watcher._options["fleet"],
    )
    path = os.pathsep.join(each for each in sys.path if each)
    watcher.env = {**os.environ, "PYTHONPATH": path, kept.VARIABLE: known.dumps()}


def _run_dir(arbiter: Any) -> str | None:
    """Return the fleet's run_dir; None for a circusd that is not of our making."""
    for watcher in arbiter.watchers:
        if "fleet" in watcher.optnames:
            place = os.path.dirname(arbiter.pidfile) if arbiter.pidfile else watcher.working_dir  # noqa: PTH120 - a text
            return None if place is None else str(place)
    return None
