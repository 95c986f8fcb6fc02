"""Takes the fleet down: circusd, which ends the systems in their order, or what an earlier circusd has left."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aurora_circus import kept, launch, leftovers, lookup, marks, origin, processes
from aurora_circus.clock import parse_rfc3339
from aurora_circus.config import Config
from aurora_circus.context import Context
from aurora_circus.errors import NotRunningError
from aurora_circus.facts import Process
from aurora_circus.feed import FileFeed, last_number
from aurora_circus.journal import Journal
from aurora_circus.records import Record
from aurora_circus.terminal import clean, duration, state

SAY_AGAIN = 1.0
"""Seconds after which SIGTERM is sent again: circusd may lose one."""
MARGIN = 15.0
"""Seconds beyond all grace periods in a row until a circusd that still runs is stuck."""
WRITE_PATIENCE = 3.0
"""Seconds for what was done here to reach the journal."""
PARTING = 2.0
"""Seconds for whoever had replaced circusd to see that it has ended."""
_LOOK = 0.05
"""Seconds between two looks at the journal while systems stop."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a fleet may take to come down."""

    graces: Mapping[str, float]
    """Each system's grace period."""

    @classmethod
    def of(cls, config: Config) -> "Patience":
        """Read it from the configuration."""
        return cls({each.key: each.graceful_timeout for each in config.systems})

    @property
    def longest(self) -> float:
        """Seconds for all of them in a row."""
        return sum(self.graces.values()) + MARGIN


def down(context: Context) -> int:
    """Take this fleet down, whatever is up of it; return the exit code.

    Raises:
        ConfigError: what runs there was brought up from another fleet file.
        NotRunningError: there is nothing.
    """
    origin.check(context.config)
    terminal, fleet = context.terminal, context.fleet
    process = _find(context)
    if process is not None:
        terminal.say(f"Stopping the fleet {fleet.name} (circusd, pid {process.pid}) …")
        try:
            return circusd(context, process)
        except KeyboardInterrupt:
            terminal.warn(f"\nno longer watching; circusd was told to end, and goes on with that (pid {process.pid})")
            return 1
    known = leftovers.known(fleet)
    if not leftovers.surviving(fleet, known):
        raise NotRunningError(
            f"the fleet {fleet.name} is not running, and nothing is left of it\nstart it: {context.advice('up')}"
        )
    terminal.say("There is no circusd any more, but some systems of this fleet go on: they are ended.")
    stale = lookup.remove_stale_pidfile(fleet)
    if stale is not None:
        terminal.say(f"  {stale}")
    return _rest(context, known)


def _find(context: Context) -> Process | None:
    """Return this fleet's circusd; where somebody is just starting one, that one. From here on nobody starts another.

    Where there is no ``run_dir``, none was ever started.
    """
    fleet, terminal = context.fleet, context.terminal
    if not Path(fleet.run_dir).is_dir():
        return lookup.find(fleet)
    with launch.lock(fleet, lambda: terminal.say("circusd of this fleet is just being started: waiting …")):
        _mark(context)
        return lookup.find(fleet)


def _mark(context: Context) -> None:
    try:
        kept.mark(context.fleet.run_dir)
    except OSError as error:
        context.terminal.warn(f"saying that this end is wanted, in {context.fleet.run_dir}: {error.strerror}")


def circusd(context: Context, process: Process) -> int:
    """End a circusd and with it its systems, saying how that goes; return the exit code.

    One that has not ended after all its time, and does not answer either, is ended by force, and then what it leaves.
    """
    terminal, clock = context.terminal, context.clock
    wishes_last = kept.wishes_kept(context.fleet.run_dir)
    patience, known = Patience.of(context.config), leftovers.known(context.fleet)
    feed = FileFeed(context.config, last_number(context.fleet), clock=clock)
    began, began_at = clock.monotonic(), clock.wall()
    again = began
    while True:
        now = clock.monotonic()
        if now >= again:
            _mark(context)  # an `up` that finds the fleet running may have taken the mark away
            launch.terminate(context.fleet, process)
            again = now + SAY_AGAIN
        ended = launch.await_end(process, _LOOK)
        for each in lines(feed.read(0), began_at):
            terminal.say(each)
        if ended:
            break
        if now - began > patience.longest:
            if lookup.ask_pid(context.fleet) is not None or not launch.end(process):
                return _stuck(context, process, known)
            limit = duration(patience.longest)
            terminal.warn(f"circusd (pid {process.pid}) is still there after {limit}, and does not answer: killed")
    code = _rest(context, known) if _left(context, known) else 0
    if code == 0 and not wishes_last:  # a plugin that was dead or stopped has not
        leftovers.forget_state(context.fleet)
    if code == 0:
        terminal.say(f"The fleet {context.fleet.name} is down, after {duration(clock.monotonic() - began)}.")
    return code


