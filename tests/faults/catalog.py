"""The groups of the fault matrix, in the order of the table, with what each is about."""

GROUPS = {
    "systems": "A system misbehaves",
    "health": "What `/health` answers",
    "circus": "circus and its operators' commands",
    "watcher": "The watcher is watched",
    "machine": "The machine",
    "journal": "The journal and the disk",
    "operators": "Operators",
    "configuration": "Configuration",
    "api": "The API, and who may use it",
    "service": "As a service of the machine",
    "drill": "Drills on a running fleet",
}
