"""``fleet.toml`` is found, read and completed by what stands outside it, or refused in words."""

import codecs
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from aurora_circus import fleetfile
from aurora_circus.config import Config
from aurora_circus.errors import ConfigError, MachineError
from tests.platforms import WINDOWS, links, unless

NOTHING: Mapping[str, str] = {}
ONE = 'fleet.builtin = false\n[system.web]\ncommand = "{python} web.py"\nport = 80\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(content: bytes | str) -> str:
    """Return the one fault of a ``fleet.toml`` with this content, without the file's name."""
    Path("fleet.toml").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        fleetfile.load(environ=NOTHING)
    (fault,) = caught.value.faults
    assert fault.isprintable()
    return fault.removeprefix("fleet.toml: ")


def python(found: Config) -> str:
    """Return the interpreter that the only system runs with."""
    return found.commands["web"].argv[0]


def test_without_a_file_the_built_in_fleet_runs_from_here(here: Path) -> None:
    """No ``fleet.toml`` is no fault: the five run on the bundled scripts, with what they leave behind kept here."""
    found = fleetfile.load(environ=NOTHING)
    assert found.source == "the built-in defaults"
    assert found.fleet.bundled
    assert found.fleet.run_dir == str(here / ".aurora" / "run")
    assert found.commands["auto_improver"].argv == (sys.executable, "aurora_auto_improver.py")
    assert Path(found.commands["auto_improver"].working_dir, "__init__.py").is_file()


def test_the_file_here_is_found_and_one_that_is_named_goes_before_it(here: Path) -> None:
    """``fleet.toml`` is looked for in the current directory unless somebody names a file."""
    Path("fleet.toml").write_text(ONE, encoding="utf-8")
    assert [each.key for each in fleetfile.load(environ=NOTHING).systems] == ["web"]
    Path("conf").mkdir()
    Path("conf/other.toml").write_text(ONE.replace("web]", "other]"), encoding="utf-8")
    found = fleetfile.load("conf/other.toml", environ=NOTHING)
    assert [each.key for each in found.systems] == ["other"]
    assert (Path(found.source), found.file) == (Path("conf/other.toml"), str(here / "conf" / "other.toml"))
    assert found.commands["other"].working_dir == str(here / "conf")


@links
def test_a_linked_file_belongs_where_it_really_lies(here: Path) -> None:
    """Relative paths start at the file itself, not at a link to it."""
    Path("real").mkdir()
    Path("real/fleet.toml").write_text(ONE, encoding="utf-8")
    Path("fleet.toml").symlink_to("real/fleet.toml")
    assert fleetfile.load(environ=NOTHING).fleet.run_dir == f"{here}/real/.aurora/run"


def test_option_beats_environment_beats_file(here: Path) -> None:
    """For ``project_root`` and ``python`` alike; an empty variable says nothing."""
    Path("fleet.toml").write_text(f'{ONE}[fleet]\nproject_root = "file"\npython = "./file-python"\n', encoding="utf-8")
    text = Path("fleet.toml").read_text(encoding="utf-8").replace("fleet.builtin = false\n", "")
    Path("fleet.toml").write_text(f"{text}builtin = false\n", encoding="utf-8")
    environ = {"AURORA_PROJECT_ROOT": "environment", "AURORA_PYTHON": "python3.12"}

    def found(environ: Mapping[str, str], **options: str) -> tuple[str, str]:
        what = fleetfile.load(environ=environ, **options)
        return what.commands["web"].working_dir, python(what)

    def paths(*names: str) -> tuple[str, ...]:
        return tuple(str(here / each) for each in names)

    assert found(environ, project_root="option", python="bin/python") == paths("option", "bin/python")
    assert found(environ) == (*paths("environment"), "python3.12")
    assert found({"AURORA_PROJECT_ROOT": "", "AURORA_PYTHON": ""}) == paths("file", "file-python")


