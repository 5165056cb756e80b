"""Decide, without I/O, when to poll which of many jobs of the v3 API, within a budget of requests.

Pages of ``GET /jobs`` show which jobs have ended, many in one request; a :class:`PageRound` reads them from
the newest on. One or two jobs that are due are polled by ``GET /jobs/{id}/status``, and so is a job that no
page shows. Neither shows a result: each job that has ended gets one ``GET /jobs/{id}``.

Results, status requests and pages take the requests of the budget
(:mod:`hedra_provider.polling.request_budget`) in rotation: of three requests in a row, each kind that has
something to send gets one. So hundreds of ends at once do not stop the pages that show the next end, and many
unlisted jobs delay neither.

The list's page has the last word at a deadline too: a status request for each of many jobs whose deadlines
fall together would take longer than the minute that is left then.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING

from hedra_provider.polling.base_planner import BasePlanner
from hedra_provider.polling.job_poll import JobPoll, JobPollKind, JobRows
from hedra_provider.polling.list_health import LIST_REST_SECONDS, ListHealth
from hedra_provider.polling.page_round import PAGE_WORTH, PageRound
from hedra_provider.polling.request_budget import RequestBudget
from hedra_provider.polling.tracked import PollState, TrackedGeneration, keys
from hedra_provider.polling.wait import is_rate_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hedra_provider.api.errors import HedraError
    from hedra_provider.records import Generation


class JobPlanner(BasePlanner):
    """
    All polls of one driver.

    :param jitter: Returns random numbers in [0, 1).
    :param requests_per_minute: The budget; None by default: a part of the limit that answers show.
    """

    def __init__(self, jitter: Callable[[], float], requests_per_minute: float | None = None) -> None:
        super().__init__(jitter)
        self._budget = RequestBudget(requests_per_minute)
        self._results: deque[TrackedGeneration] = deque()
        self._round: PageRound | None = None
        self._round_seconds = 0.0
        self._list = ListHealth()
        self._rotation = deque((JobPollKind.RESULT, JobPollKind.STATUS, JobPollKind.PAGE))

    def fail_all(self, error: BaseException) -> None:
        """End all waits with an error."""
        self._round = None
        super().fail_all(error)

    def limits_shown(
        self, *, limit: float | None, remaining: float | None, reset_seconds: float | None, now: float
    ) -> None:
        """Note what an answer says of the rate limit, as :meth:`BasePlanner.limits_shown`."""
        self._budget.shown(
            limit=limit, remaining=remaining, reset_seconds=reset_seconds, now=now, jitter=self._jitter()
        )

    # What to send

    def next_poll(self, now: float) -> JobPoll | None:
        """Return the request to send now; None if there is none before :meth:`next_time`."""
        if now < self._budget.free_at:
            return None
        self._plan(now)
        for kind in tuple(self._rotation):
            poll = self._take(kind, now)
            if poll is not None:
                self._rotation.remove(kind)
                self._rotation.append(kind)
                self._budget.sent(now)
                return poll
        return None

    def next_time(self, now: float) -> float:
        """Return when :meth:`next_poll` has the next request; infinity: only after something happens."""
        due = self._queue.first_due()
        if self._first_result() or self._queue.first_in_status_queue(now):
            due = now
        elif self._round is not None:
            # A job that is due already waits for the round to end, which is an answer.
            due = now if self._round.sent is None else due if due > now else math.inf
        return max(now, self._budget.free_at, due)

    def _plan(self, now: float) -> None:
        """Choose how the jobs that are due are polled."""
        if self._round is not None:
            self._plan_during_round(now)
            return
        everything = len(self._queue)
        due = self._queue.take_due(now, everything)
        listed = [one for one in (*due, *self._status_queued(now)) if self._is_listed(one, now)]
        if self._list.is_usable(now) and len(listed) >= PAGE_WORTH:
            # Also those that will be due before the round ends: else they would need one of their own.
            soon = self._queue.take_due(now + self._round_seconds, everything)
            due += soon
            listed += [one for one in soon if self._is_listed(one, now)]
            self._round = PageRound(dict.fromkeys(keys(listed)), now, _oldest(listed))
        for one in due:
            if one.ended is not None:
                self._queue_result(one)
            elif self._round is None or one.key not in self._round.awaited:
                self._queue.queue_status(one)

    def _plan_during_round(self, now: float) -> None:
        """Send what can't wait for the end of a round: results to request again, and last polls."""
        for one in self._queue.all():
            is_scheduled = one.state is PollState.SCHEDULED
            if is_scheduled and one.ended is not None and one.due <= now:
                self._queue_result(one)
            elif (is_scheduled or self._waits_for_page(one)) and one.deadline <= now:
                # A page may still show it first.
                self._queue.queue_status(one)

    def _waits_for_page(self, one: TrackedGeneration) -> bool:
        """Return whether a job waits for a page, and not for the answer to its own status request."""
        is_awaited = self._round is not None and one.key in self._round.awaited
        return is_awaited and one.state is PollState.REQUESTED

    def _status_queued(self, now: float) -> list[TrackedGeneration]:
        """Return the jobs that wait for status requests. A list that works again may show them sooner."""
        if self._queue.first_in_status_queue(now) is None:
            return []
        return [one for one in self._queue.all() if one.is_status_queued]

    @staticmethod
    def _is_listed(one: TrackedGeneration, now: float) -> bool:
        return one.ended is None and now >= one.status_only_until

    def _take(self, kind: JobPollKind, now: float) -> JobPoll | None:
        """Return the next request of a kind; None without one."""
        if kind is JobPollKind.RESULT:
            result = self._first_result()
            if result is None:
                return None
            self._results.popleft()
            result.move_to(PollState.RESULT_REQUESTED)
            return JobPoll(kind, (result.key,), now)
        if kind is JobPollKind.STATUS:
            alone = self._queue.first_in_status_queue(now)
            if alone is None:
                return None
            self._queue.take_from_status_queue(alone)
            return JobPoll(kind, (alone.key,), now)
        pages = self._round
        if pages is None or pages.sent is not None:
            return None
        missing = self._missing(pages)
        if not missing:
            self._end_round(pages, now)
            return None
        pages.sent = JobPoll(kind, keys(missing), now, pages.cursor)
        return pages.sent

    def _first_result(self) -> TrackedGeneration | None:
        """Return the first job that waits for the request for its result; None without one."""
        while self._results and self._results[0].state is not PollState.RESULT_QUEUED:
            self._results.popleft()
        return self._results[0] if self._results else None

    def _queue_result(self, tracked: TrackedGeneration) -> None:
        tracked.move_to(PollState.RESULT_QUEUED)
        self._results.append(tracked)

    def _missing(self, pages: PageRound) -> list[TrackedGeneration]:
        """Return the jobs that a round still waits for; some of them may be in the status queue."""
        waiting = (PollState.REQUESTED, PollState.STATUS_QUEUED)
        return [one for one in self._queue.of(pages.awaited) if one.state in waiting]

    def _end_round(self, pages: PageRound, now: float) -> None:
        """End a round. What its pages did not show gets status requests."""
        self._round, self._round_seconds = None, now - pages.began
        for one in self._missing(pages):
            if pages.read_to_the_end:
                one.status_only_until = now + LIST_REST_SECONDS
            if not one.is_status_queued:
                self._queue.queue_status(one)

    # Outcomes of polls

    def on_answer(self, poll: JobPoll, answer: JobRows, now: float) -> None:
        """Handle an answer, as :meth:`BasePlanner.on_answer`."""
        found = {self._queue.key_of(row.id): row for row in answer.rows}
        # One jitter for all jobs of an answer, so that they share the next page too.
        jitter = self._jitter() if len(self._queue) > 1 else 0.0
        if poll.kind is JobPollKind.PAGE:
            self._list.answered()
            for tracked in self._queue.of(found):
                self._on_row(tracked, found[tracked.key], poll, now, jitter)
            self._after_page(poll, answer, set(found), now)
            return
        for tracked in self._queue.of(poll.ids):
            if tracked.key not in found:
                self._on_unknown(tracked, poll, now)
            elif poll.kind is JobPollKind.STATUS:
                self._list.status_answered(now)
                self._on_row(tracked, found[tracked.key], poll, now, jitter)
            elif tracked.state is PollState.RESULT_REQUESTED:
                result = _with_dates(found[tracked.key], tracked.ended)
                self._on_state(tracked, result, poll, now, jitter)

    def _on_row(
        self, tracked: TrackedGeneration, row: Generation, poll: JobPoll, now: float, jitter: float
    ) -> None:
        """Handle a row without a result: it shows that a job runs, or that its result can be requested."""
        if tracked.state in (PollState.RESULT_QUEUED, PollState.RESULT_REQUESTED) or tracked.ended:
            return
        is_page = poll.kind is JobPollKind.PAGE
        tracked.remember_creation(row)
        if is_page:
            tracked.status_only_until = -math.inf
        if row.is_finished:
            tracked.ended = row
            for one in tracked.subscriptions:
                one.on_end(row, now=now)
            self._queue_result(tracked)
            return
        if not row.is_running and tracked.checked_status != row.status:
            # A status that this version does not know may be an end: only the result shows an error.
            tracked.checked_status = row.status
            self._queue_result(tracked)
            return
        if is_page and tracked.is_status_queued and poll.sent_at < tracked.deadline <= now:
            return
        if is_page:
            row = dataclasses.replace(row, progress=tracked.progress)
        else:
            tracked.progress = row.progress
        self._on_state(tracked, row, poll, now, jitter)

    def _on_state(
        self, tracked: TrackedGeneration, row: Generation, poll: JobPoll, now: float, jitter: float
    ) -> None:
        """Let the waits for a job decide by its state."""
        tracked.ended = None
        decisions = [
            (one, one.on_status(row, polled_at=poll.sent_at, now=now, jitter=jitter))
            for one in tracked.subscriptions
        ]
        pause = self._apply(decisions, row)
        if pause is not None:
            # The pause counts from the sending of the poll. After a slow answer, half of it is kept at least.
            self._queue.schedule(tracked, max(poll.sent_at + pause, now + pause / 2.0), pause)

    def _on_unknown(self, tracked: TrackedGeneration, poll: JobPoll, now: float) -> None:
        """Handle a 404."""
        if not self._awaits(tracked, poll):
            return
        decisions = [(one, one.on_unknown(polled_at=poll.sent_at, now=now)) for one in tracked.subscriptions]
        pause = self._apply(decisions)
        if pause is not None:
            self._poll_again(tracked, now + pause, pause)

    def _after_page(self, poll: JobPoll, answer: JobRows, found: set[str], now: float) -> None:
        pages = self._round_of(poll)
        if pages is None:
            return
        shown = [one for one in pages.awaited if one in found]
        missing = [one.key for one in self._missing(pages) if one.key not in found]
        pages.awaited = dict.fromkeys(missing)
        last = _moment(answer.rows[-1].created_at) if answer.rows else None
        if not pages.read(shown, last, answer.next_cursor, len(missing)):
            self._end_round(pages, now)

    def on_error(self, poll: JobPoll, error: HedraError, now: float) -> None:
        """Handle a failure, as :meth:`BasePlanner.on_error`."""
        if is_rate_limit(error):
            self._on_rate_limit(poll, error, now)
        elif poll.kind is JobPollKind.PAGE:
            self._on_page_error(poll, error, now)
        else:
            concerned = [one for one in self._queue.of(poll.ids) if self._awaits(one, poll)]
            self._on_failure(concerned, poll, error, now)

    def _on_page_error(self, poll: JobPoll, error: HedraError, now: float) -> None:
        pages = self._round_of(poll)
        if pages is None:
            return
        pages.sent = None
        if not error.retryable:
            # Hedra rejected the cursor, or the list. That says nothing of a job.
            if not pages.restart():
                self._list.rest(now)
                self._end_round(pages, now)
            return
        must_probe = self._list.failed()
        if self._list.is_down_alone:
            self._list.rest(now)
            self._end_round(pages, now)
            return
        concerned = [one for one in self._missing(pages) if not one.is_status_queued]
        self._round = None
        self._on_failure(concerned, poll, error, now)
        for one in [one for one in concerned if one.subscriptions][: int(must_probe)]:
            one.status_only_until = one.due + LIST_REST_SECONDS

    def _on_failure(
        self, concerned: Iterable[TrackedGeneration], poll: JobPoll, error: HedraError, now: float
    ) -> None:
        for tracked in concerned:
            pause = self._apply(self._failure_decisions(tracked, poll.sent_at, error, now))
            if pause is not None:
                self._poll_again(tracked, now + pause, pause)

    def _on_rate_limit(self, poll: JobPoll, error: HedraError, now: float) -> None:
        """Pause all requests. A 429 does not show the state of a job, and a round goes on after it."""
        pause = self._budget.limited(
            now, sent_at=poll.sent_at, retry_after=error.retry_after, jitter=self._jitter()
        )
        concerned = [one for one in self._queue.of(poll.ids) if self._awaits(one, poll)]
        for tracked in concerned:
            decisions = [
                (one, one.on_rate_limit(error, pause_seconds=pause, now=now)) for one in tracked.subscriptions
            ]
            after = self._apply(decisions)
            if after is not None and poll.kind is not JobPollKind.PAGE:
                # Jobs that become due during the pause are polled in that order.
                self._poll_again(tracked, now if after <= pause else now + after, tracked.pause)
        if (pages := self._round_of(poll)) is not None:
            pages.sent = None

    def requeue(self, poll: JobPoll, now: float) -> None:
        """Cancel a poll that was not answered: its jobs are due again."""
        if (pages := self._round_of(poll)) is not None:
            pages.sent = None
        if poll.kind is JobPollKind.PAGE:
            return
        for tracked in self._queue.of(poll.ids):
            if self._awaits(tracked, poll):
                self._poll_again(tracked, now, tracked.pause)

    def _round_of(self, poll: JobPoll) -> PageRound | None:
        """Return the round that a page was requested for; None if it is over."""
        return self._round if self._round is not None and self._round.sent is poll else None

    def _poll_again(self, tracked: TrackedGeneration, due: float, pause: float) -> None:
        """Schedule a job after a poll that did not show it."""
        if tracked.ended is None:
            tracked.checked_status = ""
        self._queue.schedule(tracked, due, pause)

    @staticmethod
    def _awaits(tracked: TrackedGeneration, poll: JobPoll) -> bool:
        """Return whether a job waits for the answer to a poll."""
        is_result = poll.kind is JobPollKind.RESULT
        return tracked.state is (PollState.RESULT_REQUESTED if is_result else PollState.REQUESTED)

    def _announced_pause(self, pause: float) -> float:
        return pause if self._round is None else max(pause, self._round_seconds)


def _with_dates(result: Generation, shown: Generation | None) -> Generation:
    """Return a result with the dates that only a page has: its submit, and when its file expires."""
    if shown is None:
        return result
    return dataclasses.replace(
        result,
        created_at=result.created_at or shown.created_at,
        expires_at=result.expires_at or shown.expires_at,
    )


def _oldest(tracked: Iterable[TrackedGeneration]) -> datetime | None:
    """Return when the oldest job was created; None if that of one is not known."""
    created = [one.created_at for one in tracked]
    known = [moment for moment in created if moment is not None]
    return min(known, default=None) if len(known) == len(created) else None


def _moment(text: str | None) -> datetime | None:
    """Return the moment of an ISO 8601 text; None if it has no time zone, or is none."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
