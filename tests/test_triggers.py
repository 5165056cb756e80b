"""The trigger: it is serializable, its deadline is inside, and it only reads."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.api.errors import HedraRateLimitError, HedraWaitTimeoutError
from hedra_provider.events import read_event
from hedra_provider.hooks import HedraHook
from hedra_provider.triggers import HedraGenerationTrigger
from tests.airflow_names import AirflowException
from tests.tasks import fire

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


def speech() -> str:
    from hedra_provider.api import calls

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0]
        return client.run(
            calls.submit({"type": "text_to_speech", "voice_id": voice.id, "text": "Good morning"})
        ).id


def trigger(generation_id: str, **changes: Any) -> HedraGenerationTrigger:
    arguments = {"generation_ids": [generation_id], "end_time": time.time() + 60, "poll_interval": 0.05}
    return HedraGenerationTrigger(**(arguments | changes))


def test_it_is_made_again_from_what_it_serializes():
    original = trigger("an-id", hedra_conn_id="other", end_time=12345.5, poll_interval=7.0)
    path, kwargs = original.serialize()
    assert path == "hedra_provider.triggers.HedraGenerationTrigger"
    assert json.loads(json.dumps(kwargs)) == kwargs
    again = HedraGenerationTrigger(**kwargs)
    assert vars(again).items() >= kwargs.items()
    assert again.serialize() == original.serialize()


def test_the_event_has_no_url_and_no_key(hedra_sandbox: Sandbox):
    event = fire(trigger(speech()))
    assert event["outcome"] == "finished"
    text = json.dumps(event)
    assert "http" not in text
    assert hedra_sandbox.api_key not in text
    (generation,) = read_event(event)
    assert generation.is_complete


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_triggerer_that_dies_costs_nothing(hedra_sandbox: Sandbox):
    one = trigger(speech())

    async def killed() -> None:
        task = asyncio.ensure_future(anext(one.run()))
        while not hedra_sandbox.requests("GET", "/generations/{id}/status"):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(killed())
    hedra_sandbox.advance(3600)
    assert fire(one)["outcome"] == "finished"
    assert len(hedra_sandbox.submissions) == 1
    methods = [row["method"] for row in hedra_sandbox.ledger()["requests"]]
    assert set(methods[methods.index("POST") + 1 :]) == {"GET"}


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_deadline_that_passed_while_no_triggerer_ran(hedra_sandbox: Sandbox):
    event = fire(trigger(speech(), end_time=time.time() - 1))
    assert event["outcome"] == "timeout"
    with pytest.raises(HedraWaitTimeoutError):
        read_event(event)


def test_a_generation_that_completes_at_the_deadline_is_not_missed(hedra_sandbox: Sandbox):
    assert fire(trigger(speech(), end_time=time.time() - 1))["outcome"] == "finished"


def test_a_connection_that_cannot_work_reaches_the_task(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps({"conn_type": "hedra"}))
    event = fire(trigger("an-id"))
    assert event["outcome"] == "failed"
    assert '"API key" is empty' in event["failure"]["message"]
    assert event["failure"]["retryable"] is False


def test_an_error_keeps_its_kind_over_the_event():
    failure = {"kind": "HedraRateLimitError", "message": "slow down", "retryable": True, "retry_after": 9.0}
    event = {
        "version": 1,
        "generation_ids": ["g"],
        "outcome": "failed",
        "generations": [],
        "failure": failure,
    }
    with pytest.raises(HedraRateLimitError, match="slow down") as raised:
        read_event(event)
    assert raised.value.retry_after == 9.0
    assert raised.value.retryable


@pytest.mark.parametrize("kind", ["BaseException", "HedraNewError", "annotations", ""])
def test_an_error_of_a_newer_version_is_an_error_all_the_same(kind: str):
    from hedra_provider.api.errors import HedraError

    failure = {"kind": kind, "message": "hm", "retryable": False, "retry_after": None}
    event = {
        "version": 1,
        "generation_ids": ["g"],
        "outcome": "failed",
        "generations": [],
        "failure": failure,
    }
    with pytest.raises(HedraError, match="hm"):
        read_event(event)


@pytest.mark.parametrize("outcome", ["finished", "timeout", "failed", "other"])
def test_an_event_without_its_facts_fails_loudly(outcome: str):
    with pytest.raises(AirflowException, match="unknown outcome"):
        read_event({"version": 1, "generation_ids": ["g"], "outcome": outcome})
