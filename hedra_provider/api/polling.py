"""When to look at which of many generations, and what the answers mean: decisions without I/O.

A shell (:mod:`hedra_provider.poller`, or a simulated clock) asks :meth:`Polling.next_look` what to send, and
hands back what came: :meth:`Polling.saw` or :meth:`Polling.failed`. Time is an argument throughout.

One generation that is due is looked at by the status endpoint, several by one ``GET /generations?ids=``.
Where the API turns out not to honour ``ids`` (:mod:`hedra_provider.api.listing`), the newest pages of the
list are read while they serve; what they do not show is asked for one by one, in turn, at
:data:`ALONE_PER_SECOND`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hedra_provider.api.agenda import Agenda
from hedra_provider.api.errors import HedraError, HedraProtocolError, HedraRateLimitError
from hedra_provider.api.listing import LAGGING_SECONDS, Listing, Way
from hedra_provider.api.looks import (
    BATCH_SIZES,
    PAGE_ROWS,
    Ended,
    Kind,
    Look,
    Seen,
    Wait,
    Watched,
    batches,
    created_after,
    for_one,
    keys,
    with_asset_id,
)
from hedra_provider.api.pacing import FLOOR_SECONDS, RequestRate
from hedra_provider.api.waiting import (
    UNKNOWN_GRACE_SECONDS,
    UNKNOWN_PAUSE_SECONDS,
    Failures,
    state_of,
    timed_out,
    unknown_generation,
)

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation

REQUESTS_PER_SECOND = 25.0
"""The most that is sent, whoever waits."""

ALONE_PER_SECOND = 5.0
"""How many are asked for one by one where they can't share requests."""

SPREAD = 1.5
"""Requests follow each other so much faster than they must, in order to catch up after a delay."""

LARGE_BATCHES_FROM = 1500.0
"""Looks per second above which the largest batches are used."""

PAGE_WORTH = 3
"""How many generations a page must show to be worth its request."""

_SWEPT = 1000


