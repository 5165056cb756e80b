"""What the planner keeps of each generation: who subscribes to it, and the state of its polling.

A :class:`TrackedGeneration` is in one state at a time:

=============  ============================================  ==========================================
State          Meaning                                       Next states
=============  ============================================  ==========================================
SCHEDULED      In the due queue, until its next poll.        REQUESTED, STATUS_QUEUED, ENDED, and itself
               A page for others may show it meanwhile
REQUESTED      Part of a poll that is planned or sent        SCHEDULED, STATUS_QUEUED, UNCONFIRMED, ENDED
STATUS_QUEUED  Waits for a status request of its own         REQUESTED, ENDED
UNCONFIRMED    The list did not show it. Waits for the       CONFIRMING, ENDED
               status request that says whether it exists
CONFIRMING     That status request is sent                   SCHEDULED, ENDED
ENDED          Nobody subscribes any more                    (none)
=============  ============================================  ==========================================

:data:`TRANSITIONS` is the same table; a test holds every step of the planner against it.
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
    from hedra_provider.api.responses import Generation

LARGEST_BATCH = 200
"""Ids in one request. 200 of them make a URL of 7,900 characters: 8,192 is a common limit."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """A poll brought news: another status, or a tenth more of progress."""

    generation: Generation
    next_poll_seconds: float | None


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is wrong, in words; the wait goes on."""

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
    """Where a tracked generation stands; the table of this module's docstring says what follows what."""

    SCHEDULED = "scheduled"
    REQUESTED = "requested"
    STATUS_QUEUED = "status queued"
    UNCONFIRMED = "unconfirmed"
    CONFIRMING = "confirming"
    ENDED = "ended"


TRANSITIONS: dict[PollState, frozenset[PollState]] = {
    PollState.SCHEDULED: frozenset(
        {PollState.SCHEDULED, PollState.REQUESTED, PollState.STATUS_QUEUED, PollState.ENDED}
    ),
    PollState.REQUESTED: frozenset(
        {PollState.SCHEDULED, PollState.STATUS_QUEUED, PollState.UNCONFIRMED, PollState.ENDED}
    ),
    PollState.STATUS_QUEUED: frozenset({PollState.REQUESTED, PollState.ENDED}),
    PollState.UNCONFIRMED: frozenset({PollState.CONFIRMING, PollState.ENDED}),
    PollState.CONFIRMING: frozenset({PollState.SCHEDULED, PollState.ENDED}),
    PollState.ENDED: frozenset(),
}
"""State -> the states that may follow it."""


@dataclass(eq=False, slots=True)
class TrackedGeneration:
    """
    A generation that somebody subscribes to.

    :param key: Its id in lower case.
    :param subscriptions: Whose waits share its polls.
    :param state: Where it stands.
    :param due: When it is polled, at the latest.
    :param early: When it may share the poll of another that is due.
    :param pause: Seconds between its last poll and the next.
    :param max_batch: In how large a batch it may be polled: smaller after a batch that failed with it.
    :param status_only_until: Until when only the status endpoint is asked for it: the list does not show it.
    :param status_polled_at: When the status endpoint was asked last.
    :param created_at: When Hedra made it, as far as known.
    :param is_listable: Whether its id may stand in a list of ids.
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
    is_listable: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_listable = is_listable(self.key)

    def move_to(self, state: PollState) -> None:
        """Enter a state; the tests hold each step against :data:`TRANSITIONS`."""
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
        """Keep the time by which pages of the list find it."""
        if self.created_at is None and generation.created_at:
            try:
                self.created_at = datetime.fromisoformat(generation.created_at)
            except ValueError:
                return
            if self.created_at.tzinfo is None:
                self.created_at = None


def is_listable(generation_id: str) -> bool:
    """Tell whether an id may stand in a list of ids; one that is no UUID could spoil the answer for all."""
    try:
        return str(UUID(generation_id)) == generation_id.lower()
    except ValueError:
        return False


def for_one(error: HedraError, generation_id: str) -> HedraError:
    """Return the error of a shared poll as one wait's own: a raised exception collects tracebacks."""
    own = copy.copy(error)
    own.generation_id = generation_id
    return own


def keys(tracked: Iterable[TrackedGeneration]) -> tuple[str, ...]:
    """Return the ids that generations are polled by."""
    return tuple(one.key for one in tracked)


def with_asset_id(row: Generation) -> Generation:
    """Return a finished generation with the id of its result, which the list has inside the asset only."""
    if row.asset_id is not None or row.asset is None:
        return row
    return row.model_copy(update={"asset_id": row.asset.id})