def _left(context: Context, known: Mapping[str, Process]) -> Mapping[str, Sequence[Process]]:
    """Return who still runs; whoever had replaced this circusd, and only waits for it to settle, ends by itself."""
    left = leftovers.surviving(context.fleet, known)
    if left.keys() != {marks.PLUGIN}:
        return left
    for each in left[marks.PLUGIN]:
        processes.await_end(each, PARTING)
    return leftovers.surviving(context.fleet, known)


def lines(records: Sequence[Record], began: float) -> list[str]:
    """Return who has stopped, and who did so by force, a line each."""
    found = []
    for record in records:
        event, details = record["event"], record.get("details") or {}
        try:
            after = f"{duration(max(0.0, parse_rfc3339(record['timestamp']) - began)):>8}"
        except (KeyError, ValueError):
            after = " " * 8
        key = f"{clean(record.get('server')):<24}"
        if event == "server_stopped":
            found.append(f"{after}  {key}  {state('stopped')}")
        elif event == "server_exited" and details.get("signal") == "SIGKILL":
            found.append(f"{after}  {key}  killed (SIGKILL), its grace period was over")
    return found


def _rest(context: Context, known: Mapping[str, Process]) -> int:
    """End what lives of the known systems without a circusd, and journal that: there is no plugin to do so."""
    clock, ended = context.clock, list[tuple[str, float]]()
    began = clock.wall()

    def gone(key: str, after: float, forced: bool) -> None:  # noqa: FBT001 - a callback's argument
        ended.append((key, clock.wall()))
        how = "ended, by force (SIGKILL)" if forced else "ended"
        context.terminal.say(f"{duration(after):>8}  {clean(key):<24}  {how}")

    order = [each.key for each in reversed(context.config.systems)]
    alive = {
        key: known[key] if key in known else everybody[0]
        for key, everybody in leftovers.surviving(context.fleet, known).items()
    }
    graces = Patience.of(context.config).graces
    left = leftovers.end(context.fleet.run_dir, alive, order, graces, gone, clock)
    if marks.PLUGIN not in left:
        _tell(context, began, [(key, at) for key, at in ended if key != marks.PLUGIN])
    if left:
        context.terminal.warn(
            f"still running, even after SIGKILL: {', '.join(f'{key} (pid {alive[key].pid})' for key in left)}"
        )
        if sys.platform != "win32":
            pids = ",".join(str(alive[key].pid) for key in left)
            context.terminal.warn(f"look at them: ps -o pid,stat,wchan,args -g {pids}")
        return 1
    leftovers.forget_state(context.fleet)
    return 0


def _tell(context: Context, began: float, ended: Sequence[tuple[str, float]]) -> None:
    """Write what was done here into the journal; ``began`` and the time of each end are seconds since 1970."""
    fleet = context.fleet
    journal = Journal(Path(fleet.log_dir) / "events.jsonl", fleet.name, fleet.journal)
    journal.start()
    details = {"verb": "quit", "by": "cli", "servers": [key for key, _ in ended], "operation": None}
    journal.record("command", None, details, began)
    for key, at in ended:
        journal.record("server_stopped", key, {}, at)
    if not journal.close(WRITE_PATIENCE):
        context.terminal.warn(f"this end could not be journaled: {journal.last_error}")


def _stuck(context: Context, process: Process, known: Mapping[str, Process]) -> int:
    alive = [f"{key} (pid {group[0].pid})" for key, group in leftovers.surviving(context.fleet, known).items()]
    limit = duration(Patience.of(context.config).longest)
    context.terminal.warn(
        f"circusd (pid {process.pid}) is still there after {limit}; still running: {', '.join(alive) or 'none'}"
    )
    end = f"{context.by_force(process.pid)}; {context.advice('down')}"
    context.terminal.warn(f"end it by force, then what it leaves: {end}")
    return 1
