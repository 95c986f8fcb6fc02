"""Shows how everybody is: what ``status`` writes, and ``up`` of a fleet that runs already."""

from collections.abc import Mapping
from typing import Any

from aurora_circus import reach, report
from aurora_circus.context import Context
from aurora_circus.errors import AuroraError


def show(context: Context, status: Mapping[str, report.Status], health: Mapping[str, Any] | None = None) -> None:
    """Write the table of all systems, what it comes to, and what is wrong with the controller itself."""
    lines = [report.systems(status, context.clock.wall(), context.terminal.width)]
    lines += report.summary(status, context.advice)
    if health is not None:
        lines += report.controller(health)
        lines += [report.BUNDLED] if health.get("bundled") else []
    for line in lines:
        context.terminal.say(line)


def show_saved(context: Context) -> None:
    """Write what was last saved of the systems of a fleet that runs without its API; nothing where none runs."""
    from aurora_circus import feed  # noqa: PLC0415 - only for what goes wrong

    try:
        pid = reach.circusd_pid(context)
    except AuroraError:
        return
    status = None if pid is None else feed.saved_status(context.config, pid)
    if status:
        show(context, status)
