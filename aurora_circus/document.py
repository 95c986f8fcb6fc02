"""What ``fleet.toml`` may say, as data: its tables, keys and limits, and the five built-in systems. Pure.

Whatever is not stated by a settings dataclass stands here. :mod:`~aurora_circus.tables` reads by it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from aurora_circus.settings import PORT, Api, Fleet, Journal, Logs, Probe, Restart, System
from aurora_circus.tables import Key, Named, Table, keys_of

RUN_DIR = ".aurora/run"
LOG_DIR = ".aurora/logs"
METRICS = (
    "autonomous_mode",
    "tasks_processed",
    "decisions_made",
    "systems_healed",
    "uptime",
    "last_activity",
)
"""The metrics that a system may give under another name."""
UNIX_ONLY = ("uid", "gid", "rlimit_", "close_child_")
"""How the names of the circus options begin that mean nothing on Windows."""
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{each}{n}" for each in ("com", "lpt") for n in range(1, 10))})
"""What a file cannot be called on Windows, whatever its ending."""
SET_BY_US = ("PORT", "AURORA_PORT", "AURORA_SYSTEM")
"""Variables that every system gets from us."""
BUILTIN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "master_controller": {
            "title": "Aurora Master Controller (Central Brain)",
            "command": "{python} aurora_master_controller.py",
            "port": 5020,
            "critical": True,
            "probe": {"metrics_path": "/status"},  # the real script has its metrics there
        },
        "autonomous_router": {
            "title": "Aurora Autonomous Router (Smart Routing)",
            "command": "{python} aurora_autonomous_router.py",
            "port": 5015,
            "critical": True,
            "depends_on": ("master_controller",),
        },
        "auto_improver": {
            "title": "Aurora Auto Improver (Continuous Enhancement)",
            "command": "{python} aurora_auto_improver.py",
            "port": 5016,
            "depends_on": ("autonomous_router",),
        },
        "enhancement_orchestrator": {
            "title": "Aurora Enhancement Orchestrator (Coordination)",
            "command": "{python} aurora_enhancement_orchestrator.py",
            "port": 5017,
            "depends_on": ("autonomous_router",),
        },
        "automation_hub": {
            "title": "Aurora Automation Hub (9 Processes)",
            "command": "{python} aurora_automation_hub.py",
            "port": 5018,
            "depends_on": ("autonomous_router",),
        },
    }
)


_TEXT: Mapping[str, Any] = {
    "pattern": r"[^\x00-\x1f\x7f]+",
    "words": "a string without line breaks and the like",
}
_PATH: Mapping[str, Any] = {"pattern": _TEXT["pattern"], "words": "a path"}
_NO_PATH: Mapping[str, Any] = {**_PATH, "default": None}
_URL_PATH: Mapping[str, Any] = {
    "pattern": r"/[^\x00-\x20\x7f]*",
    "words": "a path that begins with / and has no spaces",
}
_PROBE = Table(
    title="How health is asked for",
    keys={
        **keys_of(Probe, path=_URL_PATH, metrics_path={**_URL_PATH, "pattern": rf"(?:{_URL_PATH['pattern']})?"}),
        "metrics": Table(keys={name: Key(hint=str, **_TEXT) for name in METRICS}, title="Other names of the metrics"),
    },
)
_RESTART = Table(keys=keys_of(Restart), title="When a failed system is started again")
_STOP = Table(
    keys={**keys_of(System, "graceful_timeout"), "path": Key(hint=str, **_URL_PATH)},
    title="How a system is stopped",
)
_ELSEWHERE = "it left out: Aurora starts, stops and restarts the systems"
_HOOKS = (
    *(
        "after_start",
        "after_spawn",
        "after_stop",
        "before_signal",
        "after_signal",
        "before_reap",
        "after_reap",
    ),
    "extended_stats",
)
_RLIMITS = (
    *(
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "kqueues",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "npts",
    ),
    *("ofile", "rss", "rtprio", "rttime", "sbsize", "sigpending", "stack", "swap", "vmem"),
)
_NAME: Mapping[str, Any] = {
    "pattern": r"[A-Za-z_][A-Za-z0-9_.-]*\$?|[0-9]+",
    "words": "a name or a number",
}
_CIRCUS = Table(
    title="Options that circus's watcher gets as they are",
    keys={
        "uid": Key(hint=int | str, **_NAME),
        "gid": Key(hint=int | str, **_NAME),
        **{f"close_child_{each}": Key(hint=bool) for each in ("stdin", "stdout", "stderr")},
        **{f"rlimit_{each}": Key(hint=int, limits={"ge": -1}) for each in _RLIMITS},
        "hooks": Table(
            keys={
                each: Key(
                    hint=str,
                    pattern=r"[A-Za-z_][\w.:]*(?:, ?(?:[Tt]rue|[Ff]alse))?",
                    words="the dotted name of a function, as circus has it",
                )
                for each in _HOOKS
            },
            refused=dict.fromkeys(
                ("before_start", "before_spawn", "before_stop"), "it left out: Aurora hooks in there"
            ),
        ),
    },
    refused={
        **dict.fromkeys(("cmd", "args", "executable", "shell", "shell_args"), "the system's own key command"),
        **dict.fromkeys(("virtualenv", "virtualenv_py_ver"), "the python of that environment in command"),
        **dict.fromkeys(("env", "copy_env", "copy_path"), "the system's own key env"),
        "working_dir": "the system's own key working_dir",
        "name": "the KEY of [system.KEY]",
        "priority": "depends_on, which makes the order",
        "graceful_timeout": "graceful_timeout in the system's own table stop",
        **dict.fromkeys(("stdout_stream", "stderr_stream"), "[logs]: a system writes its own log file"),
        **dict.fromkeys(("use_sockets", "stdin_socket", "on_demand"), "it left out: a fleet has no circus sockets"),
        **dict.fromkeys(
            (
                *(
                    "autostart",
                    "respawn",
                    "singleton",
                    "numprocesses",
                    "warmup_delay",
                    "stop_signal",
                    "stop_children",
                ),
                *(
                    "send_hup",
                    "max_retry",
                    "max_age",
                    "max_age_variance",
                    "check_flapping",
                    "prereload_fn",
                    "loop",
                ),
                *("rlimits", "aurora", "aurora_hash", "aurora_commands", "fleet"),
            ),
            _ELSEWHERE,
        ),
    },
)
_SYSTEM = Table(
    title="One system",
    keys={
        "command": Key(hint=str),
        "working_dir": Key(hint=str, **_PATH),
        "enabled": Key(hint=bool, default=True),
        **keys_of(
            System,
            *("title", "port", "port_policy", "critical", "autonomous", "depends_on", "gate"),
            title=_TEXT,
        ),
        "env": Named(
            of=Key(hint=str),
            pattern="[A-Za-z_][A-Za-z0-9_]*",
            words="a variable's name",
            reserved=dict.fromkeys(SET_BY_US, "Aurora sets itself"),
        ),
        "probe": _PROBE,
        "restart": _RESTART,
        "stop": _STOP,
        "circus": _CIRCUS,
    },
)
_PORT = Annotated[int, msgspec.Meta(**PORT)]
DOCUMENT = Table(
    title="fleet.toml",
    keys={
        "fleet": Table(
            keys={
                **keys_of(
                    Fleet,
                    *("name", "run_dir", "log_dir", "port_range"),
                    name=_TEXT,
                    run_dir={**_PATH, "default": RUN_DIR},
                    log_dir={**_PATH, "default": LOG_DIR},
                    port_range={"hint": tuple[_PORT, _PORT], "words": "two ports [low, high]"},
                ),
                "project_root": Key(hint=str, **_PATH),
                "python": Key(hint=str, **_PATH),
                "builtin": Key(hint=bool, default=True),
            }
        ),
        "api": Table(
            keys=keys_of(
                Api,
                host={"pattern": r"[^\x00-\x20\x7f]+", "words": "a host name or address"},
                token_file=_NO_PATH,
                read_token_file=_NO_PATH,
            )
        ),
        "probe": _PROBE,
        "restart": _RESTART,
        "stop": _STOP,
        "journal": Table(keys=keys_of(Journal)),
        "logs": Table(keys=keys_of(Logs)),
        "system": Named(
            of=_SYSTEM,
            pattern="[a-z0-9_-]+",
            words="a key of a-z, 0-9, _ and -",
            reserved={
                "aurora": "Aurora's own plugin has in circusd",
                "circusd": "circusd's own log has",
                "circusd-stats": "circus keeps for itself",
                "circushttpd": "circus keeps for itself",
            },
        ),
    },
)
