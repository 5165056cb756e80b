"""A whole table is added up before its first row is paid."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.hooks import HedraHook
from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraCreditsCheckOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.sensors import HedraCreditsSensor
from hedra_provider.triggers import HedraCreditsTrigger, HedraGenerationTrigger, HedraTurnTrigger
from tests.airflow_names import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from tests.media import wav
from tests.tasks import SensorInstance, TaskInstance, context_of, fire, run, wait

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox

ROWS = [{"text": "Good morning. " * 20}, {"text": "Hello. " * 20, "resolution": "1080p", "speed": "0.9"}]


def check(rows: list[dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    return run(HedraCreditsCheckOperator(task_id="check", requests=rows, **arguments))


def test_estimates_are_added(hedra_sandbox: Sandbox):
    one, other = check(ROWS[:1]), check(ROWS[1:])
    both = check(ROWS)
    assert both["requests"] == 2
    assert (both["low"], both["high"]) == (one["low"] + other["low"], one["high"] + other["high"])
    assert both["available"] == 10_000
    assert hedra_sandbox.requests("POST") == []


def test_the_cost_is_within_the_estimate(hedra_sandbox: Sandbox, tmp_path: Path):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook
    from tests.media import png

    (tmp_path / "a.png").write_bytes(png())
    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    row = {"text": "Good morning. " * 3, "resolution": "540p"}
    estimate = check([row])
    paid = run(HedraAvatarVideoOperator(task_id="a", image=str(tmp_path / "a.png"), voice_id=voice, **row))[
        "credit_cost"
    ]
    assert estimate["low"] <= paid <= estimate["high"]


def test_an_audio_of_known_length_is_exact(hedra_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(wav(10))
    audio = run(HedraUploadAssetOperator(task_id="u", source=str(tmp_path / "a.wav")))["asset_id"]
    found = check([{"audio": audio}, {"audio": audio, "resolution": "540p"}])
    assert (found["low"], found["high"]) == (45, 45)


@pytest.fixture
def spoken(hedra_sandbox: Sandbox, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The voice of a row: a recording of ten seconds that Hedra has, or a text."""
    from hedra_provider.api import calls

    (tmp_path / "a.wav").write_bytes(wav(10))
    audio = run(HedraUploadAssetOperator(task_id="u", source=str(tmp_path / "a.wav")))["asset_id"]
    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    return {"audio": {"audio": audio}, "text": {"text": "Good morning. " * 20, "voice_id": voice}}


@pytest.mark.parametrize("voice", ["audio", "text"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "character-3", "aspect_ratio": "1:1"},
        {"resolution": "1080p", "duration_ms": "4000"},
        {"audio_start_ms": "4000"},
        {"audio_start_ms": -5000},
        {"extra_request": {"batch_size": 4}},
        {"extra_request": {"batch_size": "2"}, "duration_ms": 2000},
        {"extra_request": {"generated_video_inputs": {"resolution": "540p", "duration_ms": 3000}}},
        {"extra_request": {"audio_start_ms": 7000}},
        {"extra_request": {"model_slug": "together/hedra-character-3"}},
    ],
)
def test_a_row_is_estimated_as_its_operator_estimates_it(
    hedra_sandbox: Sandbox,
    spoken: dict[str, dict[str, Any]],
    portrait: str,
    voice: str,
    changes: dict[str, Any],
):
    row = {"image": portrait, **spoken[voice], **changes}
    ti = TaskInstance()
    run(HedraAvatarVideoOperator(task_id="a", max_credits=9000, wait_for_completion=False, **row), ti)
    found = check([row])
    assert {"low": found["low"], "high": found["high"]} == ti.xcoms["credit_estimate"]


def test_variations_that_a_body_asks_for_by_a_text_are_counted(
    hedra_sandbox: Sandbox, spoken: dict[str, dict[str, Any]]
):
    """A template renders a number as a text."""
    inputs = {"resolution": "720p", "duration_ms": 2000}
    body = {"type": "video", "model_slug": "together/hedra-avatar", "generated_video_inputs": inputs}
    assert check([body | {"batch_size": "3"}])["high"] == 3 * check([body])["high"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extra_request": "[]"}, r"extra_request: '\[\]' is not a dict"),
        ({"extra_request": {"batch_size": 99}}, "batch_size: 99 is not a whole number from 1 to 8"),
        ({"extra_request": {"generation_id": "x"}}, "generation_id is set by this package"),
        ({"text": "Hello"}, "audio and text are both given"),
        ({"speed": 3}, None),
        ({"duration_ms": -1}, "generated_video_inputs.duration_ms: .*greater than 0"),
    ],
)
def test_a_row_that_its_operator_would_reject_is_rejected_before(
    hedra_sandbox: Sandbox,
    spoken: dict[str, dict[str, Any]],
    portrait: str,
    changes: dict[str, Any],
    says: str | None,
):
    row = {"image": portrait, **spoken["audio"], **changes}
    operator = HedraAvatarVideoOperator(task_id="a", wait_for_completion=False, **row)
    if says is None:
        assert run(operator)["status"]
        assert check([{"text": "Hello"}, row])["requests"] == 2
        return
    with pytest.raises(AirflowFailException, match=says):
        run(operator)
    with pytest.raises(AirflowFailException, match=rf"requests\[1\]: .*{says}"):
        check([{"text": "Hello"}, row])


def test_a_limit(hedra_sandbox: Sandbox):
    need = check(ROWS)["high"]
    assert check(ROWS, max_credits=str(need))["high"] == need
    with pytest.raises(
        AirflowFailException, match=f"2 requests together may cost .*{need}.* max_credits is {need - 1}"
    ):
        check(ROWS, max_credits=need - 1)


