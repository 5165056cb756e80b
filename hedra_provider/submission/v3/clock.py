"""Hedra's clock: all times of a record are Hedra's, so that workers with other clocks agree."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from hedra_provider.api.calls import NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.api.calls import Call

T = TypeVar("T")


class HedraClock:
    """
    The time at Hedra, by the ``Date`` of its last answer.

    :param now: Returns the worker's epoch seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ahead = 0.0
        self.is_known = False
        """Whether an answer had a date. Until then the worker's clock is used."""

    def now(self) -> float:
        """Return epoch seconds."""
        return self._now() + self._ahead

    def observe(self, response: Any) -> None:
        """
        Read the date of an answer.

        :param response: The ``httpx.Response``; None, as the answer to a pause, is ignored.
        """
        text = response.headers.get("Date") if response is not None else None
        try:
            date = parsedate_to_datetime(text) if text else None
        except ValueError:
            return
        if date is not None:
            # RFC 9110: a date without a zone is GMT.
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            self._ahead, self.is_known = date.timestamp() - self._now(), True

    def watch(self, call: Call[T]) -> Call[T]:
        """
        Drive a call, and read the dates of all its answers.

        :param call: The call.
        :return: A call that does and returns the same.
        """
        try:
            step = next(call)
            while True:
                try:
                    answer = yield step
                except NO_ANSWER as error:
                    step = call.throw(error)
                else:
                    self.observe(answer)
                    step = call.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            call.close()


def utc(epoch_seconds: float) -> str:
    """Return a time for messages, e.g. ``2026-11-28 03:41:07 UTC``."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def epoch_of(text: str | None) -> float | None:
    """
    Return the epoch seconds of a time in an answer.

    :param text: ISO 8601; without a zone it is UTC.
    :return: None if there is none, or it can't be read.
    """
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if found is None:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
