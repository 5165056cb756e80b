"""The poller over real HTTP with a v3 key: pages, results, and the budget that the headers set."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider import poller
from hedra_provider.api.errors import HedraAuthenticationError, HedraNotFoundError
from tests.polling.fake_jobs import FakeJobs
from tests.polling.over_http import CONNECTION, MovedClock, all_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def jobs() -> Iterator[FakeJobs]:
    with FakeJobs() as fake:
        yield fake


@pytest.fixture
def clock(jobs: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    monkeypatch.setenv(CONNECTION, connection(jobs, jobs.key))
    return MovedClock(jobs, monkeypatch)  # type: ignore[arg-type]


def connection(jobs: FakeJobs, key: str, **extra: Any) -> str:
    return json.dumps({"conn_type": "hedra", "host": jobs.url, "password": key, "extra": extra})


def wait_for(ids: list[str], **changes: Any) -> list[Any]:
    options = {"poll_interval": 15.0, "first_poll_after": 3.0} | changes
    return asyncio.run(asyncio.wait_for(all_of(ids, **options), 60))


def gaps(jobs: FakeJobs) -> list[float]:
    at = [when for when, _, _ in jobs.requests]
    return [later - earlier for earlier, later in itertools.pairwise(at)]


def test_one_job_is_polled_by_its_status_and_its_result_is_read_once(jobs: FakeJobs, clock: MovedClock):
    jobs.ends_at = {"job_1": 40.0}
    (result,) = wait_for(["job_1"])
    assert (result.id, result.status, result.asset_id) == ("job_1", "complete", "asset_job_1")
    assert (result.cost, result.currency) == (Decimal("0.25"), "USD")
    assert Counter(jobs.kinds()) == {"status": 4, "result": 1}


def test_many_jobs_share_pages_within_the_budget(jobs: FakeJobs, clock: MovedClock):
    jobs.ends_at = {f"job_{number}": 60.0 + number / 3 for number in range(110)}
    ids = list(jobs.ends_at)
    results = wait_for(ids)
    assert [result.asset_id for result in results] == [f"asset_{one}" for one in ids]
    kinds = Counter(jobs.kinds())
    # Only a row of a page has the time of the submit: a job whose end a status request showed lacks it.
    on_pages = [result for result in results if result.created_at]
    assert len(on_pages) >= len(results) - kinds["status"]
    assert all(result.expires_at for result in on_pages)
    assert kinds["result"] == 110
    assert kinds["page"] < 60
    assert kinds["status"] < 20
    assert {status for _, _, status in jobs.requests} == {200}
    assert min(gaps(jobs)) > 1.9


def test_the_budget_follows_the_limit_that_hedra_names(jobs: FakeJobs, clock: MovedClock):
    jobs.limit = 600
    jobs.ends_at = {f"job_{number}": 30.0 for number in range(60)}
    wait_for(list(jobs.ends_at))
    # Half of it are five requests a second.
    results = gaps(jobs)[-50:]
    assert sum(results) / len(results) < 0.25


def test_the_connection_sets_the_budget(jobs: FakeJobs, clock: MovedClock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CONNECTION, connection(jobs, jobs.key, requests_per_minute=6))
    jobs.ends_at = {f"job_{number}": 30.0 for number in range(6)}
    wait_for(list(jobs.ends_at))
    assert min(gaps(jobs)) > 9.9


def test_it_leaves_a_third_of_each_window_to_workers(jobs: FakeJobs, clock: MovedClock):
    jobs.others = dict.fromkeys(range(3), 35)
    jobs.ends_at = {f"job_{number}": 30.0 for number in range(40)}
    wait_for(list(jobs.ends_at))
    of_polls = Counter(int(when // 60) for when, _, _ in jobs.requests)
    assert {status for _, _, status in jobs.requests} == {200}
    assert all(of_polls[window] <= 7 for window in range(3))
    assert of_polls[3] > 20


def test_a_429_pauses_until_the_reset_and_fails_no_wait(jobs: FakeJobs, clock: MovedClock):
    jobs.others = {0: 60}
    jobs.ends_at = {f"job_{number}": 30.0 for number in range(5)}
    lines: list[str] = []
    results = wait_for(list(jobs.ends_at), lines=lines)
    assert all(result.is_complete for result in results)
    limited = [when for when, _, status in jobs.requests if status == 429]
    assert len(limited) == 1
    assert jobs.requests[1][0] >= 59
    assert any("does not count as a failure" in line for line in lines)


def test_a_job_that_hedra_does_not_know_ends_alone(jobs: FakeJobs, clock: MovedClock):
    jobs.ends_at = {f"job_{number}": 300.0 for number in range(10)}
    *known, unknown = wait_for([*jobs.ends_at, "job_wrong"])
    assert all(result.is_complete for result in known)
    assert isinstance(unknown, HedraNotFoundError)
    assert unknown.generation_id == "job_wrong"


@pytest.mark.parametrize("is_right", [True, False])
def test_a_rotated_key_is_read_again_once_for_all(
    jobs: FakeJobs, clock: MovedClock, monkeypatch: pytest.MonkeyPatch, is_right: bool
):
    jobs.ends_at = {f"job_{number}": 60.0 for number in range(10)}

    def all_have_come() -> bool:
        if clock.come < 10:
            return False
        jobs.key = "id:rotated"
        monkeypatch.setenv(CONNECTION, connection(jobs, jobs.key if is_right else "id:wrong"))
        clock.moves_when = lambda: True
        return True

    clock.moves_when = all_have_come
    results = wait_for(list(jobs.ends_at))
    if is_right:
        assert all(result.is_complete for result in results)
    else:
        assert {type(result) for result in results} == {HedraAuthenticationError}
        assert len({id(result) for result in results}) == 10
    assert sum(status == 401 for _, _, status in jobs.requests) == (1 if is_right else 2)


def test_a_wait_whose_job_has_ended_does_not_time_out_while_results_queue(
    jobs: FakeJobs, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.polling import wait as wait_module

    monkeypatch.setattr(wait_module, "LAST_POLL_SECONDS", 0.2)
    monkeypatch.setattr(FakeJobs, "_result", lambda *arguments: (503, {"error": {"code": "UNAVAILABLE"}}))
    jobs.ends_at = {"job_1": 0.0}
    started = poller.CLOCK.now()
    (result,) = asyncio.run(all_of(["job_1"], deadline=0.0, poll_interval=15.0, first_poll_after=0.0))
    assert result.status == "complete"
    assert poller.CLOCK.now() - started < 600
