"""``aurora-circus drill``: what may be typed. What is done stands in :mod:`~aurora_circus.drill`."""

import click

from aurora_circus.commands import fleet_options, load
from aurora_circus.drill_names import CONTROLLER, Fault


@click.command()
@fleet_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Although other systems are not well.")
@click.option("--json", "as_json", is_flag=True, help="Report as one object; what happens is told on standard error.")
@click.option(
    "--slack",
    type=click.FloatRange(0, 600),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Seconds on top of each promise, for a machine that is busy.",
)
@click.argument("fault", metavar="FAULT", type=click.Choice([str(each) for each in Fault]))
@click.argument("key", metavar="[KEY]", required=False)
def drill(  # noqa: PLR0913 - one option each
    fault: str,
    key: str | None,
    *,
    yes: bool,
    force: bool,
    as_json: bool,
    slack: float,
    **options: str | None,
) -> None:
    """Do a fault to the running fleet, and time its recovery.

    \b
    kill KEY         its processes are killed
    hang KEY         they are frozen
    slow-health KEY  its health is answered too late, by a stand-in
    http-500 KEY     its health is answered with status 500, by a stand-in
    crash-loop KEY   its processes are killed again and again, fewer times than it has attempts
    plugin-kill      the plugin is killed

    It says beforehand what it will do, and afterwards how long it took until that was noticed and all was well again,
    against what the fleet's own settings promise. The programs themselves need nothing for it. It is refused on a fleet
    that is not all well. Ctrl-C ends the fault. Exit 1 when a promise was broken.
    """  # noqa: D301 - \b is how click is told to leave the lines as they are
    chosen = Fault(fault)
    if (key is None) != (chosen is Fault.PLUGIN_KILL):
        raise click.UsageError(f"{fault} takes {'no KEY' if key else 'the KEY of a system'}")
    from aurora_circus import drill as doing  # noqa: PLC0415 - what it needs, no other command pays for
    from aurora_circus.drill_words import Subject  # noqa: PLC0415 - as above

    subject = Subject(chosen, key or CONTROLLER)
    wish = doing.Wish(subject=subject, yes=yes, force=force, as_json=as_json, slack=slack)
    raise SystemExit(doing.run(wish, load(**options)))
