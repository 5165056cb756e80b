"""Two thin drivers of the same calls: :class:`HedraClient` and :class:`AsyncHedraClient`.

A driver sends what a call yields, lets time pass where it says so, repeats what is safe to repeat, and
decides nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
import tenacity

from hedra_provider import __version__
from hedra_provider.api.calls import NO_ANSWER, Ask, Call, Pause, Step
from hedra_provider.api.error_bodies import retry_after_seconds
from hedra_provider.api.methods import AsyncMethods, SyncMethods
from hedra_provider.api.network import readable_environment, require_usable, ssl_context
from hedra_provider.api.redaction import HiddenText, hide_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

T = TypeVar("T")

DEFAULT_BASE_URL = "https://api.hedra.com/web-app/public"
USER_AGENT = f"airflow-provider-hedra/{__version__} python-httpx/{httpx.__version__}"
DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Seconds: 10 to connect; 60 for a read, a write and for a free place in the pool."""

MAX_ANSWER_BYTES = 32 * 1024**2
MAX_ANSWER_SECONDS = 120.0
"""From the first byte of an answer to its last: a read time-out begins anew with each byte that comes."""

MAX_ATTEMPTS = 5
MAX_RETRY_SECONDS = 60.0
_ENCODINGS = ("gzip", "deflate")
_REPEATABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=20.0)


