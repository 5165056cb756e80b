"""What goes wrong is named in one line, and leaves its facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import (
    HedraGenerateOperator,
    HedraUploadAssetOperator,
)
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.media import png, wav
from tests.tasks import TaskInstance, context_of, fire, run

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox
from tests.operators.helpers import FAILURES, NOBODY, RESULT_KEYS, Logged, avatar


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
    with pytest.raises(AirflowException, match="retry downloads it without paying again"):
        run(avatar(portrait, voice, destination=str(target)), ti)
    assert ti.xcoms["generation"]["status"] == "complete"
    assert ti.xcoms["generation"]["uri"] is None
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "moment",
    [
        {"on": "GET /generations/{id}/status", "status": 404},
        {"on": "GET /assets", "body": "[]"},
    ],
    ids=["unknown generation", "unknown asset"],
)
@pytest.mark.parametrize("times", [3, None], ids=["for a moment", "for long"])
@pytest.mark.usefixtures("no_pauses")
def test_what_was_complete_and_is_unknown_now_is_fetched_when_it_is_there_again(
    hedra_sandbox: Sandbox,
    portrait: str,
    voice: str,
    tmp_path: Path,
    moment: dict[str, Any],
    times: int | None,
):
    ti, target = TaskInstance(), tmp_path / "avatar.mp4"
    with pytest.raises(TaskDeferred) as raised:
        avatar(portrait, voice, destination=str(target), deferrable=True).execute(context_of(ti))
    event = fire(raised.value.trigger)
    # Without the row of the list, the URL is asked for.
    hedra_sandbox.faults(
        {"on": "GET /generations", "body": "?"},
        moment | {"times": times},
        {"on": "GET /generations/{id}/status", "patch": {"url": None, "download_url": None}}
        | {"times": times},
    )
    fetch = avatar(portrait, voice, destination=str(target))
    if times:
        fetch.execute_complete(context_of(ti), event=event)
    else:
        with pytest.raises(AirflowException) as failed:
            fetch.execute_complete(context_of(ti), event=event)
        assert not isinstance(failed.value, AirflowFailException)
        hedra_sandbox.faults()
        run(avatar(portrait, voice, destination=str(target)), TaskInstance(try_number=2))
    assert target.stat().st_size > 1000
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"audio": None}, "Neither audio nor text"),
        ({"text": "x"}, "audio and text are both given"),
        ({"audio": None, "text": "x"}, "voice_id"),
        ({"image": ""}, "image is not given"),
        ({"image": "/nowhere/portrait.png"}, "image: '/nowhere/portrait.png' can't be opened"),
        ({"aspect_ratio": "4:3"}, "aspect_ratio.*it accepts"),
        ({"resolution": "8K"}, "resolution.*it accepts"),
        ({"model": "together/no-such-model"}, "not in this account's catalogue"),
        ({"text_prompt": ["x"]}, "text_prompt: .* is not a text"),
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


def test_an_empty_file_is_rejected(hedra_sandbox: Sandbox, portrait: str, tmp_path: Path):
    empty = tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(AirflowFailException, match="is empty"):
        run(avatar(portrait, str(empty)))
    assert hedra_sandbox.submissions == []


def test_a_file_without_a_type_is_rejected(hedra_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "noise").write_bytes(b"\x01\x80")
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
    [
        ("wrong-key", "401.*API key"),
        ("id:", "not <id>:<secret>"),
        ("", "API key. is empty"),
        ("a b", "no key has"),
    ],
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
def test_a_key_that_was_rotated_is_read_again_once(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(TaskDeferred) as raised:
        avatar(portrait, voice, deferrable=True).execute(context_of(TaskInstance()))
    hedra_sandbox.advance(4000)
    wrong = json.loads(hedra_sandbox.connection) | {"password": "rotated"}
    hedra_sandbox.change_key("rotated")
    # The trigger reads the old key first: the connection changes between its two reads.
    connections = iter([hedra_sandbox.connection, json.dumps(wrong)])
    from hedra_provider import connection

    original = connection.read_async

    async def rotating(conn_id: str) -> Any:
        monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", next(connections))
        return await original(conn_id)

    monkeypatch.setattr(connection, "read_async", rotating)
    assert fire(raised.value.trigger)["outcome"] == "finished"


def test_a_rejected_key_reaches_the_task(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.triggers import HedraGenerationTrigger

    hedra_sandbox.change_key("another")
    event = fire(HedraGenerationTrigger(generation_ids=[NOBODY], end_time=9e9))
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


def test_what_it_cost_is_not_worth_failing_for(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    hedra_sandbox.faults({"on": "GET /generations", "times": 9, "when": "before", "status": 400})
    result = run(avatar(portrait, voice))
    assert result["status"] == "complete"
    assert result["credit_cost"] is None
    assert "could not be read" in logged()


def test_a_file_that_is_too_large_is_not_sent(hedra_sandbox: Sandbox, voice: str, tmp_path: Path):
    large = tmp_path / "large.png"
    large.write_bytes(png() + b"0" * 21 * 1024 * 1024)
    with pytest.raises(AirflowFailException, match=r"has \d+ bytes; the model accepts at most"):
        run(avatar(str(large), voice))
    assert hedra_sandbox.requests("POST") == []


@pytest.mark.parametrize("value", ["10.9", True, "inf", "many", [1]])
def test_credits_are_whole(hedra_sandbox: Sandbox, portrait: str, voice: str, value: Any):
    with pytest.raises(AirflowFailException, match="not a whole number of credits"):
        run(avatar(portrait, voice, max_credits=value))
    assert hedra_sandbox.submissions == []


@pytest.mark.parametrize("body", ["video", [1], None])
def test_a_request_that_is_no_dict(hedra_sandbox: Sandbox, body: Any):
    with pytest.raises(AirflowFailException, match=r"request: .* is not a dict|request is not given"):
        run(HedraGenerateOperator(task_id="t", request=body))


@pytest.mark.parametrize(
    "request_body", [{}, {"type": "video", "generation_id": "x"}, {"type": "video", "batch_size": 9}]
)
def test_a_body_that_the_operator_cannot_stand_for(hedra_sandbox: Sandbox, request_body: dict[str, Any]):
    with pytest.raises(AirflowFailException, match=r"request|batch_size"):
        run(HedraGenerateOperator(task_id="t", request=request_body))
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.parametrize(
    ("changes", "validate"),
    [
        ({}, True),
        ({"model_slug": None}, True),
        ({"type": "text_to_speech"}, True),
        ({}, False),
    ],
)
def test_a_body_is_checked_where_it_is_a_video_that_names_its_model(
    hedra_sandbox: Sandbox, changes: dict[str, Any], validate: bool
):
    inputs = {"text_prompt": "A face", "aspect_ratio": "4:5", "resolution": "720p"}
    body = {"type": "video", "model_slug": "together/hedra-avatar", "generated_video_inputs": inputs}
    checked = validate and not changes
    operator = HedraGenerateOperator(task_id="t", request=body | changes, validate=validate)
    with pytest.raises(AirflowFailException) as raised:
        run(operator)
    assert ("aspect_ratio: Hedra Avatar does not accept '4:5'" in str(raised.value)) is checked
    assert len(hedra_sandbox.requests("GET", "/models")) == checked
    # Else it is Hedra that rejects it.
    assert len(hedra_sandbox.requests("POST", "/generations")) == (not checked)
