"""A submit that Hedra rate-limits waits for a retry slot: no retry, no worker, one payment."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.api.client import HedraClient
from hedra_provider.polling import rate_limit
from hedra_provider.testing import Sandbox, Sandboxes
from hedra_provider.triggers import HedraGenerationTrigger, HedraTurnTrigger
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.api.accounts import Account
from tests.operators.helpers import Logged, avatar
from tests.tasks import TaskInstance, context_of, fire

RATE_LIMITED = {"on": "POST /generations", "when": "before", "status": 429, "times": None}


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch, no_pauses: None) -> list[float]:
    """The pauses of the worker's client, which are noted and not taken."""
    noted: list[float] = []
    monkeypatch.setattr(HedraClient, "pause", lambda self, seconds: noted.append(seconds))
    return noted


def rate_limit_submit(operator: Any, ti: TaskInstance, event: Any = None) -> HedraTurnTrigger:
    """Execute or resume an operator whose submit is rate-limited; return the trigger that it defers to."""
    context = context_of(ti)
    with pytest.raises(TaskDeferred) as raised:
        operator.execute_turn(context, event=event) if event else operator.execute(context)
    assert raised.value.method_name == "execute_turn"
    assert isinstance(raised.value.trigger, HedraTurnTrigger)
    return raised.value.trigger


def resume(operator: Any, ti: TaskInstance, event: Any) -> Any:
    """Go on at the submit, and wait for what was submitted."""
    with pytest.raises(TaskDeferred) as raised:
        operator.execute_turn(context_of(ti), event=event)
    return operator.execute_complete(context_of(ti), event=fire(raised.value.trigger))


def retry_slot(trigger: HedraTurnTrigger) -> Any:
    """Let the retry slot come at once."""
    trigger.resume_at = 0.0
    return fire(trigger)


def test_it_goes_on_at_the_submit(hedra_sandbox: Sandbox, portrait: str, voice: str, pauses: list[float]):
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    trigger = rate_limit_submit(avatar(portrait, voice, deferrable=True), ti)
    assert 10 < sum(pauses) <= 30
    assert trigger.resume_at > time.time() + 10
    assert trigger.cost == "2 credits"
    hedra_sandbox.faults()
    before = len(hedra_sandbox.ledger()["requests"])
    result = resume(avatar(portrait, voice, deferrable=True), ti, retry_slot(trigger))
    assert result["status"] == "complete"
    asked = [f"{row['method']} {row['path']}" for row in hedra_sandbox.ledger()["requests"][before:]]
    status = f"GET /generations/{result['generation_id']}/status"
    assert asked == [status, "POST /generations", "GET /generations"] or asked[:2] == [
        status,
        "POST /generations",
    ]
    assert len(hedra_sandbox.submissions) == 1
    assert ti.xcoms["generation_id"] == result["generation_id"]


def test_a_second_rate_limit_holds_the_worker_no_longer(
    hedra_sandbox: Sandbox, portrait: str, voice: str, pauses: list[float]
):
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    first = rate_limit_submit(avatar(portrait, voice, deferrable=True), ti)
    del pauses[:]
    second = rate_limit_submit(avatar(portrait, voice, deferrable=True), ti, retry_slot(first))
    assert pauses == []
    assert second.refused_since == first.refused_since
    assert second.serialize()[1]["request"] == first.request
    assert second.cost == first.cost


