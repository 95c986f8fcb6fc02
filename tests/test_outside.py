"""What each circusctl command means for the wishes."""

from typing import Any

import pytest

from aurora_circus.outside import NOTHING, Meaning, meaning

SERVERS = ["brain", "router", "left", "right"]
RUNNING = ["brain", "router", "left"]


def said(
    command: str,
    *,
    client: str | None = "c1",
    refused: bool = False,
    whole: bool = False,
    **properties: Any,
) -> Meaning:
    """Return the meaning of one entry."""
    entry = {"command": command, "properties": properties, "client": client, "refused": refused, "whole": whole}
    return meaning(entry, SERVERS, RUNNING)


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_a_command_on_one_system_is_a_wish(verb: str) -> None:
    """Circusd does it; we take note."""
    assert said(verb, name="left", match="glob") == Meaning("note", verb, ("left",))  # type: ignore[arg-type]


def test_names_are_matched_as_circus_matches_them() -> None:
    """By glob unless told otherwise, whatever the case; a regular expression that is none matches nobody."""
    assert said("stop", name="R*").servers == ("router", "right")
    assert said("stop", name="r*", match="simple").servers == ()
    assert said("stop", name="(left|right)$", match="regex").servers == ("left", "right")
    assert said("stop", name="(", match="regex").servers == ()


def test_a_refused_command_is_no_wish() -> None:
    """Its sender was told that it failed."""
    assert said("stop", name="left", refused=True) == NOTHING


def test_a_stop_of_everything_is_no_wish_and_the_next_start_means_everything() -> None:
    """It ends the plugin as well, by whatever pattern it was named."""
    assert said("stop", whole=True).kind == "down"
    assert said("stop", whole=True, name="*").kind == "down"
    assert said("restart", whole=True).kind == "down"
    assert said("start").kind == "all"


def test_a_reload_is_a_restart_of_what_runs_and_a_sighup_bounces_nothing() -> None:
    """circus's reload would double every process; the hooks refuse that and leave it to us."""
    assert said("reload") == Meaning("order", "restart", tuple(RUNNING))
    assert said("reload", name="left") == Meaning("order", "restart", ("left",))
    assert said("reload", name="right").servers == ()
    assert said("reload", client=None) == NOTHING


def test_a_changed_command_line_asks_for_a_new_process_and_a_changed_patience_does_not() -> None:
    """Set: as circus would."""
    assert said("set", name="left", options={"cmd": "x"}) == Meaning("order", "restart", ("left",))
    assert said("set", name="left", options={"graceful_timeout": 3}) == NOTHING


@pytest.mark.parametrize("command", ["reloadconfig", "rm", "add"])
def test_what_changes_the_watchers_has_them_looked_at_again(command: str) -> None:
    """No event of circus's says what has changed."""
    assert said(command).kind == "reconfigure"


def test_what_a_reloadconfig_brings_down_was_nobodys_wish() -> None:
    """It is started again."""
    assert said("reconfigured", name="left") == Meaning("went", "restart", ("left",))


@pytest.mark.parametrize("command", ["kill", "signal", "stats", "incr", "decr"])
def test_a_signal_is_what_it_does(command: str) -> None:
    """No wish: what dies of it is restarted; and circus counts no singleton up or down."""
    assert said(command, name="left") == NOTHING
