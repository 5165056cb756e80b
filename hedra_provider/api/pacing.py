"""When to ask again: pure functions of state and time."""

from __future__ import annotations

import math

FLOOR_SECONDS = 1.0
JITTER = 0.1
_AGE_SHARE = 0.1


def next_look_seconds(
    *, poll_interval: float, age: float, eta: float | None, chance: float, missed: int = 5
) -> float:
    """
    Return how long to wait before the next look at a running generation.

    Near its estimated end a generation is looked at sooner, but an estimate that keeps saying "now" is
    believed less the older the wait is. Without an estimate the interval is the ceiling.

    :param poll_interval: Seconds between two looks at the most.
    :param age: Seconds since the wait began.
    :param eta: Hedra's ``eta_sec``, None without one.
    :param chance: A random number in [0, 1): waiters that began together must not ask together.
    :param missed: How many looks found it running although it was to have ended; 5 are as bad as more.
    :return: Seconds, never more than ``poll_interval``.
    """
    ceiling = poll_interval * (1.0 - JITTER * chance)
    if eta is None:
        return ceiling
    believed = max(FLOOR_SECONDS, eta, _AGE_SHARE * age * min(missed, 5) / 5)
    # Rather a little after the estimated end than a little before it: that look would be in vain.
    return min(ceiling, believed * (1.0 + JITTER * chance))


class Estimate:
    """When one generation may end, from what its looks said."""

    __slots__ = ("_ends_at", "_first", "_missed")

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._ends_at = math.inf
        self._missed = 0

    def pause_seconds(
        self,
        *,
        poll_interval: float,
        now: float,
        began: float,
        eta: float | None,
        progress: float | None,
        chance: float,
    ) -> float:
        """
        Take in what a look said; return how long to wait before the next.

        :param poll_interval: Seconds between two looks at the most.
        :param now: When that was seen, in seconds.
        :param began: When the wait began.
        :param eta: Hedra's ``eta_sec``; without it, the progress of two looks makes an estimate.
        :param progress: 0 to 1.
        :param chance: A random number in [0, 1).
        """
        self._missed += now >= self._ends_at
        done = progress or 0.0
        if self._first is None or done == 0.0 or done < self._first[1]:
            self._first = now, done
        elif eta is None:
            eta = remaining_seconds(self._first, (now, done))
        self._ends_at = math.inf if eta is None else now + eta
        age = max(0.0, now - began)
        return next_look_seconds(
            poll_interval=poll_interval, age=age, eta=eta, chance=chance, missed=self._missed
        )


def remaining_seconds(first: tuple[float, float], last: tuple[float, float]) -> float | None:
    """
    Estimate how long a generation still takes, where Hedra gives no ``eta_sec``.

    :param first: When its progress was first seen, in seconds, and that progress, 0 to 1.
    :param last: The same of the last look.
    :return: Seconds after the last look if it goes on at this pace; None if it did not get on.
    """
    seconds, gained = last[0] - first[0], last[1] - first[1]
    if seconds <= 0 or gained <= 0:
        return None
    return max(0.0, 1.0 - last[1]) * seconds / gained


def back_off_seconds(
    *, poll_interval: float, failures: int, retry_after: float | None, chance: float
) -> float:
    """
    Return how long to wait after looks that failed.

    :param poll_interval: Seconds between two looks.
    :param failures: Looks that failed in a row, at least 1.
    :param retry_after: Seconds the API asked for.
    :param chance: A random number in [0, 1).
    :return: Seconds: doubled with each failure up to five minutes, never less than the API asked for.
    """
    grown = min(max(poll_interval, FLOOR_SECONDS) * 2.0 ** min(failures - 1, 10), 300.0)
    return max(grown * (0.5 + 0.5 * chance), retry_after or 0.0)


TURN_GAP_SECONDS = 1.0
"""Between two tasks that are let go to submit again: few of many that wait will find a free place."""


def turn_delay_seconds(*, waited: float, retry_after: float | None, chance: float) -> float:
    """
    Return how long a task that was refused for the rate limit waits before its next turn.

    :param waited: Seconds since its first refusal.
    :param retry_after: Seconds the API asked for.
    :param chance: A random number in [0, 1).
    :return: Seconds: from 15 on, longer the longer it has waited, up to five minutes; never less than the
        API asked for.
    """
    return max(min(15.0 + 0.25 * waited, 300.0), retry_after or 0.0) * (1.0 + 0.25 * chance)


class Turns:
    """Gives one turn after the other, at least a gap apart."""

    def __init__(self, gap_seconds: float = TURN_GAP_SECONDS) -> None:
        self._gap = gap_seconds
        self._next = float("-inf")

    def take(self, now: float) -> float:
        """
        Take the next free turn.

        :param now: Seconds of a monotonic clock.
        :return: Seconds until it comes.
        """
        turn = max(now, self._next)
        self._next = turn + self._gap
        return turn - now


class RequestRate:
    """
    How many requests per second all waiters together may send: it falls at a 429 and recovers by itself.

    :param most: Requests per second while nothing was refused, one after the other.
    """

    RECOVERY_SECONDS = 300.0
    LEAST = 0.1

    def __init__(self, most: float) -> None:
        self._most = most
        self._refused_rate = most
        self._refused_at = -math.inf
        self.free_at = -math.inf
        """Until then nothing is to be sent."""

    def per_second(self, now: float) -> float:
        """Return the rate that is allowed now."""
        recovered = (now - self._refused_at) / self.RECOVERY_SECONDS
        return min(self._most, self._refused_rate + self._most * recovered)

    def sent(self, now: float) -> None:
        """Note a request."""
        self.free_at = max(self.free_at, now + 1.0 / self.per_second(now))

    def refused(
        self, now: float, *, sent_at: float, recent_rate: float, retry_after: float | None, chance: float
    ) -> float:
        """
        Note a 429: everybody waits, and goes on at half the rate that was too much.

        :param sent_at: When the refused request was sent. Several that were under way together count as one.
        :param recent_rate: Requests per second that were sent lately.
        :param retry_after: Seconds the API asked for.
        :param chance: A random number in [0, 1): other processes may have been refused together with this.
        :return: Seconds until the next request.
        """
        if sent_at >= self._refused_at:
            self._refused_rate = max(self.LEAST, min(self.per_second(now), recent_rate) / 2.0)
            self._refused_at = now
        pause = max(retry_after or 0.0, 1.0 / self._refused_rate) * (1.0 + JITTER * chance)
        self.free_at = max(self.free_at, now + pause)
        return self.free_at - now