class Polling:
    """
    All looks of one poller.

    :param chance: Random numbers in [0, 1) for the jitter.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._agenda = Agenda()
        self._ready: deque[Look] = deque()
        self._rate = RequestRate(REQUESTS_PER_SECOND)
        self._recent: deque[float] = deque(maxlen=20)
        self._together_at = self._alone_at = -math.inf
        self._pace, self._pace_at = 0.0, -math.inf
        self._list = Listing()
        self._probe: Watched | None = None
        self._sweeping = self._alone_was_last = False

    def __len__(self) -> int:
        """How many generations are waited for."""
        return len(self._agenda)

    @property
    def way(self) -> Way:
        """How many generations are asked for together."""
        return self._list.way

    def add(self, wait: Wait, now: float, first_look_after: float = 0.0) -> None:
        """
        Begin a wait.

        :param first_look_after: Seconds until the first look.
        """
        watched = self._agenda.join(wait)
        due = min(now + max(first_look_after, 0.0), max(wait.deadline, now))
        if due < watched.due and not watched.asked:
            self._agenda.schedule(watched, due, due - now)

    def drop(self, wait: Wait) -> None:
        """End a wait without a word."""
        self._agenda.leave(wait)

    def fail_all(self, error: BaseException) -> None:
        """End all waits in an error."""
        self._sweeping = False
        for watched in self._agenda.all():
            self._end(watched, error)

    # What to send

    def next_look(self, now: float) -> Look | None:
        """Return the request to send now, None where there is nothing to send before :meth:`next_time`."""
        if now < self._rate.free_at:
            return None
        # In turn: where few requests can be sent, neither line holds the other up.
        look = None if self._alone_was_last else self._look_alone(now)
        if look is None and now >= self._together_at:
            look = self._look_together(now)
        # What was due may have to be asked for alone.
        look = look or self._look_alone(now)
        if look is not None:
            self._alone_was_last = look.kind is Kind.STATUS
            self._recent.append(now)
            self._rate.sent(now)
        return look

    def next_time(self, now: float) -> float:
        """Return when :meth:`next_look` has something again; infinity: only after another answer or wait."""
        first = self._agenda.first_alone(now)
        alone = math.inf if first is None else self._alone_from(first, now)
        due = math.inf if self._sweeping else self._agenda.first_due()
        together = max(self._together_at, now if self._ready else due)
        return max(now, self._rate.free_at, min(alone, together))

    def _look_alone(self, now: float) -> Look | None:
        watched = self._agenda.first_alone(now)
        if watched is None or now < self._alone_from(watched, now):
            return None
        self._agenda.take_alone(watched)
        self._alone_at = now + 1.0 / ALONE_PER_SECOND
        return Look(Kind.STATUS, (watched.key,), now)

    def _alone_from(self, watched: Watched, now: float) -> float:
        """Return from when on it may be asked for alone: a last look can't wait for the slower line."""
        return now if watched.deadline <= now else self._alone_at

    def _look_together(self, now: float) -> Look | None:
        if not self._ready:
            self._plan(now)
        while self._ready:
            planned = self._ready.popleft()
            left = self._agenda.of(planned.ids)
            if not left:
                self._sweeping = self._sweeping and planned.kind is not Kind.PAGE
                continue
            self._together_at = now + self._gap_seconds(now, min(one.pause for one in left))
            kind = Kind.STATUS if planned.kind is Kind.BATCH and len(left) == 1 else planned.kind
            return Look(kind, keys(left), now, planned.offset, planned.created_after)
        return None

    def _gap_seconds(self, now: float, pause: float) -> float:
        """Return the seconds to the next request: those of a round are spread over it."""
        # When many end together, the others are due as before: the pace falls slower than their number.
        fading = self._pace * 0.5 ** ((now - self._pace_at) / max(pause, FLOOR_SECONDS))
        self._pace, self._pace_at = max(self._agenda.looks_per_second, fading), now
        size = self._batch_size if self.way is Way.BATCHES else PAGE_ROWS
        even = size / max(self._pace * SPREAD, 1e-9)
        return min(even, 0.1 * pause, FLOOR_SECONDS)

    @property
    def _batch_size(self) -> int:
        pace = max(self._pace, self._agenda.looks_per_second)
        usual = BATCH_SIZES[0 if pace > LARGE_BATCHES_FROM else 1]
        return min(usual, self._list.largest_batch)

    def _plan(self, now: float) -> None:
        """Turn what is due into looks, or put it into the line of those that are asked for alone."""
        if self._sweeping:
            return
        is_useful, pages = self._list.is_useful(now), self.way is Way.PAGES
        due = self._agenda.take(now, _SWEPT if pages else self._batch_size)
        if len(due) == 1:
            # Nobody else is due: no need to keep to the slower line.
            self._ready.append(Look(Kind.STATUS, keys(due), now))
            return
        together = [one for one in due if is_useful and now >= one.alone_until and one.is_listable]
        if pages and len(together) < PAGE_WORTH:
            together = []
        shared = {one.key for one in together}
        for one in due:
            if one.key not in shared:
                self._agenda.put_alone(one)
        if pages and together:
            self._sweeping = True
            self._ready.append(Look(Kind.PAGE, keys(together), now, 0, created_after(together)))
        else:
            self._ready.extend(Look(Kind.BATCH, ids, now) for ids in batches(together, self._batch_size))

    # What came

    def saw(self, look: Look, rows: Iterable[Generation], now: float) -> None:
        """Take an answer, and tell those who wait what it means for them."""
        found = {self._agenda.key_of(row.id): row for row in rows}
        # All of an answer get the same jitter: they stay together, and apart from the others.
        chance = self._chance() if len(self._agenda) > 1 else 0.0
        missing = []
        self._list.answered(look.kind, bool(found), now)
        for watched in self._agenda.of(look.ids):
            if watched.key in found:
                self._settle(watched, found[watched.key], look, now, chance)
            else:
                missing.append(watched)
        if look.kind is Kind.BATCH:
            self._after_batch(look, found, missing, now)
        elif look.kind is Kind.PAGE:
            self._after_page(look, found, missing, now, chance)
        else:
            for watched in missing:
                self._unknown(watched, look, now)

    def failed(self, look: Look, error: HedraError, now: float) -> None:
        """Take a failure, and tell those whom it concerns."""
        if look.kind is Kind.PAGE:
            self._sweeping = False
        if isinstance(error, HedraRateLimitError) and error.retryable:
            self._slow_down(look, error, now)
            return
        if look.kind is Kind.PAGE:
            self._list.pages_are_useless(now)
        if look.kind is not Kind.STATUS and not error.retryable:
            # The list was refused, not a generation.
            if look.kind is Kind.BATCH:
                self._list.refused(len(look.ids), now)
            self.again(look, now)
            return
        for watched in self._agenda.of(look.ids):
            self._failed(watched, look, error, now)
        if look.kind is not Kind.STATUS and self._list.failed():
            for watched in self._agenda.of(look.ids)[:1]:
                watched.alone_until = watched.due + LAGGING_SECONDS

    def again(self, look: Look, now: float) -> None:
        """Take back a look that came to nothing: its generations are due again."""
        if look.kind is Kind.PAGE:
            self._sweeping = False
        for watched in self._agenda.of(look.ids):
            self._agenda.schedule(watched, now, watched.pause)

    def _settle(self, watched: Watched, row: Generation, look: Look, now: float, chance: float) -> None:
        watched.saw(row)
        watched.seen_at, watched.failures = now, None
        watched.share = min(watched.share * 2, BATCH_SIZES[0])
        if look.kind is Kind.STATUS:
            self._confirmed(watched, now)
        if row.is_finished:
            ended = with_asset_id(row)
            if ended.is_complete and ended.asset_id is None and look.kind is not Kind.STATUS:
                self._agenda.put_alone(watched)
            else:
                self._end(watched, ended)
            return
        if watched.deadline <= look.sent_at and look.kind is not Kind.STATUS:
            # The list may be behind: the status endpoint has the last word.
            self._agenda.put_alone(watched)
            return
        self._expire(watched, look, now)
        if not watched.waits:
            return
        pause, state = watched.next_pause(row, now, chance), state_of(row)
        for wait in watched.waits:
            if wait.last_state != state:
                wait.last_state = state
                wait.tell(Seen(row, pause))
        # From look to look, whatever the answer took; but a slow API gets a rest.
        self._agenda.schedule(watched, max(look.sent_at + pause, now + pause / 2.0), pause)

    def _confirmed(self, watched: Watched, now: float) -> None:
        """Note that the status endpoint knows a generation; perhaps the list did not show it."""
        watched.confirmed_at = now
        if not watched.missing:
            return
        watched.missing = False
        watched.alone_until = now + LAGGING_SECONDS
        if watched is self._probe:
            self._probe = None
            self._list.hid_what_is_there(now)

    def _unknown(self, watched: Watched, look: Look, now: float) -> None:
        watched.missing, watched.confirmed_at = False, now
        if watched is self._probe:
            self._probe = None
        for wait in list(watched.waits):
            if now - max(wait.began, watched.seen_at) > UNKNOWN_GRACE_SECONDS:
                self._end_one(wait, unknown_generation(wait.generation_id))
        self._expire(watched, look, now)
        self._look_again_soon(watched, now)

    def _look_again_soon(self, watched: Watched, now: float) -> None:
        if watched.waits:
            pause = min(watched.poll_interval, UNKNOWN_PAUSE_SECONDS)
            self._agenda.schedule(watched, now + pause, pause)

    def _after_batch(
        self, look: Look, found: dict[str, Generation], missing: list[Watched], now: float
    ) -> None:
        if self._list.may_hide(look.ids, found.keys(), now):
            for watched in missing:
                self._agenda.schedule(watched, now, watched.pause)
            return
        if found:
            self._list.showed_something()
        else:
            # One is enough to find out whether an answer that shows nothing is true.
            self._probe = min(missing, key=lambda one: one.confirmed_at, default=None)
        for watched in missing:
            overdue = now - watched.began > UNKNOWN_GRACE_SECONDS or watched.deadline <= look.sent_at
            if found or watched is self._probe or overdue:
                watched.missing = True
                self._agenda.put_alone(watched)
            else:
                self._look_again_soon(watched, now)

    def _after_page(
        self, look: Look, found: dict[str, Generation], missing: list[Watched], now: float, chance: float
    ) -> None:
        shown = len(look.ids) - len(missing)
        for watched in self._agenda.of(found.keys() - set(look.ids)):
            if not watched.asked:
                shown += 1
                self._settle(watched, found[watched.key], look, now, chance)
        if missing and len(found) >= PAGE_ROWS and shown >= PAGE_WORTH:
            offset = look.offset + PAGE_ROWS
            self._ready.append(Look(Kind.PAGE, keys(missing), now, offset, look.created_after))
            return
        self._sweeping = False
        if look.offset == 0 and shown < PAGE_WORTH:
            self._list.pages_are_useless(now)
        for watched in missing:
            watched.alone_until = now + LAGGING_SECONDS
            self._agenda.put_alone(watched)

    def _slow_down(self, look: Look, error: HedraError, now: float) -> None:
        """Let all wait; a 429 says nothing about a generation, so it counts as no failure of any."""
        lately = [at for at in self._recent if at > now - 5.0]
        recent_rate = len(lately) / max(now - lately[0], 1.0) if lately else REQUESTS_PER_SECOND
        pause = self._rate.refused(
            now,
            sent_at=look.sent_at,
            recent_rate=recent_rate,
            retry_after=error.retry_after,
            chance=self._chance(),
        )
        for watched in self._agenda.of(look.ids):
            if watched.failures is None:
                watched.failures = self._failures(watched)
                watched.warn(f"Hedra limits the rate of requests, all looks wait {pause:.0f} s: {error}")
            self._agenda.schedule(watched, now, watched.pause)

    def _failed(self, watched: Watched, look: Look, error: HedraError, now: float) -> None:
        if isinstance(error, HedraProtocolError) or error.status_code == 500:
            # One row that the API can't show must not end the waits for all others of its batch.
            watched.share = max(1, min(watched.share, len(look.ids)) // 4)
        watched.failures = watched.failures or self._failures(watched)
        try:
            pause = watched.failures.one_more(for_one(error, watched.waits[0].generation_id))
        except HedraError as last:
            self._end(watched, last)
            return
        self._expire(watched, look, now)
        if watched.waits:
            self._agenda.schedule(watched, now + pause, pause)

    def _failures(self, watched: Watched) -> Failures:
        what = f"generation {watched.waits[0].generation_id}"
        return Failures(what, watched.poll_interval, watched.warn, self._chance)

    def _expire(self, watched: Watched, look: Look, now: float) -> None:
        """End the waits whose deadline had come when the look was sent."""
        for wait in [one for one in watched.waits if one.deadline <= look.sent_at]:
            self._end_one(wait, timed_out(wait.generation_id, now - wait.began))

    def _end(self, watched: Watched, result: Generation | BaseException) -> None:
        for wait in list(watched.waits):
            own = for_one(result, wait.generation_id) if isinstance(result, HedraError) else result
            self._end_one(wait, own)

    def _end_one(self, wait: Wait, result: Generation | BaseException) -> None:
        self._agenda.leave(wait)
        wait.tell(Ended(result))
