"""Airflow's four components on loopback, with the sandbox: what only a scheduler and a triggerer can show."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from hedra_provider.provider_info import CONNECTION_FIELDS
from scripts.kept_sandbox import store_connection
from testbed.local_airflow import LocalAirflow
from testbed.sandbox_process import sandbox
from tests.forms import sent_as_it_opens
from tests.security.leaks import search_for_secrets
from tests.system.conftest import lay_out_dags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.sandbox_process import SandboxAddress

EXAMPLES = ["hedra_avatar_video", "hedra_avatar_from_text", "hedra_omnia_motion"]
WAITING = {"hedra_avatar_video": "wait", "hedra_avatar_from_text": "avatar", "hedra_omnia_motion": "motion"}
STORING = {**WAITING, "hedra_avatar_video": "download"}
GENERATION_SECONDS = 12


class House:
    """The sandbox and the Airflow of this module."""

    def __init__(self, airflow: LocalAirflow, hedra: SandboxAddress, folder: Path) -> None:
        self.airflow, self.hedra, self.folder = airflow, hedra, folder

    def paid(self) -> int:
        """Generations that were submitted so far."""
        return len(self.hedra.back_door("ledger")["submissions"])

    def trigger_by_form(self, name: str) -> str:
        """Start a run with what the trigger form sends if nobody changes a field; return its run id."""
        self.airflow.wait_for_dag(name)
        form = self.airflow.call("GET", f"/dags/{name}/details")["params"]
        return self.airflow.trigger(name, sent_as_it_opens(form))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("airflow")
    lay_out_dags(folder / "dags")
    # The examples store below the folder for temporary files unless the form says otherwise.
    (folder / "tmp").mkdir()
    with sandbox("--seconds", str(GENERATION_SECONDS)) as hedra:
        env = {"AIRFLOW_CONN_HEDRA_DEFAULT": hedra.connection, "TMPDIR": str(folder / "tmp")}
        try:
            with LocalAirflow(folder / "home", folder / "dags", env) as airflow:
                yield House(airflow, hedra, folder)
        finally:
            shutil.rmtree(folder / "home", ignore_errors=True)


@pytest.fixture(scope="module")
def runs(house: House) -> dict[str, str]:
    """One run of each example by its form, all at once."""
    return {name: house.trigger_by_form(name) for name in EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_waits_deferred(house: House, runs: dict[str, str], name: str):
    house.airflow.wait_for_task(name, runs[name], WAITING[name], "deferred", seconds=90)
    states = {ti["task_id"]: ti["state"] for ti in house.airflow.task_instances(name, runs[name])}
    assert "running" not in states.values(), states


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_triggered_by_its_form_succeeds(house: House, runs: dict[str, str], name: str):
    """Each run stores a file of its own: no run replaces the paid video of another."""
    assert house.airflow.wait_for_run(name, runs[name]) == "success"
    uri = house.airflow.xcom(name, runs[name], STORING[name], "uri")
    generation_id = house.airflow.xcom(name, runs[name], STORING[name], "generation_id")
    assert uri == f"file://{house.folder}/tmp/hedra/{generation_id}.mp4"
    assert Path(uri.removeprefix("file://")).read_bytes()[4:8] == b"ftyp"


def test_clips_from_a_table_triggered_by_its_form(house: House):
    """Also: neither the rows nor the requests are in a log."""
    name = "hedra_clips_from_table"
    run = house.trigger_by_form(name)
    assert house.airflow.wait_for_run(name, run, seconds=240) == "success"
    folder = house.folder / "tmp" / "hedra" / "clips"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert (manifest["done"], manifest["failed"]) == (4, 0)
    assert sorted(path.stem for path in folder.glob("*.mp4")) == sorted(
        clip["name"] for clip in manifest["clips"]
    )
    (worker,) = {ti["hostname"] for ti in house.airflow.task_instances(name, run) if ti["map_index"] >= 0}
    assert manifest["workers"] == {worker: 4}
    assert [clip["worker"] for clip in manifest["clips"]] == [worker] * 4
    assert house.airflow.xcom(name, run, "write_manifest", "failures") == []
    logs = [
        house.airflow.logs(name, run, task) for task in ("read_table", "avatar_requests", "write_manifest")
    ]
    assert "4 of 4 clips are done." in logs[-1]
    for log in logs:
        assert "Guten Morgen" not in log


def test_the_connection_of_api_v3_is_stored_with_a_place_for_records(house: House, tmp_path: Path):
    """As `make airflow ARGS="--api 3"` stores it, also over a v2 connection with an extra of the user's."""
    conn_id, airflow = "kept_v3", house.airflow
    assert store_connection(airflow, house.hedra, conn_id)
    airflow.call(
        "PATCH",
        f"/connections/{conn_id}",
        {"extra": '{"timeout": 9}'} | {"connection_id": conn_id, "conn_type": "hedra"},
        update_mask=["extra"],
    )
    assert store_connection(airflow, house.hedra, conn_id, state_path=tmp_path)
    shown = airflow.call("GET", f"/connections/{conn_id}")
    assert shown["host"] == house.hedra.base_url_v3
    assert json.loads(shown["extra"]) == {"state_path": str(tmp_path), "timeout": 9}
    body = {"connection_id": conn_id, "conn_type": "hedra", "host": shown["host"], "port": shown["port"]}
    if not AIRFLOW_V_3_1_PLUS:
        body["password"] = house.hedra.api_key_v3
    tested = airflow.call("POST", "/connections/test", body)
    assert tested["status"], tested
    assert "USD" in tested["message"]


