"""The command line: what may be typed, and how it is answered. What is done stands in the modules that it names.

Commands import what they need when they run: ``status`` has to be quicker than circusctl, and pays for nothing else.
Exit codes: 0 done, 1 it failed, 2 wrong use or bad configuration, 3 the fleet is not running.
"""

import contextlib
import json
import sys
from pathlib import Path

import click

import aurora_circus
from aurora_circus import escapes
from aurora_circus.commands import Commands, fleet_options, load, until_ctrl_c
from aurora_circus.drill_command import drill
from aurora_circus.errors import AuroraError, ConfigError
from aurora_circus.service_cli import COMMANDS as SERVICE_COMMANDS

PLATFORMS = ("linux", "darwin", "win32")
SHELL = "powershell" if sys.platform == "win32" else "sh"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(aurora_circus.__version__)
def cli() -> None:
    """Keep a fleet of HTTP programs up: in order, by their health, with a record of it all.

    A fleet is what fleet.toml says; without one, it is the five Aurora systems. To begin: aurora-circus up

    Exit codes: 0 done, 1 it failed, 2 wrong use or bad configuration, 3 the fleet is not running.
    """


# --- configuration -------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--fleet", "file", metavar="FILE", default="fleet.toml", show_default=True, help="The file to write.")
def init(file: str) -> None:
    """Write a fleet.toml to begin with.

    Where the five scripts lie beside it, it makes them the fleet's. A file that is there is left alone.
    """
    from aurora_circus import starter

    own = starter.write(Path(file))
    option = "" if file == "fleet.toml" else f" --fleet {file}"
    which = "the five scripts beside it" if own else "the bundled reference systems, until project_root says otherwise"
    click.echo(f"{file} is written; it runs {which}.")
    click.echo(f"next: aurora-circus check{option}, then aurora-circus up{option}")


@cli.command()
@fleet_options
@click.option("--live", is_flag=True, help="Also start each system alone, and look whether it becomes healthy.")
def check(live: bool, **options: str | None) -> None:
    """Find what is wrong before anything starts.

    Looks at the configuration, and at what this machine has to say to it: programs, ports, directories, accounts.
    One line for each finding: errors keep the fleet from starting, warnings do not, notes explain. Exit 2 when there
    are errors.

    --live needs a stopped fleet: it starts one system after the other, and says its HTTP status, its latency and which
    of the six metrics it gave. Exit 1 when one does not become healthy.
    """
    from aurora_circus import checks, origin

    context = load(**options)
    origin.check(context.config)
    raise SystemExit(checks.run(context, live=live))


