"""What several workers and several triggerers change: a retry runs where its files are not, a triggerer hands
its triggers over, a component lacks what another one has.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from testbed.cluster_airflow import TRIGGERERS, WORKERS
from testbed.processes import wait_for
from tests.cluster.conftest import ON_WORKERS_ONLY, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox
    from testbed.cluster_airflow import ClusterAirflow

PORTRAIT = ROOT / "dags" / "include" / "portrait.jpg"
MODERATED = {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "no face in it"}
"""The error of a generation that no retry can make better."""
CLIPS = "hedra_clips_from_table"
FIRST, SECOND = WORKERS
HANDED_OVER_SECONDS = 60.0
HOURS = 36_000.0


def paid(hedra: Sandbox) -> list[str]:
    return [row["generation_id"] for row in hedra.submissions if row["credits"]]


def kill_after_the_charge(cluster: ClusterAirflow, hedra: Sandbox, dag_id: str, conf: dict[str, Any]) -> str:
    """Start a run on the first worker, and kill that when the submit is paid and not answered."""
    cluster.kill(SECOND)
    hedra.faults({"on": "POST /generations", "when": "after", "delay_seconds": 60})
    run = cluster.trigger(dag_id, conf)
    wait_for(lambda: bool(paid(hedra)), 60, "a paid submit")
    cluster.kill(FIRST)
    hedra.faults()
    cluster.revive(SECOND)
    return run


def logs(cluster: ClusterAirflow, dag_id: str, run: str, task_id: str, map_index: int = -1) -> str:
    """Return the logs of all tries of a task."""
    (tries,) = (
        row["try_number"]
        for row in cluster.task_instances(dag_id, run)
        if (row["task_id"], row["map_index"]) == (task_id, map_index)
    )
    texts = [cluster.logs(dag_id, run, task_id, number, map_index) for number in range(1, tries + 1)]
    return "\n".join(texts)


@pytest.mark.parametrize("dag_id", ["elsewhere", "elsewhere_on_the_worker"])
def test_a_retry_adopts_although_its_worker_lacks_the_image(
    cluster: ClusterAirflow, hedra: Sandbox, dag_id: str
):
    shutil.copy(PORTRAIT, cluster.disk_of(FIRST))
    run = kill_after_the_charge(cluster, hedra, dag_id, {"image": f"{cluster.disk}/{PORTRAIT.name}"})
    assert cluster.wait_for_run(dag_id, run, 180) == "success", logs(cluster, dag_id, run, "avatar")
    (generation,) = paid(hedra)
    assert cluster.xcom(dag_id, run, "avatar", "generation")["generation_id"] == generation


def test_a_destination_that_a_worker_cannot_write_is_left_to_the_retries(
    cluster: ClusterAirflow, hedra: Sandbox
):
    # A file in the place of the folder: root may write everywhere else.
    (cluster.disk_of(SECOND) / "videos").touch()
    destination = {"destination": f"{cluster.disk}/videos/avatar.mp4"}
    run = kill_after_the_charge(cluster, hedra, "elsewhere", destination)
    cluster.wait_for_task("elsewhere", run, "avatar", "up_for_retry", seconds=180)

    def second_try_failed() -> bool:
        (row,) = cluster.task_instances("elsewhere", run)
        assert row["state"] != "failed", logs(cluster, "elsewhere", run, "avatar")
        return row["state"] == "up_for_retry" and row["try_number"] >= 2

    wait_for(second_try_failed, 120, "the end of the second try")
    cluster.kill(SECOND)
    cluster.revive(FIRST)
    (generation,) = paid(hedra)
    second = cluster.logs("elsewhere", run, "avatar", 2)
    assert generation in second
    assert SECOND in second
    assert cluster.wait_for_run("elsewhere", run, 180) == "success", logs(cluster, "elsewhere", run, "avatar")
    assert paid(hedra) == [generation]
    assert (cluster.disk_of(FIRST) / "videos" / "avatar.mp4").stat().st_size > 0


def table(folder: Path, names: list[str], **more: Any) -> dict[str, Any]:
    """Write a table of clips; return the configuration of a run over it."""
    shutil.copy(PORTRAIT, folder)
    row = {"text": "Good morning", "voice": "Ada", "portrait": PORTRAIT.name}
    (folder / "clips.json").write_text(json.dumps([row | {"name": name} for name in names]))
    return {"table": f"{folder}/clips.json", "inputs": str(folder), "resolution": "540p", **more}


def test_failed_rows_are_named_where_the_manifest_is_not(
    cluster: ClusterAirflow, hedra: Sandbox, tmp_path: Path
):
    cluster.kill(SECOND)
    hedra.faults({"on": "POST /generations", "generation_error": MODERATED})
    run = cluster.trigger(CLIPS, table(tmp_path, ["one", "two"], destination=f"{cluster.disk}/clips"))
    assert cluster.wait_for_run(CLIPS, run, 240) == "failed"
    (row,) = (row for row in cluster.task_instances(CLIPS, run) if row["task_id"] == "fail_if_rows_failed")
    assert "1 of 2 clips failed" in logs(cluster, CLIPS, run, row["task_id"])

    cluster.kill(FIRST)
    cluster.revive(SECOND)
    cluster.clear(CLIPS, run, [row["task_id"]])
    cluster.wait_for_run(CLIPS, run, 120)
    again = cluster.logs(CLIPS, run, row["task_id"], 2)
    assert "1 of 2 clips failed" in again
    assert MODERATED["message"] in again


def test_clips_on_the_disks_of_several_workers_are_warned_of(
    cluster: ClusterAirflow, hedra: Sandbox, tmp_path: Path
):
    names = [f"clip{number}" for number in range(8)]
    run = cluster.trigger(CLIPS, table(tmp_path, names, destination=f"{cluster.disk}/clips"))
    state = cluster.wait_for_run(CLIPS, run, 240)
    found = {worker: sorted(p.name for p in cluster.disk_of(worker).rglob("*")) for worker in WORKERS}
    texts = {
        row["task_id"]: logs(cluster, CLIPS, run, row["task_id"])
        for row in cluster.task_instances(CLIPS, run)
        if row["map_index"] == -1
    }
    print(state, found)
    assert len(paid(hedra)) == 8
    assert "object storage" in "\n".join(texts.values()), (state, found, texts)


def test_rows_that_postgresql_rejects_are_named(cluster: ClusterAirflow, hedra: Sandbox, tmp_path: Path):
    conf = table(tmp_path, ["one", "two", "three", "four"], destination=f"{tmp_path}/clips")
    rows = json.loads((tmp_path / "clips.json").read_text())
    rows[0]["text"] = "a NUL \0 in it"
    rows[2]["text"] = "half of a pair \ud83d of surrogates"
    rows[3]["language"] = "Ger\0man"
    (tmp_path / "clips.json").write_text(json.dumps(rows))
    run = cluster.trigger(CLIPS, conf)
    assert cluster.wait_for_run(CLIPS, run, 120) == "failed"
    log = logs(cluster, CLIPS, run, "read_table")
    for words in ("row 1: text", "row 3: text", "row 4: language"):
        assert words in log
    assert "row 2" not in log
    assert paid(hedra) == []


def test_a_trigger_that_is_handed_over_raises_no_false_alarm(cluster: ClusterAirflow, hedra: Sandbox):
    from hedra_provider.testing import Sandbox

    with Sandbox(seconds=HOURS) as slow:
        connection = {"connection_id": "hedra_slow", "conn_type": "hedra"}
        connection |= {"host": slow.base_url, "password": slow.api_key}
        cluster.call("POST", "/connections", connection)
        runs = [cluster.trigger("elsewhere", {"connection": "hedra_slow"}) for _ in range(4)]
        for run in runs:
            cluster.wait_for_task("elsewhere", run, "avatar", "deferred")

        def held_by() -> dict[str, str | None]:
            rows = {run: cluster.task_instances("elsewhere", run)[0] for run in runs}
            return {run: (row["triggerer_job"] or {}).get("hostname") for run, row in rows.items()}

        wait_for(lambda: set(held_by().values()) <= set(TRIGGERERS), 60, "triggerers that took the triggers")
        time.sleep(10)
        before = held_by()
        stopped = before[runs[0]]
        (other,) = set(TRIGGERERS) - {stopped}
        cluster.signal(stopped, signal.SIGSTOP)
        try:
            wait_for(lambda: set(held_by().values()) == {other}, HANDED_OVER_SECONDS, "the hand-over")
        finally:
            cluster.signal(stopped, signal.SIGCONT)
        handed_over = [run for run, triggerer in before.items() if triggerer == stopped]

        def cancelled() -> bool:
            return all("invoking on_kill" in logs(cluster, "elsewhere", run, "avatar") for run in handed_over)

        wait_for(cancelled, 60, "the first triggerer to notice")
        slow.advance(HOURS)
        for run in runs:
            assert cluster.wait_for_run("elsewhere", run) == "success"
        for run in handed_over:
            log = logs(cluster, "elsewhere", run, "avatar")
            assert "being stopped" not in log, log
            assert "another triggerer" in log, log
        assert len(paid(slow)) == len(runs)


def test_a_connection_that_triggerers_lack_is_reported_with_their_name(
    cluster: ClusterAirflow, hedra: Sandbox
):
    run = cluster.trigger("elsewhere", {"connection": ON_WORKERS_ONLY})
    cluster.wait_for_task("elsewhere", run, "avatar", "up_for_retry", "failed", seconds=120)
    log = logs(cluster, "elsewhere", run, "avatar")
    path = f"/dags/elsewhere/dagRuns/{run}"
    cluster.call("PATCH", path, {"state": "failed"})
    assert "in the triggerer" in log, log
