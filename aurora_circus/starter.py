"""The ``fleet.toml`` to begin with: short, valid as it stands, and everything else in it as a comment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aurora_circus.document import BUILTIN
from aurora_circus.errors import MachineError

_TEXT = """\
# A fleet of aurora-circus. Everything in here is optional, and the values shown are the defaults.
# After a change: aurora-circus check, then down and up. For editors: aurora-circus schema

[fleet]
name = "aurora"
{root}
# python = "python3"           # what {{python}} in a command stands for
# run_dir = ".aurora/run"      # sockets, pidfile, state
# log_dir = ".aurora/logs"     # events.jsonl, and KEY.log of each system
# builtin = true               # false: none of the five below, only systems of your own

[api]
# host = "127.0.0.1"           # anything else needs a token_file
# port = 5025

# [probe]                      # how health is asked for; [system.KEY.probe] overrides it for one
# path = "/health"
# interval = 5.0
# timeout = 2.0
# failure_threshold = 2

# [restart]                    # likewise
# max_retries = 3
# start_timeout = 15.0

# The five that are built in, in start order. Name one to change something of it:
{systems}

# A system of your own:
# [system.my_service]
# command = "{{python}} my_service.py"
# port = 5030
# depends_on = ["master_controller"]
"""
_HERE = 'project_root = "."            # where the scripts are: here'
_BUNDLED = '# project_root = "."           # where your scripts are; without it the bundled reference systems run'


def scripts(systems: Mapping[str, Mapping[str, Any]] = BUILTIN) -> list[str]:
    """Return the names of the built-in systems' scripts."""
    return [str(each["command"]).split()[-1] for each in systems.values()]


def text(present: Sequence[str]) -> str:
    """Return the file for a directory in which the files ``present`` lie."""
    root = _HERE if set(scripts()) <= set(present) else _BUNDLED
    tables = [f"# [system.{key}]".ljust(40) + f"# port = {each['port']}" for key, each in BUILTIN.items()]
    return _TEXT.format(root=root, systems="\n".join(tables))


def write(file: Path) -> bool:
    """Write the file; return whether it makes the scripts beside it the fleet's.

    Raises:
        MachineError: it is there already, or cannot be written.
    """
    present = [name for name in scripts() if (file.parent / name).is_file()]
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text(present))
    except FileExistsError:
        raise MachineError(f"{file} is there already, and is left as it is") from None
    except OSError as error:
        raise MachineError(f"writing {file}: {error.strerror}") from error
    return set(scripts()) <= set(present)
