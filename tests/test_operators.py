"""The operators against the sandbox, over real HTTP: what the API saw, and what is left in XCom."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraDownloadOperator,
    HedraGenerateOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.results import MULTIPLE_OUTPUTS
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.media import png, wav
from tests.tasks import TaskInstance, context_of, fire, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

RESULT_KEYS = {
    "name",
    "generation_id",
    "asset_id",
    "type",
    "status",
    "error_code",
    "error_message",
    "credit_cost",
    "duration_ms",
    "width",
    "height",
    "uri",
    "bytes",
    "hedra_conn_id",
    "workspace_id",
}


@pytest.fixture
def portrait(tmp_path: Path) -> str:
    path = tmp_path / "portrait.png"
    path.write_bytes(png())
    return str(path)


@pytest.fixture
def voice(tmp_path: Path) -> str:
    path = tmp_path / "voice.wav"
    path.write_bytes(wav(1.0))
    return str(path)


Told = Callable[[], str]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Told:
    """What the tasks wrote to their log: Airflow 3.0 uses logging, later ones structlog, which prints."""
    caplog.set_level(logging.INFO)

    def text() -> str:
        out, err = capsys.readouterr()
        return caplog.text + out + err

    return text


def avatar(portrait: str, voice: str | None, **changes: Any) -> HedraAvatarVideoOperator:
    arguments = {
        "task_id": "avatar",
        "image": portrait,
        "audio": voice,
        "resolution": "540p",
        "poll_interval": 0.05,
    }
    return HedraAvatarVideoOperator(**(arguments | changes))


@pytest.mark.parametrize("deferrable", [True, False])
def test_one_task_is_the_whole_pipeline(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, deferrable: bool
):
    ti, target = TaskInstance(), tmp_path / "out" / "a clip.mp4"
    result = run(avatar(portrait, voice, destination=str(target), deferrable=deferrable, name="A clip"), ti)
    assert set(result) == RESULT_KEYS
    assert result["status"] == "complete"
    assert result["uri"] == f"file://{target}"
    assert result["bytes"] == target.stat().st_size > 1000
    assert target.read_bytes()[4:8] == b"ftyp"
    assert result["credit_cost"] == hedra_sandbox.submissions[0]["credits"] > 0
    assert (result["width"], result["height"], result["name"]) == (540, 960, "A clip")
    assert ti.pushed[:3] == ["credit_estimate", "generation_id", "generation"]
    assert ti.xcoms["generation"] == result
    assert "http" not in json.dumps(result)
    assert [path.name for path in target.parent.iterdir()] == ["a clip.mp4"]
    assert hedra_sandbox.ledger()["submissions"][0]["request"]["name"] == "A clip"


def test_the_id_is_there_before_the_submit(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults({"on": "POST /generations", "times": 9, "when": "before", "status": 403})
    ti = TaskInstance()
    with pytest.raises(AirflowFailException):
        run(avatar(portrait, voice), ti)
    assert ti.pushed[-1] == "generation_id"
    assert "generation" not in ti.pushed


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_retry_adopts_what_the_first_try_submitted(hedra_sandbox: Sandbox, portrait: str, voice: str):
    first = avatar(portrait, voice, deferrable=True)
    with pytest.raises(TaskDeferred):
        first.execute(context_of(TaskInstance()))
    with pytest.raises(TaskDeferred):
        avatar(portrait, voice, deferrable=True).execute(context_of(TaskInstance(try_number=2)))
    assert len(hedra_sandbox.submissions) == 1
    # The same bytes are one asset each.
    assert len(hedra_sandbox.requests("POST", "/assets")) == 2


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_clear_adopts_unless_new_is_asked_for(hedra_sandbox: Sandbox, portrait: str, voice: str):
    def submit(**facts: Any) -> str:
        ti = TaskInstance(**facts)
        avatar(portrait, voice, wait_for_completion=False, on_clear=on_clear).execute(context_of(ti))
        return ti.xcoms["generation_id"]

    on_clear = "adopt"
    assert submit() == submit(try_number=3, max_tries=4)
    on_clear = "new"
    assert submit() == submit(try_number=2)
    assert submit() != submit(try_number=3, max_tries=4)


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_business_key_is_shared_by_runs(hedra_sandbox: Sandbox, portrait: str, voice: str):
    for run_id in ("monday", "tuesday"):
        operator = avatar(portrait, voice, wait_for_completion=False, idempotency_key="shop/row-1")
        operator.execute(context_of(TaskInstance(run_id=run_id)))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_business_key_pays_once_though_a_template_renders_anew(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    for try_number in (1, 2):
        operator = avatar(
            portrait,
            voice,
            wait_for_completion=False,
            idempotency_key="k",
            text_prompt=f"At 12:0{try_number}",
        )
        operator.execute(context_of(TaskInstance(try_number=try_number)))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.parametrize("tries", [1, 3])
@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_retry_after_an_edit_and_a_clear_makes_the_edited_one(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tries: int
):
    def submit(prompt: str, **facts: Any) -> str:
        ti = TaskInstance(**facts)
        avatar(portrait, voice, wait_for_completion=False, text_prompt=prompt).execute(context_of(ti))
        return hedra_sandbox.submissions[-1]["request"]["generated_video_inputs"]["text_prompt"]

    assert submit("Old") == "Old"
    for try_number in range(3, 3 + tries):
        assert submit(f"New, try {try_number}", try_number=try_number, max_tries=4) == "New, try 3"
    assert len(hedra_sandbox.submissions) == 2


@pytest.mark.hedra_sandbox(duplicate_id="ignore")
def test_an_api_that_ignores_our_ids_is_paid_once(
    hedra_sandbox: Sandbox, portrait: str, voice: str, told: Told
):
    ti = TaskInstance()
    result = run(avatar(portrait, voice), ti)
    assert (
        ti.xcoms["generation_id"] == result["generation_id"] == hedra_sandbox.submissions[0]["generation_id"]
    )
    assert "does not keep to our ids" in told()
    run(avatar(portrait, voice), TaskInstance(try_number=2))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.hedra_sandbox(duplicate_id="ignore", seconds=3600)
@pytest.mark.parametrize("deferrable", [True, False])
def test_what_a_retry_could_not_find_again_is_not_retried(
    hedra_sandbox: Sandbox, portrait: str, voice: str, deferrable: bool
):
    with pytest.raises(AirflowFailException, match="Not retried"):
        run(avatar(portrait, voice, deferrable=deferrable, timeout=0.2))


@pytest.mark.hedra_sandbox(workspaces={"conn": 90, "body": 90, "own": 90})
def test_the_workspace_that_is_named_closest_pays(hedra_sandbox: Sandbox):
    def bill(**arguments: Any) -> str:
        request = {"type": "text_to_speech", "voice_id": voice, "text": "Hi"} | arguments.pop("request", {})
        run(HedraGenerateOperator(task_id=f"t{len(hedra_sandbox.submissions)}", request=request, **arguments))
        return hedra_sandbox.submissions[-1]["workspace"]

    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    assert bill(idempotency_key="a") == "conn"
    assert bill(idempotency_key="b", request={"workspace_id": "body"}) == "body"
    assert bill(idempotency_key="c", request={"workspace_id": "body"}, workspace_id="own") == "own"


@pytest.mark.parametrize("key", [0, "", None])
def test_a_key_of_zero_is_a_key(hedra_sandbox: Sandbox, portrait: str, voice: str, key: Any):
    for run_id in ("monday", "tuesday"):
        run(avatar(portrait, voice, idempotency_key=key), TaskInstance(run_id=run_id))
    assert len(hedra_sandbox.submissions) == (1 if key == 0 else 2)


def test_a_limit_is_kept_before_anything_is_spent(hedra_sandbox: Sandbox, portrait: str, voice: str):
    with pytest.raises(AirflowFailException, match=r"may cost \d+ credits, max_credits is 0"):
        run(avatar(portrait, voice, max_credits=0))
    assert hedra_sandbox.submissions == []
    assert run(avatar(portrait, voice, max_credits="10"))["status"] == "complete"
    # What is paid for already costs nothing more.
    assert run(avatar(portrait, voice, max_credits=0))["status"] == "complete"


def test_a_limit_on_what_cannot_be_told_refuses_it(hedra_sandbox: Sandbox):
    request = {"type": "image", "text_prompt": "A house", "model_slug": "no/such-model"}
    with pytest.raises(AirflowFailException, match="can't be told"):
        run(HedraGenerateOperator(task_id="t", request=request, max_credits=10))
    assert hedra_sandbox.requests("POST") == []


def test_inline_speech_is_judged_by_its_top(hedra_sandbox: Sandbox, portrait: str):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    ti = TaskInstance()
    run(avatar(portrait, None, text="Good morning, everybody. " * 5, voice_id=voice), ti)
    estimate, cost = ti.xcoms["credit_estimate"], ti.xcoms["generation"]["credit_cost"]
    assert estimate["low"] <= cost <= estimate["high"]


@pytest.mark.hedra_sandbox(credits=2)
def test_a_402_says_who_was_to_pay(hedra_sandbox: Sandbox, portrait: str, tmp_path: Path):
    audio = tmp_path / "long.wav"
    audio.write_bytes(wav(20))
    with pytest.raises(AirflowFailException, match="The key's default workspace was to pay"):
        run(avatar(portrait, str(audio)))


@pytest.mark.hedra_sandbox(seconds=3600)
def test_mapped_tasks_pay_one_by_one(hedra_sandbox: Sandbox, portrait: str, voice: str):
    for index in range(3):
        operator = avatar(portrait, voice, wait_for_completion=False)
        operator.execute(context_of(TaskInstance(map_index=index)))
    assert len({row["generation_id"] for row in hedra_sandbox.submissions}) == 3


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
        "reused": False,
    }
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
    assert fetched["asset_id"] == made["asset_id"]
    assert Path(fetched["uri"].removeprefix("file://")).stat().st_size == fetched["bytes"]


def test_complete_without_a_url_looks_the_asset_up(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    made = run(avatar(portrait, voice))
    no_url = {"url": None, "download_url": None, "streaming_url": None}
    hedra_sandbox.faults({"on": "GET /generations/{id}/status", "times": 9, "patch": no_url})
    target = tmp_path / "clip.mp4"
    run(HedraDownloadOperator(task_id="fetch", destination=str(target), generation_id=made["generation_id"]))
    assert target.stat().st_size > 1000


def test_any_request_body(hedra_sandbox: Sandbox):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0]
    request = {"type": "text_to_speech", "voice_id": voice.id, "text": "Good morning"}
    result = run(HedraGenerateOperator(task_id="speech", request=request))
    assert result["status"] == "complete"
    assert result["type"] == "audio"


FAILURES = {
    "INTERNAL": ({"type": "INTERNAL", "message": "no luck"}, AirflowException),
    "MODERATION_LIKENESS": (
        {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "a face"},
        AirflowFailException,
    ),
    "MODERATION_OUTPUT_TRANSIENT": (
        {"type": "MODERATION_FAILED", "reason_code": "MODERATION_OUTPUT_TRANSIENT", "message": "hm"},
        AirflowException,
    ),
}


@pytest.mark.parametrize("code", list(FAILURES))
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failed_generation_leaves_its_facts(
    hedra_sandbox: Sandbox, portrait: str, voice: str, code: str, deferrable: bool
):
    error, kind = FAILURES[code]
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": error})
    ti = TaskInstance()
    with pytest.raises(AirflowException, match=error["message"]) as raised:
        run(avatar(portrait, voice, deferrable=deferrable), ti)
    assert type(raised.value) is kind
    assert ti.xcoms["generation"]["status"] == "error"
    assert ti.xcoms["generation"]["error_code"] == code
    assert ti.xcoms["generation"]["error_message"]
    assert set(ti.xcoms["generation"]) == RESULT_KEYS


def test_a_failed_download_leaves_its_facts_and_no_file(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.api.client import HedraClient

    monkeypatch.setattr(HedraClient, "pause", lambda self, seconds: None)
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": 99, "when": "before", "status": 500})
    ti, target = TaskInstance(), tmp_path / "out" / "clip.mp4"
    with pytest.raises(AirflowException, match="retry fetches it without paying again"):
        run(avatar(portrait, voice, destination=str(target)), ti)
    assert ti.xcoms["generation"]["status"] == "complete"
    assert ti.xcoms["generation"]["uri"] is None
    assert list(target.parent.iterdir()) == []


NOBODY = str(uuid.UUID(int=1))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"audio": None}, "Neither audio nor text"),
        ({"text": "x"}, "audio and text are both given"),
        ({"audio": None, "text": "x"}, "voice_id"),
        ({"image": ""}, "image is not given"),
        ({"image": "/nowhere/portrait.png"}, "image: '/nowhere/portrait.png' can't be opened"),
        ({"aspect_ratio": "4:3"}, "aspect_ratio.*it takes"),
        ({"resolution": "8K"}, "resolution.*it takes"),
        ({"model": "together/no-such-model"}, "not in this account's catalogue"),
        ({"text_prompt": " "}, "text_prompt"),
        ({"duration_ms": 999_999_999}, "duration_ms"),
        ({"audio": NOBODY}, NOBODY),
        ({"image": NOBODY}, NOBODY),
    ],
)
def test_what_is_wrong_is_named_in_one_line_before_anything_is_spent(
    hedra_sandbox: Sandbox, portrait: str, voice: str, changes: dict[str, Any], says: str
):
    with pytest.raises(AirflowFailException, match=says) as raised:
        run(avatar(portrait, voice, **changes))
    assert len(str(raised.value).splitlines()) == 1
    assert hedra_sandbox.submissions == []
    assert hedra_sandbox.ledger()["credits"]["used"] == 0


def test_an_empty_file_is_refused(hedra_sandbox: Sandbox, portrait: str, tmp_path: Path):
    empty = tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(AirflowFailException, match="is empty"):
        run(avatar(portrait, str(empty)))
    assert hedra_sandbox.submissions == []


def test_a_file_without_a_type_is_refused(hedra_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "noise").write_bytes(b"1")
    with pytest.raises(AirflowFailException, match="Give asset_type"):
        run(HedraUploadAssetOperator(task_id="upload", source=str(tmp_path / "noise")))
    assert hedra_sandbox.requests("POST", "/assets") == []


@pytest.mark.hedra_sandbox(credits=1)
def test_no_credits_says_what_was_needed(hedra_sandbox: Sandbox, portrait: str, tmp_path: Path):
    audio = tmp_path / "long.wav"
    audio.write_bytes(wav(20))
    with pytest.raises(AirflowFailException, match=r"credits needed: \d+, available: 1.*workspace_id"):
        run(avatar(portrait, str(audio)))


@pytest.mark.parametrize(
    ("password", "says"),
    [("wrong-key", "401.*API key"), ("id:secret", "v3 key"), ("", "no API key"), ("a b", "no key has")],
)
def test_a_key_that_cannot_work(
    hedra_sandbox: Sandbox,
    portrait: str,
    voice: str,
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    says: str,
):
    connection = json.loads(hedra_sandbox.connection) | {"password": password}
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))
    with pytest.raises(AirflowFailException, match=says) as raised:
        run(avatar(portrait, voice))
    assert len(str(raised.value).splitlines()) == 1
    assert not password or password not in str(raised.value)


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_killed_task_says_what_runs_on_and_costs(
    hedra_sandbox: Sandbox, portrait: str, voice: str, told: Told
):
    operator = avatar(portrait, voice, wait_for_completion=False)
    operator.on_kill()
    assert "nothing was submitted" in told()
    operator.execute(context_of(TaskInstance()))
    operator.on_kill()
    (submission,) = hedra_sandbox.submissions
    log = told()
    assert f"Generation {submission['generation_id']}, if it was submitted, runs on" in log
    assert f"costs {submission['credits']} credits" in log


@pytest.mark.hedra_sandbox(seconds=3600)
def test_the_deadline_is_the_earlier_of_two(hedra_sandbox: Sandbox, portrait: str, voice: str):
    from datetime import timedelta

    operator = avatar(portrait, voice, deferrable=True, timeout=500, execution_timeout=timedelta(seconds=100))
    import time

    with pytest.raises(TaskDeferred) as raised:
        operator.execute(context_of(TaskInstance()))
    patience = raised.value.trigger.end_time - time.time()
    assert 90 < patience <= 100
    assert raised.value.timeout > timedelta(seconds=patience)


@pytest.mark.hedra_sandbox(seconds=3600)
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_timed_out_wait_says_what_runs_on(
    hedra_sandbox: Sandbox, portrait: str, voice: str, deferrable: bool
):
    with pytest.raises(AirflowException, match=r"still running.*paid for.*adopts it") as raised:
        run(avatar(portrait, voice, deferrable=deferrable, timeout=0.2))
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("event", [None, {}, {"version": 0}, {"version": 1, "outcome": "great"}, "done"])
def test_an_event_that_is_not_known_fails_loudly(
    hedra_sandbox: Sandbox, portrait: str, voice: str, event: Any
):
    with pytest.raises(AirflowException, match="event"):
        avatar(portrait, voice).execute_complete(context_of(TaskInstance()), event=event)


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_key_that_was_rotated_is_read_anew_once(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(TaskDeferred) as raised:
        avatar(portrait, voice, deferrable=True).execute(context_of(TaskInstance()))
    hedra_sandbox.advance(4000)
    wrong = json.loads(hedra_sandbox.connection) | {"password": "rotated"}
    hedra_sandbox.change_key("rotated")
    # The trigger reads the old key first: the connection changes between its two look-ups.
    connections = iter([hedra_sandbox.connection, json.dumps(wrong)])
    from hedra_provider import hooks

    original = hooks.HedraHook.get_async_conn

    async def rotating(self: Any) -> Any:
        monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", next(connections))
        return await original(self)

    monkeypatch.setattr(hooks.HedraHook, "get_async_conn", rotating)
    assert fire(raised.value.trigger)["outcome"] == "complete"


def test_a_refused_key_reaches_the_task(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.triggers import HedraGenerationTrigger

    hedra_sandbox.change_key("another")
    event = fire(HedraGenerationTrigger(generation_id=NOBODY, end_time=9e9))
    assert event["outcome"] == "failed"
    with pytest.raises(AirflowFailException, match="HedraAuthenticationError"):
        avatar(portrait, voice).execute_complete(context_of(TaskInstance()), event=event)
    assert len(hedra_sandbox.requests("GET", "/generations/{id}/status")) == 2


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("{folder}", "is a directory"),
        ("{file}/a.mp4", "can't be written"),
        ("nosuch://a/b", "can't be written"),
    ],
)
def test_a_destination_that_cannot_be_is_found_before_anything_is_spent(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, destination: str, says: str
):
    target = destination.format(folder=tmp_path, file=portrait)
    with pytest.raises(AirflowFailException, match=says):
        run(avatar(portrait, voice, destination=target))
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"on_clear": "new", "idempotency_key": "k"},
        {"on_clear": "maybe"},
        {"destination": "/a", "wait_for_completion": False},
        {"timeout": float("nan")},
        {"timeout": 0},
        {"poll_interval": "soon"},
    ],
)
def test_arguments_that_cannot_go_together_fail_when_the_dag_is_read(changes: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(changes))):
        avatar("/a.png", "/a.wav", **changes)


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


def test_what_it_cost_is_not_worth_failing_for(hedra_sandbox: Sandbox, portrait: str, voice: str, told: Told):
    hedra_sandbox.faults({"on": "GET /generations", "times": 9, "when": "before", "status": 400})
    result = run(avatar(portrait, voice))
    assert result["status"] == "complete"
    assert result["credit_cost"] is None
    assert "could not be read" in told()


def test_each_url_is_a_fresh_one(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, monkeypatch
):
    made = run(avatar(portrait, voice))
    before = len(hedra_sandbox.requests("GET", "/generations/{id}/status"))
    seen: list[str] = []

    def twice(client: Any, fresh_url: Callable[[], str], file: Any) -> int:
        seen.extend([fresh_url(), fresh_url()])
        return 0

    monkeypatch.setattr("hedra_provider.api.transfer.download", twice)
    operator = HedraDownloadOperator(
        task_id="d", generation_id=made["generation_id"], destination=str(tmp_path / "a.mp4")
    )
    run(operator)
    assert len(seen) == 2
    assert len(hedra_sandbox.requests("GET", "/generations/{id}/status")) == before + 2


def test_a_file_that_is_too_large_is_not_sent(hedra_sandbox: Sandbox, voice: str, tmp_path: Path):
    large = tmp_path / "large.png"
    large.write_bytes(png() + b"0" * 21 * 1024 * 1024)
    with pytest.raises(AirflowFailException, match=r"has \d+ bytes; the model takes"):
        run(avatar(str(large), voice))
    assert hedra_sandbox.requests("POST") == []


@pytest.mark.hedra_sandbox(workspaces={"team": 4}, credits=9999, seconds=3600)
def test_a_low_balance_warns(hedra_sandbox: Sandbox, portrait: str, told: Told, tmp_path: Path):
    (tmp_path / "long.wav").write_bytes(wav(20))
    with pytest.raises(AirflowFailException, match="Workspace team was to pay"):
        run(avatar(portrait, str(tmp_path / "long.wav"), max_credits=500))
    assert "Workspace team has 4 credits; this may cost" in told()


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_run_that_was_made_anew_is_another_payer(hedra_sandbox: Sandbox, portrait: str, voice: str):
    def submit(prompt: str, began: str) -> str:
        ti = TaskInstance()
        context = context_of(ti) | {"dag_run": SimpleNamespace(start_date=began)}
        avatar(portrait, voice, wait_for_completion=False, text_prompt=prompt).execute(context)
        return ti.xcoms["generation_id"]

    first = submit("Old", "monday")
    assert submit("Rendered anew", "monday") == first
    assert submit("Old", "tuesday") == first
    assert submit("New", "tuesday") != first
    assert len(hedra_sandbox.submissions) == 2


@pytest.mark.hedra_sandbox(duplicate_id="ignore")
def test_a_failed_generation_with_a_foreign_id_is_retried(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": FAILURES["INTERNAL"][0]})
    with pytest.raises(AirflowException) as raised:
        run(avatar(portrait, voice))
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("value", ["10.9", True, "inf", "many", [1]])
def test_credits_are_whole(hedra_sandbox: Sandbox, portrait: str, voice: str, value: Any):
    with pytest.raises(AirflowFailException, match="not a whole number of credits"):
        run(avatar(portrait, voice, max_credits=value))
    assert hedra_sandbox.submissions == []


@pytest.mark.parametrize("body", ["video", [1], None])
def test_a_request_that_is_no_dict(hedra_sandbox: Sandbox, body: Any):
    with pytest.raises(AirflowFailException, match="not a dict"):
        run(HedraGenerateOperator(task_id="t", request=body))


@pytest.mark.parametrize("value", [None, False, True])
def test_outputs_are_pushed_key_by_key_whatever_a_decorator_passes(value: bool | None):
    operator = HedraGenerateOperator(task_id="t", request={}, multiple_outputs=value)
    assert operator.multiple_outputs is MULTIPLE_OUTPUTS


@pytest.mark.parametrize(
    "request_body", [{}, {"type": "video", "generation_id": "x"}, {"type": "video", "batch_size": 2}]
)
def test_a_body_that_the_operator_cannot_stand_for(hedra_sandbox: Sandbox, request_body: dict[str, Any]):
    with pytest.raises(AirflowFailException, match="request"):
        run(HedraGenerateOperator(task_id="t", request=request_body))
    assert hedra_sandbox.ledger()["requests"] == []


def test_the_log_tells_cost_and_file(hedra_sandbox: Sandbox, portrait: str, voice: str, told: Told):
    run(avatar(portrait, voice))
    cost, log = hedra_sandbox.submissions[0]["credits"], told()
    assert f"By Hedra's published prices this costs {cost} credits." in log
    assert f"it cost {cost} credits" in log
    assert "Its file stays at Hedra" in log
    assert hedra_sandbox.api_key not in log
