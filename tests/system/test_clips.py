"""The example that makes a clip of each row of a table, by ``dag.test()`` against the sandbox."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from benchmarks.bench_batch import Plan, run_batch
from hedra_provider.sandbox.studio import PLACEHOLDER
from tests.system.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.testing import Sandbox

# What is asserted of a clip is which one it is: a placeholder says that.
pytestmark = pytest.mark.hedra_sandbox(media=False)

NAME = "hedra_clips_from_table"
COLUMNS = ("name", "text", "audio", "voice", "language", "portrait")
PASSWORD = "{{ conn.hedra_default.password }}"
ODD = '=1+1 {% raw %} ${HOME} \\n She said "hi",\nthen left; 🚀 Grüße'
MODERATED = {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "a face"}
ROWS = [
    {
        "name": "one",
        "text": PASSWORD,
        "voice": "Ada",
        "language": "English",
        "portrait": "portrait.jpg",
    },
    {"name": "two", "text": ODD, "voice": "jonas", "portrait": "faces/two.jpg"},
    {"name": "three", "audio": "speech.wav", "portrait": "portrait.jpg"},
]


class Clips:
    """A table with its inputs, the DAG over it, and what the sandbox saw of it."""

    def __init__(self, hedra: Sandbox, run_dag: Callable[..., Any], folder: Path) -> None:
        self.hedra, self.folder, self._run_dag = hedra, folder, run_dag
        self.table, self.destination = folder / "clips.csv", folder / "out"
        (folder / "faces").mkdir()
        for source, target in (("portrait.jpg", "portrait.jpg"), ("speech.wav", "speech.wav")):
            shutil.copy(ROOT / "dags" / "include" / source, folder / target)
        # Another file, so another asset.
        (folder / "faces" / "two.jpg").write_bytes((folder / "portrait.jpg").read_bytes() + b"\0")
        self.write(ROWS)

    def write(self, rows: list[dict[str, str]]) -> None:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
        self.table.write_text(out.getvalue(), "utf-8", newline="")

    def run(self, **conf: Any) -> Any:
        """Run the DAG; return its run's state."""
        usual = {"table": str(self.table), "destination": str(self.destination), "resolution": "540p"}
        self.last = self._run_dag(f"{NAME}.py", NAME, **{**usual, **conf})
        return str(self.last.state)

    def states(self, task_id: str) -> list[str]:
        found = [ti for ti in self.last.get_task_instances() if ti.task_id == task_id]
        return [str(ti.state) for ti in sorted(found, key=lambda ti: ti.map_index)]

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.destination / "manifest.json").read_text("utf-8"))
        return found

    def outcomes(self) -> dict[str, str]:
        return {clip["name"]: clip["status"] for clip in self.manifest()["clips"]}

    def files(self) -> set[str]:
        return {path.name for path in self.destination.iterdir()}

    def says(self, name: str, text: str) -> bool:
        """Whether it is this text that a clip says, which a sandbox without media writes into it."""
        content = (self.destination / f"{name}.mp4").read_bytes()
        return content.startswith(PLACEHOLDER) and repr(text).encode() in content

    def paid(self) -> list[str]:
        """The names that the results of the submits have, in order."""
        return sorted(row["request"]["name"] for row in self.hedra.submissions)


@pytest.fixture
def clips(hedra_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path) -> Clips:
    return Clips(hedra_sandbox, run_dag, tmp_path)


