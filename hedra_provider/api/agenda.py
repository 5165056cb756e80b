"""The generations that are waited for, in the order in which they are to be looked at."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING

from hedra_provider.api.looks import EARLY_SHARE, Wait, Watched, is_listable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Agenda:
    """
    What is due when. Times are seconds on any one clock.

    A generation is in one of three places: among those due at some time, in the line of those that are asked
    for alone, or in a look that is under way.
    """

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._due: list[tuple[float, int, Watched]] = []
        self._order = itertools.count()
        self._alone: deque[Watched] = deque()
        self.looks_per_second = 0.0
        """How many looks all of them take."""

    def __len__(self) -> int:
        """How many generations are waited for."""
        return len(self._watched)

    def of(self, keys: Iterable[str]) -> list[Watched]:
        """Return those of these generations that somebody still waits for."""
        return [self._watched[key] for key in keys if key in self._watched]

    def key_of(self, generation_id: str) -> str:
        """Return what a generation is known by; who is waited for is found without parsing its id."""
        return generation_id if generation_id in self._watched else key_of(generation_id)

    def all(self) -> list[Watched]:
        """Return all generations."""
        return list(self._watched.values())

    def join(self, wait: Wait) -> Watched:
        """Enter a wait; several for one generation share its looks."""
        key = key_of(wait.generation_id)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = Watched(key, due=math.inf)
        watched.waits.append(wait)
        return watched

    def leave(self, wait: Wait) -> None:
        """Strike out a wait, and its generation where it was the last."""
        watched = self._watched.get(key_of(wait.generation_id))
        if watched is None or wait not in watched.waits:
            return
        watched.waits.remove(wait)
        if not watched.waits:
            del self._watched[watched.key]
            self.looks_per_second -= _per_second(watched.pause)
            if not self._watched:
                self.looks_per_second = 0.0

    def schedule(self, watched: Watched, due: float, pause: float) -> None:
        """
        Set when a generation is looked at.

        :param due: At the latest.
        :param pause: Seconds since its last look: a share of them, it may be looked at earlier.
        """
        self.looks_per_second += _per_second(pause) - _per_second(watched.pause)
        watched.asked, watched.pause, deadline = False, pause, watched.deadline
        if due < deadline:
            watched.due, watched.early = due, due - EARLY_SHARE * pause
        else:
            # The last look falls on the deadline: a generation that is done by then is not missed.
            watched.due = watched.early = deadline
        heapq.heappush(self._due, (watched.due, next(self._order), watched))

    def first_due(self) -> float:
        """Return when the first look is due, infinity where none is."""
        while self._due and self._is_stale(self._due[0][0], self._due[0][2]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def take(self, now: float, most: int) -> list[Watched]:
        """
        Take what is due, and what may be looked at already, to ask for it.

        :return: At most so many, the most urgent first; none where nothing is due yet.
        """
        taken: list[Watched] = []
        if self.first_due() > now:
            return taken
        while len(taken) < most and self.first_due() < math.inf:
            watched = self._due[0][2]
            if min(watched.early, watched.due) > now:
                break
            heapq.heappop(self._due)
            watched.asked = True
            taken.append(watched)
        return taken

    def put_alone(self, watched: Watched, now: float) -> None:
        """Put a generation into the line of those that are asked for alone; who is at a deadline, first."""
        watched.asked = True
        if watched.deadline <= now:
            self._alone.appendleft(watched)
        else:
            self._alone.append(watched)

    def first_alone(self) -> Watched | None:
        """Return the first of the line, None where it is empty; :meth:`take_alone` takes it."""
        while self._alone and self._watched.get(self._alone[0].key) is not self._alone[0]:
            self._alone.popleft()
        return self._alone[0] if self._alone else None

    def take_alone(self) -> Watched | None:
        """Take the first of the line, to ask for it."""
        first = self.first_alone()
        if first is not None:
            self._alone.popleft()
        return first

    def _is_stale(self, due: float, watched: Watched) -> bool:
        return watched.asked or due != watched.due or self._watched.get(watched.key) is not watched


def key_of(generation_id: str) -> str:
    """Return what a generation is known by: UUIDs are the same in capitals."""
    return generation_id.lower() if is_listable(generation_id) else generation_id


def _per_second(pause: float) -> float:
    return 1.0 / pause if pause > 0 else 0.0
