"""Makes a fleet a service of this machine, and undoes that: decides what is to be done, and says what was.

What the service manager reads is text that :mod:`~aurora_circus.service_systemd`, ``service_launchd`` and
``service_windows`` make. A file that is not ours, or another fleet's, is neither written over nor removed.
"""

import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aurora_circus import (
    checks,
    endpoints,
    launch,
    lookup,
    preflight,
    sentences,
    serve,
    service_launchd,
    service_manager,
    service_plan,
    service_systemd,
    service_windows,
    take_down,
)
from aurora_circus.context import Context
from aurora_circus.errors import ConfigError, MachineError, NotRunningError
from aurora_circus.fleetfile import NO_FILE
from aurora_circus.service_plan import Plan, Service, Step

KEPT = ("PATH", "PYTHONPATH")
"""Variables that a service is given as they are where it is installed: by these its programs are found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants installed, or removed."""

    context: Context
    system: bool
    """The machine's service; else one's own."""
    user: str | None = None
    """Who the machine's service runs as."""
    project_root: str | None = None
    python: str | None = None
    platform: str = sys.platform
    run: Callable[[Step], str] = field(default=service_manager.run)


def install(wish: Wish, *, start: bool) -> int:
    """Install the service and return the exit code.

    Raises:
        MachineError: the service manager, or the machine, would not.
        ConfigError: the fleet could not be started anyway.
    """
    terminal = wish.context.terminal
    plan = plan_of(wish)
    _inspect(wish)
    _refuse_foreign(wish, plan)
    _probe(wish, plan, "nothing was changed; to see what would be installed: --print")
    before = service_manager.read(Path(plan.file), plan.encoding)
    if before != plan.text:
        service_manager.write(Path(plan.file), plan.text, plan.encoding)
        terminal.say(f"{plan.file} is written")
    else:
        terminal.say(f"{plan.file} is there already, and up to date")
    _steps(wish, plan.install)
    running = lookup.find(wish.context.fleet)
    by_hand = running is not None and serve.served_by(running) is None
    if by_hand and start:
        assert running is not None  # noqa: S101 - as above
        terminal.warn(f"not started: the fleet runs already (circusd, pid {running.pid}), and not as a service")
        terminal.warn(f"to hand it over: {wish.context.advice('down')}; {' '.join(plan.start[0].argv)}")
    elif running is not None and before != plan.text and start:
        terminal.warn("the service runs as it was installed before; it is as it is now from its next start on")
    elif start:
        _steps(wish, plan.start)
    for each in plan.look:
        terminal.say(f"  to see it  {each}")
    terminal.say(f"  to undo    {_undo(wish)}")
    for each in _notes(wish, plan):
        terminal.say(f"note: {each}")
    return 0


def uninstall(wish: Wish) -> int:
    """Remove the service and return the exit code; the fleet that it runs is taken down in good order.

    Raises:
        MachineError: there is none, it is not ours, or the service manager would not.
    """
    terminal = wish.context.terminal
    plan = plan_of(wish)
    if service_manager.read(Path(plan.file), plan.encoding) is None:
        raise MachineError(f"no service of this fleet is installed: there is no {plan.file}")
    _refuse_foreign(wish, plan)
    _probe(wish, plan, f"nothing was changed; where there is no service manager any more, remove {plan.file}")
    if wish.platform == "win32":  # where to end a task is to kill it
        try:
            take_down.down(wish.context)
        except NotRunningError:
            terminal.say("the fleet does not run")
    _steps(wish, plan.stop)
    service_manager.forget(Path(plan.file))
    terminal.say(f"{plan.file} is removed")
    _steps(wish, plan.removed)
    return 0


def plan_of(wish: Wish) -> Plan:
    """Return what is to be done.

    Raises:
        ConfigError: there is no fleet.toml that a service could be made of.
    """
    service = service_of(wish)
    home = _home()
    if wish.platform == "win32":
        return service_windows.plan(service, home=wish.context.fleet.run_dir)
    if wish.platform == "darwin":
        return service_launchd.plan(service, home=f"{home}/Library/LaunchAgents", uid=_uid())
    folder = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return service_systemd.plan(service, home=f"{folder}/systemd/user")


def service_of(wish: Wish) -> Service:
    """Return this fleet as a service.

    Raises:
        ConfigError: see :func:`plan_of`.
    """
    context = wish.context
    config, fleet = context.config, context.fleet
    if config.source == NO_FILE:
        raise ConfigError(["a service needs a fleet.toml, and there is none here: aurora-circus init writes one"])
    windows = wish.platform == "win32"
    environment = launch.environment()
    if windows and environment.get("PYTHONPATH") != os.environ.get("PYTHONPATH"):
        raise ConfigError(["a task of Windows has no PYTHONPATH: found a bare checkout, expected: pip install ."])
    log = str(Path(fleet.log_dir) / "service.log")
    folders = [str(Path(config.file).parent), fleet.run_dir, fleet.log_dir, endpoints.socket_dir(fleet)]
    folders += [each.working_dir for each in config.commands.values()]
    return Service(
        fleet=fleet.name,
        file=config.file,
        argv=_argv(wish, log if windows else None),
        environ={name: environment[name] for name in KEPT if environment.get(name) and not windows},
        stop_within=2 * take_down.Patience.of(config).longest + service_plan.STOP_MARGIN,
        system=wish.system,
        user=_user(wish),
        log=log,
        writable=tuple(dict.fromkeys(folders)),
    )


