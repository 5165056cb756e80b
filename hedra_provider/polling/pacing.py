"""When to poll again: pure functions of state and time."""

from __future__ import annotations

import math

FLOOR_SECONDS = 1.0
JITTER = 0.1
_AGE_SHARE = 0.1


def next_poll_seconds(
    *, poll_interval: float, age: float, eta: float | None, jitter: float, missed: int = 5
) -> float:
    """
    Return how long to wait before the next poll of a running generation.

    Polls come sooner near the estimated end. An estimate that keeps saying "now" counts less the older the
    wait is. Without an estimate, polls are ``poll_interval`` apart.

    :param poll_interval: Seconds between two polls at most.
    :param age: Seconds since the wait began.
    :param eta: Hedra's ``eta_sec``; None without one.
    :param jitter: A random number in [0, 1): waits that began together must not poll together.
    :param missed: Polls that found it still running after its estimated end; capped at 5, the default.
    :return: Seconds, never more than ``poll_interval``.
    """
    ceiling = poll_interval * (1.0 - JITTER * jitter)
    if eta is None:
        return ceiling
    trusted = max(FLOOR_SECONDS, eta, _AGE_SHARE * age * min(missed, 5) / 5)
    # A poll just before the end is wasted, so the poll is a little late.
    return min(ceiling, trusted * (1.0 + JITTER * jitter))


class Estimate:
    """When one generation may end, from what its polls showed."""

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
        jitter: float,
    ) -> float:
        """
        Note what a poll showed; return the pause before the next poll.

        :param poll_interval: Seconds between two polls at most.
        :param now: When the answer came, in seconds.
        :param began: When the wait began.
        :param eta: Hedra's ``eta_sec``; without it, the progress of two polls makes an estimate.
        :param progress: 0 to 1.
        :param jitter: A random number in [0, 1).
        :return: Seconds.
        """
        self._missed += now >= self._ends_at
        done = progress or 0.0
        if self._first is None or done == 0.0 or done < self._first[1]:
            self._first = now, done
        elif eta is None:
            eta = remaining_seconds(self._first, (now, done))
        self._ends_at = math.inf if eta is None else now + eta
        age = max(0.0, now - began)
        return next_poll_seconds(
            poll_interval=poll_interval, age=age, eta=eta, jitter=jitter, missed=self._missed
        )


def remaining_seconds(first: tuple[float, float], last: tuple[float, float]) -> float | None:
    """
    Estimate the remaining time of a generation without Hedra's ``eta_sec``.

    :param first: The time of the first poll that showed progress, in seconds, and that progress, 0 to 1.
    :param last: The same for the last poll.
    :return: Seconds after the last poll, at the same speed; None without progress.
    """
    seconds, gained = last[0] - first[0], last[1] - first[1]
    if seconds <= 0 or gained <= 0:
        return None
    return max(0.0, 1.0 - last[1]) * seconds / gained


def back_off_seconds(
    *, poll_interval: float, failures: int, retry_after: float | None, jitter: float
) -> float:
    """
    Return the pause after polls that failed.

    :param poll_interval: Seconds between two polls.
    :param failures: Failed polls in a row, at least 1.
    :param retry_after: Seconds the API asked for.
    :param jitter: A random number in [0, 1).
    :return: Seconds: doubled with each failure up to 300, never fewer than the API asked for.
    """
    grown = min(max(poll_interval, FLOOR_SECONDS) * 2.0 ** min(failures - 1, 10), 300.0)
    return max(grown * (0.5 + 0.5 * jitter), retry_after or 0.0)
