"""How generations are polled together, and what ``GET /generations`` can do, learned from its answers.

That ``ids`` accepts several ids is an assumption: Hedra documents one text.
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
"""Ids in one request. If the list rejects a size, the next one is used."""

LIST_REST_SECONDS = 60.0
"""How long a generation that the list does not show is polled by the status endpoint only, and how long
useless pages and failing lists are not requested."""

BATCHES_REST_SECONDS = 600.0
"""How long the list gets no ids, or smaller batches, after a failure. It may be temporary."""

EMPTY_ANSWERS = 2
"""After so many empty answers about existing generations, batches are not used."""

LIST_FAILURES = 3
"""After so many failed lists in a row, the status endpoint is tried."""


class BatchStrategy(Enum):
    """How generations are polled together."""

    BATCHES = "batches"
    """``GET /generations?ids=`` returns the requested generations."""

    PAGES = "pages"
    """``ids`` does not work: the newest pages of the list are read as long as they are useful."""


class ListCapabilities:
    """What the list can do, as far as known. Times are seconds on the clock of the driver."""

    def __init__(self) -> None:
        self.strategy = BatchStrategy.BATCHES
        self.largest_batch = BATCH_SIZES[0]
        self._batches_again_at = math.inf
        self._empty_answers = 0
        self._failures = 0
        self._pages_at = self._list_at = -math.inf

    def is_useful(self, now: float) -> bool:
        """Return whether to use the list now if many are due; old failures are forgotten here."""
        if now >= self._batches_again_at:
            self.strategy, self.largest_batch = BatchStrategy.BATCHES, BATCH_SIZES[0]
            self._batches_again_at = math.inf
            # After this, one empty answer is enough to give up batches.
            self._empty_answers = EMPTY_ANSWERS - 1
        return now >= self._list_at and (self.strategy is BatchStrategy.BATCHES or now >= self._pages_at)

    def ignores_ids(self, now: float) -> None:
        """Note that the list ignores ids: pages are read instead."""
        self.strategy, self._batches_again_at = BatchStrategy.PAGES, now + BATCHES_REST_SECONDS

    def rejected(self, ids: int, now: float) -> None:
        """Note that the list rejected so many ids: use smaller batches, or pages."""
        smaller = [size for size in BATCH_SIZES if size < ids]
        if smaller:
            self.largest_batch = min(self.largest_batch, smaller[0])
            self._batches_again_at = now + BATCHES_REST_SECONDS
        else:
            self.ignores_ids(now)

    def may_hide(self, asked: Collection[str], found: Set[str], now: float) -> bool:
        """
        Note an answer to a batch.

        :param asked: The ids of the batch.
        :param found: The ids of the answer.
        :param now: The time.
        :return: Whether the answer may lack generations that exist.
        """
        if not found <= set(asked):
            self.ignores_ids(now)
            return True
        if len(asked) > PAGE_ROWS == len(found):
            # One page and no more: the list ignores `limit`.
            self.rejected(len(asked), now)
            return True
        return False

    def showed_something(self) -> None:
        """Note an answer with some of the requested generations."""
        self._empty_answers = 0

    def hid_existing(self, now: float) -> None:
        """Note that an empty answer was wrong: a requested generation exists."""
        self._empty_answers += 1
        if self._empty_answers >= EMPTY_ANSWERS:
            self.ignores_ids(now)

    def pages_are_useless(self, now: float) -> None:
        """Note that pages showed too little: none is requested for a minute."""
        self._pages_at = now + LIST_REST_SECONDS

    def answered(self, kind: PollKind, found: bool, now: float) -> None:
        """
        Note an answer. If the status endpoint answers and the list keeps failing, the list is not used.

        :param kind: The endpoint.
        :param found: Whether the answer has a generation.
        :param now: The time.
        """
        if kind is not PollKind.STATUS:
            self._failures = 0
        elif found and self._failures >= LIST_FAILURES:
            # After this, one failure of the list is enough.
            self._failures, self._list_at = LIST_FAILURES - 1, now + LIST_REST_SECONDS

    def failed(self) -> bool:
        """Note that the list failed; return whether to try the status endpoint."""
        self._failures += 1
        return self._failures % LIST_FAILURES == 0


def batches(tracked: Iterable[TrackedGeneration], size: int) -> Iterable[tuple[str, ...]]:
    """
    Group generations into batches.

    :param tracked: The generations; each has its own largest batch.
    :param size: The largest batch.
    :return: The ids of each batch.
    """
    by_size: dict[int, list[TrackedGeneration]] = {}
    for one in tracked:
        by_size.setdefault(min(one.max_batch, size), []).append(one)
    for largest, group in by_size.items():
        for start in range(0, len(group), largest):
            yield keys(group[start : start + largest])


def created_after(tracked: Iterable[TrackedGeneration]) -> str | None:
    """
    Return the time from which pages must be read to find generations.

    :param tracked: The generations.
    :return: ISO 8601; None if the creation time of one is unknown.
    """
    created = [one.created_at for one in tracked]
    known = [moment for moment in created if moment is not None]
    if len(known) < len(created):
        return None
    return (min(known) - timedelta(seconds=1)).isoformat()
