"""The edges of what a circusctl command means: names that match nobody, options of both kinds, ways to match."""

from typing import Any

import pytest

from aurora_circus.outside import NOTHING, PLAIN_SET, Meaning
from tests.test_outside import SERVERS, said


def test_a_name_that_matches_nobody_means_nobody_and_never_everybody() -> None:
    """A command that named somebody is no command on the whole fleet, even where the name is empty."""
    for name in ("nobody", ""):
        assert said("start", name=name) == Meaning("note", "start", ())
        assert said("stop", name=name) == Meaning("note", "stop", ())
        assert said("restart", name=name) == Meaning("note", "restart", ())
        assert said("reload", name=name) == Meaning("order", "restart", ())
        assert said("set", name=name, options={"cmd": "x"}) == Meaning("order", "restart", ())
        assert said("reconfigured", name=name).servers == ()


def test_a_quit_ends_every_wish_and_a_whole_stop_does_not() -> None:
    """The two ways in which circusd goes down are not the same."""
    assert said("quit") == Meaning("quit")
    assert said("stop", whole=True) == Meaning("down")


def test_a_start_of_everything_is_a_start() -> None:
    """Of all by having no name; a pattern that happens to fit everybody is a wish about each of them."""
    assert said("start", whole=True) == Meaning("all", "start")
    assert said("start", name="*", whole=True) == Meaning("note", "start", tuple(SERVERS))


def test_a_named_reload_is_somebodys_even_where_its_client_is_not_known() -> None:
    """Only the reload without a name may be a SIGHUP."""
    assert said("reload", name="left", client=None) == Meaning("order", "restart", ("left",))


def test_a_changed_command_line_of_what_is_down_asks_for_nothing() -> None:
    """It has no process to replace: the next one will have the new options."""
    assert said("set", name="right", options={"cmd": "x"}) == Meaning("order", "restart", ())


@pytest.mark.parametrize("option", sorted(PLAIN_SET))
def test_a_plain_option_asks_for_no_new_process_alone_and_does_not_hide_another(option: str) -> None:
    """One option that needs a new process is enough."""
    assert said("set", name="left", options={option: 1}) == NOTHING
    assert said("set", name="left", options={option: 1, "cmd": "x"}).servers == ("left",)


def test_the_plain_options_are_those_of_circus() -> None:
    """Watcher.set_opt asks for no new process for any of them, nor for all at once."""
    options: dict[str, Any] = dict.fromkeys(
        ("graceful_timeout", "stop_signal", "stop_children", "warmup_delay", "send_hup", "max_retry"), 1
    )
    assert said("set", name="left", options=options) == NOTHING


def test_a_set_without_options_changes_nothing() -> None:
    """There is nothing to do for it."""
    assert said("set", name="left") == NOTHING


def test_a_regular_expression_fits_from_the_beginning_and_a_simple_name_whole() -> None:
    """As circus has it: an expression need not fit to the end."""
    assert said("stop", name="r.+", match="regex").servers == ("router", "right")
    assert said("stop", name="r", match="regex").servers == ("router", "right")
    assert said("stop", name="LEFT", match="simple").servers == ("left",)
