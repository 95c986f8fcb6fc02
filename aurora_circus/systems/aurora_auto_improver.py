"""Aurora Auto Improver: reads a Python file and says what in it could be better.

``POST /improve`` names a file below the root, the directory ``AURORA_IMPROVER_ROOT`` or else the one it was
started in; what lies outside is refused. The file is parsed, never run, and never changed.

It counts as *processed* a file that was read, and as a *decision* each finding; it heals nothing, and that is
0. ``autonomous_mode`` is false: it only advises.
"""

from __future__ import annotations

import os
import threading

TYPE_CHECKING = False  # checkers take it for typing's own, whose import would cost the start milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
if TYPE_CHECKING or __package__:
    from ._service import Answer, Body, RequestError, System, field
else:
    from _service import Answer, Body, RequestError, System, field

FILE_MAX = 256 * 1024  # bytes: while the parser works nothing else here does, at most for half a second
LINES_MAX = 60  # of a function
ARGUMENTS_MAX = 7


class AutoImprover(System):
    """Reads files on request and counts what it found, by rule."""

    key = "auto_improver"
    port = 5016
    autonomous_mode = False

    def __init__(self) -> None:
        super().__init__()
        self.root = os.path.realpath(os.environ.get("AURORA_IMPROVER_ROOT") or ".")
        self.turn = threading.Lock()  # one file at a time, and other requests in between
        self.rules: dict[str, int] = {}
        self.last_file: str | None = None
        self.routes["/improve"] = {"POST": self.improve}

    def improve(self, body: Body) -> Answer:
        """Read ``file``, relative to the root, and answer with its findings, sorted by line."""
        name = field(body, "file", str)
        path = self._inside(name)
        try:
            with path.open("rb") as stream:
                source = stream.read(FILE_MAX + 1)
        except OSError as error:
            raise RequestError(403, f"{name[:80]}: cannot be read: {error.strerror}") from None
        if len(source) > FILE_MAX:
            raise RequestError(413, f"{name[:80]}: longer than {FILE_MAX} bytes")
        with self.turn:
            marks = sorted(examine(source))
        found: list[Body] = [{"line": line, "rule": rule, "message": text} for line, rule, text in marks]
        with self.lock:
            self.tasks_processed += 1
            self.decisions_made += len(found)
            self.last_file = name
            for finding in found:
                self.rules[finding["rule"]] = self.rules.get(finding["rule"], 0) + 1
        self.did(f"{name!r} read: {len(found)} findings")
        return 200, {"success": True, "file": name, "lines": len(source.splitlines()), "findings": found}

    def details(self) -> Body:
        """Give the root, the last file, and how often each rule was broken."""
        return {"root": self.root, "last_file": self.last_file, "findings": dict(self.rules)}

    def _inside(self, name: str) -> Path:
        """Give the file's real path; ``RequestError`` 403 where it is not below the root, 404 without one."""
        from pathlib import Path  # noqa: PLC0415  on the first request: it would cost the start milliseconds

        try:
            path = Path(self.root, name).resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL in it, or links in a circle
            raise RequestError(400, f"{name[:80]!r} is not the name of a file") from None
        if not path.is_relative_to(self.root):
            raise RequestError(403, f"{name[:80]}: outside of {self.root}")
        if not path.is_file():  # nor a pipe, which could be waited for for ever
            raise RequestError(404, f"{name[:80]}: there is no such file")
        return path


def examine(source: bytes) -> Iterator[tuple[int, str, str]]:
    """Give line, rule and message of each finding; a file that does not parse has that one alone."""
    import ast  # noqa: PLC0415  on the first request: it would cost the start milliseconds

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield getattr(error, "lineno", None) or 1, "syntax-error", getattr(error, "msg", None) or str(error)
        return
    for node in ast.walk(tree):
        match node:
            case ast.Module(body=[_, *_]) if ast.get_docstring(node) is None:
                yield 1, "missing-docstring", "the module does not say what it is"
            case ast.ExceptHandler(type=None):
                yield node.lineno, "bare-except", "catches KeyboardInterrupt and SystemExit as well"
            case ast.ExceptHandler(body=[ast.Pass()]):
                yield node.lineno, "swallowed-error", "the error leaves no trace"
            case ast.Compare(ops=[ast.Eq() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
                yield node.lineno, "compare-to-none", "use `is None` or `is not None`"
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                yield node.lineno, "eval", f"{name}() runs whatever it is given"
            case ast.Assert(test=ast.Tuple(elts=[_, *_])):
                yield node.lineno, "assert-tuple", "a tuple with something in it is always true"
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if not node.name.startswith("_") and ast.get_docstring(node) is None:
                    yield node.lineno, "missing-docstring", f"{node.name} does not say what it does"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            if (count := len(given.posonlyargs + given.args + given.kwonlyargs)) > ARGUMENTS_MAX:
                yield node.lineno, "many-arguments", f"{node.name} takes {count}, more than {ARGUMENTS_MAX}"
            if (count := (node.end_lineno or node.lineno) - node.lineno + 1) > LINES_MAX:
                yield node.lineno, "long-function", f"{node.name} has {count} lines, more than {LINES_MAX}"
            for default in given.defaults + given.kw_defaults:
                if isinstance(default, ast.List | ast.Dict | ast.Set):
                    yield default.lineno, "mutable-default", f"{node.name} shares this one between all calls"


if __name__ == "__main__":
    AutoImprover.main()
