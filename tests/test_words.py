"""The words that docs/glossary.md lists as not used stand in no code, comment, message, test or page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs/glossary.md"

COVERED = (
    "Makefile",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "benchmarks/**/*.py",
    "dags/*.py",
    "docs/**/*.md",
    "hedra_provider/**/*.py",
    "scripts/**/*.py",
    "testbed/**/*.py",
    "tests/**/*.py",
)
"""The files that are searched, as patterns below the root of the repository."""

NOT_COVERED = ("docs/glossary.md", "tests/test_words.py")


def table(heading: str) -> list[str]:
    """Return the first cells of the glossary's table below a heading."""
    section = GLOSSARY.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", section, re.MULTILINE)
    return rows[1:]


def unused_words() -> list[str]:
    """Return every form of the words that are not used."""
    return [word for cell in table("Words that are not used") for word in cell.split(", ")]


def exceptions() -> list[str]:
    """Return the texts in which such a word is allowed."""
    cells = table("Exceptions")
    return [text.strip("`") if text.count("``") < 2 else text for cell in cells for text in cell.split(", ")]


def pattern(words: list[str]) -> re.Pattern[str]:
    """
    Return what finds words in text, in snake_case and in CamelCase.

    A phrase is found over a line break too, also between two comment lines.
    """
    gap = r"[\s#*]+|_"
    plain = "|".join(f"(?:{gap})".join(map(re.escape, word.split())) for word in words)
    camel = "|".join(word.capitalize() for word in words if " " not in word)
    inside = rf"(?<=[a-z0-9])(?:{camel})(?![a-z])"
    first = rf"(?<![A-Za-z])(?:{camel})(?=[A-Z])"
    return re.compile(rf"(?<![^\W_])(?i:{plain})(?![^\W_])|{inside}|{first}")


def without_exceptions(text: str) -> str:
    """Return a text with the allowed texts blanked, so that line numbers stay."""
    for allowed in exceptions():
        spaced = r"[\s#]+".join(map(re.escape, allowed.split()))
        whole = rf"(?<!\w){spaced}(?!\w)" if allowed[0].isalnum() and allowed[-1].isalnum() else spaced
        text = re.sub(whole, lambda found: re.sub(r"[^\n]", "-", found[0]), text, flags=re.IGNORECASE)
    return text


def found_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and word for each word that is not used."""
    text = without_exceptions(text)
    for found in pattern(unused_words()).finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[0]


def test_no_file_holds_a_word_that_the_glossary_replaces():
    files = {path for each in COVERED for path in ROOT.glob(each)} - {ROOT / name for name in NOT_COVERED}
    assert len(files) > len(COVERED)
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in sorted(files)
        for line, word in found_words(path.read_text("utf-8"))
    ]
    assert not faults, "Use the words of docs/glossary.md:\n" + "\n".join(faults)


@pytest.mark.parametrize("each", COVERED)
def test_each_pattern_finds_files(each: str):
    assert list(ROOT.glob(each))


@pytest.mark.parametrize(
    "text",
    [
        "# It looks again.",
        "def told_names(): ...",
        "class TurnTaker: ...",
        "class TheNews: ...",
        "PATIENCE_MINUTES = 1",
        "is_in_doubt = True",
        "# The outcome is in\n# doubt.",
        '"Hedra refused it."',
    ],
)
def test_a_word_is_found_in_prose_and_in_names(text: str):
    assert list(found_words(text))


@pytest.mark.parametrize(
    "text",
    [
        "return value",
        "saturn = 1",
        "# Look up the voice, then tell\n# apart both names.",
        "raise ConnectionRefusedError",
        "class Returned: ...",
        "file.tell()",
        'HedraTurnTrigger(in_doubt=True, refused_since=0.0); event["outcome"] == "turn"',
    ],
)
def test_exceptions_and_parts_of_other_words_are_not_found(text: str):
    assert not list(found_words(text))
