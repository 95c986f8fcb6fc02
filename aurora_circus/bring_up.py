"""Brings the fleet up, shows how it comes up, and in the foreground stays with it until somebody wants it to end.

Whatever happens to this process, circusd is never left behind in silence: from the moment it is started until this one
ends, a signal either takes it down again or says that it stays.
"""

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aurora_circus import (
    already,
    kept,
    launch,
    leftovers,
    lookup,
    marks,
    origin,
    preflight,
    processes,
    reach,
    render,
    report,
    sentences,
    succession,
    take_down,
)
from aurora_circus.config import Config
from aurora_circus.context import Context
from aurora_circus.errors import AuroraError, MachineError
from aurora_circus.facts import Process
from aurora_circus.feed import journal_path
from aurora_circus.interrupts import Interrupted, Interrupts
from aurora_circus.kept import Kept
from aurora_circus.lookout import Adopted, Child, Lookout, how
from aurora_circus.session import CircusdEndedError, NoControllerError, Session, end_of
from aurora_circus.terminal import Terminal, duration, one, strong

_CLOSED = {getattr(signal, each, None) for each in ("SIGHUP", "SIGBREAK")}
"""How a terminal that is closed is told of; on Windows, Ctrl-Break comes as the same."""
_QUIET_KEYS = frozenset({"circusd"})
"""Findings that are not about this: ``up`` runs circusd with its own interpreter, not with one on the PATH."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be brought up, and how."""

    context: Context
    ini: Path
    """Where ``circus.ini`` is written."""
    keys: Sequence[str] = ()
    """Only these, and what they depend on; none: everything."""
    detach: bool = False
    """Return when all have settled."""
    wishes_last: bool = False
    """Whether a signal that takes the fleet down leaves what operators have wished: at a shutdown nobody wishes."""


def up(order: Order) -> int:
    """Bring the fleet up; return the exit code."""
    try:
        return _up(order)
    except Interrupted:
        order.context.terminal.warn("\ninterrupted: what ran before goes on, and nothing else was started")
        return 1


def attach(order: Order, running: Process) -> int:
    """Stay with a circusd that runs already, as with one that was started here; return the exit code."""
    try:
        with Interrupts() as interrupts:
            return _run(order, interrupts, lambda: None, running)
    except Interrupted:
        return 1


def _up(order: Order) -> int:
    context = order.context
    config, terminal = context.config, context.terminal
    origin.check(config)
    with Interrupts() as interrupts:
        running = lookup.find(config.fleet)
        if running is not None:
            return already.show(context, with_dependencies(config, order.keys), running)
        left = leftovers.surviving(config.fleet, leftovers.known(config.fleet))
        if not _inspect(config, [each.pid for group in left.values() for each in group], terminal):
            return 2
        left.pop(marks.PLUGIN, None)
        if left:
            terminal.say(f"Left over from an earlier circusd, each replaced once, in order: {', '.join(left)}.")
        render.make_directories(config)
        code = 0
        with contextlib.ExitStack() as locked:
            locked.enter_context(
                launch.lock(config.fleet, lambda: terminal.say("Another `up` is starting this fleet: waiting …"))
            )
            running = lookup.find(config.fleet)  # by that other one, meanwhile
            if running is None:
                code = _run(order, interrupts, locked.close)
        return code if running is None else already.show(context, with_dependencies(config, order.keys), running)


def with_dependencies(config: Config, keys: Sequence[str]) -> list[str]:
    """Return ``keys`` and all that they depend on, directly or not, in start order."""
    needs = {each.key: each.depends_on for each in config.systems}
    found: set[str] = set()
    todo = list(keys)
    while todo:
        key = todo.pop()
        if key not in found:
            found.add(key)
            todo += needs[key]
    return [key for key in needs if key in found]


# --- from the start to the end -------------------------------------------------------------------------------------


def _run(order: Order, interrupts: Interrupts, started: Callable[[], None], running: Process | None = None) -> int:
    """Start circusd, where it is not ``running``, and stay with it; ``started`` is called when others can find it."""
    context, session = order.context, None
    try:
        ini = order.ini if running is not None else _write_ini(order)
        known = Kept(keeper=processes.identify(os.getpid()))
        with interrupts.held():
            child: Child = (
                Adopted(running) if running else launch.start(context.fleet, ini, context.terminal.warn, known)
            )
            session = Session(context, child, known)
            session.came = running is not None
        while True:
            watched = Lookout(context.fleet, session.process)
            try:
                return _stay(order, session, watched, started)
            except CircusdEndedError:
                following = succession.of(session, ini, watched.why, interrupts)
                if following is None:
                    return _ended(session)
                session = following
    except Interrupted as interrupted:
        if session is None:
            raise
        return _interrupted(order, session, interrupts, interrupted.number)
    except NoControllerError as error:
        assert session is not None  # noqa: S101 - as above
        context.terminal.warn(f"{error}\ncircusd is taken down again")
        _take_down(session, interrupts)
        return 1
    except (AuroraError, OSError) as error:  # such as a closed pipe: nobody can be told any more
        if session is None:
            raise
        context.terminal.forgiving = True
        context.terminal.warn(f"{error}: the fleet goes on without us; to end it: {context.advice('down')}")
        return 1