def test_options_start_at_the_current_directory_and_the_file_at_itself(here: Path) -> None:
    """A relative path is relative to where it was written."""
    Path("conf").mkdir()
    Path("conf/fleet.toml").write_text(ONE, encoding="utf-8")
    found = fleetfile.load("conf/fleet.toml", project_root=".", environ=NOTHING)
    assert found.commands["web"].working_dir == str(here)


def test_home_may_be_said_in_all_three(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the home directory in options and environment as well."""
    monkeypatch.setenv("USERPROFILE" if WINDOWS else "HOME", str(here / "ann"))
    Path("fleet.toml").write_text(ONE, encoding="utf-8")
    found = fleetfile.load(project_root="~/app", environ={"AURORA_PYTHON": "~/venv/bin/python"})
    assert found.commands["web"].working_dir == str(here / "ann" / "app")
    assert python(found) == str(here / "ann" / "venv" / "bin" / "python")


def test_a_byte_order_mark_is_no_fault() -> None:
    """An editor's mark at the start of UTF-8 text is no part of it."""
    Path("fleet.toml").write_bytes(codecs.BOM_UTF8 + ONE.encode())
    assert fleetfile.load(environ=NOTHING).systems[0].key == "web"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            "[fleet]\nname = ",
            "end of document: found what TOML does not allow (Invalid value), expected TOML 1.0",
        ),
        (
            "[fleet]\nname = 'a'\nname = 'b'\n",
            "line 3, column 11: found what TOML does not allow (Cannot overwrite a value), expected TOML 1.0",
        ),
        (b"# caf\xe9\n", "line 1: found the byte 0xe9, expected text in UTF-8"),
        (b"a = 1\n\nb = '\xff'\n", "line 3: found the byte 0xff, expected text in UTF-8"),
        (ONE.encode("utf-16"), "line 1: found text in UTF-16, expected text in UTF-8"),
    ],
)
def test_text_that_is_no_toml_is_refused_with_its_line(content: bytes | str, fault: str) -> None:
    """A fault of the file as such says on which line it is."""
    assert refused(content) == fault


@pytest.mark.parametrize("content", [f"a = {'[' * 100_000}", f"a = {'1' * 100_000}"])
def test_toml_that_python_cannot_hold_is_refused_like_any_other(content: str) -> None:
    """Lists without end and numbers of ten thousand digits are faults and no tracebacks."""
    assert re.fullmatch("file: found what nobody can read .*, expected values of a reasonable size", refused(content))


def test_a_file_that_is_named_must_be_there() -> None:
    """A missing file, or a directory, is a fault: nobody gets the built-in fleet for a mistyped name."""
    with pytest.raises(ConfigError, match=r"^nope\.toml: file: found nothing to read \(.+\), "):
        fleetfile.load("nope.toml", environ=NOTHING)
    Path("fleet.toml").mkdir()
    why = ".+" if WINDOWS else "not a regular file"  # Windows says it in its own words
    with pytest.raises(ConfigError, match=rf"^fleet\.toml: file: found nothing to read \({why}\), "):
        fleetfile.load(environ=NOTHING)


@links
def test_a_broken_link_is_no_missing_file() -> None:
    """A ``fleet.toml`` that leads nowhere was meant to be one."""
    Path("fleet.toml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="No such file"):
        fleetfile.load(environ=NOTHING)


@unless(WINDOWS, "on Windows a directory that somebody is in cannot be removed")
def test_a_directory_that_is_gone_is_told(here: Path) -> None:
    """Whoever stands in a deleted directory is told so."""
    gone = here / "gone"
    gone.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(gone)
        gone.rmdir()
        with pytest.raises(MachineError, match="looking up the current directory: No such file"):
            fleetfile.load(environ=NOTHING)


def test_nobody_needs_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the machine knows nothing of, as containers have them, can run a fleet that does not say ``~``."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert fleetfile.load(environ=NOTHING).fleet.bundled
    with pytest.raises(ConfigError, match="a path written out"):
        fleetfile.load(project_root="~/app", environ=NOTHING)
