"""How many requests a minute the polls of one connection may take of a rate limit that workers need too.

Hedra's v3 API counts all requests of a key in windows of a minute. The headers ``X-RateLimit-Limit``,
``-Remaining`` and ``-Reset`` describe the current window (documented for a 429). Uploads, submits and
downloads of the workers count as well, so the polls take a part of the limit only, evenly spread.
"""

from __future__ import annotations

from hedra_provider.polling.rate_limit import RequestRate

DEFAULT_PER_MINUTE = 30.0
"""Requests a minute until an answer shows the limit: half of the 60 that Hedra documents."""

POLLS_SHARE = 1.0 / 2.0
"""The share of the limit that polls take if the connection does not set ``requests_per_minute``."""

WORKERS_SHARE = 1.0 / 3.0
"""The share of the limit that is left to workers in each window, whatever the connection sets."""

WINDOW_SECONDS = 60.0
"""The length of a window (documented). No pause for a window is longer: a clock may be wrong."""


class RequestBudget:
    """
    When the next request of a poller may be sent. Times are seconds on the clock of the driver.

    :param requests_per_minute: Requests a minute. None, the default: half of the limit that answers show, and
        :data:`DEFAULT_PER_MINUTE` until then.
    """

    def __init__(self, requests_per_minute: float | None = None) -> None:
        self._configured = requests_per_minute
        self._rate = RequestRate((requests_per_minute or DEFAULT_PER_MINUTE) / 60.0)

    @property
    def free_at(self) -> float:
        """When the next request may be sent."""
        return self._rate.free_at

    def gap_seconds(self, now: float) -> float:
        """Return the seconds between two requests."""
        return 1.0 / self._rate.per_second(now)

    def sent(self, now: float) -> None:
        """Note a request: the next one follows a gap later, never sooner."""
        self._rate.sent(now)

    def shown(
        self,
        *,
        limit: float | None,
        remaining: float | None,
        reset_seconds: float | None,
        now: float,
        jitter: float,
    ) -> None:
        """
        Note what the headers of an answer say of the current window.

        If less than a third of the limit remains, no request is sent before the next window.

        :param limit: Requests in a window; None if not known.
        :param remaining: Requests that are left in this window; None if not known.
        :param reset_seconds: Seconds to the next window; None if not known.
        :param now: The time.
        :param jitter: A random number in [0, 1): other triggerers wait for the same moment.
        """
        if limit is None or limit <= 0:
            return
        wanted = self._configured or limit * POLLS_SHARE
        self._rate.allow(min(wanted, limit * (1.0 - WORKERS_SHARE)) / 60.0)
        if remaining is not None and remaining < limit * WORKERS_SHARE:
            left = WINDOW_SECONDS if reset_seconds is None else min(max(reset_seconds, 0.0), WINDOW_SECONDS)
            self._rate.pause_until(now + left + jitter * self.gap_seconds(now))

    def limited(self, now: float, *, sent_at: float, retry_after: float | None, jitter: float) -> float:
        """
        Note a 429. All requests pause; then the rate is half of what it was and recovers in five minutes.

        :param now: The time.
        :param sent_at: When that request was sent.
        :param retry_after: Seconds the API asked for; None if it did not.
        :param jitter: A random number in [0, 1).
        :return: Seconds until the next request.
        """
        return self._rate.limited(
            now, sent_at=sent_at, recent_rate=self._rate.recent(now), retry_after=retry_after, jitter=jitter
        )
