"""What the planners of both API versions share: the interface for their driver, and the end of a wait.

A driver (:mod:`hedra_provider.poller`, or a simulated clock) gets the next request from
:meth:`BasePlanner.next_poll`, and passes the outcome to :meth:`BasePlanner.on_answer` or
:meth:`BasePlanner.on_error`. :mod:`hedra_provider.polling.wait` decides what an answer means for a wait. Time
is always an argument.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from hedra_provider.api.errors import HedraError
from hedra_provider.polling.due_queue import DueQueue
from hedra_provider.polling.tracked import (
    Ended,
    PollState,
    Progressed,
    Subscription,
    TrackedGeneration,
    Warned,
    for_one,
)
from hedra_provider.polling.wait import Decision, Failed, Finished, PollAgain

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.api.calls import Call
    from hedra_provider.records import Generation


class AnyPoll(Protocol):
    """A poll, as a driver sees it."""

    @property
    def sent_at(self) -> float:
        """When it is sent."""

    def call(self) -> Call[Any]:
        """Return the call that sends the request."""


class BasePlanner(ABC):
    """
    All polls of one driver.

    :param jitter: Returns random numbers in [0, 1).
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._queue = DueQueue()

    def __len__(self) -> int:
        """Return how many generations are tracked."""
        return len(self._queue)

    def add(self, subscription: Subscription, now: float, first_poll_after: float = 0.0) -> None:
        """
        Add a subscription.

        :param subscription: The subscription.
        :param now: The time.
        :param first_poll_after: Seconds until the first poll, 0 by default.
        """
        tracked = self._queue.subscribe(subscription)
        due = min(now + max(first_poll_after, 0.0), max(subscription.deadline, now))
        if due < tracked.due and tracked.state is PollState.SCHEDULED:
            self._queue.schedule(tracked, due, due - now)

    def drop(self, subscription: Subscription) -> None:
        """Remove a subscription without an update."""
        self._queue.unsubscribe(subscription)

    def fail_all(self, error: BaseException) -> None:
        """End all waits with an error."""
        for tracked in self._queue.all():
            for one in list(tracked.subscriptions):
                own = for_one(error, one.generation_id) if isinstance(error, HedraError) else error
                self._end_one(one, own)

    @abstractmethod
    def next_poll(self, now: float) -> Any:
        """Return the request to send now; None if there is none before :meth:`next_time`."""

    @abstractmethod
    def next_time(self, now: float) -> float:
        """
        Return when :meth:`next_poll` has the next request.

        :param now: The time.
        :return: Infinity if there is one only after an answer or a new subscription.
        """

    @abstractmethod
    def on_answer(self, poll: Any, answer: Any, now: float) -> None:
        """
        Handle an answer, and notify the subscriptions of its generations.

        :param poll: The poll, from :meth:`next_poll`.
        :param answer: What its call returned.
        :param now: The time.
        """

    @abstractmethod
    def on_error(self, poll: Any, error: HedraError, now: float) -> None:
        """
        Handle a failure, and notify the subscriptions of its generations.

        :param poll: The poll, from :meth:`next_poll`.
        :param error: The error.
        :param now: The time.
        """

    @abstractmethod
    def requeue(self, poll: Any, now: float) -> None:
        """Cancel a poll that was not answered: its generations are due again."""

    def limits_shown(  # noqa: B027  optional
        self, *, limit: float | None, remaining: float | None, reset_seconds: float | None, now: float
    ) -> None:
        """
        Note what an answer says of the rate limit. Nothing by default.

        :param limit: Requests in a window; None if not known.
        :param remaining: Requests that are left in this window; None if not known.
        :param reset_seconds: Seconds to the next window; None if not known.
        :param now: The time.
        """

    def take_notice(self) -> str | None:
        """Return a line for the triggerer's log about how generations are polled, once; None by default."""
        return None

    def _apply(
        self, decisions: list[tuple[Subscription, Decision]], row: Generation | None = None
    ) -> float | None:
        """
        Execute the decisions of the waits for one generation: end them, or notify their subscriptions.

        :param row: The generation; None if the poll did not show it.
        :return: Seconds until the next poll, as the most urgent wait needs it; None if all are over.
        """
        going_on: list[tuple[Subscription, PollAgain]] = []
        for subscription, decision in decisions:
            if isinstance(decision, Finished):
                self._end_one(subscription, decision.result)
            elif isinstance(decision, Failed):
                self._end_one(subscription, decision.error)
            else:
                going_on.append((subscription, decision))
        if not going_on:
            return None
        pause = min(decision.after_seconds for _, decision in going_on)
        for subscription, decision in going_on:
            if decision.is_update and row is not None:
                subscription.notify(Progressed(row, self._announced_pause(pause)))
            if decision.warning is not None:
                subscription.notify(Warned(decision.warning))
        return pause

    def _announced_pause(self, pause: float) -> float:
        """Return the seconds until the next poll, for a log, of a generation that is due after a pause."""
        return pause

    def _end_one(self, subscription: Subscription, result: Generation | BaseException) -> None:
        self._queue.unsubscribe(subscription)
        subscription.notify(Ended(result))

    def _failure_decisions(
        self, tracked: TrackedGeneration, sent_at: float, error: HedraError, now: float
    ) -> list[tuple[Subscription, Decision]]:
        """Return what the waits for one generation decide after a poll that failed."""
        return [
            (
                one,
                one.on_error(
                    for_one(error, one.generation_id), polled_at=sent_at, now=now, jitter=self._jitter()
                ),
            )
            for one in tracked.subscriptions
        ]
