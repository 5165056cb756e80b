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
from hedra_provider.api.answer import ENCODINGS, PartialAnswer
from hedra_provider.api.exchange import NO_ANSWER, Ask, Call, Pause, Step
from hedra_provider.api.keys import key_headers, version_of_key
from hedra_provider.api.methods import AsyncMethods, SyncMethods
from hedra_provider.api.network import readable_environment, require_usable, ssl_context
from hedra_provider.api.rate_limit import RateLimit, read_rate_limit
from hedra_provider.api.redaction import HiddenText, hide_key
from hedra_provider.api.repeating import retry_policy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from hedra_provider.records import ApiVersion

T = TypeVar("T")

BASE_URLS: dict[ApiVersion, str] = {
    2: "https://api.hedra.com/web-app/public",
    3: "https://api.hedra.com/v3",
}
DEFAULT_BASE_URL = BASE_URLS[2]
USER_AGENT = f"airflow-provider-hedra/{__version__} python-httpx/{httpx.__version__}"
DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Seconds: 10 to connect; 60 each for a read, a write, and a free connection of the pool."""


class _Settings:
    """The arguments of both clients, checked and prepared for httpx."""

    def __init__(
        self,
        api_key: str,
        *,
        api_version: ApiVersion | None = None,
        base_url: str | None = None,
        timeout: float | httpx.Timeout | None = None,
        verify: bool | str = True,
        proxy: str | None = None,
        transport: Any = None,
        limits: httpx.Limits | None = None,
        repeat: bool = True,
    ) -> None:
        self.api_version: ApiVersion = api_version or version_of_key(api_key)
        base_url = BASE_URLS[self.api_version] if base_url is None else base_url
        require_usable(base_url, proxy)
        self.rate_limit: RateLimit | None = None
        """The rate limit of the last answer that stated one; None before it."""
        self._repeat = repeat
        # httpx reads its proxies from the environment if neither of these is given.
        self._reads_environment = proxy is None and transport is None
        self._key = HiddenText(api_key)
        self._key_header = key_headers(api_key, self.api_version)
        self.base_url = base_url.rstrip("/")
        self._options: dict[str, Any] = {
            "base_url": self.base_url,
            "timeout": DEFAULT_TIMEOUT if timeout is None else timeout,
            "verify": ssl_context(verify),
            "proxy": proxy,
            "transport": transport,
            "headers": {"User-Agent": USER_AGENT, "Accept-Encoding": ", ".join(ENCODINGS)},
            **({} if limits is None else {"limits": limits}),
            # Following a redirect would send the key to another host: it is reported instead.
            "follow_redirects": False,
        }

    def _repeats(self, ask: Ask) -> bool:
        return self._repeat and ask.repeatable

    def _note(self, ask: Ask, response: httpx.Response) -> None:
        # A storage has limits of its own.
        if "://" not in ask.url:
            self.rate_limit = read_rate_limit(response) or self.rate_limit

    def _without_key(self, error: Exception) -> Exception:
        """Return the error without the key: httpx's error about an invalid header quotes it."""
        hidden = hide_key(str(error), self._key)
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
        if ask.content is not None:
            options["content"] = ask.content
            options["headers"]["Content-Type"] = "application/json"
        options["headers"] |= ask.headers or {}
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
    Drive calls of :mod:`hedra_provider.api.calls` (v2) or :mod:`hedra_provider.api.v3.calls` over one pool of
    connections. A context manager.

    :param api_key: An API key.
    :param api_version: 2 or 3, the version of Hedra's API; by default that of the key: 3 for a key with a
        colon, else 2.
    :param base_url: The URL of the API; by default Hedra's for that version.
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
        self._retrying = tenacity.Retrying(sleep=sleep, **retry_policy(self.api_version))

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
            self._note(ask, response)
            answer = PartialAnswer(response)
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

    :param api_key: An API key.
    :param sleep: Sleeps for a number of seconds; ``asyncio.sleep`` by default.
    :param settings: ``api_version``, ``base_url``, ``timeout``, ``verify``, ``proxy``, ``transport``,
        ``limits`` and ``repeat``, as for :class:`HedraClient`.
    :raises HedraConfigurationError: If an argument or a proxy variable can't be used.
    """

    def __init__(
        self, api_key: str, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, **settings: Any
    ) -> None:
        super().__init__(api_key, **settings)
        with readable_environment() if self._reads_environment else contextlib.nullcontext():
            self.http = httpx.AsyncClient(**self._options)
        self._sleep = sleep
        self._retrying = tenacity.AsyncRetrying(sleep=sleep, **retry_policy(self.api_version))

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
            self._note(ask, response)
            answer = PartialAnswer(response)
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
