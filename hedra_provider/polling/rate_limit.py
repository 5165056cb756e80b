"""How fast requests may follow each other after a 429: status requests, and submits at their retry slots."""

from __future__ import annotations

import math
from collections import deque

from hedra_provider.polling.pacing import JITTER

REQUESTS_PER_SECOND = 25.0
"""The most requests per second of one driver, however many generations it polls."""

RETRY_SLOT_GAP_SECONDS = 1.0
"""Seconds between two retry slots: Hedra can accept only a few of many waiting submits at a time."""


def retry_slot_delay_seconds(*, waited: float, retry_after: float | None, jitter: float) -> float:
    """
    Return how long a task whose submit was rate-limited waits before its next retry slot.

    :param waited: Seconds since its first 429.
    :param retry_after: Seconds the API asked for.
    :param jitter: A random number in [0, 1).
    :return: Seconds: 15 at first, more with the time waited, up to 300; never fewer than the API asked for;
        plus up to a quarter at random.
    """
    return max(min(15.0 + 0.25 * waited, 300.0), retry_after or 0.0) * (1.0 + 0.25 * jitter)


class RetrySlots:
    """
    The retry slots of many tasks, one after the other.

    :param gap_seconds: Seconds between two slots, 1 by default.
    """

    def __init__(self, gap_seconds: float = RETRY_SLOT_GAP_SECONDS) -> None:
        self._gap = gap_seconds
        self._next = float("-inf")

    def take(self, now: float) -> float:
        """
        Take the next free slot.

        :param now: Seconds of a monotonic clock.
        :return: Seconds until the slot.
        """
        slot = max(now, self._next)
        self._next = slot + self._gap
        return slot - now


class RequestRate:
    """
    The requests per second of one driver. The rate falls after a 429 and recovers with time.

    :param most: Requests per second without a 429.
    """

    RECOVERY_SECONDS = 300.0
    LEAST = 0.1

    def __init__(self, most: float) -> None:
        self._most = most
        self._limited_rate = most
        self._limited_at = -math.inf
        self._recent: deque[float] = deque(maxlen=20)
        self.free_at = -math.inf
        """When the next request may be sent."""

    def per_second(self, now: float) -> float:
        """Return the rate that is allowed now."""
        recovered = (now - self._limited_at) / self.RECOVERY_SECONDS
        return min(self._most, self._limited_rate + self._most * recovered)

    def allow(self, most: float) -> None:
        """
        Change the rate without a 429.

        :param most: Requests per second.
        """
        self._most = most

    def pause_until(self, time: float) -> None:
        """Send no request before a time."""
        self.free_at = max(self.free_at, time)

    def sent(self, now: float) -> None:
        """Note a request."""
        self._recent.append(now)
        self.free_at = max(self.free_at, now + 1.0 / self.per_second(now))

    def recent(self, now: float) -> float:
        """Return the requests per second in the last five seconds."""
        lately = [at for at in self._recent if at > now - 5.0]
        return len(lately) / max(now - lately[0], 1.0) if lately else self._most

    def limited(
        self, now: float, *, sent_at: float, recent_rate: float, retry_after: float | None, jitter: float
    ) -> float:
        """
        Note a 429: all requests pause, then continue at half of the rate that was too high.

        :param now: The time.
        :param sent_at: When that request was sent. A 429 to a request sent before an earlier 429 arrived does
            not lower the rate again.
        :param recent_rate: Requests per second that were sent lately.
        :param retry_after: Seconds the API asked for.
        :param jitter: A random number in [0, 1): other processes may get a 429 at the same moment.
        :return: Seconds until the next request.
        """
        if sent_at >= self._limited_at:
            self._limited_rate = max(self.LEAST, min(self.per_second(now), recent_rate) / 2.0)
            self._limited_at = now
        pause = max(retry_after or 0.0, 1.0 / self._limited_rate) * (1.0 + JITTER * jitter)
        self.free_at = max(self.free_at, now + pause)
        return self.free_at - now
