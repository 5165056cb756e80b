"""The avatar operator with a v3 key: files are uploaded, a job is submitted once, its result is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider.testing import CONNECTION_VARIABLE
from tests.airflow_names import AirflowFailException
from tests.operators.helpers import avatar
from tests.tasks import TaskInstance, TaskState, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

pytestmark = pytest.mark.hedra_sandbox(api="3", media=False)


def without_state_path(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the connection name no place for records."""
    fields = json.loads(sandbox.connection)
    del fields["extra"]["state_path"]
    monkeypatch.setenv(CONNECTION_VARIABLE, json.dumps(fields))


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_video_of_files_is_made_and_stored(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, deferrable: bool
):
    ti = TaskInstance()
    result = run(avatar(portrait, voice, deferrable=deferrable, destination=f"{tmp_path}/out/"), ti)
    (submit,) = hedra_sandbox.submissions_v3
    assert (result["status"], result["generation_id"]) == ("complete", submit["job_id"])
    assert ti.xcoms["generation_id"] == submit["job_id"]
    stored = tmp_path / "out" / f"{submit['job_id']}.mp4"
    assert result["uri"] == stored.as_uri()
    assert stored.stat().st_size == result["bytes"] > 0
    assert len(hedra_sandbox.requests("POST", "/v3/files")) == 2


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="needs Airflow 3.3")
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_records_its_submits_in_its_own_state(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch, deferrable: bool
):
    without_state_path(hedra_sandbox, monkeypatch)
    state = TaskState()
    first = run(avatar(portrait, voice, deferrable=deferrable), TaskInstance(task_state=state))
    again = run(avatar(portrait, voice, deferrable=deferrable), TaskInstance(task_state=state, try_number=2))
    (submit,) = hedra_sandbox.submissions_v3
    assert first["generation_id"] == again["generation_id"] == submit["job_id"]
    assert (first["adopted"], again["adopted"]) == (False, True)
    assert set(state.values) == {"hedra/1"}


def test_without_a_durable_place_nothing_is_uploaded(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    without_state_path(hedra_sandbox, monkeypatch)
    with pytest.raises(AirflowFailException, match="state_path"):
        run(avatar(portrait, voice, idempotency_key="shop/row-17"))
    assert hedra_sandbox.ledger()["requests"] == []
