"""Runs the planner of v3 on a simulated clock against a simulated API with a limit of requests a minute."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from hedra_provider.api.errors import HedraBadRequestError, HedraError, HedraRateLimitError
from hedra_provider.polling.job_planner import JobPlanner
from hedra_provider.polling.job_poll import PAGE_ROWS, JobPoll, JobPollKind, JobRows
from hedra_provider.records import COMPLETE, USD, Generation
from testbed.simulation import EPOCH, Made, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.polling.base_planner import BasePlanner

WINDOW_SECONDS = 60.0


def job_id(number: int) -> str:
    """Return the id of the n-th job."""
    return f"job_{UUID(int=number + 1)}"


@dataclass
class JobWorld(World):
    """
    A clock, the v3 API and a poller.

    :param limit: Requests in a window of a minute, above which the API answers 429.
    :param requests_per_minute: The budget of the connection; None means the default.
    :param shows_limit: Whether each answer has the headers of the rate limit; False: only a 429 has them.
    :param cursor_seconds: After how many seconds a cursor lapses; None means never.
    :param worker_requests: The times at which workers send a request with the same key, sorted.
    """

    limit: int = 60
    requests_per_minute: float | None = None
    shows_limit: bool = True
    cursor_seconds: float | None = None
    worker_requests: list[float] = field(default_factory=list)
    sent: list[tuple[float, JobPollKind]] = field(default_factory=list)
    windows: Counter[int] = field(default_factory=Counter)
    erased: set[str] = field(default_factory=set)
    change: Callable[[JobPoll, JobRows], JobRows] = lambda poll, answer: answer
    known_at: dict[str, float] = field(default_factory=dict)
    """When an answer first showed the end of a job."""

    def _make_planner(self) -> BasePlanner:
        return JobPlanner(self.chance, self.requests_per_minute)

    def make(self, number: int, *, begins: float = 0.0, seconds: float, status: str = COMPLETE) -> str:
        """Add a job to the API."""
        self.made[job_id(number)] = Made(begins, begins + seconds, status)
        return job_id(number)

    def _send(self, poll: JobPoll) -> None:  # type: ignore[override]
        self._in_flight += 1
        self.sent.append((self.now, poll.kind))
        if self.keep:
            self.polls.append(poll)  # type: ignore[arg-type]
        answer: JobRows | HedraError = self._count() or self.trouble(poll) or self._answer(poll)  # type: ignore[arg-type]

        def arrive() -> None:
            self._in_flight -= 1
            is_limited = isinstance(answer, HedraRateLimitError)
            if self.shows_limit or is_limited:
                used = self.windows[int(self.now // WINDOW_SECONDS)]
                self.planner.limits_shown(
                    limit=self.limit,
                    remaining=max(self.limit - used, 0),
                    reset_seconds=WINDOW_SECONDS - self.now % WINDOW_SECONDS,
                    now=self.now,
                )
            if isinstance(answer, HedraError):
                self.planner.on_error(poll, answer, self.now)
                return
            for row in answer.rows:
                if row.is_finished:
                    self.known_at.setdefault(row.id, self.now)
            self.planner.on_answer(poll, answer, self.now)

        self.at(self.now + self.latency, arrive)

    def _count(self) -> HedraError | None:
        """Count a request in its window; return the 429 of one too many."""
        while self.worker_requests and self.worker_requests[0] <= self.now:
            self.windows[int(self.worker_requests.pop(0) // WINDOW_SECONDS)] += 1
        window = int(self.now // WINDOW_SECONDS)
        self.windows[window] += 1
        if self.windows[window] <= self.limit:
            return None
        self.rate_limited += 1
        left = (window + 1) * WINDOW_SECONDS - self.now
        return HedraRateLimitError("slow down", status_code=429, retryable=True, retry_after=left)

    def _answer(self, poll: JobPoll) -> JobRows | HedraError:
        if poll.kind is not JobPollKind.PAGE:
            ids = [one for one in poll.ids if self._exists(one)]
            has_result = poll.kind is JobPollKind.RESULT
            return self.change(poll, JobRows([self.job(one, has_result=has_result) for one in ids]))
        begins, after = None, ""
        if poll.cursor is not None:
            made_at, begins_text, after = poll.cursor.split("/")
            if self.cursor_seconds is not None and self.now - float(made_at) > self.cursor_seconds:
                return HedraBadRequestError("cursor expired", status_code=400, retryable=False)
            begins = float(begins_text)
        there = [
            (made.begins, one) for one, made in self.made.items() if self._exists(one) and self.shows(one)
        ]
        newest = sorted(there, reverse=True)
        if begins is not None:
            newest = [row for row in newest if row < (begins, after)]
        page = list(itertools.islice(newest, PAGE_ROWS))
        cursor = f"{self.now}/{page[-1][0]!r}/{page[-1][1]}" if len(newest) > PAGE_ROWS else None
        return self.change(poll, JobRows([self.job(one) for _, one in page], cursor))

    def _exists(self, id_: str) -> bool:
        return id_ in self.made and self.made[id_].begins <= self.now and id_ not in self.erased

    def job(self, id_: str, *, has_result: bool = False) -> Generation:
        """Return the API's current row of a job."""
        made = self.made[id_]
        is_done = self.now >= made.ends
        has_file = is_done and has_result and made.status == COMPLETE
        return Generation(
            id=id_,
            status=made.status if is_done else "processing",
            created_at=datetime.fromtimestamp(EPOCH + made.begins, UTC).isoformat(),
            asset_id=f"asset-{id_}" if has_file else None,
            error={"code": "INTERNAL"} if is_done and has_result and made.status == "error" else None,
            cost=1 if is_done and has_result else None,
            currency=USD if is_done and has_result else None,
        )

    def kinds(self) -> Counter[JobPollKind]:
        """Return how many requests of each kind were sent."""
        return Counter(kind for _, kind in self.sent)

    def delays(self) -> list[float]:
        """Return the seconds from each job's end to the end of its wait, sorted."""
        noticed = [
            at - self.made[one].ends
            for one, (at, result) in self.ended.items()
            if not isinstance(result, BaseException)
        ]
        return sorted(noticed)

    def detection_delays(self) -> list[float]:
        """Return the seconds from each job's end to the answer that showed it, sorted."""
        return sorted(at - self.made[one].ends for one, at in self.known_at.items() if one in self.ended)