def _stay(order: Order, session: Session, watched: Lookout, started: Callable[[], None]) -> int:
    """Show how the fleet comes up; return the exit code when it has, or stay.

    Raises:
        CircusdEndedError: it did.
        NoControllerError: circusd has no plugin.
    """
    with watched:
        troubled = session.settle(order.keys, started)
        _summarise(order, session, troubled)
        if not order.detach:
            session.watch()
        return 1 if troubled else 0


def _write_ini(order: Order) -> Path:
    config = order.context.config
    chosen = set(with_dependencies(config, order.keys) if order.keys else (each.key for each in config.systems))
    wanted = tuple(dataclasses.replace(each, wanted=each.key in chosen) for each in config.systems)
    render.prepare_endpoints(config, anew=True)
    text = render.render(dataclasses.replace(config, systems=wanted), python=sys.executable)
    launch.refuse_foreign_ini(order.ini, config.fleet)
    try:
        render.write(text, order.ini)
    except OSError as error:
        raise MachineError(f"writing {order.ini}: {error.strerror}") from error
    kept.unmark(config.fleet.run_dir)
    stale = lookup.remove_stale_pidfile(config.fleet)
    if stale is not None:
        order.context.terminal.say(stale)
    return order.ini


def _inspect(config: Config, own: Sequence[int], terminal: Terminal) -> bool:
    """Say what this machine has to say before anything starts; False when that keeps the fleet from starting."""
    findings = [each for each in preflight.inspect(config, own=own) if each.key not in _QUIET_KEYS]
    for each in findings:
        terminal.warn(sentences.finding(each.severity, each.key, each.message))
    return all(each.severity != "error" for each in findings)


def _summarise(order: Order, session: Session, troubled: Sequence[str]) -> None:
    context, terminal = order.context, session.terminal
    config = context.config
    count, took = len(config.systems), duration(session.clock.wall() - session.began)
    if troubled:
        terminal.warn(f"not healthy: {', '.join(troubled)}")
        terminal.warn(f"why, and what next: {context.advice('explain', troubled[0])}")
    stopped = session.stopped()
    healthy = count - len(troubled) - len(stopped)
    also = f"; stopped: {', '.join(stopped)}" if stopped else ""
    terminal.say(strong(f"{healthy} of {one(count, 'system')} healthy after {took}{also}"))
    if config.fleet.bundled:
        terminal.say(report.BUNDLED)
    url = reach.client_of(context).url
    terminal.say(f"  API      {url}" + ("" if session.has_api else "  (not yet: its port is taken)"))
    terminal.say(f"  journal  {journal_path(config.fleet)}")
    terminal.say(f"  status   {context.advice('status')}")
    end = context.advice("down")
    terminal.say(f"  to stop  {end}" if order.detach else f"  to stop  Ctrl-C here, or: {end}")


# --- ends ----------------------------------------------------------------------------------------------------------


def _interrupted(order: Order, session: Session, interrupts: Interrupts, number: int) -> int:
    context, terminal = order.context, session.terminal
    terminal.forgiving = True
    if number in _CLOSED:  # the terminal was closed: the fleet has none
        return 0
    if order.detach:
        terminal.warn(f"\nno longer watching; the fleet goes on coming up: {context.advice('status')}")
        terminal.warn(f"to end it: {context.advice('down')}")
        return 1
    terminal.say(f"\nStopping the fleet {context.fleet.name} …")
    if order.wishes_last:
        try:
            kept.keep_wishes(context.fleet.run_dir)
        except OSError as error:
            terminal.warn(f"what operators have wished ends with this stop: {error}")
    return _take_down(session, interrupts)


def _take_down(session: Session, interrupts: Interrupts) -> int:
    """Take down what this session has started; no signal keeps that from coming to its end."""
    terminal = session.terminal
    terminal.forgiving = True
    limit = duration(take_down.Patience.of(session.config).longest)

    def again(_number: int) -> None:
        terminal.warn(f"still stopping (circusd, pid {session.child.pid}): it may take {limit} at most")

    interrupts.action = again
    interrupts.release()
    code = take_down.circusd(session.context, session.process)
    if code == 0:
        session.child.wait()
    return code


def _ended(session: Session) -> int:
    """Say what it means that circusd is gone."""
    context, terminal = session.context, session.terminal
    for line in take_down.lines(session.rest(), session.began):
        terminal.say(line)
    if session.orderly():
        terminal.say(f"The fleet {context.fleet.name} was taken down from elsewhere.")
        return 0
    terminal.warn(f"circusd (pid {session.child.pid}) ended ({how(session.child)}), and nobody here asked for that")
    terminal.warn(end_of(launch.log_path(context.fleet)))
    left = leftovers.surviving(context.fleet, leftovers.known(context.fleet))
    if left:
        terminal.warn(f"still running, and watched by nobody: {', '.join(left)}")
        terminal.warn(f"to go on: {context.advice('up')}; to end them: {context.advice('down')}")
    else:
        terminal.warn(f"nothing of the fleet runs any more; to start it: {context.advice('up')}")
    return 1
