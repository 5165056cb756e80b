"""The manifest: what it says of each row, of credits, and of files on the disks of other workers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from hedra_provider.tables import fail_if_rows_failed, keep_failure, write_manifest
from tests.airflow_names import AirflowFailException, AirflowSkipException

CLIP = "clip.video"
BUDGET = {"requests": 2, "low": 10, "high": 12, "available": 100}


class TaskInstance:
    """A task instance whose upstream clips left these XComs, by map index."""

    run_id = "manual__1"

    def __init__(self, generations: list[Any], failures: dict[int, str] | None = None) -> None:
        self.generations, self.failures = generations, failures or {}
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: Any) -> Any:
        assert task_ids == CLIP
        if key == "generation":
            return [self.generations[index] for index in map_indexes]
        assert key == "failure"
        return self.failures.get(map_indexes)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def made(uri: str | None, **changes: Any) -> dict[str, Any]:
    usual = {
        "status": "complete",
        "error_code": None,
        "error_message": None,
        "credit_cost": 7,
        "worker": None,
    }
    paid = {"cost_paid": 7, "currency": "credits", "credits_paid": 7}
    return usual | {"adopted": False, **paid, "uri": uri} | changes


def write(folder: Path | str, ti: TaskInstance) -> tuple[dict[str, Any], Any]:
    """Write a manifest; return what the task returns."""
    names = [f"n{index}" for index in range(len(ti.generations))]
    rows: Any = [{"place": f"line {index + 2}", "name": name} for index, name in enumerate(names)]
    requests = [{"name": name} for name in names]
    said = write_manifest(rows, requests, BUDGET, table="t.csv", folder=str(folder), clip_task_id=CLIP, ti=ti)
    return said, json.loads((Path(folder) / "manifest.json").read_text("utf-8"))


def test_credits_paid_are_summed_and_an_adopted_clip_adds_none(tmp_path: Path):
    ti = TaskInstance(
        [
            made("s3://b/n0.mp4"),
            made("s3://b/n1.mp4", adopted=True, credits_paid=0),
            made("s3://b/n2.mp4", credit_cost=None, credits_paid=None),
        ]
    )
    said, manifest = write(tmp_path, ti)
    assert said["credits_paid"] == manifest["credits_paid"] == 7
    clips = manifest["clips"]
    assert [clip["adopted"] for clip in clips] == [False, True, False]
    assert [clip["credits_paid"] for clip in clips] == [7, 0, None]
    assert [clip["row"] for clip in clips] == ["line 2", "line 3", "line 4"]
    assert (manifest["done"], manifest["failed"], manifest["workers"], said["failures"]) == (3, 0, {}, [])


def test_dollars_paid_are_summed_with_those_of_the_speeches(tmp_path: Path):
    dollars = {"currency": "USD", "credit_cost": None, "credits_paid": None}
    ti = TaskInstance(
        [
            made("s3://b/n0.mp4", **dollars, cost_paid=0.1, speech={"cost": 0.2}),
            made("s3://b/n1.mp4", **dollars, cost_paid=0, adopted=True, speech={"cost": 0.2}),
            made("s3://b/n2.mp4", **dollars, cost_paid=0.4, speech=None),
        ]
    )
    said, manifest = write(tmp_path, ti)
    assert (said["cost_paid"], said["currency"], said["credits_paid"]) == (0.7, "USD", 0)
    assert [clip["cost_paid"] for clip in manifest["clips"]] == [0.3, 0, 0.4]


def test_failed_rows_travel_by_xcom_and_the_manifest_is_not_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """So the task that fails the run names the rows on whatever worker it runs."""
    moderated = made(
        None, status="error", error_code="MODERATION_FAILED", error_message="a face", credits_paid=0
    )
    ti = TaskInstance([made("s3://b/n0.mp4"), None, moderated, None], {1: "no credits"})
    said, manifest = write(tmp_path, ti)
    assert said["failures"] == [
        {"row": "line 3", "name": "n1", "error": "no credits"},
        {"row": "line 4", "name": "n2", "error": "MODERATION_FAILED: a face"},
        {"row": "line 5", "name": "n3", "error": "The task left no reason: see its log, map index 3."},
    ]
    assert [clip["status"] for clip in manifest["clips"]] == ["done", "failed", "failed", "failed"]
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(AirflowFailException) as failure:
        fail_if_rows_failed(said)
    head, first, *_ = str(failure.value).splitlines()
    assert head.startswith("3 of 4 clips failed.")
    assert first == "line 3, n1: no credits"
    assert caplog.records[-1].levelname == "ERROR"
    assert caplog.records[-1].getMessage() == str(failure.value)


def test_no_failed_row_fails_nothing():
    fail_if_rows_failed({"failures": [], "done": 1, "failed": 0})


def test_files_on_the_disks_of_several_workers_are_counted_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "n0.mp4").touch()
    ti = TaskInstance(
        [
            made(f"file://{tmp_path}/n0.mp4", worker="w1"),
            made(f"file://{tmp_path}/n1.mp4", worker="w2"),
            made(f"file://{tmp_path}/n2.mp4", worker="w2"),
        ]
    )
    said, manifest = write(tmp_path, ti)
    assert [clip["worker"] for clip in manifest["clips"]] == ["w1", "w2", "w2"]
    assert said["workers"] == manifest["workers"] == {"w1": 1, "w2": 2}
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "2 clips are not on this worker: 2 on w2." in warning.message


def test_a_shared_disk_and_object_storage_are_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for index in (0, 1):
        (tmp_path / f"n{index}.mp4").touch()
    clips = [made(f"file://{tmp_path}/n{index}.mp4", worker=f"w{index}") for index in (0, 1)]
    write(tmp_path, TaskInstance([*clips, made("s3://b/n2.mp4")]))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_after_a_failed_budget_the_manifest_is_skipped(tmp_path: Path):
    (tmp_path / "manifest.json").write_text("of another run")
    for rows, requests, budget in ([], [], None), (None, None, BUDGET):
        with pytest.raises(AirflowSkipException, match="No clip was begun"):
            write_manifest(rows, requests, budget, table="t", folder=str(tmp_path), clip_task_id=CLIP)
    assert (tmp_path / "manifest.json").read_text() == "of another run"


def test_a_reason_is_kept_as_one_bounded_line_that_postgresql_can_store():
    ti = TaskInstance([])
    keep_failure({"ti": ti, "exception": ValueError("a\0b\n" + "long " * 1000)})  # type: ignore[arg-type]
    reason = ti.pushed["failure"]
    assert "\0" not in reason
    assert "\n" not in reason
    assert len(reason) <= 1000
    keep_failure({"ti": ti})  # type: ignore[typeddict-item,arg-type]
    assert ti.pushed["failure"] == ""
