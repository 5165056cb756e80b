"""Runs the poller's planner on a simulated clock against a simulated API: no sockets, no sleep, no chance."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from hedra_provider.api.errors import HedraError, HedraRateLimitError
from hedra_provider.polling.planner import Planner
from hedra_provider.polling.poll import PAGE_ROWS, Poll, PollKind
from hedra_provider.polling.tracked import Ended, Subscription, Update
from hedra_provider.records import Generation

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.polling.base_planner import BasePlanner

IN_FLIGHT = 4
EPOCH = 1_800_000_000.0


def generation_id(number: int) -> str:
    """Return the id of the n-th generation."""
    return str(UUID(int=number + 1))


@dataclass
class Made:
    """A generation at the simulated API, with its start and its end."""

    begins: float
    ends: float
    status: str = "complete"


@dataclass
class World:
    """
    A clock, an API and a poller.

    :param latency: Seconds from a request to its answer, which has the state at the end of that time.
    :param honours_ids: Whether the list filters by ``ids``.
    :param shows: Returns whether the list shows a generation.
    :param rate: Requests per second, above which the API answers 429; None means no limit.
    :param retry_after: Seconds of a 429's ``Retry-After``.
    :param eta: Whether running generations have an ``eta_sec``, with an error of at most a tenth.
    :param trouble: Returns the error of a request; None for an answer.
    """

    latency: float = 0.2
    honours_ids: bool = True
    shows: Callable[[str], bool] = lambda generation_id: True
    rate: float | None = None
    retry_after: float | None = None
    eta: bool = False
    trouble: Callable[[Poll], HedraError | None] = lambda poll: None
    seed: int = 1
    now: float = 0.0
    made: dict[str, Made] = field(default_factory=dict)
    polls: list[Poll] = field(default_factory=list)
    updates: dict[str, list[tuple[float, Update]]] = field(default_factory=dict)
    ended: dict[str, tuple[float, object]] = field(default_factory=dict)
    rate_limited: int = 0
    keep: bool = True
    """Whether to keep polls and updates. The totals are always kept."""
    requests: Counter[PollKind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed).random
        self.planner: BasePlanner = self._make_planner()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._in_flight = 0
        self._tokens, self._tokens_at = self.rate or 0.0, 0.0

    def _make_planner(self) -> BasePlanner:
        return Planner(self.chance)

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Call a function at a time."""
        heapq.heappush(self._events, (time, next(self._order), do))

    def make(self, number: int, *, begins: float = 0.0, seconds: float, status: str = "complete") -> str:
        """Add a generation to the API."""
        self.made[generation_id(number)] = Made(begins, begins + seconds, status)
        return generation_id(number)

    def wait(
        self,
        id_: str,
        *,
        poll_interval: float,
        deadline: float = 86_400.0,
        begin: float = 0.0,
        first_poll_after: float = 0.0,
    ) -> None:
        """Begin a wait at `begin`."""

        def notify(update: Update) -> None:
            if self.keep:
                self.updates.setdefault(id_, []).append((self.now, update))
            if isinstance(update, Ended):
                self.ended[id_] = (self.now, update.result)

        def start() -> None:
            wait = Subscription(id_, notify, began=self.now, deadline=deadline, poll_interval=poll_interval)
            self.planner.add(wait, self.now, first_poll_after)

        self.at(begin, start)

    def run(self, until: float = math.inf) -> None:
        """Move the clock until no wait is left, or until a time."""
        while True:
            while self._in_flight < IN_FLIGHT and (poll := self.planner.next_poll(self.now)):
                self._send(poll)
            times = [self._events[0][0]] if self._events else []
            if self._in_flight < IN_FLIGHT and len(self.planner):
                times.append(self.planner.next_time(self.now))
            following = min(times, default=math.inf)
            if following > until or following == math.inf:
                return
            self.now = max(self.now, following)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    def _send(self, poll: Poll) -> None:
        self._in_flight += 1
        self.requests[poll.kind] += 1
        if self.keep:
            self.polls.append(poll)
        answer: list[Generation] | HedraError
        answer = self._limit() or self.trouble(poll) or self._rows(poll)

        def arrive() -> None:
            self._in_flight -= 1
            if isinstance(answer, HedraError):
                self.planner.on_error(poll, answer, self.now)
            else:
                self.planner.on_answer(poll, answer, self.now)

        self.at(self.now + self.latency, arrive)

    def _limit(self) -> HedraError | None:
        if self.rate is None:
            return None
        self._tokens = min(max(self.rate, 1.0), self._tokens + (self.now - self._tokens_at) * self.rate)
        self._tokens_at = self.now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return None
        self.rate_limited += 1
        return HedraRateLimitError("slow down", status_code=429, retryable=True, retry_after=self.retry_after)

    def _rows(self, poll: Poll) -> list[Generation]:
        if poll.kind is PollKind.STATUS or (poll.kind is PollKind.BATCH and self.honours_ids):
            ids = [one for one in poll.ids if one in self.made and self.made[one].begins <= self.now]
            return [self.row(one) for one in ids if poll.kind is PollKind.STATUS or self.shows(one)]
        there = [(made.begins, one) for one, made in self.made.items() if made.begins <= self.now]
        newest = sorted(((begins, one) for begins, one in there if self.shows(one)), reverse=True)
        if poll.created_after is not None:
            after = datetime.fromisoformat(poll.created_after).timestamp() - EPOCH
            newest = [(begins, one) for begins, one in newest if begins >= after]
        return [self.row(one) for _, one in newest[poll.offset : poll.offset + PAGE_ROWS]]

    def row(self, id_: str) -> Generation:
        """Return the API's current row of a generation."""
        made = self.made[id_]
        done = self.now >= made.ends
        left = made.ends - self.now
        return Generation(
            id=id_,
            status=made.status if done else "processing",
            eta_sec=left * (0.9 + 0.2 * self.chance()) if self.eta and not done else None,
            created_at=datetime.fromtimestamp(EPOCH + made.begins, UTC).isoformat(),
            asset_id=f"asset-{id_}" if done else None,
        )

    def delays(self) -> list[float]:
        """Return the seconds from each generation's end to its notice, sorted."""
        noticed = [
            at - self.made[one].ends
            for one, (at, result) in self.ended.items()
            if isinstance(result, Generation)
        ]
        return sorted(noticed)
