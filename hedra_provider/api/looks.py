"""What a poller of many generations speaks of: a wait, its generation, a look, and what a wait is told."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING
from uuid import UUID

from hedra_provider.api import calls
from hedra_provider.api.calls import Call
from hedra_provider.api.pacing import Estimate

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation
    from hedra_provider.api.errors import HedraError
    from hedra_provider.api.waiting import Failures, State

PAGE_ROWS = 100
"""The rows of a page where nothing else is said (documented)."""

BATCH_SIZES = (200, 100, 25)
"""Ids in one request. 200 of them make a URL of 7,900 characters: 8,192 is a common limit."""

EARLY_SHARE = 0.2
"""How much of its pause a generation may be looked at early, to share a request with one that is due."""


class Kind(Enum):
    """Which endpoint a look asks."""

    STATUS = "status"
    BATCH = "batch"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Look:
    """
    One request.

    :param ids: The generations that it is for, in lower case.
    :param sent_at: Seconds on the clock of the poller.
    :param offset: Of a page.
    :param created_after: Of a page, ISO 8601.
    """

    kind: Kind
    ids: tuple[str, ...]
    sent_at: float
    offset: int = 0
    created_after: str | None = None

    def call(self) -> Call[list[Generation]]:
        """Return the call that asks it; its answer may hold generations that nobody asked for."""
        if self.kind is Kind.STATUS:
            found = yield from calls.get_status(self.ids[0])
            return [] if found is None else [found]
        if self.kind is Kind.BATCH:
            return (yield from calls.list_as_answered(self.ids, limit=max(len(self.ids), PAGE_ROWS)))
        since = {} if self.created_after is None else {"created_after": self.created_after}
        return (yield from calls.list_as_answered(limit=PAGE_ROWS, offset=self.offset, **since))


@dataclass(frozen=True, slots=True)
class Seen:
    """A look that brought news: another status, or a tenth more of progress."""

    generation: Generation
    next_look_seconds: float | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """A look that failed, in words; the wait goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The wait is over: the finished generation, or the error to raise."""

    result: Generation | BaseException


News = Seen | Trouble | Ended


@dataclass(eq=False, slots=True)
class Wait:
    """
    Somebody who waits for a generation. Times are seconds on the clock of the poller.

    :param deadline: When the wait is given up.
    :param poll_interval: Seconds between two looks at the most.
    :param began: When the wait began.
    :param tell: Receives the news, in order; the last is :class:`Ended`.
    """

    generation_id: str
    deadline: float
    poll_interval: float
    began: float
    tell: Callable[[News], None]
    last_state: State | None = None


@dataclass(eq=False, slots=True)
class Watched:
    """
    A generation that somebody waits for.

    :param due: When it is to be looked at, at the latest.
    :param early: From when on it may share another's look.
    :param pause: Seconds between its last look and the next.
    :param asked: Whether a look at it is under way, or about to be.
    :param in_line: Whether it stands in the line of those that are asked for alone.
    :param share: In how large a batch it may be asked for: fewer after a batch that failed with it.
    :param alone_until: Until when the status endpoint is asked for it: the list does not show it.
    :param missing: Whether the list did not show it, and the status endpoint was not asked yet.
    :param confirmed_at: When the status endpoint was asked last.
    :param seen_at: When an answer showed it last.
    :param is_listable: Whether it may be asked for in a list of ids.
    """

    key: str
    waits: list[Wait] = field(default_factory=list)
    due: float = 0.0
    early: float = 0.0
    pause: float = 0.0
    asked: bool = False
    in_line: bool = False
    share: int = BATCH_SIZES[0]
    alone_until: float = float("-inf")
    missing: bool = False
    confirmed_at: float = float("-inf")
    seen_at: float = float("-inf")
    created_at: datetime | None = None
    estimate: Estimate = field(default_factory=Estimate)
    failures: Failures | None = None
    is_listable: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_listable = is_listable(self.key)

    @property
    def poll_interval(self) -> float:
        """The shortest interval of those who wait."""
        return min(wait.poll_interval for wait in self.waits)

    @property
    def began(self) -> float:
        """When the first of those who wait began."""
        return min(wait.began for wait in self.waits)

    @property
    def deadline(self) -> float:
        """The next deadline."""
        return min(wait.deadline for wait in self.waits)

    def warn(self, message: str) -> None:
        """Tell all who wait of a failed look."""
        for wait in self.waits:
            wait.tell(Trouble(message))

    def next_pause(self, generation: Generation, now: float, chance: float) -> float:
        """
        Return the seconds until the next look at a running generation.

        :param now: When it was seen, on the clock of the poller.
        :param chance: A random number in [0, 1).
        """
        return self.estimate.pause_seconds(
            poll_interval=self.poll_interval,
            now=now,
            began=self.began,
            eta=generation.eta_sec,
            progress=generation.progress,
            chance=chance,
        )

    def saw(self, generation: Generation) -> None:
        """Keep what the list's pages are found by."""
        if self.created_at is None and generation.created_at:
            try:
                self.created_at = datetime.fromisoformat(generation.created_at)
            except ValueError:
                return
            if self.created_at.tzinfo is None:
                self.created_at = None


def is_listable(generation_id: str) -> bool:
    """Whether an id may stand in a list of ids; one that is no UUID could spoil the answer for all."""
    try:
        return str(UUID(generation_id)) == generation_id.lower()
    except ValueError:
        return False


def for_one(error: HedraError, generation_id: str) -> HedraError:
    """Return an error of a shared look as one of this wait's own: a raised exception collects tracebacks."""
    own = copy.copy(error)
    own.generation_id = generation_id
    return own


def keys(watched: Iterable[Watched]) -> tuple[str, ...]:
    """Return what generations are asked for by."""
    return tuple(one.key for one in watched)


def batches(watched: Iterable[Watched], size: int) -> Iterable[tuple[str, ...]]:
    """Group ids to ask for together, each with no more than it may share a request with."""
    by_share: dict[int, list[Watched]] = {}
    for one in watched:
        by_share.setdefault(min(one.share, size), []).append(one)
    for share, group in by_share.items():
        for start in range(0, len(group), share):
            yield keys(group[start : start + share])


def created_after(watched: Iterable[Watched]) -> str | None:
    """Return from when on pages are worth reading, None where that is not known of all."""
    created = [one.created_at for one in watched]
    known = [moment for moment in created if moment is not None]
    if len(known) < len(created):
        return None
    return (min(known) - timedelta(seconds=1)).isoformat()


def with_asset_id(row: Generation) -> Generation:
    """Return a finished generation with the id of its result, which the list has inside the asset only."""
    if row.asset_id is not None or row.asset is None:
        return row
    return row.model_copy(update={"asset_id": row.asset.id})
