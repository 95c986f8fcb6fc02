"""What all commands of the command line share: their order, the options that say which fleet, and exit codes."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aurora_circus import escapes
from aurora_circus.errors import AuroraError, ConfigError, NotRunningError, UnknownServerError

if TYPE_CHECKING:
    from aurora_circus.context import Context

FAILED, WRONG, NOT_RUNNING = 1, 2, 3
_F = TypeVar("_F", bound=Callable[..., Any])


class Commands(click.Group):
    """The commands in the order in which a person meets them; our errors become words and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in that order."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run a command."""
        try:
            return super().invoke(ctx)
        except AuroraError as error:
            click.echo(escapes.only_colours(str(error)), err=True)  # it may tell what others said
            wrong = isinstance(error, (ConfigError, UnknownServerError))
            ctx.exit(WRONG if wrong else NOT_RUNNING if isinstance(error, NotRunningError) else FAILED)


def fleet_options(command: _F) -> _F:
    """Give a command the options that say which fleet, and how its file is read."""
    for option in (
        click.option("--python", metavar="PROGRAM", help="What {python} in commands stands for."),
        click.option("--project-root", metavar="DIR", help="Where the systems' scripts are."),
        click.option(
            "--fleet", "file", metavar="FILE", help="The fleet's file.  [default: fleet.toml here, if there is one]"
        ),
    ):
        command = option(command)
    return command


def load(
    file: str | None, project_root: str | None = None, python: str | None = None, platform: str | None = None
) -> "Context":
    """Return what a command works with, for the fleet that its options name; ``platform`` as ``fleetfile`` has it."""
    from aurora_circus import fleetfile  # noqa: PLC0415 - 80 ms, which --help does without
    from aurora_circus.context import Context  # noqa: PLC0415

    platform = platform or sys.platform
    return Context(fleetfile.load(file, project_root=project_root, python=python, platform=platform))


@contextlib.contextmanager
def until_ctrl_c() -> Iterator[None]:
    """Take Ctrl-C for what it is where something has no end of its own."""
    with contextlib.suppress(KeyboardInterrupt):
        yield
