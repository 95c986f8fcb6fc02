"""The plugin in a stock [plugin:] section, as circus's own documentation has it."""

import re
from urllib.parse import quote

from tests.e2e.conftest import Make
from tests.e2e.harness import kill, unix_only


@unix_only
def test_the_plugin_works_in_a_stock_plugin_section(fleet: Make) -> None:
    """The fleet comes up, is watched, hears its operator, and goes down in order."""
    made = fleet({"brain": {}, "web": {"depends_on": ["brain"], "title": "100 % web"}})
    made.render()
    text = made.ini.read_text(encoding="utf-8")
    section = re.search(r"^\[watcher:aurora\]\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    settings = re.search(r"^fleet = (.*)$", section[1], re.MULTILINE)
    assert settings is not None
    stock = (
        "[plugin:aurora]\nuse = aurora_circus.plugins.aurora.AuroraPlugin\npriority = 100000\n"
        f"aurora_commands =\nfleet = {quote(settings[1], safe='')}\n\n"
    )
    made.ini.write_text(text.replace(section[0], stock), encoding="utf-8")
    made.launch()
    made.all_healthy()
    old = made.pids()["web"]
    kill(old)
    made.new_process("web", old)
    made.circusctl("stop", "web", "--waiting")
    made.states(brain="healthy", web="stopped")
    assert made.circusd is not None
    made.circusd.terminate()
    assert made.ended() == 0
    assert made.leftovers() == []
