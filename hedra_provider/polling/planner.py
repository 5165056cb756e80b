"""Decide, without I/O, when to poll which of many generations, and which ones share a request.

This is the planner of the v2 API; :mod:`hedra_provider.polling.base_planner` has what it shares with that of
v3.

One generation that is due is polled by the status endpoint, several by one ``GET /generations?ids=``. If the
API does not honour ``ids`` (:mod:`hedra_provider.polling.batches`), the newest pages of the list are read as
long as they are useful. Generations that they do not show are polled one by one, first in, first out, at
:data:`STATUS_QUEUE_PER_SECOND`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraProtocolError
from hedra_provider.polling.base_planner import BasePlanner
from hedra_provider.polling.batches import (
    BATCH_SIZES,
    LIST_REST_SECONDS,
    BatchStrategy,
    ListCapabilities,
    batches,
    created_after,
)
from hedra_provider.polling.pacing import FLOOR_SECONDS
from hedra_provider.polling.poll import PAGE_ROWS, Poll, PollKind
from hedra_provider.polling.rate_limit import REQUESTS_PER_SECOND, RequestRate
from hedra_provider.polling.tracked import PollState, TrackedGeneration, keys
from hedra_provider.polling.wait import UNKNOWN_GRACE_SECONDS, is_rate_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hedra_provider.api.errors import HedraError
    from hedra_provider.records import Generation

STATUS_QUEUE_PER_SECOND = 5.0
"""The status requests per second for generations that can't share requests."""

SPREAD = 1.5
"""Requests are sent faster than needed by this factor, to catch up after a delay."""

LARGE_BATCHES_FROM = 1500.0
"""Polls per second above which the largest batches are used."""

PAGE_WORTH = 3
"""How many generations a page must show to be worth its request."""

_ROUND_OF_PAGES = 1000


