"""What `make dist` finds in the distributions that it builds."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts.distributions import sources_problems, wheel_problems

ROOT = Path(__file__).parents[1]
PROJECT = {"entry-points": {"apache_airflow_provider": {"provider_info": "hedra_provider.provider_info:get"}}}
TRACKED = {"hedra_provider/__init__.py", "hedra_provider/py.typed", "tests/test_a.py", ".ci/run"}
ABOUT = "airflow_provider_hedra-1.dist-info"
ENTRY_POINTS = "[apache_airflow_provider]\nprovider_info = hedra_provider.provider_info:get\n"
WHEEL: dict[str, str] = {
    "hedra_provider/__init__.py": "",
    "hedra_provider/py.typed": "",
    f"{ABOUT}/entry_points.txt": ENTRY_POINTS,
    f"{ABOUT}/licenses/LICENSE": (ROOT / "LICENSE").read_text(),
}


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({}, []),
        ({"tests/test_a.py": ""}, ["tests/test_a.py should not be in it"]),
        ({"hedra_provider/__init__.py": None}, ["hedra_provider/__init__.py is missing"]),
        (
            {"hedra_provider/py.typed": None},
            ["hedra_provider/py.typed is missing", "no py.typed: type checkers take the package for untyped"],
        ),
        ({f"{ABOUT}/licenses/LICENSE": None}, ["no licence"]),
        (
            {f"{ABOUT}/entry_points.txt": ""},
            ["Airflow finds no provider: its entry points are others than in pyproject.toml"],
        ),
    ],
)
def test_a_wheel_holds_the_package_alone(tmp_path: Path, changes: dict[str, str | None], problems: list[str]):
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in (WHEEL | changes).items():
            if content is not None:
                archive.writestr(name, content)
    assert wheel_problems(wheel, PROJECT, TRACKED) == problems


@pytest.mark.parametrize(
    ("names", "problems"),
    [
        (sorted(TRACKED - {".ci/run"}), []),
        (["hedra_provider/__init__.py", "hedra_provider/py.typed"], ["tests/test_a.py is missing"]),
        ([*sorted(TRACKED - {".ci/run"}), "out/avatar.mp4"], ["out/avatar.mp4 should not be in it"]),
    ],
)
def test_a_source_distribution_holds_the_repository(tmp_path: Path, names: list[str], problems: list[str]):
    sources = tmp_path / "a.tar.gz"
    with tarfile.open(sources, "w:gz") as archive:
        for name in [*names, "PKG-INFO"]:
            archive.addfile(tarfile.TarInfo(f"airflow_provider_hedra-1/{name}"), io.BytesIO())
    assert sources_problems(sources, TRACKED) == problems
