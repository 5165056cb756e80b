"""When a client repeats a request that is safe to repeat, and after which pause."""

from __future__ import annotations

from typing import Any

import httpx
import tenacity

from hedra_provider.api.error_bodies import retry_after_seconds

MAX_ATTEMPTS = 5
MAX_RETRY_SECONDS = 60.0
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
    waited = max(state.idle_for, state.seconds_since_start or 0.0) + (_retry_after(state) or 0.0)
    return state.attempt_number >= MAX_ATTEMPTS or waited > MAX_RETRY_SECONDS


def _last_answer(state: tenacity.RetryCallState) -> Any:
    """Return the answer of the last attempt, or raise its exception."""
    return state.outcome.result() if state.outcome else None


RETRY_POLICY: dict[str, Any] = {
    "retry": tenacity.retry_if_exception_type(httpx.TransportError)
    | tenacity.retry_if_result(lambda response: response.status_code in _REPEATABLE_STATUSES),
    "wait": _wait,
    "stop": _stop,
    "retry_error_callback": _last_answer,
}
