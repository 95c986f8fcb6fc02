"""Reaches the API of this very fleet, or says who is there instead, and what to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aurora_circus import origin
from aurora_circus.client import Client, ForeignError, LostError, RefusedError, Reply
from aurora_circus.clock import pause
from aurora_circus.context import Context
from aurora_circus.errors import AuroraError, MachineError, NotRunningError
from aurora_circus.files import same_place

RESTART_PATIENCE = 4.0
"""Seconds for a plugin that is being restarted to open its API again; it takes about one."""
_AGAIN = 0.1
_HEALTH = "/health"


class Unreachable(AuroraError):  # noqa: N818 - it is a fact about the fleet, which runs
    """This fleet's circusd runs, and its API cannot be asked."""


def client_of(context: Context) -> Client:
    """Return a client for this fleet's API, without asking it anything.

    Raises:
        MachineError: there are tokens, and we may read none of them.
    """
    api = context.fleet.api
    token, trouble = None, None
    for name in (api.token_file, api.read_token_file):
        if name is None or token:
            continue
        try:
            token = Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            trouble = trouble or MachineError(f"reading the API's token from {name}: {error}")
    if trouble is not None and not token:
        raise trouble
    return Client(api.host, api.port, token or None)


def health(client: Client) -> Reply:
    """Ask who is there, without saying anything about who that should be."""
    return client.ask("GET", _HEALTH)


def is_ours(context: Context, reply: Reply) -> bool:
    """Say whether it is this fleet's API that gave ``reply`` to :func:`health`."""
    details = reply.body.get("details")
    if not isinstance(details, Mapping) or details.get("fleet") != context.fleet.name:
        return False
    run_dir = details.get("run_dir")
    return isinstance(run_dir, str) and same_place(run_dir, context.fleet.run_dir)


def connect(context: Context, *, patience: float = RESTART_PATIENCE) -> tuple[Client, Mapping[str, Any]]:
    """Return a client for this fleet's API, and what that says of its own health.

    Where our circusd runs, a plugin that is just being restarted gets ``patience`` seconds.

    Raises:
        ConfigError: another fleet file's fleet runs there.
        NotRunningError: the fleet does not run, or somebody else is where its API should be.
        Unreachable: it runs, and does not answer.
    """
    origin.check(context.config)
    client = client_of(context)
    until = context.clock.monotonic() + patience
    while True:
        try:
            reply = health(client)
        except (RefusedError, LostError) as error:
            pid = circusd_pid(context)
            if pid is not None and context.clock.monotonic() < until:
                pause(_AGAIN)
                continue
            if isinstance(error, LostError):
                raise _stranger(context, client, str(error)) from None
            raise _nobody(context, client, pid) from None
        except ForeignError as error:
            raise _stranger(context, client, str(error)) from None
        if is_ours(context, reply):
            details = reply.body["details"]
            return client, {**details, "healthy": reply.body.get("success") is True}
        raise _other(context, client, reply)


def _nobody(context: Context, client: Client, pid: int | None) -> AuroraError:
    """Say what it means that nobody listens."""
    if pid is None:
        from aurora_circus import leftovers  # noqa: PLC0415 - only for what goes wrong

        left = leftovers.surviving(context.fleet, leftovers.known(context.fleet))
        names = ", ".join(f"{key} (pid {group[0].pid})" for key, group in left.items())
        going_on = f"still running, and watched by nobody: {names}\n" if names else ""
        return NotRunningError(
            f"the fleet {context.fleet.name} is not running (nobody listens on {client.url})\n"
            f"{going_on}start it: {context.advice('up')}"
        )
    return Unreachable(
        f"circusd runs (pid {pid}), but nobody listens on {client.url}\n"
        'after a plain `circusctl stop`: eval "$(aurora-circus env)"; circusctl start\n'
        "after a change of api.port: aurora-circus down, then up\n"
        f"why: the ends of aurora.log and circusd.log in {context.fleet.log_dir}"
    )


def circusd_pid(context: Context) -> int | None:
    """Return the pid of this fleet's circusd, None when none runs."""
    from aurora_circus import lookup  # noqa: PLC0415 - psutil takes 25 ms, and most calls need none of it

    found = lookup.find(context.fleet)
    return None if found is None else found.pid


def holder(port: int) -> str:
    """Return who listens on ``port``, in words."""
    from aurora_circus import ports  # noqa: PLC0415 - as above

    found = ports.holder(port)
    return "somebody who cannot be seen" if found is None else str(found)


def _is_plugin(port: int, circusd: int) -> bool:
    """Say whether it is a child of our circusd that listens there."""
    import psutil  # noqa: PLC0415 - as above

    from aurora_circus import ports  # noqa: PLC0415 - as above

    found = ports.holder(port)
    try:
        if found is None or found.pid is None:
            return False
        return circusd in {each.pid for each in psutil.Process(found.pid).parents()[:2]}  # a launcher may stand between
    except psutil.Error:
        return False


def _other(context: Context, client: Client, reply: Reply) -> AuroraError:
    """Say which other aurora-circus, or other program, is there."""
    body = reply.body
    details = body.get("details")
    if isinstance(details, Mapping) and "fleet" in details:
        return _stranger(context, client, f"the fleet {details['fleet']!r} of {details.get('run_dir')} is there")
    if {"success", "status"} <= body.keys():
        pid = circusd_pid(context)
        names = "api.token_file" if context.fleet.api.token_file else "no api.token_file"
        told = f"the API on {client.url} does not take our token ({names} in {context.config.source})"
        if pid is not None:
            return Unreachable(f"{told}\nwas it changed? it holds from the next start: {context.advice('down')}")
        return _stranger(context, client, told)
    return _stranger(context, client, f"what answers on {client.url} is no aurora-circus")


def _stranger(context: Context, client: Client, why: str) -> AuroraError:
    """Say who holds our API's port, and whether the fleet runs all the same."""
    who = f"port {client.port} is held by {holder(client.port)}"
    pid = circusd_pid(context)
    if pid is not None and _is_plugin(client.port, pid):
        return Unreachable(
            f"the controller of the fleet {context.fleet.name} does not answer: {why}\n"
            "if it hangs, it ends itself after 10 s and is started again; the systems go on: try again then"
        )
    if pid is None:
        return NotRunningError(
            f"the fleet {context.fleet.name} is not running: {who}\n{why}\n"
            f"end that one, or give the API another port (api.port in {context.config.source}); "
            f"then: {context.advice('up')}"
        )
    return NotRunningError(
        f"the fleet {context.fleet.name} is supervised (circusd, pid {pid}), but without its API: {who}\n{why}\n"
        f"the API opens within a second of that port being free; its journal: {context.fleet.log_dir}/events.jsonl"
    )
