"""Whatever a run leaves (database, logs, XComs, triggers) holds neither the key nor what signs a URL.

Airflow's own masking is off here, except where noted: the package must not depend on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.api.client import HedraClient
from tests.security.conftest import HOME
from tests.security.leaks import forget, rows, search_for_secrets

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox
    from tests.security.conftest import Elsewhere, Run

KEY = "sk_c4nary_KeyThatNobodyShallSee"
SIGNATURE = "c4naryS1gnature"
SIGNED = f"https://b.example/v.mp4?X-Amz-Credential=AKIA{SIGNATURE}&X-Amz-Signature={SIGNATURE}"
PASSWORD = "c4naryPr0xyPassw0rd"

pytestmark = pytest.mark.hedra_sandbox(api_key=KEY, media=False)
masker = pytest.importorskip(
    "airflow.sdk._shared.secrets_masker", reason="before Airflow 3.2 what masks lies elsewhere"
)


@pytest.fixture
def unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be masked: what would be is there to be found."""
    monkeypatch.setattr(masker.SecretsMasker, "add_mask", lambda *args, **kwargs: None)
    monkeypatch.setattr(masker.SecretsMasker, "redact", lambda self, item, *args, **kwargs: item)


def found(output: str) -> list[str]:
    assert output, "nothing was logged"
    return search_for_secrets(HOME, [KEY, SIGNATURE, PASSWORD], also=output)


ECHO = {"detail": f"bad key {KEY} at {SIGNED}", "error": {"type": f"X{KEY}", "message": KEY, "param": SIGNED}}
FAILED = {"type": "INTERNAL", "message": f"could not write {SIGNED} with {KEY}", "param": SIGNED}

