"""From one circusd to the next, for an ``up`` that is still there when the one that it has started is not."""

import dataclasses
from pathlib import Path

from aurora_circus import keeper, launch, lookup
from aurora_circus.clock import pause
from aurora_circus.errors import AuroraError
from aurora_circus.interrupts import Interrupts
from aurora_circus.lookout import Adopted, Child, give_up, how, successor
from aurora_circus.session import Session
from aurora_circus.terminal import duration


def of(session: Session, ini: Path, why: str | None, interrupts: Interrupts) -> Session | None:
    """Start the circusd that follows the one of ``session``, on the same ``ini``; None where none is to follow.

    ``why`` it ended, where that is known better than from its exit code. One that has never come up is not replaced:
    the next one would not come up either. While this goes on, no closed terminal ends it.
    """
    if not session.came or session.over():
        return None
    context, terminal, old = session.context, session.terminal, session.child
    why = why or how(old)
    attempt = keeper.following(session.known.attempt, context.clock.wall() - session.began)
    known = dataclasses.replace(session.known, attempt=attempt, old=old.pid, why=why)
    wait = keeper.delay(attempt)
    forgiving, terminal.forgiving = terminal.forgiving, True
    try:
        if wait is None:
            terminal.warn(give_up(context.fleet, old.pid, why))
            return None
        when = f" in {duration(wait)}" if wait else ""
        terminal.warn(f"circusd (pid {old.pid}) ended ({why}), and nobody here asked for that")
        terminal.warn(f"the next one is started{when}; the systems go on, and each is replaced once, in order")
        pause(wait)
        with interrupts.held():
            child: Child | None = successor(
                context.fleet, lambda: launch.start(context.fleet, ini, terminal.warn, known)
            )
            if child is None:
                running = None if session.over() else lookup.find(context.fleet)
                if running is None:
                    return None
                terminal.warn(f"somebody else has started one already (pid {running.pid})")
                child = Adopted(running)
            return Session(context, child, known)
    except AuroraError as error:
        terminal.warn(str(error))
        return None
    finally:
        terminal.forgiving = forgiving
