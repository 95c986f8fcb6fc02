"""Two fleet files that share a run directory do not act on each other's fleet."""

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aurora_circus import fleetfile, leftovers, lookup, origin
from aurora_circus.cli import cli
from aurora_circus.config import Config
from aurora_circus.errors import ConfigError
from aurora_circus.facts import Process

FLEET = 'fleet.builtin = false\n[system.web]\ncommand = "web"\nport = 6000\n'


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return a fleet, whose run directory is in use."""
    (tmp_path / "mine.toml").write_text(FLEET, encoding="utf-8")
    (tmp_path / ".aurora" / "run").mkdir(parents=True)
    monkeypatch.setattr(lookup, "find", lambda _: Process(1, 1.0))
    return fleetfile.load(str(tmp_path / "mine.toml"), environ={})


def saved(config: Config, state: object) -> None:
    """Have the plugin's state be that."""
    (Path(config.fleet.run_dir) / "state.json").write_text(json.dumps(state), encoding="utf-8")


def test_another_files_fleet_is_not_ours(mine: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and how to act on it; once it is down, the directory is free."""
    other = tmp_path / "other.toml"
    other.write_text(FLEET, encoding="utf-8")
    saved(mine, {"file": str(other)})
    with pytest.raises(ConfigError) as caught:
        origin.check(mine)
    (fault,) = caught.value.faults
    assert fault.startswith(
        f"{mine.source}: fleet.run_dir: found {mine.fleet.run_dir}, where the fleet of {other} runs"
    )
    assert fault.endswith(f"--fleet {other}")
    with pytest.raises(ConfigError):
        origin.check(dataclasses.replace(mine, file="the built-in defaults"))
    monkeypatch.setattr(lookup, "find", lambda _: None)
    origin.check(mine)
    monkeypatch.setattr(leftovers, "surviving", lambda *_: {"web": [Process(7, 1.0)]})
    with pytest.raises(ConfigError):
        origin.check(mine)


def test_our_own_fleet_is_ours(mine: Config, tmp_path: Path) -> None:
    """By whatever name; also one of a file that was renamed, and one of which nobody says where it came from."""
    states: list[object] = [{"file": mine.file}, {"file": str(tmp_path / "renamed.toml")}, {"file": 7}, {}, [], "x"]
    origin.check(mine)
    for state in [*states, {"file": "the built-in defaults"}, {"file": str(tmp_path / "x" / ".." / "mine.toml")}]:
        saved(mine, state)
        origin.check(mine)
    (Path(mine.fleet.run_dir) / "state.json").write_text("{", encoding="utf-8")
    origin.check(mine)


@pytest.mark.parametrize(
    "words",
    [["check"], ["env"], ["render", "-o", "circus.ini"], ["status"], ["install-service", "--print"]],
    ids=lambda words: words[0],
)
def test_no_command_takes_another_files_fleet_for_its_own(
    mine: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """It is refused before anything is shown or written."""
    other = tmp_path / "other.toml"
    other.write_text(FLEET, encoding="utf-8")
    saved(mine, {"file": str(other)})
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, [*words, "--fleet", mine.file])
    assert not (tmp_path / "circus.ini").exists()
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert str(other) in result.stderr
