"""The map of the code names every room, and nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hedra_provider"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROOMS = PAGE[PAGE.index("## The rooms") : PAGE.index("### Beside the package")]


def modules() -> set[str]:
    """Return every module below the package, as a path; the ``__init__`` of a package is its folder."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" and "__pycache__" not in path.parts
    }


def packages() -> set[str]:
    return {
        path.parent.relative_to(PACKAGE).as_posix() + "/"
        for path in PACKAGE.rglob("__init__.py")
        if path.parent != PACKAGE
    }


def test_each_module_has_its_line_and_each_line_its_module():
    lines = re.findall(r"^\| `([\w/]+\.py)` \| \S", ROOMS, re.M)
    assert sorted(lines) == sorted(modules())


def test_each_package_has_its_heading():
    assert [one for one in packages() if f"`{one}`:" not in ROOMS and f"### `{one}`" not in ROOMS] == []


def test_it_names_no_file_that_does_not_exist():
    named = set(re.findall(r"`((?:[\w-]+/)*[\w-]+(?:\.py|/))`", PAGE))
    there = modules() | packages()
    # "`wait.py` has the policy": a file of the package that the sentence is about.
    short = {name.rpartition("/")[2] for name in there}
    missing = [one for one in named if one not in there | short and not (ROOT / one).exists()]
    assert (missing, len(named) > 100) == ([], True)


def test_it_names_no_function_that_does_not_exist():
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    names = {"limited", "on_rate_limit", "retry_slot_delay_seconds", "_generate", "find"}
    assert [name for name in names if name not in PAGE or f"def {name}(" not in source] == []


def test_its_arrows_are_those_of_the_contracts():
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if "hedra_provider.operators | " in one["layers"][0])
    picture = PAGE[PAGE.index("```text") :].partition("testing ->")[0]
    wanted = [{room.rpartition(".")[2] for room in layer.split(" | ")} for layer in layers]
    drawn = [set(re.findall(r"\w+", line)) for line in picture.splitlines()[1:]]
    # Each layer stands on a line of its own, in the order of the contract.
    found = [next(n for n, words in enumerate(drawn) if layer <= words) for layer in wanted]
    assert found == sorted(set(found))


def test_contributing_names_no_file_and_no_name_that_does_not_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    # The example of a new operator.
    files = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text)) - {"operators/lipsync.py"}
    assert [one for one in files if not any((home / one).exists() for home in (PACKAGE, ROOT))] == []
    paths = [path for home in ("hedra_provider", "scripts", "tests") for path in (ROOT / home).rglob("*.py")]
    source = "\n".join(path.read_text() for path in paths)
    names = set(re.findall(r"`(_?[A-Z][A-Z_]{3,}|[a-z]+_[a-z_]+|[A-Z][a-z]+[A-Z]\w+)`", text))
    assert len(names) > 6
    assert [one for one in names if one not in source] == []
