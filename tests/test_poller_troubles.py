"""What goes wrong while the poller waits, over real HTTP: rejected keys, broken answers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider import connection
from hedra_provider.api.errors import (
    HedraAuthenticationError,
    HedraConfigurationError,
    HedraError,
    HedraProtocolError,
    HedraServerError,
    HedraTransportError,
    HedraWaitTimeoutError,
)
from tests.polling.over_http import CONNECTION, STATUS, TASK, MovedClock, all_of, polls, submit, until, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


@pytest.fixture
def clock(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock(hedra_sandbox, monkeypatch)


# The key


class Rotation:
    """The key changes when everybody has come with the old one; then the first poll is sent."""

    def __init__(
        self, sandbox: Sandbox, clock: MovedClock, patch: pytest.MonkeyPatch, waiting: int, **connections: str
    ) -> None:
        self.read: list[tuple[str, str]] = []
        original = connection.read_async

        async def noted(conn_id: str) -> Any:
            self.read.append((conn_id, TASK.get()))
            return await original(conn_id)

        def all_have_come() -> bool:
            if clock.come < waiting:
                return False
            sandbox.change_key("rotated")
            for name, value in connections.items():
                patch.setenv(f"AIRFLOW_CONN_{name.upper()}", value)
            clock.moves_when = lambda: True
            return True

        patch.setattr(connection, "read_async", noted)
        clock.moves_when = all_have_come


def with_key(sandbox: Sandbox, key: str) -> str:
    return json.dumps(json.loads(sandbox.connection) | {"password": key})


@pytest.mark.hedra_sandbox(seconds=30, media=False)
def test_a_rotated_key_is_read_again_once_for_all(
    hedra_sandbox: Sandbox, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
):
    ids = submit(20)
    new = with_key(hedra_sandbox, "rotated")
    rotation = Rotation(hedra_sandbox, clock, monkeypatch, 20, hedra_default=new)

    async def rotated() -> list[Any]:
        TASK.set("mine")
        return await all_of(ids)

    results = asyncio.run(rotated())
    assert [result.id for result in results] == ids
    # Once for the twenty that come together, and once when the key is rejected; in an empty context.
    assert rotation.read == [("hedra_default", "nobody's")] * 2
    assert sum(row["status"] == 401 for row in hedra_sandbox.requests("GET")) == 1


@pytest.mark.hedra_sandbox(seconds=30, media=False)
@pytest.mark.parametrize("key", ["the-old-one", "another"])
def test_a_key_that_stays_rejected_fails_all_waits(
    hedra_sandbox: Sandbox, clock: MovedClock, monkeypatch: pytest.MonkeyPatch, key: str
):
    ids = submit(20)
    hedra_sandbox.change_key("the-old-one")
    old, new = with_key(hedra_sandbox, "the-old-one"), with_key(hedra_sandbox, key)
    monkeypatch.setenv(CONNECTION, old)
    rotation = Rotation(hedra_sandbox, clock, monkeypatch, 20, hedra_default=new)
    began = len(hedra_sandbox.ledger()["requests"])
    results = asyncio.run(all_of(ids))
    assert {type(result) for result in results} == {HedraAuthenticationError}
    assert [result.generation_id for result in results] == ids
    assert [row["status"] for row in polls(hedra_sandbox, began)] == [401, 401]
    assert len(rotation.read) == 2


@pytest.mark.hedra_sandbox(seconds=30, media=False)
def test_only_waits_of_a_rotated_connection_get_another_poller(
    hedra_sandbox: Sandbox, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
):
    # Connections that say the same share a poller.
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_TWIN", hedra_sandbox.connection)
    ids = submit(4)
    new = with_key(hedra_sandbox, "rotated")
    Rotation(hedra_sandbox, clock, monkeypatch, 4, hedra_twin=new)
    began = len(hedra_sandbox.ledger()["requests"])

    async def both() -> list[Any]:
        stay = all_of(ids[:2])
        move = all_of(ids[2:], hedra_conn_id="hedra_twin")
        return await asyncio.gather(stay, move)

    stayed, moved = asyncio.run(both())
    assert {type(result) for result in stayed} == {HedraAuthenticationError}
    assert [result.id for result in moved] == ids[2:]
    first = polls(hedra_sandbox, began)[0]
    assert [one in first["query"] for one in ids] == [True] * 4


# What goes wrong on the way

FAULTS = {
    "cut": {"reset": True},
    "half an answer": {"cut_at": 40},
    "500": {"status": 500},
    "503": {"status": 503},
    "nonsense": {"body": "<html>busy</html>"},
    "not a page": {"body": {"data": [{"no": "id"}]}},
}


@pytest.mark.hedra_sandbox(seconds=20, media=False)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_broken_answer_is_survived(hedra_sandbox: Sandbox, clock: MovedClock, fault: dict[str, Any]):
    ids = submit(4)
    lines: list[str] = []
    hedra_sandbox.faults({"on": "GET /generations", "times": 1, **fault})
    results = asyncio.run(all_of(ids, lines=lines))
    assert [result.id for result in results] == ids
    # Each wait that shared the broken request logs it.
    assert any("failure 1 of 8" in line for line in lines)


@pytest.mark.hedra_sandbox(seconds=9e9, media=False)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 503}, HedraServerError),
        ({"reset": True}, HedraTransportError),
        ({"body": "?"}, HedraProtocolError),
    ],
)
def test_an_endless_outage_reaches_all_waits(
    hedra_sandbox: Sandbox, clock: MovedClock, fault: dict[str, Any], kind: type[HedraError]
):
    ids = submit(3)
    hedra_sandbox.faults({"on": "*", "times": None, **fault})
    results = asyncio.run(all_of(ids, deadline=time.time() + 90_000))
    assert {type(result) for result in results} == {kind}
    assert all("8 polls in a row" in str(result) for result in results)
    assert [result.generation_id for result in results] == ids


@pytest.mark.hedra_sandbox(media=False)
def test_a_slow_request_delays_no_other_generation(hedra_sandbox: Sandbox):
    slow, quick = submit(2)
    hedra_sandbox.faults({"on": f"GET /generations/{slow}/status", "delay_seconds": 20.0})

    async def race() -> None:
        first = asyncio.ensure_future(wait(slow, first_poll_after=0.0))
        await until(lambda: bool(hedra_sandbox.requests("GET", STATUS)))
        result = await wait(quick, first_poll_after=0.0)
        assert result.is_complete
        assert not first.done()
        first.cancel()

    asyncio.run(race())


def test_a_wait_ends_at_its_deadline_also_while_rate_limited(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.polling import wait as wait_module

    monkeypatch.setattr(wait_module, "LAST_POLL_SECONDS", 0.05)
    (one,) = submit(1)
    hedra_sandbox.faults(
        {"on": "*", "times": None, "status": 429, "headers": {"Retry-After": "3600"}, "body": {}}
    )
    (result,) = asyncio.run(all_of([one], deadline=time.time() + 0.05, first_poll_after=0.0))
    assert isinstance(result, HedraWaitTimeoutError)
    assert result.generation_id == one


def test_an_unexpected_error_reaches_its_waits(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    from hedra_provider.polling.planner import Planner

    def broken(self: Planner, now: float) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Planner, "next_poll", broken)
    results = asyncio.run(all_of(submit(2)))
    assert ["The poller failed: ZeroDivisionError" in str(result) for result in results] == [True, True]
    assert all(isinstance(result, HedraError) and result.retryable for result in results)


@pytest.mark.hedra_sandbox(seconds=20, media=False)
@pytest.mark.parametrize("field", ["progress", "eta_sec"])
@pytest.mark.parametrize("number", ["NaN", "1e999"])
def test_an_absurd_number_in_an_answer_is_survived(
    hedra_sandbox: Sandbox, clock: MovedClock, field: str, number: str
):
    (one,) = submit(1)
    odd = f'{{"id": "{one}", "status": "processing", "{field}": {number}}}'
    hedra_sandbox.faults({"on": "GET /generations/{id}/status", "times": 1, "body": odd})
    (result,) = asyncio.run(asyncio.wait_for(all_of([one]), 10))
    assert result.is_complete


@pytest.mark.hedra_sandbox(seconds=20, media=False)
def test_an_answer_that_breaks_the_poller_ends_no_wait(
    hedra_sandbox: Sandbox, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.polling.planner import Planner

    ids = submit(20)
    settle = Planner._settle

    def broken(self: Planner, tracked: Any, row: Any, *rest: Any) -> None:
        if row.id == ids[7] and not row.is_finished:
            raise ZeroDivisionError("a bug")
        settle(self, tracked, row, *rest)

    monkeypatch.setattr(Planner, "_settle", broken)
    results = asyncio.run(asyncio.wait_for(all_of(ids), 20))
    assert [result.id for result in results] == ids


@pytest.mark.hedra_sandbox(seconds=30, media=False)
def test_a_connection_that_is_deleted_fails_each_wait_with_its_own_error(
    hedra_sandbox: Sandbox, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
):
    """An exception that is raised more than once collects the tracebacks of all."""
    ids = submit(3)
    Rotation(hedra_sandbox, clock, monkeypatch, 3, hedra_default=json.dumps({"conn_type": "hedra"}))
    results = asyncio.run(all_of(ids))
    assert {type(result) for result in results} == {HedraConfigurationError}
    assert len({id(result) for result in results}) == 3
    assert [result.generation_id for result in results] == ids
