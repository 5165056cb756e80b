"""The page of the benchmarks' tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import page, report


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    return tmp_path


def test_a_section_is_made_anew_where_there_is_a_result_and_kept_where_there_is_none():
    report.publish("polling", "Waiting", report.text_table(["who", "requests"], [["ours", "12"]]), {"n": 1})
    report.publish("batch", "Clips", "a table", {})
    first = page.page("# Benchmarks\n\nWhat this is.\n")
    assert first.startswith("# Benchmarks\n\nWhat this is.\n\n## `polling`\n\nWaiting.\n")
    assert "ours        12\n```\n\n## `batch`\n\nClips.\n" in first
    assert f"python {report.machine()['python']}" in first

    (page.RESULTS / "polling.json").unlink()
    report.publish("batch", "Clips", "another table", {})
    again = page.page(first)
    assert again == first.replace("a table", "another table")
    assert page.page(again) == again


def test_the_page_has_all_that_there_are():
    there = {path.stem.removeprefix("bench_") for path in Path(page.__file__).parent.glob("bench_*.py")}
    assert there == set(page.NAMES)
