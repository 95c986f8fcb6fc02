"""What ``up`` says and does when the fleet runs already."""

from collections.abc import Sequence

from aurora_circus import kept, lookup, operate, overview, reach
from aurora_circus.context import Context
from aurora_circus.errors import AuroraError, NotRunningError
from aurora_circus.facts import Process
from aurora_circus.terminal import duration


def show(context: Context, keys: Sequence[str], process: Process) -> int:
    """Say that the fleet runs, have ``keys`` started, and show how everybody is; return the exit code."""
    config, terminal = context.config, context.terminal
    terminal.say(f"The fleet {config.fleet.name} is running already (circusd, pid {process.pid}).")
    try:
        client, health = reach.connect(context)
    except (NotRunningError, reach.Unreachable) as error:
        return _unreachable(context, process, error)
    if lookup.ask_pid(config.fleet) is None:
        return _stuck(context, process)
    if kept.marked(config.fleet.run_dir):  # by a `down` that was ended before it had said anything to circusd
        kept.unmark(config.fleet.run_dir)
    code = 0
    if keys:
        code = operate.run(client, operate.Command("start", keys), context)
    overview.show(context, client.get("/status"), health)
    return code


def _unreachable(context: Context, process: Process, error: AuroraError) -> int:
    if lookup.ask_pid(context.fleet) is None:
        return _stuck(context, process)
    overview.show_saved(context)
    context.terminal.warn(str(error))
    return 0 if isinstance(error, NotRunningError) else 1  # the first: the port is another's, the fleet is well


def _stuck(context: Context, process: Process) -> int:
    limit = duration(lookup.PING_PATIENCE)
    context.terminal.warn(f"circusd (pid {process.pid}) lives and does not answer within {limit}: it is stuck")
    replace = f"{context.by_force(process.pid)}; {context.advice('up')}"
    context.terminal.warn(f"replace it (the systems go on meanwhile): {replace}")
    return 1