def test_each_row_gets_its_own_and_again_only_what_was_edited_is_paid(clips: Clips):
    assert clips.run() == "success"
    asked = {row["request"]["name"]: row["request"] for row in clips.hedra.submissions}
    one, two, three = (asked[name] for name in ("one", "two", "three"))
    # A row is foreign data: it is spoken as it is.
    assert (one["audio_generation"]["text"], one["audio_generation"]["language"]) == (PASSWORD, "English")
    assert (two["audio_generation"]["text"], two["audio_generation"]["language"]) == (ODD, "auto")
    assert one["audio_generation"]["voice_id"] != two["audio_generation"]["voice_id"]
    assert three["audio_id"]
    assert "audio_generation" not in three
    assert one["start_keyframe_id"] == three["start_keyframe_id"] != two["start_keyframe_id"]
    # Two portraits and a recording, whatever the number of rows.
    assert len(clips.hedra.requests("POST", "/assets/{id}/upload")) == 3
    assert [clips.says(name, text) for name, text in (("one", PASSWORD), ("two", ODD))] == [True, True]
    assert clips.files() == {"one.mp4", "two.mp4", "three.mp4", "manifest.json"}
    manifest = clips.manifest()
    assert (manifest["done"], manifest["failed"], manifest["budget"]["requests"]) == (3, 0, 3)
    assert [clip["row"] for clip in manifest["clips"]] == ["line 2", "line 3", "line 5"]
    assert [clip["request"]["text"] for clip in manifest["clips"]] == [PASSWORD, ODD, None]
    assert [clip["generation"]["uri"] for clip in manifest["clips"]] == [
        f"file://{clips.destination}/{name}.mp4" for name in ("one", "two", "three")
    ]

    assert manifest["credits_paid"] == sum(row["credits"] for row in clips.hedra.submissions) > 0
    assert [clip["adopted"] for clip in manifest["clips"]] == [False] * 3

    # In another order, one edited, the file of one gone; the budget is for what is still to be made.
    clips.write([ROWS[2], {**ROWS[0], "text": "Good evening"}, ROWS[1]])
    (clips.destination / "two.mp4").unlink()
    assert clips.run(max_credits=manifest["budget"]["high"] // 2) == "success"
    assert clips.manifest()["budget"]["requests"] == 1
    assert clips.paid() == ["one", "one", "three", "two"]
    assert (clips.says("one", "Good evening"), clips.says("two", ODD)) == (True, True)
    # Only the edited clip was paid for by this run; so the sum over runs counts each clip once.
    assert clips.manifest()["credits_paid"] == clips.hedra.submissions[-1]["credits"]
    assert {clip["name"]: clip["adopted"] for clip in clips.manifest()["clips"]} == {
        "three": True,
        "one": False,
        "two": True,
    }

    # Assets in place of their files are the same request, need no upload, and make new clips too.
    made = {clip["name"]: clip["request"] for clip in clips.manifest()["clips"]}
    assets = {"audio": made["three"]["audio"], "portrait": made["three"]["image"]}
    clips.write([{**ROWS[2], **assets}, {"name": "four", **assets}])
    assert clips.run(destination=f"{clips.folder}/elsewhere/") == "success"
    assert clips.states("upload") == ["skipped"]
    assert clips.paid() == ["four", "one", "one", "three", "two"]
    clips.destination = clips.folder / "elsewhere"
    assert clips.files() == {"three.mp4", "four.mp4", "manifest.json"}


def test_failed_rows_leave_the_others_alone_and_are_made_by_the_next_run(clips: Clips):
    rejection = {"detail": "Not today"}
    clips.hedra.faults(
        {"on": "POST /generations", "times": 1, "status": 400, "body": rejection},
        {"on": "POST /generations", "skip": 1, "times": 1, "generation_error": MODERATED},
    )
    assert clips.run() == "failed"
    assert sorted(clips.states("clip.video")) == ["failed", "failed", "success"]
    assert clips.states("write_manifest") == ["success"]
    found = clips.manifest()["clips"]
    assert len(found) == 3
    (done,) = [clip for clip in found if clip["status"] == "done"]
    moderated, never = sorted(
        (clip for clip in found if clip["status"] == "failed"), key=lambda clip: clip["generation"] is None
    )
    assert "MODERATION_LIKENESS" in moderated["error"]
    assert moderated["generation"]["status"] == "error"
    # dag.test() of Airflow 3.0 passes no exception to callbacks; its workers do.
    assert ("Not today" if AIRFLOW_V_3_1_PLUS else "left no reason") in never["error"]
    assert never["generation"] is None
    assert clips.files() == {f"{done['name']}.mp4", "manifest.json"}

    assert clips.run() == "success"
    assert clips.paid() == sorted(["one", "three", "two", moderated["name"]])
    assert set(clips.outcomes().values()) == {"done"}


def test_a_budget_that_is_too_small_ends_the_run_before_anything_is_paid(clips: Clips):
    clips.destination.mkdir()
    (clips.destination / "manifest.json").write_text("of another run")
    assert clips.run(max_credits=1) == "failed"
    assert clips.states("check_budget") == ["failed"]
    # One red task, the one that failed: the manifest is skipped, and the last task fails the run.
    assert clips.states("write_manifest") == ["skipped"]
    assert clips.states("fail_if_rows_failed") == ["upstream_failed"]
    assert (clips.destination / "manifest.json").read_text() == "of another run"
    assert clips.files() == {"manifest.json"}
    assert clips.hedra.submissions == []


def test_the_table_that_comes_with_it_all_of_it_on_object_storage(clips: Clips):
    import fsspec
    from airflow.sdk.io import attach

    storage = fsspec.filesystem("memory")
    attach(protocol="memory", fs=storage)
    table = ROOT / "dags" / "include" / "clips.csv"
    for path in table.parent.iterdir():
        storage.pipe(f"/shop/{path.name}", path.read_bytes())
    assert clips.run(table=f"memory://shop/{table.name}", destination="memory://shop/out") == "success"
    assert json.loads(storage.cat("/shop/out/manifest.json"))["done"] == len(clips.paid()) == 4
    assert storage.cat("/shop/out/welcome-en.mp4").startswith(PLACEHOLDER)


def test_bad_rows_end_the_run_before_anything_is_sent(clips: Clips):
    clips.write([ROWS[0], {**ROWS[1], "voice": "Nobody"}])
    assert clips.run() == "failed"
    assert {row["path"] for row in clips.hedra.ledger()["requests"]} == {"/voices"}
    # The API server of Airflow 3.0 does not know how many clips were planned.
    assert clips.states("write_manifest") == (["skipped"] if AIRFLOW_V_3_1_PLUS else ["failed"])
    assert not clips.destination.exists()


def test_thirty_clips_in_a_real_airflow_on_a_slow_plan(tmp_path: Path):
    plan = Plan(clips=30, rate=5, max_parallel=10, seconds=10)
    batch = run_batch(plan, tmp_path, timeout_seconds=480)
    assert (batch.state, batch.done, batch.paid_twice) == ("success", 30, 0), batch
    # A whole tick is the poll interval, 15 s.
    assert batch.above_rate_seconds <= 15, batch
