"""How generations are polled together, and what ``GET /generations`` can do, judged by its answers.

That ``ids`` takes several ids is an assumption: Hedra documents one text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from hedra_provider.polling.poll import PAGE_ROWS, PollKind
from hedra_provider.polling.tracked import LARGEST_BATCH, keys

if TYPE_CHECKING:
    from collections.abc import Collection, Set

    from hedra_provider.polling.tracked import TrackedGeneration

BATCH_SIZES = (LARGEST_BATCH, 100, 25)
"""Ids in one request, as many as the list takes."""

LIST_REST_SECONDS = 60.0
"""How long only the status endpoint is asked for a generation that the list does not show, and how long
useless pages and failing lists rest."""

BATCHES_REST_SECONDS = 600.0
"""How long ids are not put into the list, or fewer: what was wrong may have been an hour's trouble."""

EMPTY_ANSWERS = 2
"""Empty answers about generations that exist, after which batches are given up."""

LIST_FAILURES = 3
"""Lists that failed in a row, after which the status endpoint is tried."""


class BatchStrategy(Enum):
    """How generations are polled together."""

    BATCHES = "batches"
    """``GET /generations?ids=`` shows the generations that it is asked for."""

    PAGES = "pages"
    """``ids`` does not work: the newest pages of the list are read while they serve."""


class ListCapabilities:
    """What is known of the list. Times are seconds on the clock of the driver."""

    def __init__(self) -> None:
        self.strategy = BatchStrategy.BATCHES
        self.largest_batch = BATCH_SIZES[0]
        self._batches_again_at = math.inf
        self._empty_answers = 0
        self._failures = 0
        self._pages_at = self._list_at = -math.inf

    def is_useful(self, now: float) -> bool:
        """Tell whether to ask the list now, if many are due; forgets what was long ago."""
        if now >= self._batches_again_at:
            self.strategy, self.largest_batch = BatchStrategy.BATCHES, BATCH_SIZES[0]
            self._batches_again_at = math.inf
            # One more empty answer is enough then.
            self._empty_answers = EMPTY_ANSWERS - 1
        return now >= self._list_at and (self.strategy is BatchStrategy.BATCHES or now >= self._pages_at)

    def ignores_ids(self, now: float) -> None:
        """Note that the list ignores ids: pages are read instead."""
        self.strategy, self._batches_again_at = BatchStrategy.PAGES, now + BATCHES_REST_SECONDS

    def rejected(self, ids: int, now: float) -> None:
        """Note that the list does not take so many ids: fewer are asked for, or pages."""
        smaller = [size for size in BATCH_SIZES if size < ids]
        if smaller:
            self.largest_batch = min(self.largest_batch, smaller[0])
            self._batches_again_at = now + BATCHES_REST_SECONDS
        else:
            self.ignores_ids(now)

    def may_hide(self, asked: Collection[str], found: Set[str], now: float) -> bool:
        """Note an answer to ids; return whether it says nothing about the ids that it lacks."""
        if not found <= set(asked):
            self.ignores_ids(now)
            return True
        if len(asked) > PAGE_ROWS == len(found):
            # One page and no more: the list ignores `limit`.
            self.rejected(len(asked), now)
            return True
        return False

    def showed_something(self) -> None:
        """Note an answer that shows generations that were asked for."""
        self._empty_answers = 0

    def hid_existing(self, now: float) -> None:
        """Note that an answer without any of many was wrong."""
        self._empty_answers += 1
        if self._empty_answers >= EMPTY_ANSWERS:
            self.ignores_ids(now)

    def pages_are_useless(self, now: float) -> None:
        """Let pages rest."""
        self._pages_at = now + LIST_REST_SECONDS

    def answered(self, kind: PollKind, found: bool, now: float) -> None:
        """Note an answer, also of the status endpoint: a list that keeps failing rests then."""
        if kind is not PollKind.STATUS:
            self._failures = 0
        elif found and self._failures >= LIST_FAILURES:
            # After that the next failure of the list is enough.
            self._failures, self._list_at = LIST_FAILURES - 1, now + LIST_REST_SECONDS

    def failed(self) -> bool:
        """Note that the list failed; return whether to find out whether it alone does."""
        self._failures += 1
        return self._failures % LIST_FAILURES == 0


def batches(tracked: Iterable[TrackedGeneration], size: int) -> Iterable[tuple[str, ...]]:
    """Group ids to poll together, each in no larger batch than it may be in."""
    by_size: dict[int, list[TrackedGeneration]] = {}
    for one in tracked:
        by_size.setdefault(min(one.max_batch, size), []).append(one)
    for largest, group in by_size.items():
        for start in range(0, len(group), largest):
            yield keys(group[start : start + largest])


def created_after(tracked: Iterable[TrackedGeneration]) -> str | None:
    """Return the time from which pages are worth reading, None where it is not known of all."""
    created = [one.created_at for one in tracked]
    known = [moment for moment in created if moment is not None]
    if len(known) < len(created):
        return None
    return (min(known) - timedelta(seconds=1)).isoformat()