@pytest.mark.hedra_sandbox(workspaces={"poor": 10})
def test_enough_credits_are_returned(hedra_sandbox: Sandbox):
    with pytest.raises(AirflowFailException, match="Workspace poor has 10 credits; up to") as raised:
        check(ROWS)
    assert "Nothing was submitted" in str(raised.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"audio": "/a/path.wav", "model": "no/such"}, r"requests\[0\].*can't be measured"),
        ({"audio": "/a/path.wav"}, r"requests\[0\]: how long '/a/path.wav' is can't be measured"),
        ({}, r"requests\[0\]: it has neither"),
        ("text", r"requests\[0\] is str, not a dict"),
    ],
)
def test_a_row_that_cannot_be_priced_is_named(hedra_sandbox: Sandbox, row: Any, says: str):
    with pytest.raises(AirflowFailException, match=says):
        check([row])


def test_an_empty_table_costs_nothing(hedra_sandbox: Sandbox):
    assert check([])["high"] == 0


def sensor(minimum: Any, **changes: Any) -> HedraCreditsSensor:
    return HedraCreditsSensor(task_id="wait", minimum=minimum, **({"poke_interval": 0.05} | changes))


MODES = {"deferred": {"deferrable": True}, "poke": {}, "reschedule": {"mode": "reschedule"}}


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.hedra_sandbox(workspaces={"team": 70})
def test_enough_credits(hedra_sandbox: Sandbox, mode: str):
    expected = {"available": 70, "minimum": 70, "currency": "credits", "workspace_id": "team"}
    assert wait(sensor("70", **MODES[mode])) == expected


@pytest.mark.hedra_sandbox(credits=5)
def test_credits_that_come_later(hedra_sandbox: Sandbox):
    operator = sensor(10, deferrable=True)
    with pytest.raises(TaskDeferred) as raised:
        operator.execute(context_of(SensorInstance()))
    hedra_sandbox.faults({"on": "GET /billing/credits", "skip": 2, "times": 9, "patch": {"remaining": 12}})
    event = fire(raised.value.trigger)
    assert operator.execute_complete(context_of(SensorInstance()), event=event)["available"] == 12


@pytest.mark.parametrize("mode", ["deferred", "poke"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.hedra_sandbox(credits=5)
def test_credits_that_never_come(hedra_sandbox: Sandbox, mode: str, soft: bool):
    with pytest.raises(AirflowSkipException if soft else AirflowSensorTimeout):
        wait(sensor(10, timeout=0.1, soft_fail=soft, **MODES[mode]))


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.hedra_sandbox(workspaces={"team": 70})
def test_a_workspace_that_is_not_there_fails_at_once(hedra_sandbox: Sandbox, mode: str):
    with pytest.raises(AirflowFailException, match="knows no workspace nobodys"):
        wait(sensor(10, workspace_id="nobodys", **MODES[mode]))


@pytest.mark.parametrize("mode", list(MODES))
def test_a_rejected_key_fails_at_once(hedra_sandbox: Sandbox, mode: str):
    hedra_sandbox.change_key("another")
    with pytest.raises(AirflowFailException, match="Check the API key"):
        wait(sensor(10, **MODES[mode]))


@pytest.mark.parametrize(
    "event", [None, {}, {"version": 1, "outcome": "rich"}, {"version": 1, "outcome": "enough"}]
)
def test_an_event_that_is_not_known_fails_loudly(hedra_sandbox: Sandbox, event: Any):
    with pytest.raises(AirflowException, match="event"):
        sensor(10).execute_complete(context_of(SensorInstance()), event=event)


STRAY = {
    "of a sensor that wants less": lambda: HedraCreditsTrigger(minimum=1, end_time=9e9),
    "a retry slot": lambda: HedraTurnTrigger(
        resume_at=0.0, end_time=0.0, refused_since=0.0, first_id="an id"
    ),
    "of a generation": lambda: HedraGenerationTrigger(generation_ids=["an id"], end_time=0.0),
}


@pytest.mark.parametrize("stray", list(STRAY))
def test_the_event_of_another_trigger_is_not_taken_and_gives_no_new_time(hedra_sandbox: Sandbox, stray: str):
    """SQLite gives a new trigger the id of a deleted one, whose event then comes here."""
    with pytest.raises(TaskDeferred) as first:
        sensor(10**9, deferrable=True, timeout=500).execute(context_of(SensorInstance()))
    again = sensor(10**9, deferrable=True, timeout=9000)
    kwargs = {**first.value.kwargs, "event": fire(STRAY[stray]())}
    with pytest.raises(TaskDeferred) as raised:
        again.resume_execution("execute_complete", kwargs, context_of(SensorInstance()))
    assert raised.value.trigger.end_time == first.value.trigger.end_time


def test_a_table_of_recordings_is_priced_by_one_request(hedra_sandbox: Sandbox):
    from hedra_provider.api.sized_file import SizedFile
    from hedra_provider.transfer.upload import store_asset

    with HedraHook().get_conn() as client:
        ids = [
            client.run(store_asset(SizedFile(io.BytesIO(sound), len(sound), "a.wav"), "audio")).asset_id
            for sound in (wav(1.0), wav(2.0), wav(3.0))
        ]
    before = len(hedra_sandbox.requests("GET", "/assets"))
    rows = [{"audio": one, "resolution": "540p"} for one in ids]
    result = run(HedraCreditsCheckOperator(task_id="check", requests=rows))
    assert result["requests"] == 3
    assert len(hedra_sandbox.requests("GET", "/assets")) == before + 1
