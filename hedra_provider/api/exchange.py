"""The exchange of one HTTP request and its answer, without I/O: the ground of both versions' calls.

A call is a generator. It yields an HTTP request to send (:class:`Ask`) or a pause (:class:`Pause`), receives
the answer, and returns its meaning. A flow is a call made of calls (``yield from``). ``HedraClient.run`` and
``AsyncHedraClient.run`` drive both.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from hedra_provider.api.error_bodies import error_from_response
from hedra_provider.api.errors import HedraProtocolError, HedraTransportError
from hedra_provider.api.keys import key_in
from hedra_provider.api.network import certificate_remedy
from hedra_provider.api.redaction import clean, fit_cause, hide_key_in_bytes, words_of

if TYPE_CHECKING:
    from hedra_provider.api.sized_file import SizedFile

T = TypeVar("T")

UPLOAD_TIMEOUT_SECONDS = 300.0
"""Hedra answers an upload after it has stored the file: shorter limits led to read timeouts (observed)."""

_ORIGIN = re.compile(r"[a-z0-9+.-]*://[^/?]*", re.IGNORECASE)

UNSENDABLE = (httpx.InvalidURL, UnicodeError, OverflowError)
"""The errors of httpx and of the socket below it for a URL that can't be opened. Only the socket rejects a
host such as ``a..b`` or a port such as 99999."""

NO_ANSWER = (httpx.RequestError, *UNSENDABLE)
"""The errors that a driver throws into a call whose HTTP request got no answer."""


@dataclass(frozen=True, eq=False)
class Ask:
    """
    One HTTP request to send.

    :param method: The HTTP method.
    :param url: A path below the base URL, or a whole URL. Only requests to a path carry the API key.
    :param params: The query; empty values are left out. None by default.
    :param json: The body as JSON; None by default: no body.
    :param content: The exact bytes of a body that is JSON already; None by default.
    :param headers: Headers of this request; none by default.
    :param file: The body as a file; None by default.
    :param multipart: Whether ``file`` is sent as a form; False by default.
    :param repeatable: Whether it may be sent again without a clear answer. True by default, False for a
        submit.
    :param timeout: The least read and write timeout in seconds; the client's own by default.
    """

    method: str
    url: str
    params: Mapping[str, str | Sequence[str]] | None = None
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] | None = None
    file: SizedFile | None = None
    multipart: bool = False
    repeatable: bool = True
    timeout: float | None = None

    def __repr__(self) -> str:
        # A traceback may show it. A whole URL is signed, and a body holds the user's texts.
        return f"<Ask {self.name}>"

    @property
    def name(self) -> str:
        """Method and path, for messages."""
        return clean(f"{self.method} {_ORIGIN.sub('', self.url).partition('?')[0]}")


@dataclass(frozen=True)
class Pause:
    """
    A pause.

    :param seconds: Its length.
    """

    seconds: float


Step = Ask | Pause
Call = Generator[Step, Any, T]
"""A call that returns T. A driver sends an ``httpx.Response`` into it for an Ask, None for a Pause."""


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def segment(foreign_id: str) -> str:
    """Return an id as one segment of a path: no id can lead to another endpoint."""
    # "." and ".." as segments mean another path.
    return quote(foreign_id, safe="", errors="replace").replace(".", "%2E")


def is_http(url: str) -> bool:
    """Return whether a URL from an answer is valid and http(s)."""
    try:
        return httpx.URL(url).scheme in ("http", "https")
    except httpx.InvalidURL:
        return False


def send(ask: Ask, generation_id: str | None = None) -> Call[httpx.Response]:
    """Send a request; return its answer if that is a success, else raise."""
    try:
        response: httpx.Response = yield ask
    except httpx.DecodingError as error:
        raise HedraProtocolError(
            f"The answer to {ask.name} can't be read: {words_of(error)}.", generation_id=generation_id
        ) from error
    except NO_ANSWER as error:
        not_sent = isinstance(
            error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, *UNSENDABLE)
        )
        raise HedraTransportError(
            f"No answer to {ask.name}: {words_of(error)}.",
            request_sent=not not_sent,
            generation_id=generation_id,
            remedy=certificate_remedy(error),
        ) from fit_cause(error)
    if response.is_success:
        return response
    if response.has_redirect_location:
        raise HedraProtocolError(
            f"{ask.name} was redirected ({response.status_code}). The redirect was not followed: the key is "
            "sent to the API's host only.",
            status_code=response.status_code,
            generation_id=generation_id,
            retryable=False,
            remedy="Correct the base URL (the connection's host).",
        )
    raise error_from_response(response, generation_id=generation_id)


def read(kind: type[T], ask: Ask, generation_id: str | None = None) -> Call[T]:
    """Send a request; return its answer as a model."""
    response = yield from send(ask, generation_id)
    return parse(kind, response, ask, generation_id)


def parse(kind: type[T], response: httpx.Response, ask: Ask, generation_id: str | None = None) -> T:
    """
    Return an answer as a model.

    :param kind: The type of the answer.
    :param response: The answer, a success.
    :param ask: The request, for messages.
    :param generation_id: The generation that it is about; None by default.
    :raises HedraProtocolError: If the answer is not what the API documents.
    """
    # An answer may echo the key. Removed here, it gets into no model, event, XCom or log.
    key = key_in(response.request.headers)
    try:
        answer: T = _adapter(kind).validate_json(hide_key_in_bytes(response.content, key))
    except (ValidationError, ValueError, RecursionError) as error:
        # Neither the body nor pydantic's text about it: both may hold signed URLs.
        raise HedraProtocolError(
            f"Hedra's answer to {ask.name} is not what the API documents: {_describe_invalid(error)}.",
            status_code=response.status_code,
            generation_id=generation_id,
        ) from None
    return answer


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Return the adapter of a type. Building one takes longer than using it, so each is built once."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _describe_invalid(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return type(error).__name__
    problems = error.errors(include_input=False, include_url=False, include_context=False)[:5]
    return "; ".join(clean(f"{'.'.join(map(str, item['loc']))} {item['msg']}".strip()) for item in problems)
