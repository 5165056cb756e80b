"""The poller over real HTTP: many waits, which begin and end at different times."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider import poller
from hedra_provider.api import calls
from hedra_provider.hooks import HedraHook
from hedra_provider.triggers import HedraGenerationTrigger
from tests.polling.over_http import STATUS, TASK, MovedClock, all_of, polls, submit, tasks, until, wait

if TYPE_CHECKING:
    from hedra_provider.records import Generation
    from hedra_provider.testing import Sandbox


@pytest.fixture
def clock(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock(hedra_sandbox, monkeypatch)


# Many


@pytest.mark.hedra_sandbox(seconds=20, media=False)
def test_300_generations_are_polled_together(hedra_sandbox: Sandbox, clock: MovedClock):
    ids = submit(300)
    began = len(hedra_sandbox.ledger()["requests"])
    results = asyncio.run(all_of(ids))
    assert [result.id for result in results] == ids
    assert all(result.is_complete and result.asset_id for result in results)
    asked = polls(hedra_sandbox, began)
    # The last one may be alone.
    assert sum(row["path"] != "/generations" for row in asked) <= 2
    assert {row["status"] for row in asked} == {200}
    # Three requests of 100 ids a tick, for 20 ticks.
    assert len(asked) <= 20 * 4
    assert len({row["connection"] for row in asked}) <= 4


@pytest.mark.hedra_sandbox(seconds=20, media=False, batch=False)
def test_300_generations_are_read_from_pages_if_ids_are_ignored(
    hedra_sandbox: Sandbox, clock: MovedClock, caplog: pytest.LogCaptureFixture
):
    submit(50)
    hedra_sandbox.advance(100)
    ids = submit(300)
    began = len(hedra_sandbox.ledger()["requests"])
    results = asyncio.run(all_of(ids))
    assert [result.id for result in results] == ids
    asked = polls(hedra_sandbox, began)
    assert sum("ids=" in row["query"] for row in asked) <= 4
    assert any("created_after=" in row["query"] for row in asked)
    # One by one it would be 6,000.
    assert len(asked) <= 20 * 10
    assert [line for line in caplog.messages if "does not honour `ids`" in line]


@pytest.mark.hedra_sandbox(seconds=100, media=False, rate=2)
def test_a_rate_limit_slows_all_waits_and_fails_none(hedra_sandbox: Sandbox, clock: MovedClock):
    ids = submit(40, hedra_sandbox)
    hedra_sandbox.faults({"on": "GET /generations", "status": 429, "headers": {"Retry-After": "5"}})
    began = len(hedra_sandbox.ledger()["requests"])
    lines: list[str] = []
    results = asyncio.run(all_of(ids, lines=lines))
    assert [result.id for result in results] == ids
    asked = polls(hedra_sandbox, began)
    first = next(number for number, row in enumerate(asked) if row["status"] == 429)
    assert asked[first + 1]["at"] - asked[first]["at"] >= 5
    assert sum(row["status"] == 429 for row in asked) <= 3
    assert any("limits the rate" in line for line in lines)


@pytest.mark.hedra_sandbox(seconds=20, media=False)
def test_a_single_generation_is_polled_by_the_status_endpoint(hedra_sandbox: Sandbox, clock: MovedClock):
    (one,) = submit(1)
    lines: list[str] = []
    result = asyncio.run(asyncio.wait_for(wait(one, poll_interval=15.0, lines=lines), 60))
    assert result.is_complete
    assert len(hedra_sandbox.requests("GET", STATUS)) == 3
    assert not hedra_sandbox.requests("GET", "/generations")
    assert "processing" in lines[0]
    assert "complete" in lines[-1]


@pytest.mark.hedra_sandbox(seconds=5, media=False)
def test_the_event_of_a_trigger_does_not_depend_on_other_waits(hedra_sandbox: Sandbox, clock: MovedClock):
    ids = submit(3)

    async def fire() -> list[Any]:
        triggers = [
            HedraGenerationTrigger(generation_ids=[one], end_time=time.time() + 60, poll_interval=1.0)
            for one in ids
        ]
        return await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))

    events = [event.payload for event in asyncio.run(fire())]
    with HedraHook().get_conn() as client:
        for event, one in zip(events, ids, strict=True):
            status = client.run(calls.get_status(one))
            assert status is not None
            (facts,) = event["generations"]
            assert (facts["id"], facts["asset_id"], facts["type"], event["outcome"]) == (
                status.id, status.asset_id, status.type, "finished",
            )  # fmt: skip
    assert hedra_sandbox.requests("GET", "/generations")


@pytest.mark.hedra_sandbox(seconds=5, media=False)
def test_one_answer_that_ends_many_waits_wakes_a_few_at_a_time(hedra_sandbox: Sandbox):
    ids = submit(60)
    hedra_sandbox.advance(60)
    ended = 0
    at_once: list[int] = []

    async def one(generation_id: str) -> None:
        nonlocal ended
        await wait(generation_id, first_poll_after=0.05, poll_interval=60.0)
        ended += 1

    async def all_of_them() -> None:
        waiting = [asyncio.ensure_future(one(generation_id)) for generation_id in ids]
        while not all(task.done() for task in waiting):
            before = ended
            await asyncio.sleep(0)
            at_once.append(ended - before)

    asyncio.run(all_of_them())
    assert [row["status"] for row in hedra_sandbox.requests("GET", "/generations")] == [200]
    assert (sum(at_once), max(at_once)) == (60, poller.WOKEN_TOGETHER)


# Who comes and goes


def are_gone(loops: list[weakref.ref[Any]]) -> bool:
    # Airflow's look-up holds the last loop that it ran on: let that be another.
    asyncio.run(HedraHook().get_async_settings())
    gc.collect()
    return all(loop() is None for loop in loops)


@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_a_cancelled_wait_cancels_no_other(hedra_sandbox: Sandbox):
    one, two = submit(2)

    async def cancelled() -> Generation:
        first = asyncio.ensure_future(wait(one, poll_interval=0.05, first_poll_after=0.0))
        second = asyncio.ensure_future(wait(two, poll_interval=0.05, first_poll_after=0.0))
        await until(lambda: bool(hedra_sandbox.requests("GET", "/generations")))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        hedra_sandbox.advance(3600)
        return await second

    assert asyncio.run(cancelled()).is_complete


@pytest.mark.hedra_sandbox(seconds=3600, media=False)
@pytest.mark.parametrize("is_asking", [True, False])
def test_it_ends_with_the_last_wait_and_closes_its_connections(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, is_asking: bool
):
    from hedra_provider.api.client import AsyncHedraClient

    clients: list[AsyncHedraClient] = []
    original = poller._client

    async def kept(settings: Any) -> AsyncHedraClient:
        clients.append(await original(settings))
        return clients[-1]

    monkeypatch.setattr(poller, "_client", kept)
    ids = submit(2)
    if is_asking:
        # Of two that come one after the other, the first may be asked for alone.
        hedra_sandbox.faults(
            *({"on": request, "delay_seconds": 20.0} for request in ("GET /generations", f"GET {STATUS}"))
        )
    began = len(hedra_sandbox.requests())

    async def all_leave() -> None:
        waiting = asyncio.ensure_future(all_of(ids, first_poll_after=0.0, poll_interval=60.0))
        if is_asking:
            await until(lambda: len(hedra_sandbox.requests()) > began)
        else:
            await until(lambda: "hedra-poller" in tasks() and bool(clients))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: not tasks())
        assert [client.http.is_closed for client in clients] == [True]
        # The next one gets a poller that lives.
        hedra_sandbox.faults()
        hedra_sandbox.advance(3600)
        assert (await wait(ids[0], first_poll_after=0.0)).is_complete
        assert len(clients) == 2

    asyncio.run(all_leave())


def test_a_wait_that_begins_while_it_ends_gets_another_poller(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.api.client import AsyncHedraClient

    ids, closing = submit(2), []
    original = AsyncHedraClient.aclose

    async def slowly(client: AsyncHedraClient) -> None:
        closing.append(client)
        if len(closing) == 1:
            await asyncio.sleep(3600)
        await original(client)

    monkeypatch.setattr(AsyncHedraClient, "aclose", slowly)

    async def one_after_the_other() -> None:
        await wait(ids[0], first_poll_after=0.0)
        await until(lambda: len(closing) == 1)
        result = await asyncio.wait_for(wait(ids[1], first_poll_after=0.0), 20)
        assert result.is_complete

    asyncio.run(one_after_the_other())


def test_each_loop_has_its_own_poller_and_is_freed(hedra_sandbox: Sandbox):
    ids = submit(2)
    results: list[Any] = []
    loops: list[weakref.ref[Any]] = []

    async def wait_here(one: str) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        results.append(await wait(one))

    def run(one: str) -> None:
        asyncio.run(wait_here(one))

    threads = [threading.Thread(target=run, args=(one,)) for one in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(result.id for result in results) == sorted(ids)
    assert are_gone(loops)


@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_a_loop_that_ends_during_a_wait_is_freed(hedra_sandbox: Sandbox):
    (one,) = submit(1)

    loops: list[weakref.ref[Any]] = []

    async def killed() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        waiting = asyncio.ensure_future(wait(one, first_poll_after=0.0))
        await until(lambda: bool(hedra_sandbox.requests("GET", STATUS)))
        assert not waiting.done()

    asyncio.run(killed())
    assert are_gone(loops)


@pytest.mark.hedra_sandbox(seconds=10, media=False)
def test_each_wait_logs_its_own_updates_in_its_own_context(hedra_sandbox: Sandbox, clock: MovedClock):
    ids = submit(3)
    hedra_sandbox.faults({"on": "GET /generations", "status": 503})
    lines: list[tuple[str, str]] = []

    async def one_task(generation_id: str) -> None:
        TASK.set(generation_id)

        def log(line: str) -> None:
            lines.append((TASK.get(), line))

        await wait(generation_id, log=log, warn=log)

    async def all_tasks() -> None:
        await asyncio.gather(*(one_task(one) for one in ids))

    asyncio.run(all_tasks())
    failed = 0
    for one in ids:
        own = [line for task, line in lines if task == one]
        assert all(one in line for line in own)
        failed += "failure 1 of 8" in own[0]
        assert "complete" in own[-1]
    # The first one may have been asked for alone, before the others came.
    assert failed >= 2
    assert {task for task, _ in lines} == set(ids)


@pytest.mark.hedra_sandbox(seconds=10, media=False)
def test_two_waits_for_one_generation_share_its_polls(hedra_sandbox: Sandbox, clock: MovedClock):
    (one,) = submit(1)
    results = asyncio.run(all_of([one, one.upper()], poll_interval=5.0, first_poll_after=5.0))
    assert [result.is_complete for result in results] == [True, True]
    assert len(hedra_sandbox.requests("GET", STATUS)) <= 3


@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_a_trigger_of_several_waits_for_none_of_them_when_one_is_rejected(hedra_sandbox: Sandbox):
    ids = [*submit(2), "no-uuid"]
    hedra_sandbox.faults({"on": "GET /generations/no-uuid/status", "status": 403})

    async def fire() -> Any:
        trigger = HedraGenerationTrigger(generation_ids=ids, end_time=time.time() + 60, poll_interval=0.05)
        event = await anext(trigger.run())
        await until(lambda: not tasks())
        return event.payload

    event = asyncio.run(fire())
    assert event["outcome"] == "failed"
    assert event["failure"]["kind"] == "HedraPermissionError"
    assert event["failure"]["generation_id"] == "no-uuid"
