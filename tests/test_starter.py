"""The file that ``init`` writes."""

from pathlib import Path

import pytest

from aurora_circus import fleetfile, starter
from aurora_circus.document import BUILTIN
from aurora_circus.errors import MachineError


def test_it_is_a_fleet_as_it_stands(tmp_path: Path) -> None:
    """The five, on the bundled systems."""
    assert not starter.write(tmp_path / "fleet.toml")
    found = fleetfile.load(str(tmp_path / "fleet.toml"), environ={})
    assert [each.key for each in found.systems] == list(BUILTIN)
    assert found.fleet.bundled


def test_scripts_beside_it_become_the_fleets(tmp_path: Path) -> None:
    """All five of them: four are a mistake that somebody should see."""
    names = starter.scripts()
    for name in names[:-1]:
        (tmp_path / name).write_text("")
    assert not starter.write(tmp_path / "four.toml")
    (tmp_path / names[-1]).write_text("")
    assert starter.write(tmp_path / "five.toml")
    found = fleetfile.load(str(tmp_path / "five.toml"), environ={})
    assert not found.fleet.bundled
    assert {each.working_dir for each in found.commands.values()} == {str(tmp_path)}


def test_what_it_shows_is_valid_and_the_default(tmp_path: Path) -> None:
    """Any comment may be made an entry, and changes nothing but what it says."""
    lines = [each.removeprefix("# ") for each in starter.text([]).splitlines()]
    shown = "\n".join(each for each in lines if each.startswith("[") or " = " in each)
    (tmp_path / "fleet.toml").write_text(shown)
    (tmp_path / "empty.toml").write_text("")
    said, unsaid = (fleetfile.load(str(tmp_path / name), environ={}) for name in ("fleet.toml", "empty.toml"))
    assert [each.key for each in said.systems if each not in unsaid.systems] == ["my_service"]
    assert len(said.systems) == len(unsaid.systems) + 1
    assert (said.fleet.api, said.fleet.run_dir, said.fleet.log_dir) == (
        unsaid.fleet.api,
        unsaid.fleet.run_dir,
        unsaid.fleet.log_dir,
    )


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    """Also when it is empty."""
    file = tmp_path / "fleet.toml"
    file.write_text("mine")
    with pytest.raises(MachineError, match="is there already"):
        starter.write(file)
    assert file.read_text() == "mine"
    with pytest.raises(MachineError, match="No such file"):
        starter.write(tmp_path / "none" / "fleet.toml")
