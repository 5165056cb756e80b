"""What ``GET /generations`` is good for, by its answers: that it takes several ids is an assumption."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from hedra_provider.api.looks import BATCH_SIZES, PAGE_ROWS, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Set

LAGGING_SECONDS = 60.0
"""How long a generation that the list does not show is asked for alone, and useless pages and lists rest."""

DOUBTED_SECONDS = 600.0
"""How long it is not asked for ids, or for fewer: what was wrong may have been an hour's trouble."""

EMPTY_ANSWERS = 2
"""Empty answers about generations that are there, after which batches are not believed any more."""

FAILURES = 3
"""Lists that failed in a row, after which the status endpoint is tried."""


class Way(Enum):
    """How many generations are asked for together."""

    BATCHES = "batches"
    PAGES = "pages"


class Listing:
    """What is known of the list. Times are seconds on the clock of the poller."""

    def __init__(self) -> None:
        self.way = Way.BATCHES
        self.largest_batch = BATCH_SIZES[0]
        self._doubted_until = math.inf
        self._empty_answers = 0
        self._failures = 0
        self._pages_at = self._at = -math.inf

    def is_useful(self, now: float) -> bool:
        """Whether it is to be asked now, if many are due; forgets what was long ago."""
        if now >= self._doubted_until:
            self.way, self.largest_batch, self._doubted_until = Way.BATCHES, BATCH_SIZES[0], math.inf
            # One more such answer is enough then.
            self._empty_answers = EMPTY_ANSWERS - 1
        return now >= self._at and (self.way is Way.BATCHES or now >= self._pages_at)

    def ignores_ids(self, now: float) -> None:
        """Note that it does not heed ids: pages are read."""
        self.way, self._doubted_until = Way.PAGES, now + DOUBTED_SECONDS

    def refused(self, ids: int, now: float) -> None:
        """Note that it does not take so many ids: fewer are asked for, or pages."""
        smaller = [size for size in BATCH_SIZES if size < ids]
        if smaller:
            self.largest_batch, self._doubted_until = (
                min(self.largest_batch, smaller[0]),
                now + DOUBTED_SECONDS,
            )
        else:
            self.ignores_ids(now)

    def may_hide(self, asked: Collection[str], found: Set[str], now: float) -> bool:
        """Note an answer to ids; return whether it says nothing of those that it lacks."""
        if not found <= set(asked):
            self.ignores_ids(now)
            return True
        if len(asked) > PAGE_ROWS == len(found):
            # A page and no more: `limit` is not heeded.
            self.refused(len(asked), now)
            return True
        return False

    def showed_something(self) -> None:
        """Note an answer with what was asked for."""
        self._empty_answers = 0

    def hid_what_is_there(self, now: float) -> None:
        """Note that an answer without any of many was not true."""
        self._empty_answers += 1
        if self._empty_answers >= EMPTY_ANSWERS:
            self.ignores_ids(now)

    def pages_are_useless(self, now: float) -> None:
        """Let pages rest."""
        self._pages_at = now + LAGGING_SECONDS

    def answered(self, kind: Kind, found: bool, now: float) -> None:
        """Note an answer, of the status endpoint too: a list that failed again and again rests then."""
        if kind is not Kind.STATUS:
            self._failures = 0
        elif found and self._failures >= FAILURES:
            # After that its next failure is enough.
            self._failures, self._at = FAILURES - 1, now + LAGGING_SECONDS

    def failed(self) -> bool:
        """Note that it failed; return whether to find out whether it alone does."""
        self._failures += 1
        return self._failures % FAILURES == 0
