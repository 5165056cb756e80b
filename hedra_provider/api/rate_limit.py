"""The times and rate limits that the headers of an answer state.

``Date`` and ``Retry-After``; on v3 also ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import httpx

N = TypeVar("N", int, float)

_LATEST = 10.0**11
"""Epoch seconds beyond which a reset is no time, e.g. one in milliseconds."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """
    A rate limit of Hedra's. Each field is None where the answer did not state it.

    :param limit: Requests of one window.
    :param remaining: Requests that are left in this window.
    :param reset_at: When the next window begins, in epoch seconds by Hedra's clock.
    """

    limit: int | None
    remaining: int | None
    reset_at: float | None


def read_rate_limit(response: httpx.Response) -> RateLimit | None:
    """
    Return the rate limit that an answer states.

    :param response: The answer.
    :return: None if it states none.
    """
    limit = _number(response, "Limit", int, 10**9)
    remaining = _number(response, "Remaining", int, 10**9)
    reset_at = _number(response, "Reset", float, _LATEST)
    if limit is None and remaining is None and reset_at is None:
        return None
    return RateLimit(limit, remaining, reset_at)


def answered_at(response: httpx.Response) -> float | None:
    """
    Return when Hedra sent an answer, by its ``Date`` header, in epoch seconds.

    :param response: The answer.
    :return: None without a valid header.
    """
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def retry_after_seconds(response: httpx.Response) -> float | None:
    """
    Read the Retry-After header: a number of seconds, or a date.

    :param response: The answer.
    :return: Seconds, at most a day; None without a valid header.
    """
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
            sent = parsedate_to_datetime(response.headers["Date"])
            seconds = (at - sent).total_seconds()
        except (TypeError, ValueError, KeyError, OverflowError):
            return None
    return min(max(seconds, 0.0), 86_400.0) if seconds == seconds else None


def seconds_until_reset(response: httpx.Response) -> float | None:
    """
    Return the seconds until the window of the rate limit resets.

    By Hedra's clock where the answer has a date, else by that of this machine.

    :param response: The answer.
    :return: At most an hour; None if the answer does not state it.
    """
    found = read_rate_limit(response)
    if found is None or found.reset_at is None:
        return None
    now = answered_at(response)
    return min(max(found.reset_at - (time.time() if now is None else now), 0.0), 3_600.0)


def _number(response: httpx.Response, name: str, kind: Callable[[str], N], highest: float) -> N | None:
    text = response.headers.get(f"X-RateLimit-{name}", "").strip()
    try:
        # Python reads a number of thousands of digits slowly, and rejects longer ones.
        value = kind(text) if 0 < len(text) <= 30 else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) and 0 <= value <= highest else None
