"""When a client repeats a request that is safe to repeat, and after which pause.

v3 has a rate limit for each key, which all workers and triggerers share: 60 requests in 60 seconds (its
schema's example). After a 429 of v3, a client waits until the window resets, and then for a random time: of
a hundred tasks that were rejected together, not all come back together.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import httpx
import tenacity

from hedra_provider.api.rate_limit import retry_after_seconds, seconds_until_reset

if TYPE_CHECKING:
    from hedra_provider.records import ApiVersion

MAX_ATTEMPTS = 5
MAX_RETRY_SECONDS = 60.0
MAX_RATE_LIMIT_SECONDS = 90.0
"""Of all pauses after a 429 of v3: a whole window, and half of one to spread the clients over."""

SPREAD_SECONDS = 30.0
_REPEATABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=20.0)


def _retry_after(state: tenacity.RetryCallState) -> float | None:
    outcome = state.outcome
    if outcome is None or outcome.failed:
        return None
    return retry_after_seconds(outcome.result())


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds of Retry-After plus a random back-off, so that clients do not repeat together."""
    return (_retry_after(state) or 0.0) + _BACKOFF(state)


def _stop(state: tenacity.RetryCallState) -> bool:
    """Return whether to give up: after 5 attempts, or if the next one would begin after 60 s."""
    waited = _waited(state) + (_retry_after(state) or 0.0)
    return state.attempt_number >= MAX_ATTEMPTS or waited > MAX_RETRY_SECONDS


def _last_answer(state: tenacity.RetryCallState) -> Any:
    """Return the answer of the last attempt, or raise its exception."""
    return state.outcome.result() if state.outcome else None


def _window_seconds(state: tenacity.RetryCallState) -> float | None:
    """Return the seconds until v3 takes requests again; None if the last answer is no 429, or states none."""
    outcome = state.outcome
    if outcome is None or outcome.failed or outcome.result().status_code != 429:
        return None
    after = retry_after_seconds(outcome.result())
    return seconds_until_reset(outcome.result()) if after is None else after


def _wait_on_v3(state: tenacity.RetryCallState) -> float:
    window = _window_seconds(state)
    if window is None:
        return _wait(state)
    left = MAX_RATE_LIMIT_SECONDS - _waited(state) - window
    # At least a second: a window that has just reset would else be asked without a pause.
    return window + random.uniform(0.1, max(min(left, SPREAD_SECONDS), 1.0))  # noqa: S311


def _stop_on_v3(state: tenacity.RetryCallState) -> bool:
    window = _window_seconds(state)
    return _stop(state) if window is None else _waited(state) + window > MAX_RATE_LIMIT_SECONDS - 1.0


def _waited(state: tenacity.RetryCallState) -> float:
    return max(state.idle_for, state.seconds_since_start or 0.0)


def retry_policy(version: ApiVersion) -> dict[str, Any]:
    """
    Return the arguments for tenacity.

    :param version: The version of Hedra's API.
    """
    return {
        "retry": tenacity.retry_if_exception_type(httpx.TransportError)
        | tenacity.retry_if_result(lambda response: response.status_code in _REPEATABLE_STATUSES),
        "wait": _wait if version == 2 else _wait_on_v3,
        "stop": _stop if version == 2 else _stop_on_v3,
        "retry_error_callback": _last_answer,
    }