@cli.command()
@fleet_options
@click.option("-o", "--output", metavar="FILE", help="Write to this file.  [default: standard output]")
@click.option("--platform", type=click.Choice(PLATFORMS), help="For a look: as on that system.  [default: this one]")
def render(output: str | None, platform: str | None, **options: str | None) -> None:
    """Make the circus.ini that circusd runs the fleet from.

    circusd can make no directories, so this makes those of the sockets and of the logs (fleet.run_dir, fleet.log_dir).
    What is rendered depends on nothing in the directory that circusd is started from later. A fleet that cannot be
    rendered is an error for each fault (exit 2), and nothing is written.

    --platform shows what another system's circus.ini looks like; it makes nothing, and runs nowhere else: its paths are
    those of this machine.
    """
    from aurora_circus import origin
    from aurora_circus import render as rendering
    from aurora_circus.errors import MachineError

    context = load(**options, platform=platform)
    here = platform in {None, sys.platform}
    if here:
        origin.check(context.config)
        rendering.prepare_endpoints(context.config)
    text = rendering.render(context.config, python=sys.executable, platform=platform or sys.platform)
    if here:
        rendering.make_directories(context.config)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        rendering.write(text, Path(output))
    except OSError as error:
        raise MachineError(f"writing {output}: {error.strerror}") from error
    click.echo(f"{output} is written; run it: circusd {click.format_filename(output)}", err=True)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of fleet.toml, for editors."""
    from aurora_circus import config

    click.echo(json.dumps(config.schema(), indent=2, ensure_ascii=False))


# --- the whole fleet -----------------------------------------------------------------------------------------------


@cli.command()
@fleet_options
@click.option("-d", "--detach", is_flag=True, help="Return when all have settled; the fleet goes on.")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
def up(keys: tuple[str, ...], detach: bool, **options: str | None) -> None:
    """Bring the fleet up, in order, and show how that goes.

    With KEYs only these are brought up, and what they depend on. The circus.ini that is run is written beside the
    fleet's file.

    In the foreground it stays and tells what happens; Ctrl-C takes the fleet down. A terminal that is closed leaves it
    running. With -d it returns when all have settled: 0 when all are healthy, 1 naming those that are not.
    """
    from aurora_circus import bring_up, launch, operate

    context = load(**options)
    operate.check_keys(keys, [each.key for each in context.config.systems])
    order = bring_up.Order(context=context, ini=launch.ini_path(context.config), keys=keys, detach=detach)
    raise SystemExit(bring_up.up(order))


@cli.command()
@fleet_options
def down(**options: str | None) -> None:
    """Take the fleet down, in reverse order.

    What was wished of its systems (stop, start) is forgotten. Where circusd has died and left systems running, these
    are ended. Exit 3 when there is nothing to take down.
    """
    from aurora_circus import take_down

    raise SystemExit(take_down.down(load(**options)))


@cli.command()
@fleet_options
@click.option("--json", "as_json", is_flag=True, help="As the API has it: one object for each system, by key.")
def status(as_json: bool, **options: str | None) -> None:
    """Show how every system is, and what happens next.

    Exit 0 whatever is wrong with them, as long as it can be shown.
    """
    from aurora_circus import overview, reach

    context = load(**options)
    try:
        client, health = reach.connect(context)
    except ConfigError:  # what was saved there is another fleet's
        raise
    except AuroraError:
        if not as_json:
            overview.show_saved(context)
        raise
    if as_json:
        context.terminal.say(escapes.to_json(client.get("/status"), indent=2))
    else:
        overview.show(context, client.get("/status"), health)


# --- single systems ------------------------------------------------------------------------------------------------


def _operation(verb: str, about: str) -> None:
    """Add the command ``verb``."""

    @cli.command(verb, help=about)
    @fleet_options
    @click.option("--all", "everything", is_flag=True, help="All systems, in dependency order; stops in reverse.")
    @click.option("--no-wait", is_flag=True, help="Return as soon as it is accepted.")
    @click.argument("keys", metavar="KEY...", nargs=-1)
    def command(keys: tuple[str, ...], everything: bool, no_wait: bool, **options: str | None) -> None:
        from aurora_circus import operate, reach

        if everything == bool(keys):
            raise click.UsageError(
                "name systems, or say --all" if not everything else "either --all or names of systems"
            )
        context = load(**options)
        client, _ = reach.connect(context)
        chosen = None if everything else list(keys)
        raise SystemExit(operate.run(client, operate.Command(verb, chosen, wait=not no_wait), context))


_operation(
    "start",
    "Start systems. Waits until each has settled. One that has failed, or that waits for its next attempt, is started "
    "at once and gets all its attempts anew. A healthy one stays as it is.",
)
_operation("stop", "Stop systems; they stay down until started. Waits until each is down, with all its processes.")
_operation("restart", "Give systems new processes. Waits until each has settled.")


@cli.command()
@fleet_options
@click.option("--json", "as_json", is_flag=True, help="As the API has it.")
@click.argument("key", metavar="KEY")
def explain(key: str, as_json: bool, **options: str | None) -> None:
    """Say why a system is as it is, and what comes next.

    What it is doing and since when, why, what happens next and when, what you can do; its last probes and the last
    lines of its output.
    """
    from aurora_circus import operate, reach, report

    context = load(**options)
    client, _ = reach.connect(context)
    operate.check_keys([key], list(client.get("/status")))
    found = client.get(f"/explain/{key}")
    if as_json:
        context.terminal.say(escapes.to_json(found, indent=2))
    else:
        context.terminal.say(report.explanation(found, context.clock.wall(), context.advice))


@cli.command()
@fleet_options
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "-n",
    "count",
    type=click.IntRange(0, 1000),
    help="How many to begin with.  [default: 20; with --since or --file all]",
)
@click.option("--since", metavar="SEQ", type=click.IntRange(0), help="Only what has a greater number, the first -n.")
@click.option("--server", metavar="KEY", help="Of this system only.")
@click.option("--event", metavar="NAME", help="Of this kind only, such as server_failed.")
@click.option("--json", "as_json", is_flag=True, help="As they stand in the journal, one object a line.")
@click.option("--file", "journal", metavar="FILE", help="Read this journal or old log; - is standard input.")
@click.option("--verify", is_flag=True, help="Say instead whether all records are there, in order and unchanged.")
def events(  # noqa: PLR0913 - click hands options over one by one
    *,
    follow: bool,
    count: int | None,
    since: int | None,
    server: str | None,
    event: str | None,
    as_json: bool,
    journal: str | None,
    verify: bool,
    **options: str | None,
) -> None:
    """Show what happened to the fleet, from its journal.

    Health checks that say no more than that all is as before are left out, unless --json or --event asks for them.
    Where the fleet does not run, its journal is shown all the same; the exit code is 3 then.

    --file reads any file of the kind, packed by gzip or not, also an old log's lines without numbers. Lines that are
    none are named on standard error. No fleet is needed, and nothing is left out.

    --verify follows the chain through all files of the journal, or through --file. Exit 0 when it is whole, 1 naming
    each line that was lost, changed, added or moved, 3 when there is no journal.
    """
    from aurora_circus import journal_show
    from aurora_circus.follow import Events
    from aurora_circus.journal_files import NoJournalError
    from aurora_circus.terminal import Terminal

    if verify and (follow or (count, since, server, event) != (None, None, None, None)):
        raise click.UsageError("--verify looks at the whole journal: it goes with --file and --json only")
    if journal is not None and follow:
        raise click.UsageError("either --file or --follow")
    try:
        if verify:
            code = (
                journal_show.verify_fleet(load(**options), as_json=as_json)
                if journal is None
                else journal_show.verify_file(journal, Terminal(), as_json=as_json)
            )
            raise SystemExit(code)
        if journal is not None:
            wanted = journal_show.Wanted(server, event, since, count)
            journal_show.show(journal, wanted, Terminal(), as_json=as_json)
            return
    except NoJournalError as error:
        click.echo(str(error), err=True)
        raise SystemExit(journal_show.NO_JOURNAL) from None
    if count is None and since is None:
        count = 20
    with until_ctrl_c():
        Events(load(**options), server=server, event=event, as_json=as_json).show(count, follow=follow, since=since)


@cli.command()
@fleet_options
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("-n", "count", type=click.IntRange(0, 10_000), default=50, show_default=True, help="How many lines.")
@click.argument("key", metavar="KEY")
def logs(key: str, follow: bool, count: int, **options: str | None) -> None:
    """Show the last lines of a system's own output.

    Where the fleet does not run, its log is shown all the same; the exit code is 3 then.
    """
    from aurora_circus import operate
    from aurora_circus.follow import Logs

    context = load(**options)
    operate.check_keys([key], [each.key for each in context.config.systems])
    with until_ctrl_c():
        Logs(context, key).show(count, follow=follow)


@cli.command()
@fleet_options
@click.option("--shell", type=click.Choice(["sh", "fish", "powershell"]), default=SHELL, show_default=True)
def env(shell: str, **options: str | None) -> None:
    """Print what lets plain circusctl speak to the fleet.

    \b
    sh:          eval "$(aurora-circus env)"
    fish:        aurora-circus env --shell fish | source
    PowerShell:  aurora-circus env --shell powershell | Invoke-Expression
    """  # noqa: D301 - \b is how click is told to leave the lines as they are
    from aurora_circus import origin
    from aurora_circus.endpoints import endpoints

    context = load(**options)
    origin.check(context.config)
    endpoint = endpoints(context.fleet)[0]
    quoted = "'" + endpoint.replace("'", "'\\''") + "'"
    doubled = "'" + endpoint.replace("'", "''") + "'"
    escaped = "'" + endpoint.replace("\\", "\\\\").replace("'", "\\'") + "'"
    click.echo(
        {
            "sh": f"export CIRCUSCTL_ENDPOINT={quoted}",
            "fish": f"set -gx CIRCUSCTL_ENDPOINT {escaped}",
            "powershell": f"$env:CIRCUSCTL_ENDPOINT = {doubled}",
        }[shell]
    )


cli.add_command(drill)
for _each in SERVICE_COMMANDS:
    cli.add_command(_each)


def main() -> None:
    """Run the command line. Text that the terminal's encoding does not have is escaped, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a stream of another kind has none
    cli(prog_name="aurora-circus")