def test_it_waits_as_long_as_hedra_asked(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults(RATE_LIMITED | {"headers": {"Retry-After": "600"}})
    trigger = rate_limit_submit(avatar(portrait, voice, deferrable=True), TaskInstance())
    assert trigger.resume_at >= time.time() + 590
    assert len(hedra_sandbox.requests("POST", "/generations")) == 1


def test_a_rate_limit_before_the_submit_waits_as_well(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults(RATE_LIMITED | {"on": "GET /models", "headers": {"Retry-After": "600"}})
    ti = TaskInstance()
    trigger = rate_limit_submit(avatar(portrait, voice, deferrable=True), ti)
    assert trigger.request is None
    hedra_sandbox.faults()
    resume(avatar(portrait, voice, deferrable=True), ti, retry_slot(trigger))
    assert len(hedra_sandbox.submissions) == 1


def test_what_was_submitted_meanwhile_is_adopted(hedra_sandbox: Sandbox, portrait: str, voice: str):
    """E.g. by a try that Airflow took for dead."""
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    trigger = rate_limit_submit(avatar(portrait, voice, deferrable=True), ti)
    hedra_sandbox.faults()
    avatar(portrait, voice).execute(context_of(TaskInstance()))
    avatar(portrait, voice, deferrable=True).execute_turn(context_of(ti), event=retry_slot(trigger))
    assert len(hedra_sandbox.submissions) == 1


def test_a_batch_waits_for_one_retry_slot(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    operator = avatar(portrait, voice, deferrable=True, extra_request={"batch_size": 3})
    trigger = rate_limit_submit(operator, ti)
    hedra_sandbox.faults()
    resume(operator, ti, retry_slot(trigger))
    assert len(hedra_sandbox.submissions) == 3


@pytest.mark.parametrize("deferrable", [False, True])
def test_where_it_cannot_wait_the_rate_limit_is_left_to_the_retries(
    hedra_sandbox: Sandbox, portrait: str, voice: str, deferrable: bool
):
    hedra_sandbox.faults(RATE_LIMITED)
    timeout = 5.0 if deferrable else 3600.0
    with pytest.raises(AirflowException, match="429"):
        avatar(portrait, voice, deferrable=deferrable, timeout=timeout).execute(context_of(TaskInstance()))


def test_it_gives_up_when_the_time_is_over(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    trigger = rate_limit_submit(avatar(portrait, voice, deferrable=True, timeout=3600), ti)
    trigger.refused_since -= 3600
    with pytest.raises(AirflowException, match="429"):
        avatar(portrait, voice, deferrable=True, timeout=3600).execute_turn(
            context_of(ti), event=retry_slot(trigger)
        )


def test_a_rejection_that_is_not_retryable_waits_for_no_retry_slot(
    hedra_sandbox: Sandbox, portrait: str, voice: str, pauses: list[float]
):
    body = {"error": {"type": "INSUFFICIENT_BALANCE", "message": "no"}}
    hedra_sandbox.faults(RATE_LIMITED | {"body": body})
    with pytest.raises(AirflowFailException, match="429"):
        avatar(portrait, voice, deferrable=True).execute(context_of(TaskInstance()))
    assert pauses == []


SEARCHED_IN_VAIN = [
    {"on": "POST /generations", "when": "after", "reset": True, "times": 1},
    {"on": "GET /generations/{id}/status", "skip": 1, "status": 429, "times": 5},
]


@pytest.mark.parametrize("event", ["its own", "none"])
def test_a_submit_of_unknown_outcome_is_searched_for_at_the_retry_slot(portrait_at_own_ids: Any, event: str):
    """The answer was lost, then the status requests were rate-limited; and the API gives ids of its own."""
    sandbox, portrait, voice = portrait_at_own_ids
    sandbox.faults(*SEARCHED_IN_VAIN)
    ti = TaskInstance()
    trigger = rate_limit_submit(avatar(portrait, voice, deferrable=True), ti)
    assert trigger.in_doubt
    # After a second rate limit the outcome is unknown still.
    sandbox.faults({"on": "GET /generations/{id}/status", "status": 429, "times": 5})
    trigger = rate_limit_submit(avatar(portrait, voice, deferrable=True), ti, retry_slot(trigger))
    assert trigger.in_doubt
    with pytest.raises(TaskDeferred):
        avatar(portrait, voice, deferrable=True).execute_turn(
            context_of(ti), event=retry_slot(trigger) if event == "its own" else None
        )
    assert len(sandbox.submissions) == 1


@pytest.fixture
def portrait_at_own_ids(hedra_sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An API that gives every generation an id of its own, with a portrait and a voice."""
    sandbox = hedra_sandboxes.get(duplicate_id="ignore", seconds=600)
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", sandbox.connection)
    account = Account(sandbox, "sync")
    return sandbox, account.image, account.audio


FOREIGN_TEXTS = {
    "a NUL": "a\0b",
    "a name of Airflow's": "__classname__",
    "too long to keep": "x" * 60_000,
}


@pytest.mark.parametrize("text", FOREIGN_TEXTS)
def test_any_text_gets_through_the_triggerer(hedra_sandbox: Sandbox, portrait: str, voice: str, text: str):
    foreign = FOREIGN_TEXTS[text]
    fields = {"x_text": foreign, "x_fields": {foreign[:20]: 1}}
    operator = avatar(portrait, voice, deferrable=True, extra_request=fields, validate=False)
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    trigger = rate_limit_submit(operator, ti)
    event = retry_slot(trigger)
    # PostgreSQL's jsonb rejects a NUL, Airflow's serialization some names, and MySQL's column holds 64 KB.
    assert not any("\0" in str(value) or isinstance(value, dict) for value in event.values())
    assert len(json.dumps(trigger.serialize()[1])) < 45_000
    hedra_sandbox.faults()
    with pytest.raises(TaskDeferred):
        operator.execute_turn(context_of(ti), event=event)
    (row,) = hedra_sandbox.submissions
    assert {name: row["request"][name] for name in fields} == fields


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_limit_holds_for_what_a_batch_lacks_at_its_retry_slot(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    """One variation ran, the other was rate-limited. At the retry slot both are missing: the first failed."""
    failed = {"type": "INTERNAL", "message": "no luck"}
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": failed})
    with pytest.raises(TaskDeferred):
        avatar(portrait, voice, deferrable=True).execute(context_of(TaskInstance()))
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    operator = avatar(portrait, voice, deferrable=True, max_credits=3, extra_request={"batch_size": 2})
    trigger = rate_limit_submit(operator, ti)
    hedra_sandbox.faults()
    hedra_sandbox.advance(600)
    with pytest.raises(AirflowFailException, match="max_credits is 3"):
        operator.execute_turn(context_of(ti), event=retry_slot(trigger))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.parametrize("strange", ["another task's", "a generation's", "none", "newer"])
def test_an_event_that_is_not_its_own_submits_nothing_of_another(
    hedra_sandbox: Sandbox, portrait: str, voice: str, strange: str
):
    """SQLite gives a new trigger the id of a deleted one, whose event then comes here."""
    hedra_sandbox.faults(RATE_LIMITED)
    other = rate_limit_submit(
        avatar(portrait, voice, deferrable=True, text_prompt="Other"), TaskInstance(map_index=7)
    )
    hedra_sandbox.faults()
    event = {
        "another task's": retry_slot(other),
        "a generation's": {"version": 1, "generation_ids": ["g"], "outcome": "finished"},
        "none": None,
        "newer": retry_slot(other) | {"version": 99},
    }[strange]
    ti = TaskInstance()
    resume(avatar(portrait, voice, deferrable=True), ti, event)
    (row,) = hedra_sandbox.submissions
    assert row["request"]["generated_video_inputs"]["text_prompt"] != "Other"


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_retry_slot_of_another_wait_does_not_end_a_wait(hedra_sandbox: Sandbox, portrait: str, voice: str):
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as first:
        avatar(portrait, voice, deferrable=True, timeout=500).execute(context_of(ti))
    stray = HedraTurnTrigger(resume_at=0.0, end_time=0.0, refused_since=0.0, first_id="another")
    again = avatar(portrait, voice, deferrable=True, timeout=9000)
    kwargs = {**first.value.kwargs, "event": fire(stray)}
    with pytest.raises(TaskDeferred) as raised:
        again.resume_execution("execute_complete", kwargs, context_of(ti))
    assert isinstance(raised.value.trigger, HedraGenerationTrigger)
    assert raised.value.trigger.end_time == first.value.trigger.end_time


def test_a_retry_slot_of_another_task_does_not_extend_the_deadline(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    hedra_sandbox.faults(RATE_LIMITED)
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as first:
        avatar(portrait, voice, deferrable=True, timeout=5000).execute(context_of(ti))
    stray = HedraTurnTrigger(resume_at=0.0, end_time=0.0, refused_since=0.0, first_id="another")
    again = avatar(portrait, voice, deferrable=True, timeout=5000)
    kwargs = {"end_time": first.value.kwargs["end_time"] - 100, "event": fire(stray)}
    with pytest.raises(TaskDeferred) as raised:
        again.resume_execution("execute_turn", kwargs, context_of(ti))
    assert raised.value.trigger.end_time == pytest.approx(first.value.trigger.end_time - 100)


def test_a_connection_that_can_not_work_any_more_fails_at_once(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    hedra_sandbox.faults(RATE_LIMITED)
    event = retry_slot(rate_limit_submit(avatar(portrait, voice, deferrable=True), TaskInstance()))
    without_key = json.loads(hedra_sandbox.connection) | {"password": ""}
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(without_key))
    with pytest.raises(AirflowFailException, match=r"API key. is empty"):
        avatar(portrait, voice, deferrable=True).execute_turn(context_of(TaskInstance()), event=event)


@pytest.mark.parametrize(
    ("in_doubt", "says"),
    [
        (False, "A rate-limited submit costs nothing."),
        (True, "may be paid for. After a clear, the task first searches for it"),
    ],
)
def test_a_task_stopped_during_its_wait_logs_what_may_be_paid(logged: Logged, in_doubt: bool, says: str):
    trigger = HedraTurnTrigger(
        resume_at=0.0, end_time=0.0, refused_since=0.0, first_id="one", in_doubt=in_doubt
    )
    asyncio.run(trigger.on_kill())
    assert says in logged()


def test_it_is_made_again_from_what_it_serializes():
    original = HedraTurnTrigger(
        resume_at=1.5,
        end_time=9.5,
        refused_since=0.5,
        first_id="g",
        request='{"type": "video"}',
        cost="2 credits",
    )
    path, kwargs = original.serialize()
    assert path == "hedra_provider.triggers.HedraTurnTrigger"
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert HedraTurnTrigger(**kwargs).serialize() == original.serialize()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the triggers sleep, in seconds, which is noted and not slept."""
    from hedra_provider import triggers

    noted: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        noted.append(round(seconds))
        await real(0)

    # Only theirs: the sandbox's server has a loop in this process too.
    monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    # All of them come at one moment, however long the machine takes over it.
    monkeypatch.setattr(triggers, "time", SimpleNamespace(time=time.time, monotonic=lambda: 1000.0))
    return noted


def all_at_once(connections: list[str], end_time: float) -> None:
    """Let the retry slots of connections come together."""
    waiting = [
        HedraTurnTrigger(
            resume_at=0.0, end_time=end_time, refused_since=0.0, first_id="g", hedra_conn_id=conn
        )
        for conn in connections
    ]

    async def fired() -> None:
        await asyncio.gather(*(anext(trigger.run()) for trigger in waiting))

    asyncio.run(fired())


def test_tasks_of_one_connection_go_one_after_the_other(slept: list[float]):
    all_at_once(["one"] * 4 + ["other"] * 4, end_time=time.time() + 600)
    assert sorted(slept[8:]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_however_many_wait_a_retry_slot_comes_before_the_deadline(slept: list[float]):
    all_at_once(["one"] * 90, end_time=time.time() + 60)
    assert max(slept) <= 60


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.1, 10))
def test_retry_slots_are_apart_and_in_order(arrivals: list[float], gap: float):
    slots = rate_limit.RetrySlots(gap)
    times = [now + slots.take(now) for now in sorted(arrivals)]
    assert all(time >= now for time, now in zip(times, sorted(arrivals), strict=True))
    assert all(later - earlier >= gap * 0.999 for earlier, later in pairwise(times))


@given(st.floats(0, 1e6), st.none() | st.floats(0, 86_400), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_shorter_than_asked_for(waited: float, retry_after: float | None, chance: float):
    delay = rate_limit.retry_slot_delay_seconds(waited=waited, retry_after=retry_after, jitter=chance)
    assert max(15.0, retry_after or 0.0) <= delay <= 1.25 * max(300.0, retry_after or 0.0)
