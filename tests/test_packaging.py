"""The locks and the package's metadata hold what the README promises of them."""

import re
import tomllib
from pathlib import Path

import pytest

import aurora_circus
import aurora_circus.plugins

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")


def pins(lock: str) -> dict[str, set[str]]:
    """Each requirement line of a lock (name, version, marker) and its hashes."""
    found: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=[a-z])", (ROOT / lock).read_text(encoding="utf-8")):
        if block.startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s*\\\n\s*--hash=", re.sub(r"\n\s*#.*", "", block).strip())
        found[requirement] = set(hashes)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_requirement_has_one_version_and_hashes(lock: str) -> None:
    """Each line pins a version by ``==`` and names the sha256 of its files."""
    for requirement, hashes in pins(lock).items():
        assert re.match(r"[a-z0-9-]+==\S+( ; .+)?$", requirement)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place(lock: str) -> None:
    """A lock installs from whatever index its reader uses: it names no host, no option and no path."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|^-|[ =]/", text, re.MULTILINE)


def test_the_developers_lock_holds_the_users() -> None:
    """Developers test the very versions that users run."""
    users, developers = ({line.split(" ;")[0]: found for line, found in pins(lock).items()} for lock in LOCKS)
    assert users.items() <= developers.items()


@pytest.mark.parametrize(("lock", "group"), [(LOCKS[0], "build"), (LOCKS[1], "dev")])
def test_a_lock_holds_all_that_the_project_names(lock: str, group: str) -> None:
    """A dependency added to pyproject.toml and not to the locks is noticed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = list(project["project"]["dependencies"])
    todo = [group]
    while todo:
        for each in project["dependency-groups"][todo.pop()]:
            if isinstance(each, str):
                named.append(each)
            else:
                todo.append(each["include-group"])
    names = {re.split(r"[^A-Za-z0-9-]", each)[0].lower() for each in named}
    assert names <= {requirement.split("==")[0] for requirement in pins(lock)}


def test_the_plugins_are_found_beside_the_package() -> None:
    """In a checkout ``aurora_circus.plugins`` is the ``plugins`` that lies beside the package."""
    assert Path(aurora_circus.plugins.__file__).is_relative_to(ROOT)
    assert re.fullmatch(r"\d+\.\d+\.\d+", aurora_circus.__version__)