def _argv(wish: Wish, output: str | None) -> tuple[str, ...]:
    python = sys.executable
    if wish.platform == "win32":
        quiet = Path(python).with_name(
            "pythonw.exe"
        )  # the other one opens a window, and who closes that ends the fleet
        python = str(quiet) if quiet.exists() else python
    root, chosen = wish.project_root, wish.python
    return (
        python,
        "-P",
        "-m",
        "aurora_circus",
        "serve",
        "--fleet",
        wish.context.config.file,
        *(("--project-root", os.path.abspath(os.path.expanduser(root))) if root else ()),  # noqa: PTH100, PTH111 - text
        *(("--python", wish.context.config.python) if chosen else ()),
        *(("--output", output) if output is not None else ()),
    )


if sys.platform == "win32":

    def _home() -> str:
        return str(Path.home())

    def _uid() -> int:
        """Return who we are, for which Windows has no number."""
        return 0

    def _user(_wish: Wish) -> str | None:
        return getpass.getuser()

else:
    import pwd

    def _home() -> str:
        try:
            return str(Path.home())
        except RuntimeError as error:
            raise MachineError(f"looking up the home directory of user {os.getuid()}: {error}") from error

    def _uid() -> int:
        return os.getuid()

    def _user(wish: Wish) -> str | None:
        """Return who the machine's service runs as: who is named, else the owner of the fleet's file."""
        if not wish.system:
            return None
        file = wish.context.config.file
        try:
            owner = pwd.getpwnam(wish.user) if wish.user else pwd.getpwuid(Path(file).stat().st_uid)
        except KeyError as error:
            who = wish.user or f"the owner of {file}"
            fault = f"who the service runs as: found {who}, who is no user of this machine, expected --as USER"
            raise ConfigError([fault]) from error
        except OSError as error:
            raise MachineError(f"looking at {file}: {error.strerror}") from error
        for folder in (wish.context.fleet.run_dir, wish.context.fleet.log_dir):
            if Path(folder).exists() and Path(folder).stat().st_uid != owner.pw_uid:
                expected = f"one of {owner.pw_name}, who the service runs as (chown -R {owner.pw_name}, or --as USER)"
                raise ConfigError([f"{folder}: found another user's directory, expected {expected}"])
        return owner.pw_name if owner.pw_uid else None


def _inspect(wish: Wish) -> None:
    config = wish.context.config
    findings = [each for each in preflight.inspect(config, own=checks.own_pids(config)) if each.key != "circusd"]
    for each in findings:
        wish.context.terminal.warn(sentences.finding(each.severity, each.key, each.message))
    if any(each.severity == "error" for each in findings):
        raise ConfigError(["nothing was installed: the fleet could not be started"])


def _refuse_foreign(wish: Wish, plan: Plan) -> None:
    text = service_manager.read(Path(plan.file), plan.encoding)
    if text is None or not text.strip():
        return
    if not service_plan.is_ours(text):
        raise MachineError(f"{plan.file} is not one of ours, and is left alone")
    if not service_plan.is_of(text, service_of(wish)):
        (whose,) = [each for each in text.splitlines() if service_plan.FLEET_FILE in each][:1] or ["?"]
        raise MachineError(
            f"{plan.file} is the service of another fleet of that name ({whose.lstrip('# ')}), and is left alone\n"
            "give each fleet a name of its own (fleet.name)"
        )


def _probe(wish: Wish, plan: Plan, otherwise: str) -> None:
    try:
        wish.run(plan.probe)
    except MachineError as error:
        raise MachineError(f"there is no service manager to talk to: {error}\n{otherwise}") from error


def _steps(wish: Wish, steps: tuple[Step, ...]) -> None:
    for each in steps:
        try:
            wish.run(each)
        except MachineError as error:
            if each.needed:
                raise MachineError(f"{error}\nwhat was done until then stays; to undo it: {_undo(wish)}") from error
            continue
        wish.context.terminal.say(each.says)


def _undo(wish: Wish) -> str:
    return wish.context.advice("uninstall-service", "--system" if wish.system else "--user")


def _notes(wish: Wish, plan: Plan) -> tuple[str, ...]:
    """Return what a person should know, less what is so already."""
    if wish.platform != "linux" or wish.system:
        return plan.notes
    try:
        linger = wish.run(Step(argv=("loginctl", "show-user", str(_uid()), "--property=Linger", "--value"), says=""))
    except MachineError:
        return plan.notes
    return () if linger.strip() == "yes" else plan.notes
