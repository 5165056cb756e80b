"""The operators against the sandbox, over real HTTP: what the API saw, and what is left in XCom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.net import get_hostname

from hedra_provider.api.client import HedraClient
from hedra_provider.operators import (
    HedraDownloadOperator,
    HedraGenerateOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.xcom import MULTIPLE_OUTPUTS
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.media import png
from tests.tasks import TaskInstance, context_of, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.testing import Sandbox
from tests.operators.helpers import NOBODY, RESULT_KEYS, Logged, avatar


@pytest.mark.parametrize("deferrable", [True, False])
def test_one_task_is_the_whole_pipeline(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, deferrable: bool
):
    ti, target = TaskInstance(), tmp_path / "out" / "a clip.mp4"
    result = run(avatar(portrait, voice, destination=str(target), deferrable=deferrable, name="A clip"), ti)
    assert set(result) == RESULT_KEYS
    assert result["status"] == "complete"
    assert result["uri"] == f"file://{target}"
    # A path alone does not say on which worker's disk the file lies.
    assert result["worker"] == get_hostname()
    assert result["bytes"] == target.stat().st_size > 1000
    assert target.read_bytes()[4:8] == b"ftyp"
    assert result["credit_cost"] == hedra_sandbox.submissions[0]["credits"] > 0
    assert (result["width"], result["height"], result["name"]) == (540, 960, "A clip")
    assert ti.pushed[:4] == ["estimate", "credit_estimate", "generation_id", "generation"]
    assert ti.xcoms["generation"] == result
    assert "http" not in json.dumps(result)
    assert [path.name for path in target.parent.iterdir()] == ["a clip.mp4"]
    assert hedra_sandbox.ledger()["submissions"][0]["request"]["name"] == "A clip"


@pytest.mark.hedra_sandbox(seconds=3600)
def test_without_waiting_it_returns_what_was_submitted(hedra_sandbox: Sandbox, portrait: str, voice: str):
    result = run(avatar(portrait, voice, wait_for_completion=False, deferrable=True))
    assert result["status"] in ("queued", "processing")
    assert result["generation_id"] == hedra_sandbox.submissions[0]["generation_id"]


def test_inline_speech_needs_no_audio(hedra_sandbox: Sandbox, portrait: str):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0]
    result = run(avatar(portrait, None, text="Good morning", voice_id=voice.id, speed="0.9"))
    assert result["status"] == "complete"
    assert hedra_sandbox.submissions[0]["request"]["audio_generation"]["speed"] == 0.9


def test_asset_ids_are_taken_as_they_are(hedra_sandbox: Sandbox, portrait: str, voice: str):
    image = run(HedraUploadAssetOperator(task_id="image", source=portrait))
    audio = run(HedraUploadAssetOperator(task_id="audio", source=voice))
    assert image == {
        "asset_id": image["asset_id"],
        "type": "image",
        "name": "portrait.png",
        "bytes": len(png()),
        "duration_ms": None,
        "reused": False,
        "source": None,
    }
    assert audio["duration_ms"] == 1000
    run(avatar(image["asset_id"], audio["asset_id"]))
    request = hedra_sandbox.submissions[0]["request"]
    assert (request["start_keyframe_id"], request["audio_id"]) == (image["asset_id"], audio["asset_id"])
    assert len(hedra_sandbox.requests("POST", "/assets")) == 2


def test_the_same_bytes_are_uploaded_once(hedra_sandbox: Sandbox, portrait: str):
    first = run(HedraUploadAssetOperator(task_id="image", source=portrait))
    second = run(HedraUploadAssetOperator(task_id="image", source=f"file://{portrait}"))
    assert second == first | {"reused": True}
    assert len(hedra_sandbox.requests("POST", "/assets/{id}/upload")) == 1


def test_an_upload_that_was_cut_goes_on_with_the_same_asset(hedra_sandbox: Sandbox, portrait: str):
    hedra_sandbox.faults({"on": "POST /assets/{id}/upload", "times": 99, "when": "before", "status": 400})
    with pytest.raises(AirflowException):
        run(HedraUploadAssetOperator(task_id="image", source=portrait))
    hedra_sandbox.faults()
    run(HedraUploadAssetOperator(task_id="image", source=portrait))
    paths = {row["path"] for row in hedra_sandbox.requests("POST", "/assets/{id}/upload")}
    assert len(paths) == 1


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of the worker's client, which are noted and not taken."""
    noted: list[float] = []
    monkeypatch.setattr(HedraClient, "pause", lambda self, seconds: noted.append(seconds))
    return noted


@pytest.mark.parametrize("kind", ["generation", "asset"])
def test_a_result_is_fetched_by_generation_or_asset(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, kind: str
):
    made = run(avatar(portrait, voice))
    which = (
        {"generation_id": made["generation_id"]}
        if kind == "generation"
        else {"asset_id": made["asset_id"], "asset_type": "video"}
    )
    fetched = run(HedraDownloadOperator(task_id="fetch", destination=f"{tmp_path}/out/", **which))
    name = made["generation_id"] if kind == "generation" else made["asset_id"]
    assert fetched["uri"] == f"file://{tmp_path}/out/{name}.mp4"
    assert fetched["worker"] == get_hostname()
    assert fetched["asset_id"] == made["asset_id"]
    assert Path(fetched["uri"].removeprefix("file://")).stat().st_size == fetched["bytes"]


