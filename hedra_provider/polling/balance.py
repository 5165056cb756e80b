"""The wait for credits: the same reactions to errors and rate limits as any wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraWaitTimeoutError
from hedra_provider.polling import pacing
from hedra_provider.polling.wait import Decision, Failed, Finished, PollAgain, Wait

if TYPE_CHECKING:
    from decimal import Decimal


class BalanceWait(Wait):
    """
    The wait for credits.

    :param minimum: The credits to wait for.
    :param facts: ``began``, ``deadline``, ``poll_interval`` and ``time_limit`` of :class:`Wait`.
    """

    __slots__ = ("_available", "minimum")

    def __init__(self, minimum: int, **facts: Any) -> None:
        super().__init__(**facts)
        self.minimum = minimum
        self._available: Decimal | int | None = None

    @property
    def subject(self) -> str:
        """The subject of messages."""
        return "the balance"

    def on_balance(
        self, available: Decimal | int | None, *, polled_at: float, now: float, jitter: float
    ) -> Decision:
        """
        Decide after an answer.

        :param available: The credits; None if Hedra does not state them.
        :param polled_at: When the poll was sent.
        :param now: The time.
        :param jitter: A random number in [0, 1).
        :return: The decision; ``Finished`` with the credits.
        """
        was_wrong, last = self._recovered(), self._available
        self._available = available
        if available is not None and available >= self.minimum:
            return Finished(available)
        if polled_at >= self.deadline:
            return Failed(self.timed_out(now))
        pause = self.poll_interval * (1.0 - pacing.JITTER * jitter)
        return PollAgain(pause, is_update=was_wrong or available != last)

    def describe(self, available: Decimal | int | None) -> str:
        """Return the line for a log about a balance that is too low; ``available`` in credits."""
        return f"Waiting for {_credits(self.minimum)}; available: {_credits(available)}."

    def timed_out(self, now: float) -> HedraWaitTimeoutError:
        """Build the error of a wait that reached its deadline."""
        trouble = f" {self._trouble.sentence}" if self._trouble else ""
        return HedraWaitTimeoutError(
            f"After a wait of {max(now - self.began, 0.0):.0f} s the balance is "
            f"{_credits(self._available)}, less than {self.minimum}. The task's {self.time_limit} ended the "
            f"wait.{trouble}",
            remedy=f"Add credits; raise {self.time_limit} to wait longer.",
        )


def _credits(number: Decimal | int | None) -> str:
    if number is None:
        return "an unknown number of credits"
    return "1 credit" if number == 1 else f"{number} credits"
