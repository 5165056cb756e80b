"""Real DAGs by ``dag.test()``, against the sandbox over real HTTP."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import av
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from hedra_provider.api.client import HedraClient
from tests.test_imports import CHEAP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hedra_provider.testing import Sandbox

    RunDag = Callable[..., Any]


def states(run: Any) -> dict[str, str]:
    return {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in run.get_task_instances()}


def seconds(path: Path) -> float:
    with av.open(str(path)) as video:
        assert {stream.codec_context.name for stream in video.streams} >= {"h264", "aac"}
        return video.duration / 1e6


def test_the_guides_flow_step_by_step(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    target = tmp_path / "avatar.mp4"
    run = run_dag("hedra_avatar_video.py", "hedra_avatar_video", destination=str(target))
    assert run.state == "success", states(run)
    assert abs(seconds(target) - 6.7) < 0.1
    assert len(hedra_sandbox.submissions) == 1
    assert [row["method"] for row in hedra_sandbox.requests(path="/assets/{id}/upload")] == ["POST", "POST"]


def test_from_a_text(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    target = tmp_path / "avatar.mp4"
    run = run_dag("hedra_avatar_from_text.py", "hedra_avatar_from_text", destination=str(target))
    assert run.state == "success", states(run)
    assert seconds(target) > 1
    (submission,) = hedra_sandbox.submissions
    assert submission["request"]["audio_generation"]["text"].startswith("Good morning")


def test_omnia(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    target = tmp_path / "omnia.mp4"
    run = run_dag("hedra_omnia_motion.py", "hedra_omnia_motion", destination=str(target))
    assert run.state == "success", states(run)
    assert seconds(target) <= 8


def test_omnia_that_is_not_there_fails_before_anything_is_sent(hedra_sandbox: Sandbox, run_dag: RunDag):
    hedra_sandbox.faults({"on": "GET /models", "times": 9, "when": "before", "status": 200, "body": []})
    run = run_dag("hedra_omnia_motion.py", "hedra_omnia_motion")
    assert states(run) == {"find_omnia[-1]": "failed", "motion[-1]": "upstream_failed"}
    assert {row["path"] for row in hedra_sandbox.ledger()["requests"]} == {"/models"}


def test_a_voice_that_is_not_there_fails_kindly(hedra_sandbox: Sandbox, run_dag: RunDag):
    run = run_dag("hedra_avatar_from_text.py", "hedra_avatar_from_text", language="Klingon")
    assert run.state == "failed"
    assert hedra_sandbox.submissions == []


@pytest.mark.parametrize("name", ["hedra_omnia_motion", "hedra_avatar_from_text"])
def test_a_wrong_key_uses_no_retry_of_an_examples_first_task(
    hedra_sandbox: Sandbox, run_dag: RunDag, name: str
):
    hedra_sandbox.change_key("another key")
    run = run_dag(f"{name}.py", name)
    assert run.state == "failed"
    assert len(hedra_sandbox.requests("GET")) == 1
    assert {ti.try_number for ti in run.get_task_instances() if str(ti.state) == "failed"} == {1}


def test_mapped_over_an_argument(hedra_sandbox: Sandbox, run_dag: RunDag):
    run = run_dag("mapped.py", "mapped_operator")
    assert run.state == "success", states(run)
    texts = {row["request"]["audio_generation"]["text"] for row in hedra_sandbox.submissions}
    assert texts == {"Good morning", "{{ conn.hedra_default.password }}", "Grüße 🚀"}
    assert len(hedra_sandbox.submissions) == 3


def test_mapped_in_a_task_group(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    run = run_dag("mapped.py", "mapped_group", folder=str(tmp_path))
    assert run.state == "success", states(run)
    assert len(hedra_sandbox.submissions) == 3
    names = {row["generation_id"] for row in hedra_sandbox.submissions}
    assert {path.stem for path in tmp_path.iterdir()} == names


LOST_SUBMITS = {"on": "POST /generations", "times": 9, "when": "after", "reset": True}


def test_a_cut_connection_after_each_submit_pays_once(
    hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path
):
    hedra_sandbox.faults(LOST_SUBMITS)
    target = tmp_path / "a.mp4"
    run = run_dag("retried.py", "retried", destination=str(target))
    assert run.state == "success", states(run)
    assert len(hedra_sandbox.submissions) == 1
    assert target.exists()


def test_retries_adopt_what_the_first_try_paid_for(
    hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(HedraClient, "pause", lambda self, seconds: None)
    # Every try generates (once) and fails to fetch.
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": 999, "when": "before", "status": 500})
    run = run_dag("retried.py", "retried", destination=str(tmp_path / "a.mp4"))
    assert run.state == "failed"
    (ti,) = run.get_task_instances()
    assert ti.try_number == 3
    assert len(hedra_sandbox.submissions) == 1
    assert list(tmp_path.iterdir()) == []


def test_each_call_of_dag_test_pays(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    for times in (1, 2):
        run = run_dag("retried.py", "retried", destination=str(tmp_path / "a.mp4"))
        assert run.state == "success", states(run)
        assert len(hedra_sandbox.submissions) == times


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="three starts of Airflow's command line, once is enough")
def test_airflow_tasks_test_pays_at_each_call_unless_the_run_is_there(
    hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path
):
    """Apart from a scheduler: one that meets the run which this command makes and deletes ends (3.3.2)."""
    params = {"destination": str(tmp_path / "a.mp4"), "connection": "hedra_default"}

    def paid_after(run_id_or_date: str) -> int:
        command = ["tasks", "test", "deferred", "avatar", run_id_or_date, "-t", json.dumps(params)]
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return len(hedra_sandbox.submissions)

    run = run_dag("crash.py", "deferred", **params)
    assert run.state == "success", states(run)
    assert paid_after(run.run_id) == 1
    assert paid_after("2024-01-01") == 2
    assert paid_after("2024-01-01") == 3


def test_an_error_that_is_not_retryable_uses_no_retry_and_its_log_has_one_traceback(
    hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    error = {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "a face"}
    hedra_sandbox.faults({"on": "POST /generations", "times": 9, "generation_error": error})
    run = run_dag("retried.py", "retried", destination=str(tmp_path / "a.mp4"))
    assert run.state == "failed"
    (ti,) = run.get_task_instances()
    assert ti.try_number == 1
    (submission,) = hedra_sandbox.submissions
    log = "".join(capfd.readouterr())
    assert log.count("Traceback (most recent call last)") == 1
    reason = "The generation failed: a face [MODERATION_FAILED, MODERATION_LIKENESS]. Change the image"
    (line, *_) = log[log.index(reason) :].splitlines()
    assert submission["generation_id"] in line


@pytest.mark.skipif(
    not AIRFLOW_V_3_1_PLUS, reason="dag.test() of Airflow 3.0 resumes a retry with the old try's event"
)
def test_a_retryable_error_is_tried_again(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    error = {"type": "UNAVAILABLE", "message": "later"}
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": error})
    run = run_dag("retried.py", "retried", destination=str(tmp_path / "a.mp4"))
    assert run.state == "success", states(run)
    ledger = hedra_sandbox.ledger()
    assert len(ledger["submissions"]) == 2
    assert ledger["credits"]["refunded"] == ledger["submissions"][0]["credits"]


EXAMPLES = ["hedra_avatar_video", "hedra_avatar_from_text", "hedra_omnia_motion", "hedra_clips_from_table"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_cheap_to_parse(name: str, airflow_database: Path):
    script = (
        "import sys, runpy; runpy.run_path(sys.argv[1]); "
        "print([m for m in sys.modules if m.startswith('hedra_provider.api')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(airflow_database / f"{name}.py")], capture_output=True, text=True
    )
    loaded = set(ast.literal_eval(done.stdout.strip().splitlines()[-1]))
    assert loaded == CHEAP, done.stderr


def test_whole_outputs_and_empty_fields_are_read_as_what_they_mean(
    hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    run = run_dag("whole_outputs.py", "whole_outputs", folder=str(tmp_path / "out"))
    ended = states(run)
    assert ended.pop("forgot_the_key[-1]") == "failed"
    assert set(ended.values()) == {"success"}, ended
    (row,) = hedra_sandbox.submissions
    assert row["request"]["generated_video_inputs"] == {
        "text_prompt": "A person speaking to the camera",
        "aspect_ratio": "9:16",
        "resolution": "540p",
        "seed": 7,
    }
    assert not {"name", "audio_start_ms", "workspace_id"} & row["request"].keys()
    (stored,) = (tmp_path / "out").iterdir()
    assert stored.name == f"{row['generation_id']}.mp4"
    out, err = capfd.readouterr()
    assert 'Give output["asset_id"]' in (out + err).replace('\\"', '"')
