"""Builds the wheel and the source distribution into dist/, and checks their contents: ``make dist``.

The build backend comes from the package index, as for ``pip install .``: tests need no network, so this is no
test.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "hedra_provider"
NOT_IN_THE_SOURCES = {".ci", ".gitignore"}
"""Files that serve the repository only and are not distributed."""


def main() -> None:
    """Build both; return 1 if one of them has wrong contents."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tracked = git_files()
    wheel, sources = build(about["build-system"]["requires"], ROOT / "dist")
    problems = [f"{wheel.name}: {problem}" for problem in wheel_problems(wheel, about["project"], tracked)]
    problems += [f"{sources.name}: {problem}" for problem in sources_problems(sources, tracked)]
    if problems:
        sys.exit("\n".join(problems))
    print(f"dist/{wheel.name} and dist/{sources.name} hold what they should, and nothing else")


def git_files() -> set[str]:
    """Return the paths of all files in the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def build(requires: list[str], folder: Path) -> tuple[Path, Path]:
    """
    Build the wheel and the source distribution.

    :param requires: The build backend, as pyproject.toml names it.
    :param folder: Where to put them.
    :return: Their paths.
    """
    with tempfile.TemporaryDirectory(prefix="hedra-dist-") as work:
        backend = f"{work}/backend"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--target", backend]
        subprocess.run([*command, *requires], check=True)
        made = Path(work, "dist")
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--directory", str(made)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": backend},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        folder.mkdir(exist_ok=True)
        (wheel,), (sources,) = made.glob("*.whl"), made.glob("*.tar.gz")
        return Path(shutil.copy2(wheel, folder)), Path(shutil.copy2(sources, folder))


def wheel_problems(wheel: Path, project: dict[str, Any], tracked: set[str]) -> list[str]:
    """
    Say what is wrong with a wheel.

    :param wheel: Its path.
    :param project: The table of pyproject.toml.
    :param tracked: The files of the repository.
    """
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        (about,) = {name.partition("/")[0] for name in held if ".dist-info/" in name}
        entry_points = configparser.ConfigParser()
        entry_points.read_string(archive.read(f"{about}/entry_points.txt").decode())
        licence = archive.read(f"{about}/licenses/LICENSE") if f"{about}/licenses/LICENSE" in held else b""
    wanted = {name for name in tracked if name.startswith(f"{PACKAGE}/")}
    code = {name for name in held if not name.startswith(f"{about}/")}
    problems = differences(held=code, wanted=wanted)
    if f"{PACKAGE}/py.typed" not in held:
        problems.append("no py.typed: type checkers take the package for untyped")
    if licence != (ROOT / "LICENSE").read_bytes():
        problems.append("no licence")
    if {group: dict(entry_points[group]) for group in entry_points.sections()} != project["entry-points"]:
        problems.append("Airflow finds no provider: its entry points are others than in pyproject.toml")
    return problems


def sources_problems(sources: Path, tracked: set[str]) -> list[str]:
    """
    Say what is wrong with a source distribution.

    :param sources: Its path.
    :param tracked: The files of the repository.
    """
    with tarfile.open(sources) as archive:
        held = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    wanted = {name for name in tracked if PurePosixPath(name).parts[0] not in NOT_IN_THE_SOURCES}
    # The build backend adds these.
    return differences(held=held - {"PKG-INFO", ".gitignore"}, wanted=wanted)


def differences(*, held: set[str], wanted: set[str]) -> list[str]:
    """Return which files are missing, and which are surplus."""
    return [f"{name} is missing" for name in sorted(wanted - held)] + [
        f"{name} should not be in it" for name in sorted(held - wanted)
    ]


if __name__ == "__main__":
    main()
