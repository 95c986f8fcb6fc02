"""The layering, read from the imports: arrows only point down, and the plugin's process stays small.

An import counts wherever it stands: one inside a function is still an arrow. What stands under
``TYPE_CHECKING`` costs no memory, so only the plugin's budget overlooks it.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "aurora_circus"

PURE = (
    "answers",
    "chain",
    "config",
    "drill_names",
    "drills",
    "errors",
    "escapes",
    "facts",
    "fleet",
    "journal_lines",
    "keeper",
    "lifecycle",
    "liveness",
    "means",
    "oracle",
    "outside",
    "promises",
    "records",
    "service_launchd",
    "service_plan",
    "service_systemd",
    "service_windows",
    "settings",
    "story",
    "verify",
    "views",
)
"""They decide: facts and times in, actions out. What they import of ours is held to the same."""
ADAPTERS = (
    "control",
    "journal",
    "logs",
    "notify",
    "ports",
    "probe",
    "processes",
    "render",
    "service_manager",
    "statefile",
)
"""Each speaks to one outside thing and knows no other."""
OUTSIDE = {
    "asyncio",
    "bottle",
    "circus",
    "click",
    "jinja2",
    "multiprocessing",
    "os",
    "psutil",
    "requests",
    "rich",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
    "tornado",
    "waitress",
    "zmq",
}
"""What a pure module never sees, nor anything below it."""
TOO_HEAVY = {"click", "jinja2", "msgspec", "requests", "rich"}
"""What only the command line needs: the plugin's process has no memory for it."""


def modules() -> dict[str, Path]:
    """Give every module of the project by the name it is imported by; ``plugins`` lies in the package."""
    found = {}
    for top, prefix in ((ROOT / PACKAGE, [PACKAGE]), (ROOT / "plugins", [PACKAGE, "plugins"])):
        for file in top.rglob("*.py"):
            parts = [*prefix, *file.relative_to(top).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def own(*names: str) -> list[str]:
    """Those of the package's modules that are there."""
    return [f"{PACKAGE}.{name}" for name in names if f"{PACKAGE}.{name}" in MODULES]


def statements(node: ast.AST, *, typing_too: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements below a node, those under ``if TYPE_CHECKING`` only when asked for."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and not typing_too and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from statements(ast.Module([other], []), typing_too=False)
        else:
            yield from statements(child, typing_too=typing_too)


@cache
def imports(module: str, *, typing_too: bool = True) -> set[str]:
    """Give what a module imports by full name; ``from a import b`` may mean ``a.b``, so that counts too."""
    file = MODULES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    for statement in statements(tree, typing_too=typing_too):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        base = statement.module or ""
        if statement.level:
            above = package.split(".")
            base = ".".join([*above[: len(above) - statement.level + 1], *filter(None, [base])])
        found |= {base, *(f"{base}.{alias.name}" for alias in statement.names)}
    return found


def tops(names: set[str]) -> set[str]:
    """The top-level packages of some imported names."""
    return {name.partition(".")[0] for name in names}


def below(start: list[str], unwanted: set[str], *, typing_too: bool) -> dict[str, set[str]]:
    """Follow the imports down from some modules: which of ours import something unwanted, and what."""
    seen, todo = set(start), list(start)
    found = {}
    while todo:
        module = todo.pop()
        names = imports(module, typing_too=typing_too)
        if bad := tops(names) & unwanted:
            found[module] = bad
        # `import a.b.c` runs a and a.b too
        parts = [name.split(".") for name in names]
        runs = {".".join(each[:end]) for each in parts for end in range(1, len(each) + 1)}
        new = (runs & MODULES.keys()) - seen
        seen |= new
        todo += sorted(new)
    return found


def test_the_lists_above_name_modules_that_exist() -> None:
    """The core is there; once the command line is, so is every module that a rule here speaks of."""
    assert own("lifecycle"), "the rules below hold over nothing"
    if own("cli"):
        missing = {f"{PACKAGE}.{name}" for name in (*PURE, *ADAPTERS, "clock")} - MODULES.keys()
        assert not missing, "renamed? then the rules here no longer hold them"


@pytest.mark.parametrize("module", own(*PURE))
def test_what_decides_touches_nothing(module: str) -> None:
    """A pure module does no I/O, reads no clock, starts no thread, and imports none of ours that does."""
    assert not below([module], OUTSIDE, typing_too=True)


@pytest.mark.parametrize("module", own(*(name for name in PURE if name != "config")))
def test_only_config_validates(module: str) -> None:
    """The other pure modules are the plugin's too, which has no memory for msgspec."""
    assert not below([module], {"msgspec"}, typing_too=True)


def test_only_the_clock_tells_the_time() -> None:
    """Only ``clock`` imports ``time``; hooks run in circusd, the others are programs of their own."""
    systems = {name for name in MODULES if name.startswith(f"{PACKAGE}.systems.")}
    allowed = {*own("clock", "hooks", "mending", "runner"), *systems}
    assert {name for name in MODULES if "time" in tops(imports(name))} <= allowed


@pytest.mark.parametrize("module", own(*ADAPTERS))
def test_no_adapter_knows_another(module: str) -> None:
    """An adapter imports no other adapter: what goes between two of them is the driver's to carry."""
    others = {f"{PACKAGE}.{name}" for name in ADAPTERS} - {module}
    assert not imports(module) & others


def test_the_plugin_stays_small() -> None:
    """Nothing that the plugin imports, itself or through others, imports what only the command line needs."""
    plugins = [name for name in MODULES if name.startswith(f"{PACKAGE}.plugins")]
    assert not below(plugins, TOO_HEAVY, typing_too=False)
