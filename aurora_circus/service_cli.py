"""The part of the command line that makes a fleet a service: what may be typed, and how it is answered."""

import os
import sys
from pathlib import Path

import click

from aurora_circus.commands import fleet_options, load


def _whose(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--system/--user",
        default=None,
        help="The machine's service, or your own.  [default: the machine's for root, else your own]",
    )(command)


@click.command("install-service")
@fleet_options
@_whose
@click.option("--as", "user", metavar="USER", help="Who the machine's service runs as.  [default: who owns fleet.toml]")
@click.option("--print", "only_print", is_flag=True, help="Write what would be installed to standard output; no more.")
@click.option("--no-start", is_flag=True, help="Install it, for the next boot or log-in.")
def install_service(system: bool | None, only_print: bool, no_start: bool, **options: str | None) -> None:  # noqa: FBT001 - click's flags
    """Make the fleet a service: up at boot, whatever dies.

    It is a unit of systemd, a job of launchd, or a task of Windows' Task Scheduler. It keeps the Python that runs this,
    the absolute path of fleet.toml, and the PATH. A file that somebody else wrote is left alone.
    """
    from aurora_circus import origin, service  # noqa: PLC0415 - commands import what they need when they run

    user = options.pop("user")
    context = load(**options)
    origin.check(context.config)
    wish = service.Wish(
        context=context,
        system=_system(system),
        user=user,
        project_root=options["project_root"],
        python=options["python"],
    )
    if only_print:
        click.echo(service.plan_of(wish).text, nl=False)
        return
    raise SystemExit(service.install(wish, start=not no_start))


@click.command("uninstall-service")
@fleet_options
@_whose
def uninstall_service(system: bool | None, **options: str | None) -> None:  # noqa: FBT001 - as above
    """Take the service down, and remove it.

    Exactly what install-service has installed goes; the fleet that runs as that service ends in good order first.
    """
    from aurora_circus import service  # noqa: PLC0415 - as above

    raise SystemExit(service.uninstall(service.Wish(context=load(**options), system=_system(system))))


@click.command()
@fleet_options
@click.option("--output", metavar="FILE", help="Write what is said to this file.")
def serve(output: str | None, **options: str | None) -> None:
    """Be what a service manager runs.

    That is `up` in the foreground, without a terminal.

    SIGTERM takes the fleet down. Exit 0 when that, or `down`, was asked for; else 1, or 2 for a bad configuration: then
    it is to be started again. What an earlier one that was killed has left is taken over. Where NOTIFY_SOCKET is set,
    the plugin says there when the fleet is supervised, how it is, and that it is well.
    """
    if output is not None:
        _redirect(Path(output))
    from aurora_circus import bring_up, launch  # noqa: PLC0415 - as above
    from aurora_circus import serve as serving  # noqa: PLC0415

    context = load(**options)
    order = bring_up.Order(context=context, ini=launch.ini_path(context.config), wishes_last=True)
    raise SystemExit(serving.serve(order))


COMMANDS = (install_service, uninstall_service, serve)


def _system(chosen: bool | None) -> bool:  # noqa: FBT001 - as above
    """Say whose service it is when nobody has: root has no log-in of its own."""
    return _is_root() if chosen is None else chosen


if sys.platform == "win32":

    def _is_root() -> bool:
        return False

else:

    def _is_root() -> bool:
        return os.geteuid() == 0


def _redirect(path: Path) -> None:
    from aurora_circus import serve as serving  # noqa: PLC0415 - as above

    serving.prepare_output(path)
    sys.stdout = sys.stderr = path.open("a", encoding="utf-8", buffering=1)
