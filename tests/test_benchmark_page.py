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


def test_a_section_is_replaced_where_there_is_a_result_and_kept_where_there_is_none():
    report.publish("polling", "Waiting", report.text_table(["who", "requests"], [["ours", "12"]]), {"n": 1})
    report.publish("batch", "Clips", "a table", {})
    first = page.page("# Benchmarks\n\nWhat this is.\n")
    assert "12\n```\n\nAll targets met.\n\n## `batch`" in first
    assert first.startswith("# Benchmarks\n\nWhat this is.\n\n## `polling`\n\nWaiting.\n")
    assert "ours        12\n```\n" in first
    assert "## `batch`\n\nClips.\n" in first
    assert f"python {report.machine()['python']}" in first

    (page.RESULTS / "polling.json").unlink()
    report.publish("batch", "Clips", "another table", {})
    again = page.page(first)
    assert again == first.replace("a table", "another table")
    assert page.page(again) == again


def test_missed_targets_are_printed(capsys: pytest.CaptureFixture[str]):
    report.publish("polling", "Waiting", "a table", {}, missed=["no thread", "burst under 3"])
    said = "a table\n```\n\nTargets missed: no thread; burst under 3."
    assert said in page.page("# Benchmarks\n")
    assert "Targets missed: no thread; burst under 3." in capsys.readouterr().out


def test_a_run_on_another_scale_is_printed_and_not_kept(capsys: pytest.CaptureFixture[str]):
    report.publish("polling", "Waiting", "a table", {}, keep=False)
    assert "a table" in capsys.readouterr().out
    assert "a table" not in page.page("# Benchmarks\n")


def test_the_page_has_a_section_for_each_benchmark():
    there = {path.stem.removeprefix("bench_") for path in Path(page.__file__).parent.glob("bench_*.py")}
    assert there == set(page.NAMES)