def test_complete_without_a_url_reads_the_asset(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    made = run(avatar(portrait, voice))
    no_url = {"url": None, "download_url": None, "streaming_url": None}
    hedra_sandbox.faults({"on": "GET /generations/{id}/status", "times": 9, "patch": no_url})
    target = tmp_path / "clip.mp4"
    run(HedraDownloadOperator(task_id="fetch", destination=str(target), generation_id=made["generation_id"]))
    assert target.stat().st_size > 1000


UNKNOWN_FOR_A_MOMENT = {
    "generation": {"on": "GET /generations/{id}/status", "times": 3, "status": 404},
    "asset": {"on": "GET /assets", "times": 3, "status": 200, "body": []},
}


@pytest.mark.parametrize("kind", list(UNKNOWN_FOR_A_MOMENT))
def test_a_download_of_what_hedra_does_not_know_for_a_moment(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, pauses: list[float], kind: str
):
    made = run(avatar(portrait, voice))
    which = {
        "generation": {"generation_id": made["generation_id"]},
        "asset": {"asset_id": made["asset_id"], "asset_type": "video"},
    }
    hedra_sandbox.faults(UNKNOWN_FOR_A_MOMENT[kind])
    run(HedraDownloadOperator(task_id="fetch", destination=str(tmp_path / "clip.mp4"), **which[kind]))
    assert (tmp_path / "clip.mp4").stat().st_size > 1000
    assert 10 <= sum(pauses) <= 15


def test_a_download_of_a_wrong_id_fails_soon_and_for_good(
    hedra_sandbox: Sandbox, tmp_path: Path, pauses: list[float]
):
    operator = HedraDownloadOperator(
        task_id="fetch", destination=str(tmp_path / "clip.mp4"), generation_id=NOBODY
    )
    with pytest.raises(AirflowFailException, match="does not know generation"):
        run(operator)
    assert len(hedra_sandbox.requests()) == 4
    assert sum(pauses) <= 15
    assert list(tmp_path.iterdir()) == []


def test_any_request_body(hedra_sandbox: Sandbox):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0]
    request = {"type": "text_to_speech", "voice_id": voice.id, "text": "Good morning"}
    result = run(HedraGenerateOperator(task_id="speech", request=request))
    assert result["status"] == "complete"
    assert result["type"] == "audio"


@pytest.mark.hedra_sandbox(seconds=3600)
def test_the_deadline_is_the_earlier_of_two(hedra_sandbox: Sandbox, portrait: str, voice: str):
    from datetime import timedelta

    operator = avatar(portrait, voice, deferrable=True, timeout=500, execution_timeout=timedelta(seconds=100))
    import time

    with pytest.raises(TaskDeferred) as raised:
        operator.execute(context_of(TaskInstance()))
    seconds_left = raised.value.trigger.end_time - time.time()
    assert 90 < seconds_left <= 100
    assert raised.value.timeout > timedelta(seconds=seconds_left)


def test_what_partial_passes_for_not_said():
    operator = avatar("/a.png", "/a.wav", timeout=None, poll_interval=None, on_clear=None)
    assert (operator.timeout, operator.poll_interval, operator.on_clear) == (21600.0, 15.0, "adopt")


def test_a_download_is_named_by_what_it_is(hedra_sandbox: Sandbox, tmp_path: Path):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    request = {"type": "text_to_speech", "voice_id": voice, "text": "Hi"}
    made = run(HedraGenerateOperator(task_id="speech", request=request, destination=f"{tmp_path}/"))
    assert made["uri"] == f"file://{tmp_path}/{made['generation_id']}.mp3"


def test_each_url_is_a_fresh_one(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, monkeypatch
):
    made = run(avatar(portrait, voice))
    before = len(hedra_sandbox.requests("GET", "/generations/{id}/status"))
    seen: list[str] = []

    def twice(client: Any, fresh_url: Callable[[], str], file: Any) -> int:
        seen.extend([fresh_url(), fresh_url()])
        return 0

    monkeypatch.setattr("hedra_provider.transfer.download.download", twice)
    operator = HedraDownloadOperator(
        task_id="d", generation_id=made["generation_id"], destination=str(tmp_path / "a.mp4")
    )
    run(operator)
    assert len(seen) == 2
    assert len(hedra_sandbox.requests("GET", "/generations/{id}/status")) == before + 2


@pytest.mark.parametrize("value", [None, False, True])
def test_outputs_are_pushed_key_by_key_whatever_a_decorator_passes(value: bool | None):
    operator = HedraGenerateOperator(task_id="t", request={}, multiple_outputs=value)
    assert operator.multiple_outputs is MULTIPLE_OUTPUTS


def test_the_log_names_cost_and_file(hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged):
    run(avatar(portrait, voice))
    cost, log = hedra_sandbox.submissions[0]["credits"], logged()
    assert f"By Hedra's published prices this costs {cost} credits." in log
    assert f"cost {cost} credits" in log
    assert "its file stays at Hedra" in log
    assert hedra_sandbox.api_key not in log


def test_a_name_that_postgresql_does_not_take_fails_no_task_that_paid(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    ti = TaskInstance()
    result = run(avatar(portrait, voice, name="a\0b"), ti)
    assert hedra_sandbox.submissions[0]["request"]["name"] == "a\0b"
    assert result["name"] == "ab"
    assert not [value for value in ti.xcoms.values() if "\\x00" in repr(value)]