class _Settings:
    """What both clients make of their arguments."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float | httpx.Timeout | None = None,
        verify: bool | str = True,
        proxy: str | None = None,
        transport: Any = None,
        limits: httpx.Limits | None = None,
        repeat: bool = True,
    ) -> None:
        require_usable(base_url, proxy)
        self._repeat = repeat
        # httpx reads its proxies from the environment where neither of these is given.
        self._reads_environment = proxy is None and transport is None
        self._key_header = {"X-API-Key": HiddenText(api_key)}
        self.base_url = base_url.rstrip("/")
        self._options: dict[str, Any] = {
            "base_url": self.base_url,
            "timeout": DEFAULT_TIMEOUT if timeout is None else timeout,
            "verify": ssl_context(verify),
            "proxy": proxy,
            "transport": transport,
            "headers": {"User-Agent": USER_AGENT, "Accept-Encoding": ", ".join(_ENCODINGS)},
            **({} if limits is None else {"limits": limits}),
            # A redirect would take the key along: it is reported instead.
            "follow_redirects": False,
        }

    def _repeats(self, ask: Ask) -> bool:
        return self._repeat and ask.repeatable

    def _without_key(self, error: Exception) -> Exception:
        """Return the error, or one like it where its words hold the key: a header that httpx refused."""
        hidden = hide_key(str(error), self._key_header["X-API-Key"])
        if hidden == str(error):
            return error
        # Those of the system take more than a text.
        other = type(error)(hidden) if isinstance(error, httpx.RequestError) else httpx.InvalidURL(hidden)
        other.__cause__ = None
        return other

    def _request(self, http: httpx.Client | httpx.AsyncClient, ask: Ask) -> httpx.Request:
        to_the_api = "://" not in ask.url
        options: dict[str, Any] = {"headers": dict(self._key_header) if to_the_api else {}}
        if ask.params:
            options["params"] = {name: value for name, value in ask.params.items() if value}
        if ask.json is not None:
            options["json"] = ask.json
        if ask.timeout is not None:
            usual = http.timeout
            options["timeout"] = httpx.Timeout(
                connect=usual.connect,
                read=max(ask.timeout, usual.read or ask.timeout),
                write=max(ask.timeout, usual.write or ask.timeout),
                pool=usual.pool,
            )
        file = ask.file
        if file is not None and ask.multipart:
            options["files"] = {"file": (file.name, file, file.content_type)}
        elif file is not None:
            # Each attempt sends it from its start; a multipart body goes there by itself.
            file.seek(0)
            options["content"] = file
            options["headers"] |= {"Content-Length": str(file.size), "Content-Type": file.content_type}
        return http.build_request(ask.method, ask.url, **options)


class HedraClient(_Settings, SyncMethods):
    """
    Drive calls of :mod:`hedra_provider.api.calls` over one pool of connections. A context manager.

    :param api_key: A v2 API key.
    :param base_url: Where the API is, without a trailing slash.
    :param timeout: Seconds for connect, read, write and pool alike, or an ``httpx.Timeout``.
    :param verify: Whether to check TLS certificates, or the path of a CA bundle.
    :param proxy: URL of an HTTP proxy.
    :param transport: An httpx transport to send through, in place of the network.
    :param limits: How many connections there may be, an ``httpx.Limits``.
    :param repeat: Whether requests that are safe to repeat are repeated here; False where the caller does.
    :param sleep: How to let seconds pass; a test moves a clock instead.
    """

    def __init__(self, api_key: str, *, sleep: Callable[[float], None] = time.sleep, **settings: Any) -> None:
        super().__init__(api_key, **settings)
        with readable_environment() if self._reads_environment else contextlib.nullcontext():
            self.http = httpx.Client(**self._options)
        self._sleep = sleep
        self._retrying = tenacity.Retrying(sleep=sleep, **_RETRY_POLICY)

    def run(self, call: Call[T]) -> T:
        """
        Drive a call to its end.

        :return: What the call returns.
        :raises HedraError: What the call raises.
        """
        try:
            step = next(call)
            while True:
                try:
                    answer = self._take(step)
                except NO_ANSWER as error:
                    step = call.throw(self._without_key(error))
                else:
                    step = call.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def _take(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Pause):
            self.pause(step.seconds)
            return None
        return self._retrying(self._send, step) if self._repeats(step) else self._send(step)

    def _send(self, ask: Ask) -> httpx.Response:
        with contextlib.closing(self.http.send(self._request(self.http, ask), stream=True)) as response:
            answer = _Answer(response)
            for part in response.iter_bytes():
                answer.add(part)
        return answer.whole()

    def pause(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._sleep(seconds)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncHedraClient(_Settings, AsyncMethods):
    """
    The same as :class:`HedraClient`, on an event loop. An asynchronous context manager.

    It refuses calls that send a file: bulk transfers belong to a worker.
    """

    def __init__(
        self, api_key: str, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, **settings: Any
    ) -> None:
        super().__init__(api_key, **settings)
        with readable_environment() if self._reads_environment else contextlib.nullcontext():
            self.http = httpx.AsyncClient(**self._options)
        self._sleep = sleep
        self._retrying = tenacity.AsyncRetrying(sleep=sleep, **_RETRY_POLICY)

    async def run(self, call: Call[T]) -> T:
        """
        Drive a call to its end.

        :return: What the call returns.
        :raises HedraError: What the call raises.
        """
        try:
            step = next(call)
            while True:
                try:
                    answer = await self._take(step)
                except NO_ANSWER as error:
                    step = call.throw(self._without_key(error))
                else:
                    step = call.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _take(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        if step.file is not None:
            raise TypeError("Files are sent by HedraClient, in a worker: reading one blocks the event loop.")
        return await self._retrying(self._send, step) if self._repeats(step) else await self._send(step)

    async def _send(self, ask: Ask) -> httpx.Response:
        response = await self.http.send(self._request(self.http, ask), stream=True)
        async with contextlib.aclosing(response):
            answer = _Answer(response)
            async for part in response.aiter_bytes():
                answer.add(part)
        return answer.whole()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Answer:
    """An answer while it is read, which may become neither too large for the memory nor take for ever."""

    def __init__(self, response: httpx.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", *_ENCODINGS):
            # Others, and several at once, make a gigabyte of the first piece that comes.
            raise httpx.DecodingError("its encoding was not asked for", request=response.request)
        self._response = response
        self._content = bytearray()
        self._began = time.monotonic()

    def add(self, part: bytes) -> None:
        """Take what has come."""
        self._content += part
        if len(self._content) > MAX_ANSWER_BYTES:
            message = f"it is larger than {MAX_ANSWER_BYTES} bytes"
            raise httpx.DecodingError(message, request=self._response.request)
        if time.monotonic() - self._began > MAX_ANSWER_SECONDS:
            message = f"the answer was not whole after {MAX_ANSWER_SECONDS:.0f} s"
            raise httpx.ReadTimeout(message, request=self._response.request)

    def whole(self) -> httpx.Response:
        """Return it with its content, decoded."""
        about_the_wire = (b"content-encoding", b"content-length", b"transfer-encoding")
        headers = [(k, v) for k, v in self._response.headers.raw if k.lower() not in about_the_wire]
        return httpx.Response(
            self._response.status_code,
            headers=headers,
            content=bytes(self._content),
            request=self._response.request,
        )


def _asked_to_wait(state: tenacity.RetryCallState) -> float | None:
    outcome = state.outcome
    if outcome is None or outcome.failed:
        return None
    return retry_after_seconds(outcome.result())


def _wait(state: tenacity.RetryCallState) -> float:
    """Wait as long as the API asked, and a random while longer so that not all come back at once."""
    return (_asked_to_wait(state) or 0.0) + _BACKOFF(state)


def _stop(state: tenacity.RetryCallState) -> bool:
    """Give up after so many attempts, or when the next one would come too late."""
    waited = max(state.idle_for, state.seconds_since_start or 0.0) + (_asked_to_wait(state) or 0.0)
    return state.attempt_number >= MAX_ATTEMPTS or waited > MAX_RETRY_SECONDS


def _last_answer(state: tenacity.RetryCallState) -> Any:
    """Hand on what the last attempt brought: its answer, or its exception."""
    return state.outcome.result() if state.outcome else None


_RETRY_POLICY: dict[str, Any] = {
    "retry": tenacity.retry_if_exception_type(httpx.TransportError)
    | tenacity.retry_if_result(lambda response: response.status_code in _REPEATABLE_STATUSES),
    "wait": _wait,
    "stop": _stop,
    "retry_error_callback": _last_answer,
}
