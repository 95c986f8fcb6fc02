"""The README says what the code does: its tables are read from it and compared."""

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import cast

import click
import pytest

from aurora_circus import chain, endpoints, fleetfile, sentences
from aurora_circus.api import Api
from aurora_circus.cli import cli
from aurora_circus.document import DOCUMENT, UNIX_ONLY
from aurora_circus.facts import State
from aurora_circus.journal_backlog import Limits
from aurora_circus.records import GAP, MAX_TEXT
from aurora_circus.tables import Table
from tests import journals
from tests.fake_backend import FakeBackend

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_state_has_its_line_and_no_other() -> None:
    """In the words of the API and the journal."""
    table = README.split("| state |", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [str(each) for each in State]


def test_every_route_is_there_and_no_other() -> None:
    """As the API itself lists them."""
    said = set(re.findall(r"`(GET|POST) (/[^` ?]*)`", README))
    assert said == set(Api(FakeBackend()).routes)


def test_every_command_is_there() -> None:
    """As the command line itself lists them."""
    line = README.split("On the command\nline: ", 1)[1].split(".\n", 1)[0]
    assert re.findall(r"`([\w-]+)`", line) == cli.list_commands(click.Context(cli))


def test_the_example_of_a_fleet_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of TOML is read without a fault."""
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    Path("fleet.toml").write_text(example, encoding="utf-8")
    assert [each.key for each in fleetfile.load().systems] == ["database_proxy", "web"]


def test_every_make_target_that_is_named_exists() -> None:
    """`make up` and `make test`."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {*re.findall(r"^make (\w+)", README, re.MULTILINE)} <= targets


def test_what_the_page_on_windows_says_is_so() -> None:
    """Its piece of fleet.toml is read, what it says is refused is, and the file that it names is the one."""
    page = (ROOT / "docs" / "windows.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    stop = tomllib.loads(example)["stop"]
    (row,) = [line for line in page.splitlines() if "`check`" in line]
    assert set(re.findall(r"`(\w+?_?)\*?`", row)) - {"check"} == set(UNIX_ONLY)
    assert set(stop) == set(cast("Table", DOCUMENT.keys["stop"]).keys)
    assert f"`.aurora\\run\\{endpoints.CHOSEN}`" in page
    assert set(re.findall(r"`make ([\w-]+)`", page)) <= set(
        re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )


def recorded() -> set[str]:
    """The names of all events that the code records."""
    found = {GAP}
    for file in [*(ROOT / "aurora_circus").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            place = {"record": 0, "Record": 1}.get(getattr(node.func, "attr", getattr(node.func, "id", "")))
            if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                found.add(str(cast("ast.Constant", node.args[place]).value))
    return found


def test_every_event_is_on_the_journals_page_and_no_other() -> None:
    """Each that the code records, and for each there are words."""
    assert len(recorded()) > 20, "nothing is found any more"
    assert set(journals.documented()) == recorded() == set(sentences._SENTENCES)


def test_the_journals_page_says_what_a_record_has() -> None:
    """The fields, in their order, as a real line has them, and how a link is made."""
    page = journals.PAGE.read_text(encoding="utf-8")
    example = next(line for line in page.splitlines() if line.startswith('{"timestamp"'))
    table = page.split("| field |", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*json.loads(example)]
    assert f"first {chain.DIGITS} hexadecimal digits" in page
    assert f"{Limits().backlog:,} records" in page
    assert f"{MAX_TEXT:,} characters" in page


def test_the_readme_stays_short() -> None:
    """A page that is read at night: 150 lines."""
    assert len(README.splitlines()) <= 150
