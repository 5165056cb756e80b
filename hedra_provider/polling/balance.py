"""The wait for a balance: the same reactions to errors and rate limits as any wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraWaitTimeoutError
from hedra_provider.polling import pacing
from hedra_provider.polling.wait import Decision, Failed, Finished, PollAgain, Wait
from hedra_provider.records import CREDITS, balance_words

if TYPE_CHECKING:
    from decimal import Decimal


class BalanceWait(Wait):
    """
    The wait for a balance.

    :param minimum: The amount to wait for.
    :param currency: Of the amount: ``credits`` (default) or ``USD``.
    :param facts: ``began``, ``deadline``, ``poll_interval`` and ``time_limit`` of :class:`Wait`.
    """

    __slots__ = ("_available", "currency", "minimum")

    def __init__(self, minimum: Decimal | int, *, currency: str = CREDITS, **facts: Any) -> None:
        super().__init__(**facts)
        self.minimum = minimum
        self.currency = currency
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

        :param available: The amount; None if Hedra does not state it.
        :param polled_at: When the poll was sent.
        :param now: The time.
        :param jitter: A random number in [0, 1).
        :return: The decision; ``Finished`` with the amount.
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
        """Return the line for a log about a balance that is too low."""
        wanted, found = balance_words(self.minimum, self.currency), balance_words(available, self.currency)
        return f"Waiting for {wanted}; available: {found}."

    def timed_out(self, now: float) -> HedraWaitTimeoutError:
        """Build the error of a wait that reached its deadline."""
        trouble = f" {self._trouble.sentence}" if self._trouble else ""
        found = balance_words(self._available, self.currency)
        what = "credits" if self.currency == CREDITS else "funds"
        return HedraWaitTimeoutError(
            f"After a wait of {max(now - self.began, 0.0):.0f} s the balance is {found}, less than "
            f"{self.minimum}. The task's {self.time_limit} ended the wait.{trouble}",
            remedy=f"Add {what}; raise {self.time_limit} to wait longer.",
        )