def test_a_stored_connection_is_shown_and_can_be_tested(house: House):
    """As `make airflow` stores it. What the button says of other fields: tests/test_connection_check.py."""
    conn_id, airflow = "kept", house.airflow
    assert store_connection(airflow, house.hedra, conn_id)
    assert store_connection(airflow, house.hedra, conn_id)
    shown = airflow.call("GET", f"/connections/{conn_id}")
    assert shown["port"] == httpx.URL(house.hedra.base_url).port
    assert shown["password"] != house.hedra.api_key
    # What the form's button sends: the stored key stays hidden. Airflow 3.0 tests what the body holds alone.
    body = {"connection_id": conn_id, "conn_type": "hedra", "host": shown["host"], "port": shown["port"]}
    if not AIRFLOW_V_3_1_PLUS:
        body["password"] = house.hedra.api_key
    tested = airflow.call("POST", "/connections/test", body)
    assert tested["status"], tested
    wrong = airflow.call("POST", "/connections/test", body | {"connection_id": "new", "password": "wrong"})
    assert wrong["message"].startswith("Hedra does not accept the key (401). Put another v2 API key into")
    theirs = body | {"host": "https://api.hedra.com/web-app/public", "port": 443}
    airflow.call("PATCH", f"/connections/{conn_id}", theirs, update_mask=["host", "port"])
    assert not store_connection(airflow, house.hedra, conn_id)
    assert airflow.call("GET", f"/connections/{conn_id}")["port"] == 443
    # The search for secrets below reads connections, too, and finds the key wherever it lies.
    airflow.call("DELETE", f"/connections/{conn_id}")


def test_the_log_has_the_states_and_no_secret(house: House, runs: dict[str, str]):
    name = "hedra_avatar_from_text"
    house.airflow.wait_for_run(name, runs[name])
    log = house.airflow.logs(name, runs[name], "avatar")
    assert ": processing" in log
    assert "complete" in log
    assert ", cost " in log
    for text in (log, *(path.read_text(errors="replace") for path in (house.folder / "home").rglob("*.log"))):
        assert house.hedra.api_key not in text
        assert "signature=" not in text.lower()


def test_the_facts_are_in_xcom(house: House, runs: dict[str, str]):
    name = "hedra_avatar_from_text"
    house.airflow.wait_for_run(name, runs[name])
    result = house.airflow.xcom(name, runs[name], "avatar", "generation")
    assert result["status"] == "complete"
    assert result["generation_id"] == house.airflow.xcom(name, runs[name], "avatar", "generation_id")
    assert result["uri"].startswith("file://")
    assert result["worker"]


def test_a_triggerer_that_is_killed_costs_nothing(house: House):
    before = house.paid()
    run = house.airflow.trigger("retried", {"destination": str(house.folder / "killed.mp4")})
    house.airflow.wait_for_task("retried", run, "avatar", "deferred", seconds=60)
    house.airflow.restart_triggerer(signal.SIGKILL)
    assert house.airflow.wait_for_run("retried", run, seconds=180) == "success"
    assert house.paid() == before + 1
    (ti,) = house.airflow.task_instances("retried", run)
    assert ti["try_number"] == 1
    assert (house.folder / "killed.mp4").exists()


