"""Two thin drivers of the same calls: :class:`HedraClient` and :class:`AsyncHedraClient`.

A driver sends the requests of a call, sleeps for its pauses, and repeats requests that are safe to repeat. It
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
"""Seconds: 10 to connect; 60 each for a read, a write, and a free connection of the pool."""

MAX_ANSWER_BYTES = 32 * 1024**2
MAX_ANSWER_SECONDS = 120.0
"""From the first byte of an answer to its last. A read timeout does not limit this: each byte restarts it."""

MAX_ATTEMPTS = 5
MAX_RETRY_SECONDS = 60.0
_ENCODINGS = ("gzip", "deflate")
_REPEATABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=20.0)


class _Settings:
    """The arguments of both clients, checked and prepared for httpx."""

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
        # httpx reads its proxies from the environment if neither of these is given.
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
            # Following a redirect would send the key to another host: it is reported instead.
            "follow_redirects": False,
        }

    def _repeats(self, ask: Ask) -> bool:
        return self._repeat and ask.repeatable

    def _without_key(self, error: Exception) -> Exception:
        """Return the error without the key: httpx's error about an invalid header quotes it."""
        hidden = hide_key(str(error), self._key_header["X-API-Key"])
        if hidden == str(error):
            return error
        # Other classes, such as UnicodeError's, can't be built from one text.
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
            # Each attempt sends the file from its start. httpx rewinds it for a multipart body only.
            file.seek(0)
            options["content"] = file
            options["headers"] |= {"Content-Length": str(file.size), "Content-Type": file.content_type}
        return http.build_request(ask.method, ask.url, **options)


class HedraClient(_Settings, SyncMethods):
    """
    Drive calls of :mod:`hedra_provider.api.calls` over one pool of connections. A context manager.

    :param api_key: A v2 API key.
    :param base_url: The URL of the API; Hedra's by default.
    :param timeout: One number of seconds for connect, read, write and pool, or an ``httpx.Timeout``. By
        default 10 s to connect and 60 s for the others.
    :param verify: True checks TLS certificates (default), False does not; a text is the path of a CA bundle.
    :param proxy: URL of a proxy; by default that of the environment.
    :param transport: An httpx transport to use in place of the network; None by default.
    :param limits: The number of connections, an ``httpx.Limits``; httpx's own by default.
    :param repeat: Whether to repeat requests that are safe to repeat. True by default; False if the caller
        repeats them.
    :param sleep: Sleeps for a number of seconds; ``time.sleep`` by default. A test moves a clock instead.
    :raises HedraConfigurationError: If an argument or a proxy variable can't be used.
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
        """Sleep for a number of seconds."""
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

    It sends no files: reading one would block the event loop.

    :param api_key: A v2 API key.
    :param sleep: Sleeps for a number of seconds; ``asyncio.sleep`` by default.
    :param settings: ``base_url``, ``timeout``, ``verify``, ``proxy``, ``transport``, ``limits`` and
        ``repeat``, as for :class:`HedraClient`.
    :raises HedraConfigurationError: If an argument or a proxy variable can't be used.
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
    """An answer while it is read. Its size and its duration are limited."""

    def __init__(self, response: httpx.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", *_ENCODINGS):
            # httpx would decode others, or several, and could make a gigabyte of the first chunk.
            raise httpx.DecodingError("its encoding was not asked for", request=response.request)
        self._response = response
        self._content = bytearray()
        self._began = time.monotonic()

    def add(self, part: bytes) -> None:
        """
        Add a chunk.

        :raises httpx.DecodingError: If the answer is too large.
        :raises httpx.ReadTimeout: If it takes too long.
        """
        self._content += part
        if len(self._content) > MAX_ANSWER_BYTES:
            message = f"it is larger than {MAX_ANSWER_BYTES} bytes"
            raise httpx.DecodingError(message, request=self._response.request)
        if time.monotonic() - self._began > MAX_ANSWER_SECONDS:
            message = f"the answer was not whole after {MAX_ANSWER_SECONDS:.0f} s"
            raise httpx.ReadTimeout(message, request=self._response.request)

    def whole(self) -> httpx.Response:
        """Return the answer with its decoded content."""
        wire_headers = (b"content-encoding", b"content-length", b"transfer-encoding")
        headers = [(k, v) for k, v in self._response.headers.raw if k.lower() not in wire_headers]
        return httpx.Response(
            self._response.status_code,
            headers=headers,
            content=bytes(self._content),
            request=self._response.request,
        )


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


_RETRY_POLICY: dict[str, Any] = {
    "retry": tenacity.retry_if_exception_type(httpx.TransportError)
    | tenacity.retry_if_result(lambda response: response.status_code in _REPEATABLE_STATUSES),
    "wait": _wait,
    "stop": _stop,
    "retry_error_callback": _last_answer,
}
