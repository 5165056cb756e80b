"""What a run with a v3 key leaves holds neither a part of the key, nor a handle, nor what signs a URL.

Database (with the task state), logs, XComs, triggers, and the files of the ``state_path``. Airflow's own
masking is off, as in ``test_secrets_of_runs.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.security.conftest import HOME
from tests.security.leaks import leaks_in, rows, search_for_secrets

# Before the import below: where that module is skipped, it lacks what comes after its own line like this.
pytest.importorskip(
    "airflow.sdk._shared.secrets_masker", reason="before Airflow 3.2 what masks lies elsewhere"
)

from tests.security.test_secrets_of_runs import SIGNATURE, SIGNED, masker, unmasked

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox
    from tests.security.conftest import Run

KEY_ID, SECRET = "c4naryKeyIdentity", "c4narySecretHalf"
KEY = f"{KEY_ID}:{SECRET}"

pytestmark = pytest.mark.hedra_sandbox(api=3, api_key_v3=KEY, media=False)
__all__ = ["masker", "unmasked"]


def envelope(**more: Any) -> dict[str, Any]:
    words = {"code": f"X{SECRET}", "message": f"bad key {KEY} of {KEY_ID} at {SIGNED}", "param": SIGNED}
    return {"error": words | more, "trace_id": SECRET}


ECHO = envelope(
    replaced_by=KEY_ID, billing={"funding_url": SIGNED, "reason": SECRET}, details=[{"field": KEY}]
)
SUBMIT = "POST /v3/models/{model}"

STORIES: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "all is well": ("secretive_avatar", [], "success"),
    "all is well, deferred": ("secretive_deferred", [], "success"),
    "all is well, a text": ("secretive_spoken", [], "success"),
    "all is well, step by step": ("secretive_steps", [], "success"),
    "the key is rejected": (
        "secretive_avatar",
        [{"on": "*", "times": None, "status": 401, "body": ECHO}],
        "failed",
    ),
    "every word is echoed": (
        "secretive_avatar",
        [{"on": SUBMIT, "times": None, "status": 422, "body": ECHO}],
        "failed",
    ),
    "the wallet is empty": (
        "secretive_avatar",
        [{"on": SUBMIT, "times": None, "status": 402, "body": ECHO}],
        "failed",
    ),
    "the outcome of the submit is unknown": (
        "secretive_avatar",
        [{"on": SUBMIT, "when": "after", "times": None, "status": 500, "body": ECHO}],
        "failed",
    ),
    "a retry sends the same bytes": (
        "secretive_retried",
        [{"on": SUBMIT, "when": "after", "times": 3, "status": 500, "body": ECHO}],
        "success",
    ),
    "a proxy's page echoes the headers": (
        "secretive_avatar",
        [{"on": "*", "times": None, "status": 400, "body": f"<p>Authorization: Key {KEY}\r\n{SIGNED}</p>"}],
        "failed",
    ),
    "the job fails": (
        "secretive_avatar",
        [{"on": SUBMIT, "generation_error": {"code": "INTERNAL", "message": f"{SIGNED} {KEY}"}}],
        "failed",
    ),
    "the job fails, deferred": (
        "secretive_deferred",
        [{"on": SUBMIT, "generation_error": {"code": SECRET, "message": f"{SIGNED} {KEY}"}}],
        "failed",
    ),
    "a state that nobody knows": (
        "secretive_deferred",
        [
            {
                "on": "GET /v3/jobs/{id}/status",
                "times": 2,
                "patch": {"status": f"at {SIGNED} {KEY}\nforged"},
            }
        ],
        "success",
    ),
    "facts that are secrets": (
        "secretive_avatar",
        [{"on": "GET /v3/jobs/{id}", "times": None, "patch": {"model": KEY, "currency": SECRET}}],
        "success",
    ),
    "the upload fails": (
        "secretive_avatar",
        [{"on": "POST /v3/files", "times": None, "status": 403, "body": f"<A>{SIGNED} {KEY}</A>"}],
        "failed",
    ),
    "the storage rejects": (
        "secretive_avatar",
        [{"on": "GET /files/{id}", "times": None, "status": 403, "body": f"<Error>{SIGNED}</Error>"}],
        "failed",
    ),
}


IN_THE_TASK_STATE = ("all is well", "a retry sends the same bytes", "every word is echoed")
"""The stories whose records are also kept in Airflow's task state; the records are the same."""


@pytest.mark.parametrize(
    ("story", "has_state_path"),
    [(story, True) for story in STORIES] + [(story, False) for story in IN_THE_TASK_STATE],
)
def test_a_run_with_a_v3_key_leaves_no_secret(
    hedra_sandbox: Sandbox,
    run_dag: Run,
    unmasked: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    story: str,
    has_state_path: bool,
):
    dag_id, faults, outcome = STORIES[story]
    connection = json.loads(hedra_sandbox.connection_v3)
    records = Path(connection["extra"]["state_path"])
    if not has_state_path:
        del connection["extra"]["state_path"]
        monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))
    hedra_sandbox.faults(*faults)
    states = run_dag(dag_id)
    assert outcome in states.values(), states
    output = "".join(capfd.readouterr())
    assert output, "nothing was logged"
    secrets = [KEY, KEY_ID, SECRET, SIGNATURE, *handles(hedra_sandbox)]
    assert search_for_secrets(HOME, secrets, also=output) == []
    files = [path for path in records.rglob("*") if path.is_file()]
    assert bool(files) == (has_state_path and bool(hedra_sandbox.requests("POST", SUBMIT.split()[1])))
    for path in files:
        assert leaks_in(path.read_bytes() + path.name.encode(), secrets, path.name) == []


def handles(hedra_sandbox: Sandbox) -> list[str]:
    """What stands in the URL of each upload that a submit named; the rest of the URL is a signature."""
    return [
        medium["url"].removeprefix("file:")
        for row in hedra_sandbox.submissions_v3
        for medium in row["body"]["input"].values()
        if isinstance(medium, dict) and medium.get("source") == "url"
    ]


def test_the_search_knows_the_handles_and_reads_the_records(hedra_sandbox: Sandbox, run_dag: Run):
    """A search that has nothing to search for finds nothing."""
    run_dag("secretive_avatar")
    assert len(handles(hedra_sandbox)) == 2
    records = Path(json.loads(hedra_sandbox.connection_v3)["extra"]["state_path"])
    assert any(b"idempotency_key" in path.read_bytes() for path in records.rglob("*") if path.is_file())


def test_the_search_covers_the_task_state(
    hedra_sandbox: Sandbox, run_dag: Run, monkeypatch: pytest.MonkeyPatch
):
    connection = json.loads(hedra_sandbox.connection_v3)
    del connection["extra"]["state_path"]
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))
    run_dag("secretive_avatar")
    kept = [content for place, content in rows(HOME / "airflow.db") if place == "task_state_store.value"]
    assert any(b"idempotency_key" in content for content in kept)
