"""The entrance of each API: its key, its rate limit, and what each of its answers carries."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from hedra_provider.sandbox import envelope, rejections

if TYPE_CHECKING:
    from hedra_provider.sandbox.clock import Clock
    from hedra_provider.sandbox.rejections import Rejection

PREFIX_V2 = "/web-app/public"
"""Path of API v2 on the API's origin."""

PREFIX_V3 = "/v3"
"""Path of API v3 on the API's origin."""

TRACE = "sandbox.trace"
"""Key of the ASGI scope that holds the trace id of a request to API v3."""

# The schema asks for no key there.
_OPEN_V3 = ("/v3/models", "/v3/webhooks/public-key")

Scope = MutableMapping[str, Any]


class Door(Protocol):
    """What a request to an API passes."""

    def path(self, path: str) -> str:
        """Return the path as the ledger and faults have it."""

    def key(self, scope: Scope) -> bytes:
        """Return the API key that a request has; empty without one."""

    def admit(self, scope: Scope) -> None:
        """Let a request in.

        :raises Rejection: if it may not come in.
        """

    def rejected(self, scope: Scope, rejection: Rejection) -> dict[str, Any]:
        """Return the body of an error answer."""

    def headers(self, scope: Scope) -> dict[str, str]:
        """Return the headers that each answer has."""


class RateLimit:
    """A token bucket that holds the requests of one second and is refilled by the sandbox's clock.

    :param rate: requests per second; None: no limit.
    :param clock: refills the bucket.
    """

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Fill the bucket."""
        self._tokens = max(1.0, self._rate or 0)
        self._at = self._clock.now()

    def check(self) -> None:
        """Take one token.

        :raises Rejection: 429 with ``Retry-After`` when the bucket is empty.
        """
        if self._rate is None:
            return
        now = self._clock.now()
        self._tokens = min(max(1.0, self._rate), self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            wait = math.ceil((1 - self._tokens) / self._rate)
            raise rejections.too_many(f"Rate limit exceeded: {self._rate:g} requests per second.", wait)
        self._tokens -= 1


class WindowLimit:
    """Requests per window, as API v3 counts them. The clock runs with real time, so a window ends by itself;
    a test that moves the clock ends it at once.

    :param requests: requests per window; 0: no limit.
    :param seconds: length of the window in seconds of the sandbox's clock.
    :param clock: ends the windows.
    """

    def __init__(self, requests: int, seconds: float, clock: Clock) -> None:
        self._limit = requests
        self._seconds = seconds
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Begin a window."""
        self._used = 0
        self._began = self._clock.now()

    def check(self) -> None:
        """Count one request.

        :raises Rejection: 429 with ``Retry-After`` when the window has no request left.
        """
        if not self._limit:
            return
        now = self._clock.now()
        if not 0 <= now - self._began < self._seconds:
            self.clear()
        if self._used >= self._limit:
            wait = max(1, math.ceil(self._began + self._seconds - now))
            raise envelope.rejection(
                429,
                f"Request rate limit exceeded: this API key is limited to {self._limit} requests per "
                f"{self._seconds:g}s. Retry after {wait}s.",
                headers={"Retry-After": str(wait)},
                retry_after=wait,
            )
        self._used += 1

    def headers(self) -> dict[str, str]:
        """Return ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` (seconds since 1970); none without a
        limit.
        """
        if not self._limit:
            return {}
        return {
            "X-RateLimit-Limit": str(self._limit),
            "X-RateLimit-Remaining": str(self._limit - self._used),
            "X-RateLimit-Reset": str(math.ceil(self._began + self._seconds)),
        }


class DoorV2:
    """The entrance of API v2; see :class:`Door`.

    :param keys: accepted keys, in bytes.
    :param limit: the rate limit.
    """

    def __init__(self, keys: set[bytes], limit: RateLimit) -> None:
        self._keys = keys
        self._limit = limit

    def path(self, path: str) -> str:
        """Return the path without the prefix of API v2."""
        return path.removeprefix(PREFIX_V2) or "/"

    def key(self, scope: Scope) -> bytes:
        """Return the header ``X-API-Key``."""
        return _header(scope, b"x-api-key")

    def admit(self, scope: Scope) -> None:
        """Check rate limit and key.

        :raises Rejection: 429, 401, or 403 for a key of API v3 (observed).
        """
        self._limit.check()
        key = self.key(scope)
        if b":" in key:
            raise rejections.account_moved()
        if key not in self._keys:
            raise rejections.unauthorized()

    def rejected(self, scope: Scope, rejection: Rejection) -> dict[str, Any]:
        """Return the body as it is."""
        return rejection.body

    def headers(self, scope: Scope) -> dict[str, str]:
        """Return no headers."""
        return {}


class DoorV3:
    """The entrance of API v3; see :class:`Door`.

    :param keys: accepted keys (``<key_id>:<secret>``), in bytes.
    :param limit: the rate limit.
    """

    def __init__(self, keys: set[bytes], limit: WindowLimit) -> None:
        self._keys = keys
        self._limit = limit

    def path(self, path: str) -> str:
        """Return the whole path: its prefix marks API v3."""
        return path

    def key(self, scope: Scope) -> bytes:
        """Return the key of ``Authorization: Key``, ``Authorization: Bearer`` or ``X-API-Key``."""
        scheme, _, key = _header(scope, b"authorization").partition(b" ")
        if scheme.lower() in (b"key", b"bearer") and key.strip():
            return key.strip()
        return _header(scope, b"x-api-key")

    def admit(self, scope: Scope) -> None:
        """Check key and rate limit.

        :raises Rejection: 401 or 429.
        """
        path, key = scope["path"], self.key(scope)
        is_open = path == _OPEN_V3[1] or (
            scope["method"] == "GET" and path.startswith(_OPEN_V3[0]) and not path.endswith("/jobs")
        )
        if not is_open and not key:
            raise envelope.rejection(
                401, "Missing credentials. Send the header 'Authorization: Key <key_id>:<secret>'."
            )
        # The set has the key of API v2, too, which is none here.
        if not is_open and (b":" not in key or key not in self._keys):
            raise envelope.rejection(401, "Invalid API key.")
        self._limit.check()

    def rejected(self, scope: Scope, rejection: Rejection) -> dict[str, Any]:
        """Return the error envelope."""
        return envelope.enclosed(rejection, trace_id(scope))

    def headers(self, scope: Scope) -> dict[str, str]:
        """Return the ids of the request and the state of the rate limit."""
        trace = trace_id(scope)
        return {"X-Request-Id": f"req_{trace[:24]}", "X-Trace-Id": trace, **self._limit.headers()}


def trace_id(scope: Scope) -> str:
    """Return the trace id of a request, which is made at the first call.

    :param scope: of the request.
    """
    trace: str = scope.setdefault(TRACE, uuid4().hex)
    return trace


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in reversed(scope["headers"]) if key == name), b"")
