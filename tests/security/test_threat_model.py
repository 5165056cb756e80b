"""The threat model names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "proof" / "threat-model.md").read_text()


def test_the_tests_that_it_names_exist():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 15
    there = {
        name
        for file in (*(ROOT / "tests" / "security").glob("*.py"), *(ROOT / "tests" / "system").glob("*.py"))
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert named - there == set()


def test_the_files_that_it_names_exist():
    for name in re.findall(r"`(tests/[\w/.]+\.py)", PAGE):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"`(test_\w+\.py)`", PAGE):
        assert (ROOT / "tests" / "security" / name).is_file(), name


def test_it_warns_of_expand_kwargs():
    assert "expand_kwargs" in PAGE
    for page in ("many-videos.md", "budgets.md"):
        assert "expand_kwargs" in (ROOT / "docs" / "how-to" / page).read_text()