class Planner(BasePlanner):
    """
    All polls of one driver.

    :param jitter: Returns random numbers in [0, 1).
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        super().__init__(jitter)
        self._ready: deque[Poll] = deque()
        self._rate = RequestRate(REQUESTS_PER_SECOND)
        self._together_at = self._status_at = -math.inf
        self._pace, self._pace_at = 0.0, -math.inf
        self._list = ListCapabilities()
        self._noticed = self._list.strategy
        self._probe: TrackedGeneration | None = None
        self._reads_pages = self._status_was_last = False

    @property
    def strategy(self) -> BatchStrategy:
        """How many generations are polled together."""
        return self._list.strategy

    def fail_all(self, error: BaseException) -> None:
        """End all waits with an error."""
        self._reads_pages = False
        super().fail_all(error)

    def take_notice(self) -> str | None:
        """Return a line for the triggerer's log when batches are given up, once; else None."""
        last, self._noticed = self._noticed, self.strategy
        if last is self.strategy or self.strategy is BatchStrategy.BATCHES:
            return None
        return (
            "Hedra's list of generations does not honour `ids`. For ten minutes the newest pages of the list "
            f"are read instead; generations that no page shows are polled one by one. Waiting: {len(self)}."
        )

    # What to send

    def next_poll(self, now: float) -> Poll | None:
        """Return the request to send now; None if there is none before :meth:`next_time`."""
        if now < self._rate.free_at:
            return None
        # The two queues alternate: at a low request rate, neither delays the other.
        poll = None if self._status_was_last else self._poll_status_queue(now)
        if poll is None and now >= self._together_at:
            poll = self._poll_together(now)
        # _poll_together() may have put generations into the status queue.
        poll = poll or self._poll_status_queue(now)
        if poll is not None:
            self._status_was_last = poll.kind is PollKind.STATUS
            self._rate.sent(now)
        return poll

    def next_time(self, now: float) -> float:
        """
        Return when :meth:`next_poll` has the next request.

        :param now: The time.
        :return: Infinity if there is one only after an answer or a new subscription.
        """
        first = self._queue.first_in_status_queue(now)
        status = math.inf if first is None else self._status_from(first, now)
        due = math.inf if self._reads_pages else self._queue.first_due()
        together = max(self._together_at, now if self._ready else due)
        return max(now, self._rate.free_at, min(status, together))

    def _poll_status_queue(self, now: float) -> Poll | None:
        tracked = self._queue.first_in_status_queue(now)
        if tracked is None or now < self._status_from(tracked, now):
            return None
        self._queue.take_from_status_queue(tracked)
        self._status_at = now + 1.0 / STATUS_QUEUE_PER_SECOND
        return Poll(PollKind.STATUS, (tracked.key,), now)

    def _status_from(self, tracked: TrackedGeneration, now: float) -> float:
        """Return when a generation's status may be requested; a last poll skips the limit of the queue."""
        return now if tracked.deadline <= now else self._status_at

    def _poll_together(self, now: float) -> Poll | None:
        if not self._ready:
            self._plan(now)
        while self._ready:
            planned = self._ready.popleft()
            left = [one for one in self._queue.of(planned.ids) if one.state is PollState.REQUESTED]
            if not left:
                self._reads_pages = self._reads_pages and planned.kind is not PollKind.PAGE
                continue
            self._together_at = now + self._gap_seconds(now, min(one.pause for one in left))
            is_alone = planned.kind is PollKind.BATCH and len(left) == 1
            kind = PollKind.STATUS if is_alone else planned.kind
            return Poll(kind, keys(left), now, planned.offset, planned.created_after)
        return None

    def _gap_seconds(self, now: float, pause: float) -> float:
        """Return the seconds until the next request: the requests of a round are spread over its time."""
        # If many generations end at once, the others keep their due times. So the pace falls slowly.
        fading = self._pace * 0.5 ** ((now - self._pace_at) / max(pause, FLOOR_SECONDS))
        self._pace, self._pace_at = max(self._queue.polls_per_second, fading), now
        size = self._batch_size if self.strategy is BatchStrategy.BATCHES else PAGE_ROWS
        even = size / max(self._pace * SPREAD, 1e-9)
        return min(even, 0.1 * pause, FLOOR_SECONDS)

    @property
    def _batch_size(self) -> int:
        pace = max(self._pace, self._queue.polls_per_second)
        usual = BATCH_SIZES[0 if pace > LARGE_BATCHES_FROM else 1]
        return min(usual, self._list.largest_batch)

    def _plan(self, now: float) -> None:
        """Make polls of the generations that are due, or put them into the status queue."""
        if self._reads_pages:
            return
        is_useful, pages = self._list.is_useful(now), self.strategy is BatchStrategy.PAGES
        due = self._queue.take_due(now, _ROUND_OF_PAGES if pages else self._batch_size)
        if len(due) == 1:
            # Nothing else is due, so this poll need not go through the slower status queue.
            self._ready.append(Poll(PollKind.STATUS, keys(due), now))
            return
        together = [one for one in due if is_useful and now >= one.status_only_until and one.is_listable]
        if pages and len(together) < PAGE_WORTH:
            together = []
        shared = {one.key for one in together}
        for one in due:
            if one.key not in shared:
                self._queue.queue_status(one)
        if pages and together:
            self._reads_pages = True
            self._ready.append(Poll(PollKind.PAGE, keys(together), now, 0, created_after(together)))
        else:
            self._ready.extend(Poll(PollKind.BATCH, ids, now) for ids in batches(together, self._batch_size))

    # Outcomes of polls

    def on_answer(self, poll: Poll, rows: Iterable[Generation], now: float) -> None:
        """
        Handle an answer, and notify the subscriptions of its generations.

        :param poll: The poll, from :meth:`next_poll`.
        :param rows: The generations in the answer.
        :param now: The time.
        """
        found = {self._queue.key_of(row.id): row for row in rows}
        # One jitter for all generations of an answer, so that they share the next request too.
        jitter = self._jitter() if len(self._queue) > 1 else 0.0
        missing = []
        self._list.answered(poll.kind, bool(found), now)
        for tracked in self._awaiting(poll):
            if tracked.key in found:
                self._settle(tracked, found[tracked.key], poll, now, jitter)
            else:
                missing.append(tracked)
        if poll.kind is PollKind.BATCH:
            self._after_batch(poll, found, missing, now)
        elif poll.kind is PollKind.PAGE:
            self._after_page(poll, found, missing, now, jitter)
        else:
            for tracked in missing:
                self._on_unknown(tracked, poll, now)

    def on_error(self, poll: Poll, error: HedraError, now: float) -> None:
        """
        Handle a failure, and notify the subscriptions of its generations.

        :param poll: The poll, from :meth:`next_poll`.
        :param error: The error.
        :param now: The time.
        """
        if poll.kind is PollKind.PAGE:
            self._reads_pages = False
        if is_rate_limit(error):
            self._on_rate_limit(poll, error, now)
            return
        if poll.kind is PollKind.PAGE:
            self._list.pages_are_useless(now)
        if poll.kind is not PollKind.STATUS and not error.retryable:
            # Hedra rejected the list, not a generation.
            if poll.kind is PollKind.BATCH:
                self._list.rejected(len(poll.ids), now)
            self.requeue(poll, now)
            return
        concerned = self._awaiting(poll)
        for tracked in concerned:
            self._on_failure(tracked, poll, error, now)
        if poll.kind is not PollKind.STATUS and self._list.failed():
            for tracked in [one for one in concerned if one.subscriptions][:1]:
                tracked.status_only_until = tracked.due + LIST_REST_SECONDS

    def requeue(self, poll: Poll, now: float) -> None:
        """Cancel a poll that was not answered: its generations are due again."""
        if poll.kind is PollKind.PAGE:
            self._reads_pages = False
        for tracked in self._awaiting(poll):
            self._queue.schedule(tracked, now, tracked.pause)

    def _awaiting(self, poll: Poll) -> list[TrackedGeneration]:
        """
        Return the generations that wait for the answer to a poll.

        A generation whose subscriptions were removed and added again waits for another poll.
        """
        states = {PollState.REQUESTED}
        if poll.kind is PollKind.STATUS:
            states.add(PollState.CONFIRMING)
        return [one for one in self._queue.of(poll.ids) if one.state in states]

    def _settle(
        self, tracked: TrackedGeneration, row: Generation, poll: Poll, now: float, jitter: float
    ) -> None:
        tracked.remember_creation(row)
        tracked.max_batch = min(tracked.max_batch * 2, BATCH_SIZES[0])
        is_status = poll.kind is PollKind.STATUS
        if is_status:
            self._confirmed(tracked, now)
        if row.is_finished:
            is_whole = is_status or not (row.is_complete and row.asset_id is None)
        else:
            is_whole = is_status or poll.sent_at < tracked.deadline
        if not is_whole:
            # The list lacks the result, or may be outdated: the status endpoint decides.
            self._queue.queue_status(tracked)
            return
        decisions = [
            (one, one.on_status(row, polled_at=poll.sent_at, now=now, jitter=jitter))
            for one in tracked.subscriptions
        ]
        pause = self._apply(decisions, row)
        if pause is not None:
            # The pause counts from the sending of the poll. After a slow answer, half of it is kept at least.
            self._queue.schedule(tracked, max(poll.sent_at + pause, now + pause / 2.0), pause)

    def _confirmed(self, tracked: TrackedGeneration, now: float) -> None:
        """Note that the status endpoint knows a generation, which the list may not have shown."""
        tracked.status_polled_at = now
        if tracked.state is not PollState.CONFIRMING:
            return
        tracked.status_only_until = now + LIST_REST_SECONDS
        if tracked is self._probe:
            self._probe = None
            self._list.hid_existing(now)

    def _on_unknown(self, tracked: TrackedGeneration, poll: Poll, now: float) -> None:
        """Handle a 404 of the status endpoint."""
        tracked.status_polled_at = now
        if tracked is self._probe:
            self._probe = None
        self._poll_unknown_again(tracked, poll, now, is_certain=True)

    def _poll_unknown_again(
        self, tracked: TrackedGeneration, poll: Poll, now: float, *, is_certain: bool
    ) -> None:
        decisions = [
            (one, one.on_unknown(polled_at=poll.sent_at, now=now, is_certain=is_certain))
            for one in tracked.subscriptions
        ]
        pause = self._apply(decisions)
        if pause is not None:
            self._queue.schedule(tracked, now + pause, pause)

    def _after_batch(
        self, poll: Poll, found: dict[str, Generation], missing: list[TrackedGeneration], now: float
    ) -> None:
        if self._list.may_hide(poll.ids, found.keys(), now):
            for tracked in missing:
                self._queue.schedule(tracked, now, tracked.pause)
            return
        if found:
            self._list.showed_something()
        else:
            # One status request shows whether the empty answer is true.
            self._probe = min(missing, key=lambda one: one.status_polled_at, default=None)
        for tracked in missing:
            overdue = now - tracked.began > UNKNOWN_GRACE_SECONDS or tracked.deadline <= poll.sent_at
            if found or tracked is self._probe or overdue:
                self._queue.queue_status(tracked, unconfirmed=True)
            else:
                self._poll_unknown_again(tracked, poll, now, is_certain=False)

    def _after_page(
        self,
        poll: Poll,
        found: dict[str, Generation],
        missing: list[TrackedGeneration],
        now: float,
        jitter: float,
    ) -> None:
        shown = len(poll.ids) - len(missing)
        for tracked in self._queue.of(found.keys() - set(poll.ids)):
            if tracked.state is PollState.SCHEDULED:
                shown += 1
                self._settle(tracked, found[tracked.key], poll, now, jitter)
        if missing and len(found) >= PAGE_ROWS and shown >= PAGE_WORTH:
            offset = poll.offset + PAGE_ROWS
            self._ready.append(Poll(PollKind.PAGE, keys(missing), now, offset, poll.created_after))
            return
        self._reads_pages = False
        if poll.offset == 0 and shown < PAGE_WORTH:
            self._list.pages_are_useless(now)
        for tracked in missing:
            tracked.status_only_until = now + LIST_REST_SECONDS
            self._queue.queue_status(tracked)

    def _on_rate_limit(self, poll: Poll, error: HedraError, now: float) -> None:
        """Pause all requests. A 429 does not show the state of a generation."""
        pause = self._rate.limited(
            now,
            sent_at=poll.sent_at,
            recent_rate=self._rate.recent(now),
            retry_after=error.retry_after,
            jitter=self._jitter(),
        )
        for tracked in self._awaiting(poll):
            decisions = [
                (one, one.on_rate_limit(error, pause_seconds=pause, now=now)) for one in tracked.subscriptions
            ]
            after = self._apply(decisions)
            if after is not None:
                # Generations that become due during the pause are polled in that order.
                due = now if after <= pause else now + after
                self._queue.schedule(tracked, due, tracked.pause)

    def _on_failure(self, tracked: TrackedGeneration, poll: Poll, error: HedraError, now: float) -> None:
        if isinstance(error, HedraProtocolError) or error.status_code == 500:
            # One row that the API can't return must not fail the waits for the others of its batch.
            tracked.max_batch = max(1, min(tracked.max_batch, len(poll.ids)) // 4)
        pause = self._apply(self._failure_decisions(tracked, poll.sent_at, error, now))
        if pause is not None:
            self._queue.schedule(tracked, now + pause, pause)