STORIES: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "all is well": ("secretive_avatar", [], "success"),
    "all is well, deferred": ("secretive_deferred", [], "success"),
    "all is well, step by step": ("secretive_steps", [], "success"),
    "the key is rejected": (
        "secretive_avatar",
        [{"on": "*", "times": None, "status": 401, "body": ECHO}],
        "failed",
    ),
    "every word is echoed": (
        "secretive_avatar",
        [{"on": "POST /generations", "times": None, "status": 422, "body": ECHO}],
        "failed",
    ),
    "a proxy's page echoes the headers": (
        "secretive_avatar",
        [{"on": "*", "times": None, "status": 400, "body": f"<html>X-API-Key: {KEY}\r\nurl={SIGNED}</html>"}],
        "failed",
    ),
    "the generation fails": (
        "secretive_avatar",
        [{"on": "POST /generations", "generation_error": FAILED}],
        "failed",
    ),
    "the generation fails, deferred": (
        "secretive_deferred",
        [{"on": "POST /generations", "generation_error": {"error_message": f"{SIGNED} {KEY}"}}],
        "failed",
    ),
    "the sensor finds it failed": (
        "secretive_steps",
        [{"on": "POST /generations", "generation_error": FAILED}],
        "failed",
    ),
    "a state that nobody knows": (
        "secretive_deferred",
        [
            {
                "on": "GET /generations/{id}/status",
                "times": 2,
                "patch": {"status": f"at {SIGNED} {KEY}\nforged"},
            }
        ],
        "success",
    ),
    "facts that are URLs": (
        "secretive_avatar",
        [
            {
                "on": "GET /generations/{id}/status",
                "times": None,
                "patch": {"type": SIGNED, "workspace_id": KEY},
            },
        ],
        "success",
    ),
    "the upload fails": (
        "secretive_upload",
        [
            {
                "on": "PUT /uploads/{id}",
                "times": None,
                "status": 403,
                "body": f"<Error><A>{SIGNED}</A></Error>",
            }
        ],
        "failed",
    ),
    "the storage rejects": (
        "secretive_avatar",
        [{"on": "GET /files/{id}", "times": None, "status": 403, "body": f"<Error>{SIGNED}</Error>"}],
        "failed",
    ),
    "the download is cut": (
        "secretive_avatar",
        [{"on": "GET /files/{id}", "times": None, "reset": True}],
        "failed",
    ),
    "credits": ("secretive_credits", [], "success"),
    "credits are missing": (
        "secretive_credits",
        [{"on": "*", "times": None, "status": 403, "body": ECHO}],
        "failed",
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_run_leaves_no_secret(
    hedra_sandbox: Sandbox, run_dag: Run, unmasked: None, capfd: pytest.CaptureFixture[str], story: str
):
    dag_id, faults, outcome = STORIES[story]
    hedra_sandbox.faults(*faults)
    states = run_dag(dag_id)
    assert outcome in states.values(), states
    assert found("".join(capfd.readouterr())) == []


def test_a_redirect_leaves_no_secret(
    hedra_sandbox: Sandbox,
    run_dag: Run,
    unmasked: None,
    capfd: pytest.CaptureFixture[str],
    elsewhere: Elsewhere,
):
    location = {"Location": f"{elsewhere.url}/v?X-Amz-Signature={SIGNATURE}"}
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": None, "status": 302, "headers": location})
    assert "failed" in run_dag("secretive_avatar").values()
    assert elsewhere.seen
    hedra_sandbox.faults({"on": "*", "times": None, "status": 307, "headers": location})
    before = len(elsewhere.seen)
    assert "failed" in run_dag("secretive_avatar").values()
    assert len(elsewhere.seen) == before
    assert found("".join(capfd.readouterr())) == []


@pytest.mark.parametrize(
    "words", [f"url='{SIGNED}'", f"http://u:{PASSWORD}@proxy:1 is down", f"bad key {KEY}"]
)
def test_an_exception_of_the_network_leaves_no_secret(
    run_dag: Run,
    unmasked: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
):
    def broken(self: HedraClient, ask: Any) -> Any:
        raise httpx.ProxyError(words)

    monkeypatch.setattr(HedraClient, "_send", broken)
    assert "failed" in run_dag("secretive_avatar").values()
    output = "".join(capfd.readouterr())
    assert "No answer to GET /models" in output
    assert found(output) == []


def test_a_storage_that_shows_its_url_leaves_no_secret(
    run_dag: Run, unmasked: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def broken(file: Any) -> None:
        raise OSError(f"PUT {SIGNED} failed")

    monkeypatch.setattr("os.fsync", broken)
    assert "failed" in run_dag("secretive_avatar").values()
    assert found("".join(capfd.readouterr())) == []


def test_a_crash_leaves_no_secret(run_dag: Run, unmasked: None, capfd: pytest.CaptureFixture[str]):
    assert run_dag("secretive_crash") == {"crash[-1]": "failed"}
    output = "".join(capfd.readouterr())
    assert "crashed with" in output
    assert found(output) == []


def test_the_search_finds_what_leaks(run_dag: Run, capfd: pytest.CaptureFixture[str]):
    """Masked by Airflow or not: an encoded key is none that it knows."""
    assert run_dag("leaky") == {"leak[-1]": "success"}
    leaks = found("".join(capfd.readouterr()))
    assert "xcom.value: sk_c..." in leaks
    forget("leaky", HOME)
    assert found("all of it is gone") == []


@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        (KEY, True),
        (KEY.encode().hex(), True),
        (f"see {SIGNED}", True),
        ("https://b.example/v.mp4?...", False),
        ("X-Amz-Signature=...", False),
    ],
)
def test_the_search_sees_every_file(security_dags: Path, planted: str, seen: bool):
    log = HOME / "logs" / "component.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(planted)
    try:
        assert bool(found("x")) is seen
    finally:
        log.unlink()


def test_the_search_covers_where_runs_are_kept(run_dag: Run):
    run_dag("secretive_avatar")
    places = {place for place, _ in rows(HOME / "airflow.db")}
    for place in (
        "xcom.value",
        "rendered_task_instance_fields.rendered_fields",
        "serialized_dag.data",
        "dag_run.conf",
    ):
        assert place in places
