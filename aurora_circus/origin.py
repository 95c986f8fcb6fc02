"""Where the fleet in a run directory came from: two fleet files that share one would each act on the other's fleet.

The plugin saves which file its fleet was read from; a command that comes with another one is refused. A file that is no
longer there claims nothing: it was renamed. It looks, no more.
"""

import json
import os
from pathlib import Path

from aurora_circus.config import Config
from aurora_circus.errors import ConfigError
from aurora_circus.files import open_regular, same_place

_STATE = "state.json"
_MOST_BYTES = 16 << 20


def check(config: Config) -> None:
    """Make sure that what runs in the run directory of ``config`` was brought up from its very file.

    Raises:
        ConfigError: it was brought up from another one, which is named.
    """
    other = _source(Path(config.fleet.run_dir) / _STATE)
    if other is None or same_place(other, config.file) or not Path(other).is_file() or not _in_use(config):
        return
    found = f"{config.fleet.run_dir}, where the fleet of {other} runs"
    expected = f"a directory of this fleet's own; to act on that one: --fleet {other}"
    raise ConfigError([f"{config.source}: fleet.run_dir: found {found}, expected {expected}"])


def _in_use(config: Config) -> bool:
    """Say whether anything of the fleet in that directory lives."""
    from aurora_circus import leftovers, lookup  # noqa: PLC0415 - psutil takes 25 ms, and most calls need none of it

    return lookup.find(config.fleet) is not None or bool(
        leftovers.surviving(config.fleet, leftovers.known(config.fleet))
    )


def _source(state: Path) -> str | None:
    """Return the fleet file that the plugin has saved; None where it saved none."""
    try:
        with os.fdopen(open_regular(state, os.O_RDONLY), "rb") as file:
            saved = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    found = saved.get("file") if isinstance(saved, dict) else None
    return found if isinstance(found, str) and found else None
