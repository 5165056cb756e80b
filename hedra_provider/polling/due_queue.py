"""The tracked generations in the order in which they are polled."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING

from hedra_provider.polling.tracked import PollState, Subscription, TrackedGeneration, is_listable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EARLY_SHARE = 0.2
"""A generation may be polled early by this share of its pause, to share a request with one that is due."""


class _Timetable:
    """
    Generations by time; invalid entries are dropped.

    :param holds: Returns whether an entry, a time and a generation, is still valid.
    """

    def __init__(self, holds: Callable[[float, TrackedGeneration], bool]) -> None:
        self._holds = holds
        self._entries: list[tuple[float, int, TrackedGeneration]] = []
        self._order = itertools.count()

    def add(self, time: float, tracked: TrackedGeneration, most: int) -> None:
        """Add a generation; ``most`` is how many entries can be valid at a time."""
        heapq.heappush(self._entries, (time, next(self._order), tracked))
        if len(self._entries) > 2 * most + 64:
            self._entries = [entry for entry in self._entries if self._holds(entry[0], entry[2])]
            heapq.heapify(self._entries)

    def first(self) -> tuple[float, TrackedGeneration] | None:
        """Return the earliest time and its generation; None if there is no entry."""
        while self._entries:
            time, _, tracked = self._entries[0]
            if self._holds(time, tracked):
                return time, tracked
            heapq.heappop(self._entries)
        return None


class DueQueue:
    """
    All tracked generations: the due queue, and beside it the status queue.

    The due queue is ordered by time. The status queue holds the generations that need a status request of
    their own, first in, first out; one whose deadline has come goes first. Times are seconds on any clock.
    """

    def __init__(self) -> None:
        self._tracked: dict[str, TrackedGeneration] = {}
        self._due = _Timetable(self._is_due)
        self._status_queue: deque[TrackedGeneration] = deque()
        self._deadlines = _Timetable(self._ends_in_status_queue)
        self.polls_per_second = 0.0
        """The polls per second that all generations need."""

    def __len__(self) -> int:
        """Return how many generations are tracked."""
        return len(self._tracked)

    def of(self, ids: Iterable[str]) -> list[TrackedGeneration]:
        """Return the generations among these that are still tracked."""
        return [self._tracked[key] for key in ids if key in self._tracked]

    def key_of(self, generation_id: str) -> str:
        """Return the key of a generation. The id of a tracked one need not be parsed."""
        return generation_id if generation_id in self._tracked else key_of(generation_id)

    def all(self) -> list[TrackedGeneration]:
        """Return all generations."""
        return list(self._tracked.values())

    def subscribe(self, subscription: Subscription) -> TrackedGeneration:
        """Add a subscription; several for one generation share its polls."""
        key = key_of(subscription.generation_id)
        tracked = self._tracked.get(key)
        if tracked is None:
            tracked = self._tracked[key] = TrackedGeneration(key, due=math.inf)
        tracked.subscriptions.append(subscription)
        self._watch_deadline(tracked)
        return tracked

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription, and its generation with the last one."""
        tracked = self._tracked.get(key_of(subscription.generation_id))
        if tracked is None or subscription not in tracked.subscriptions:
            return
        tracked.subscriptions.remove(subscription)
        if tracked.subscriptions:
            self._watch_deadline(tracked)
            return
        tracked.move_to(PollState.ENDED)
        del self._tracked[tracked.key]
        self.polls_per_second -= _per_second(tracked.pause)
        if not self._tracked:
            self.polls_per_second = 0.0

    def schedule(self, tracked: TrackedGeneration, due: float, pause: float) -> None:
        """
        Put a generation into the due queue.

        :param tracked: The generation.
        :param due: When it is polled at the latest.
        :param pause: Seconds from its last poll to ``due``. It may be polled early by a share of them.
        """
        self.polls_per_second += _per_second(pause) - _per_second(tracked.pause)
        tracked.move_to(PollState.SCHEDULED)
        tracked.pause, deadline = pause, tracked.deadline
        if due < deadline:
            tracked.due, tracked.early = due, due - EARLY_SHARE * pause
        else:
            # The last poll falls on the deadline: a generation that is done by then is not missed.
            tracked.due = tracked.early = deadline
        self._due.add(tracked.due, tracked, len(self))

    def first_due(self) -> float:
        """Return when the first generation is due; infinity if none is scheduled."""
        first = self._due.first()
        return math.inf if first is None else first[0]

    def take_due(self, now: float, most: int) -> list[TrackedGeneration]:
        """
        Take the generations that are due, and those that may be polled early, for one round of polls.

        :param now: The time.
        :param most: How many at most.
        :return: The generations, the most urgent first; none if none is due yet.
        """
        taken: list[TrackedGeneration] = []
        while len(taken) < most and (first := self._due.first()) is not None:
            due, tracked = first
            if (min(tracked.early, due) if taken else due) > now:
                break
            tracked.move_to(PollState.REQUESTED)
            taken.append(tracked)
        return taken

    def queue_status(self, tracked: TrackedGeneration, *, unconfirmed: bool = False) -> None:
        """
        Put a generation into the status queue.

        :param tracked: The generation.
        :param unconfirmed: Whether the list did not show it; False by default.
        """
        tracked.move_to(PollState.UNCONFIRMED if unconfirmed else PollState.STATUS_QUEUED)
        self._status_queue.append(tracked)
        self._watch_deadline(tracked)

    def first_in_status_queue(self, now: float) -> TrackedGeneration | None:
        """
        Return the next generation of the status queue; one at its deadline has precedence.

        :param now: The time.
        :return: None if the queue is empty.
        """
        while self._status_queue and not self._is_queued(self._status_queue[0]):
            self._status_queue.popleft()
        ending = self._deadlines.first()
        if ending is not None and ending[0] <= now:
            return ending[1]
        return self._status_queue[0] if self._status_queue else None

    def take_from_status_queue(self, tracked: TrackedGeneration) -> None:
        """Take a generation out of the status queue, to send its status request."""
        is_new = tracked.state is PollState.UNCONFIRMED
        tracked.move_to(PollState.CONFIRMING if is_new else PollState.REQUESTED)

    def _watch_deadline(self, tracked: TrackedGeneration) -> None:
        if tracked.is_status_queued:
            self._deadlines.add(tracked.deadline, tracked, len(self))

    def _is_due(self, due: float, tracked: TrackedGeneration) -> bool:
        return (
            tracked.state is PollState.SCHEDULED
            and due == tracked.due
            and self._tracked.get(tracked.key) is tracked
        )

    def _is_queued(self, tracked: TrackedGeneration) -> bool:
        return tracked.is_status_queued and self._tracked.get(tracked.key) is tracked

    def _ends_in_status_queue(self, deadline: float, tracked: TrackedGeneration) -> bool:
        return self._is_queued(tracked) and deadline == tracked.deadline


def key_of(generation_id: str) -> str:
    """Return the key of a generation: a UUID in lower case, another id unchanged."""
    return generation_id.lower() if is_listable(generation_id) else generation_id


def _per_second(pause: float) -> float:
    return 1.0 / pause if pause > 0 else 0.0
