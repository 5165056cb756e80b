"""When to ask again: pure functions of state and time."""

from __future__ import annotations

FLOOR_SECONDS = 1.0
JITTER = 0.1
_AGE_SHARE = 0.1


def next_look_seconds(*, poll_interval: float, age: float, eta: float | None, chance: float) -> float:
    """
    Return how long to wait before the next look at a running generation.

    Near its estimated end a generation is looked at sooner, but an estimate that keeps saying "now" is
    believed less the older the wait is. Without an estimate the interval is the ceiling.

    :param poll_interval: Seconds between two looks at the most.
    :param age: Seconds since the wait began.
    :param eta: Hedra's ``eta_sec``, None without one.
    :param chance: A random number in [0, 1): waiters that began together must not ask together.
    :return: Seconds, never more than ``poll_interval``.
    """
    base = poll_interval
    if eta is not None:
        base = min(poll_interval, max(FLOOR_SECONDS, eta, _AGE_SHARE * age))
    return base * (1.0 - JITTER * chance)


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
