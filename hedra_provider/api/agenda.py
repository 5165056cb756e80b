"""The generations that are waited for, in the order in which they are to be looked at."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING

from hedra_provider.api.looks import EARLY_SHARE, Wait, Watched, is_listable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class _Timetable:
    """
    Generations by time; entries that are no longer true are forgotten.

    :param holds: Whether an entry, a time and a generation, is still true.
    """

    def __init__(self, holds: Callable[[float, Watched], bool]) -> None:
        self._holds = holds
        self._entries: list[tuple[float, int, Watched]] = []
        self._order = itertools.count()

    def add(self, time: float, watched: Watched, most: int) -> None:
        """Enter a generation; no more than so many entries can be true."""
        heapq.heappush(self._entries, (time, next(self._order), watched))
        if len(self._entries) > 2 * most + 64:
            self._entries = [entry for entry in self._entries if self._holds(entry[0], entry[2])]
            heapq.heapify(self._entries)

    def first(self) -> tuple[float, Watched] | None:
        """Return the first time and its generation, None where there is none."""
        while self._entries:
            time, _, watched = self._entries[0]
            if self._holds(time, watched):
                return time, watched
            heapq.heappop(self._entries)
        return None


class Agenda:
    """
    What is due when. Times are seconds on any one clock.

    A generation is in one of three places: among those due at some time, in the line of those that are asked
    for alone, or in a look that is under way.
    """

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._due = _Timetable(self._is_due)
        self._alone: deque[Watched] = deque()
        self._deadlines = _Timetable(self._ends_in_line)
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
        self._mind_deadline(watched)
        return watched

    def leave(self, wait: Wait) -> None:
        """Strike out a wait, and its generation where it was the last."""
        watched = self._watched.get(key_of(wait.generation_id))
        if watched is None or wait not in watched.waits:
            return
        watched.waits.remove(wait)
        if watched.waits:
            self._mind_deadline(watched)
            return
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
        watched.asked = watched.in_line = False
        watched.pause, deadline = pause, watched.deadline
        if due < deadline:
            watched.due, watched.early = due, due - EARLY_SHARE * pause
        else:
            # The last look falls on the deadline: a generation that is done by then is not missed.
            watched.due = watched.early = deadline
        self._due.add(watched.due, watched, len(self))

    def first_due(self) -> float:
        """Return when the first look is due, infinity where none is."""
        first = self._due.first()
        return math.inf if first is None else first[0]

    def take(self, now: float, most: int) -> list[Watched]:
        """
        Take what is due, and what may be looked at already, to ask for it.

        :return: At most so many, the most urgent first; none where nothing is due yet.
        """
        taken: list[Watched] = []
        while len(taken) < most and (first := self._due.first()) is not None:
            due, watched = first
            if (min(watched.early, due) if taken else due) > now:
                break
            watched.asked = True
            taken.append(watched)
        return taken

    def put_alone(self, watched: Watched) -> None:
        """Put a generation into the line of those that are asked for alone."""
        watched.asked = watched.in_line = True
        self._alone.append(watched)
        self._mind_deadline(watched)

    def first_alone(self, now: float) -> Watched | None:
        """Return who is next in that line, None where it is empty: whose deadline has come, goes first."""
        while self._alone and not self._is_in_line(self._alone[0]):
            self._alone.popleft()
        ending = self._deadlines.first()
        if ending is not None and ending[0] <= now:
            return ending[1]
        return self._alone[0] if self._alone else None

    def take_alone(self, watched: Watched) -> None:
        """Take a generation out of that line, to ask for it."""
        watched.in_line = False

    def _mind_deadline(self, watched: Watched) -> None:
        if watched.in_line:
            self._deadlines.add(watched.deadline, watched, len(self))

    def _is_due(self, due: float, watched: Watched) -> bool:
        return not watched.asked and due == watched.due and self._watched.get(watched.key) is watched

    def _is_in_line(self, watched: Watched) -> bool:
        return watched.in_line and self._watched.get(watched.key) is watched

    def _ends_in_line(self, deadline: float, watched: Watched) -> bool:
        return self._is_in_line(watched) and deadline == watched.deadline


def key_of(generation_id: str) -> str:
    """Return what a generation is known by: UUIDs are the same in capitals."""
    return generation_id.lower() if is_listable(generation_id) else generation_id


def _per_second(pause: float) -> float:
    return 1.0 / pause if pause > 0 else 0.0
