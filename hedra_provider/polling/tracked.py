"""A generation in a planner: its subscriptions, and the state of its polling.

A :class:`TrackedGeneration` is in one state at a time:

================  ==============================  ============================================================
State             Meaning                         Next states
================  ==============================  ============================================================
SCHEDULED         In the due queue. A page for    REQUESTED, STATUS_QUEUED, RESULT_QUEUED, ENDED, and itself
                  others may show it before
REQUESTED         Part of a poll that is planned  SCHEDULED, STATUS_QUEUED, UNCONFIRMED, RESULT_QUEUED, ENDED
                  or sent
STATUS_QUEUED     Waits for its own status        REQUESTED, SCHEDULED, RESULT_QUEUED, ENDED
                  request. v3: or for a page
UNCONFIRMED       The list lacks it. Waits for    CONFIRMING, ENDED
                  its own status request
CONFIRMING        That status request is sent     SCHEDULED, ENDED
RESULT_QUEUED     It has ended. Waits for the     RESULT_REQUESTED, ENDED
                  request for its result
RESULT_REQUESTED  That request is sent            SCHEDULED, ENDED
ENDED             No subscription is left         (none)
================  ==============================  ============================================================

:data:`TRANSITIONS` is the same table; a test compares every step of both planners with it. Only that of v2
uses UNCONFIRMED and CONFIRMING, only that of v3 the two states of a result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hedra_provider.polling.wait import GenerationWait

if TYPE_CHECKING:
    from hedra_provider.api.errors import HedraError
    from hedra_provider.records import Generation

LARGEST_BATCH = 200
"""Ids in one request. 200 of them make a URL of 7,900 characters: 8,192 is a common limit."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """
    A poll showed another status, or a tenth more of progress.

    :param generation: The generation.
    :param next_poll_seconds: Seconds until the next poll; None if not known.
    """

    generation: Generation
    next_poll_seconds: float | None


@dataclass(frozen=True, slots=True)
class Warned:
    """A line for a log about a problem; the wait goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The wait is over: the finished generation, or the error to raise."""

    result: Generation | BaseException


Update = Progressed | Warned | Ended


class Subscription(GenerationWait):
    """
    The wait of one subscriber of the poller.

    :param generation_id: The generation.
    :param notify: Receives the updates in order; the last is :class:`Ended`.
    :param facts: ``began``, ``deadline``, ``poll_interval`` and ``time_limit`` of a wait.
    """

    __slots__ = ("notify",)

    def __init__(self, generation_id: str, notify: Callable[[Update], None], **facts: Any) -> None:
        super().__init__(generation_id, **facts)
        self.notify = notify


class PollState(Enum):
    """The state of a tracked generation; the docstring of this module has the table."""

    SCHEDULED = "scheduled"
    REQUESTED = "requested"
    STATUS_QUEUED = "status queued"
    UNCONFIRMED = "unconfirmed"
    CONFIRMING = "confirming"
    RESULT_QUEUED = "result queued"
    RESULT_REQUESTED = "result requested"
    ENDED = "ended"


TRANSITIONS: dict[PollState, frozenset[PollState]] = {
    PollState.SCHEDULED: frozenset(
        {
            PollState.SCHEDULED,
            PollState.REQUESTED,
            PollState.STATUS_QUEUED,
            PollState.RESULT_QUEUED,
            PollState.ENDED,
        }
    ),
    PollState.REQUESTED: frozenset(
        {
            PollState.SCHEDULED,
            PollState.STATUS_QUEUED,
            PollState.UNCONFIRMED,
            PollState.RESULT_QUEUED,
            PollState.ENDED,
        }
    ),
    PollState.STATUS_QUEUED: frozenset(
        {PollState.REQUESTED, PollState.SCHEDULED, PollState.RESULT_QUEUED, PollState.ENDED}
    ),
    PollState.UNCONFIRMED: frozenset({PollState.CONFIRMING, PollState.ENDED}),
    PollState.CONFIRMING: frozenset({PollState.SCHEDULED, PollState.ENDED}),
    PollState.RESULT_QUEUED: frozenset({PollState.RESULT_REQUESTED, PollState.ENDED}),
    PollState.RESULT_REQUESTED: frozenset({PollState.SCHEDULED, PollState.ENDED}),
    PollState.ENDED: frozenset(),
}
"""State -> the states that may follow it."""


@dataclass(eq=False, slots=True)
class TrackedGeneration:
    """
    A generation with at least one subscription.

    :param key: Its id in lower case.
    :param subscriptions: The waits that share its polls.
    :param state: The state of its polling.
    :param due: When it is polled at the latest.
    :param early: From when it may share the poll of another generation that is due.
    :param pause: Seconds between its last poll and the next.
    :param max_batch: The largest batch for it: smaller after a batch with it failed.
    :param status_only_until: Until when only the status endpoint is used, because the list does not show it.
    :param status_polled_at: When the status endpoint was last used for it.
    :param created_at: When Hedra created it; None if not known.
    :param progress: The progress that the status endpoint showed; pages of v3 have none.
    :param ended: The row that showed its end, while its result is missing (v3).
    :param checked_status: The unknown status for which its result was requested (v3).
    :param is_listable: Whether its id may be put into a batch.
    """

    key: str
    subscriptions: list[Subscription] = field(default_factory=list)
    state: PollState = PollState.SCHEDULED
    due: float = 0.0
    early: float = 0.0
    pause: float = 0.0
    max_batch: int = LARGEST_BATCH
    status_only_until: float = float("-inf")
    status_polled_at: float = float("-inf")
    created_at: datetime | None = None
    progress: float | None = None
    ended: Generation | None = None
    checked_status: str | None = ""
    is_listable: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_listable = is_listable(self.key)

    def move_to(self, state: PollState) -> None:
        """Enter a state. Tests compare each step with :data:`TRANSITIONS`."""
        self.state = state

    @property
    def is_status_queued(self) -> bool:
        """Whether it waits for a status request of its own."""
        return self.state is PollState.STATUS_QUEUED or self.state is PollState.UNCONFIRMED

    @property
    def began(self) -> float:
        """When the first of its waits began."""
        return min(one.began for one in self.subscriptions)

    @property
    def deadline(self) -> float:
        """The next deadline."""
        return min(one.deadline for one in self.subscriptions)

    def remember_creation(self, generation: Generation) -> None:
        """Keep the creation time: pages of the list are read from there."""
        if self.created_at is None and generation.created_at:
            try:
                self.created_at = datetime.fromisoformat(generation.created_at)
            except ValueError:
                return
            if self.created_at.tzinfo is None:
                self.created_at = None


def is_listable(generation_id: str) -> bool:
    """Return whether an id may be put into a batch: another text than a UUID could fail the whole batch."""
    try:
        return str(UUID(generation_id)) == generation_id.lower()
    except ValueError:
        return False


def for_one(error: HedraError, generation_id: str) -> HedraError:
    """
    Return a copy of the error of a shared poll for one wait: a raised exception collects tracebacks.

    :param error: The error.
    :param generation_id: The generation of that wait.
    """
    own = copy.copy(error)
    own.generation_id = generation_id
    return own


def keys(tracked: Iterable[TrackedGeneration]) -> tuple[str, ...]:
    """Return the keys of generations."""
    return tuple(one.key for one in tracked)