def test_a_clear_while_deferred_adopts(house: House):
    before = house.paid()
    run = house.airflow.trigger("retried", {"destination": str(house.folder / "cleared.mp4")})
    house.airflow.wait_for_task("retried", run, "avatar", "deferred", seconds=60)
    first = house.airflow.xcom("retried", run, "avatar", "generation_id")
    house.airflow.clear("retried", run, ["avatar"])
    assert house.airflow.wait_for_run("retried", run, seconds=180) == "success"
    log = house.airflow.logs("retried", run, "avatar", 2)
    # The prompt holds the try's number: after a clear a changed request is another generation, and says why.
    assert "generated_video_inputs.text_prompt" in log
    assert house.airflow.xcom("retried", run, "avatar", "generation_id") != first
    assert house.paid() == before + 2


def test_mapped_groups_run_side_by_side(house: House):
    folder = house.folder / "clips"
    run = house.airflow.trigger("mapped_group", {"folder": str(folder)})
    assert house.airflow.wait_for_run("mapped_group", run, seconds=180) == "success", [
        house.airflow.logs("mapped_group", run, ti["task_id"], map_index=ti["map_index"])
        for ti in house.airflow.task_instances("mapped_group", run)
        if ti["state"] == "failed"
    ]
    assert len(list(folder.iterdir())) == 3


def test_the_form_shows_the_connections_fields(house: House):
    airflow = house.airflow
    answer = httpx.get(
        f"{airflow.url}/ui/connections/hook_meta",
        headers={"Authorization": f"Bearer {airflow.token()}"},
        trust_env=False,
    )
    (hedra,) = [hook for hook in answer.raise_for_status().json() if hook["connection_type"] == "hedra"]
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("Airflow 3.0 shows a provider's fields only where FAB is installed")
    fields = hedra["extra_fields"] or {}
    names = {name.removeprefix("extra__hedra__") for name in fields}
    assert names == set(CONNECTION_FIELDS)
    standard = hedra["standard_fields"]
    assert standard["password"]["title"] == "API key"
    assert standard["host"]["title"] == "Base URL"
    assert standard["login"]["hidden"] is True


@pytest.mark.parametrize(("key", "works"), [(None, True), ("wrong", False)])
def test_the_test_button(house: House, key: str | None, works: bool):
    body = {
        "connection_id": "tried",
        "conn_type": "hedra",
        "host": house.hedra.base_url,
        "password": key or house.hedra.api_key,
    }
    answer = house.airflow.call("POST", "/connections/test", body)
    assert answer["status"] is works
    assert ("credits remaining" if works else "Put another v2 API key into") in answer["message"]


def test_airflow_lists_the_provider(house: House):
    providers = house.airflow.call("GET", "/providers", limit=200)["providers"]
    assert "airflow-provider-hedra" in {provider["package_name"] for provider in providers}
    assert os.environ.get("HEDRA_API_KEY") is None


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="the search knows the tables of later versions")
def test_no_run_leaves_a_secret(house: House):
    """Of all runs above, and of two that fail over words with the key and a signed URL in them."""
    key, home = house.hedra.api_key, house.folder / "home"
    words = f"key {key} at https://b.example/v.mp4?X-Amz-Signature=c4narySignature"

    def fault(**what: object) -> None:
        faults = str(httpx.URL(house.hedra.base_url).join("/_sandbox/faults"))
        httpx.put(faults, json=[{"on": "POST /generations", **what}], trust_env=False).raise_for_status()

    def search() -> list[str]:
        return search_for_secrets(home, [key, "c4narySignature"])

    fault(times=None, status=422, body={"detail": words})
    rejected = house.airflow.trigger("retried", {"destination": str(house.folder / "rejected.mp4")})
    assert house.airflow.wait_for_run("retried", rejected, seconds=120) == "failed"
    assert "Hedra answered 422" in house.airflow.logs("retried", rejected, "avatar")
    fault(generation_error={"type": "MODERATION_FAILED", "message": words, "param": words})
    failed = house.airflow.trigger("retried", {"destination": str(house.folder / "failed.mp4")})
    house.airflow.wait_for_task("retried", failed, "avatar", "deferred", seconds=60)
    # Its trigger has a row now, and an event later.
    assert search() == []
    assert house.airflow.wait_for_run("retried", failed, seconds=120) == "failed"
    assert "X-Amz-Signature" not in house.airflow.logs("retried", failed, "avatar")
    assert search() == []
