"""Every endpoint of Hedra's v2 API, once, without I/O.

A call is a generator: it yields what to send (:class:`Ask`) or that time should pass (:class:`Pause`),
receives the answer, and returns what the answer means. A flow of several calls is a call made of calls
(``yield from``). ``HedraClient.run`` and ``AsyncHedraClient.run`` drive them; errors are raised as
:mod:`hedra_provider.api.errors` says. Endpoints and fields: Hedra's published v2 schema.

::

    with HedraClient(api_key=...) as client:
        credits = client.run(calls.get_credits())
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from hedra_provider.api.error_bodies import error_from_response
from hedra_provider.api.errors import (
    HedraNotFoundError,
    HedraProtocolError,
    HedraTransportError,
)
from hedra_provider.api.network import certificate_remedy
from hedra_provider.api.redaction import clean, fit_cause, hide_key_in_bytes
from hedra_provider.api.responses import Asset, CreatedAsset, Credits, Generation, Model, Page, Voice

if TYPE_CHECKING:
    from hedra_provider.api.sized_file import SizedFile

T = TypeVar("T")

UPLOAD_TIMEOUT_SECONDS = 300.0
"""Hedra answers an upload when it has stored the file: read time-outs were observed with shorter limits."""


_ORIGIN = re.compile(r"[a-z0-9+.-]*://[^/?]*", re.IGNORECASE)

UNSENDABLE = (httpx.InvalidURL, UnicodeError, OverflowError)
"""What httpx, and the socket below it, raise for a URL that can't be opened: its host ``a..b`` or its port
99999 is found by the system only."""

NO_ANSWER = (httpx.RequestError, *UNSENDABLE)
"""What a driver throws into a call whose request got no answer."""


@dataclass(frozen=True, eq=False)
class Ask:
    """
    One request to send.

    :param url: A path below the base URL, or a whole URL. Only requests to a path carry the API key.
    :param repeatable: Whether it may be sent again when no clear answer came: everything but a submit.
    :param timeout: Read and write time-out in seconds, where the client's own is too short.
    """

    method: str
    url: str
    params: Mapping[str, str | Sequence[str]] | None = None
    json: Any = None
    file: SizedFile | None = None
    multipart: bool = False
    repeatable: bool = True
    timeout: float | None = None

    def __repr__(self) -> str:
        # A traceback may show it: a whole URL is signed, and a body is the user's own words.
        return f"<Ask {self.name}>"

    @property
    def name(self) -> str:
        """Method and path, for messages."""
        return clean(f"{self.method} {_ORIGIN.sub('', self.url).partition('?')[0]}")


@dataclass(frozen=True)
class Pause:
    """Let so many seconds pass."""

    seconds: float


Step = Ask | Pause
Call = Generator[Step, Any, T]
"""A call that returns T. What is sent into it: an ``httpx.Response`` for an Ask, None for a Pause."""


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def get_credits() -> Call[Credits]:
    """Return the credits of the account and of its workspaces."""
    return (yield from _read(Credits, Ask("GET", "/billing/credits")))


def list_models(types: Iterable[str] = ()) -> Call[list[Model]]:
    """
    Return the catalogue of models with their limits and prices.

    :param types: Generation types to keep, e.g. ``["video"]``; all by default.
    """
    return (yield from _read(list[Model], Ask("GET", "/models", params={"types": list(types)})))


def list_voices() -> Call[list[Voice]]:
    """Return the voices for inline speech."""
    return (yield from _read(list[Voice], Ask("GET", "/voices")))


def list_assets(asset_type: str, ids: Iterable[str] = ()) -> Call[list[Asset]]:
    """
    Return the assets of one type.

    :param asset_type: ``image``, ``audio``, ``video`` or another of Hedra's asset types; required by the API.
    :param ids: Assets to keep; all by default.
    """
    wanted = list(ids)
    params = {"type": asset_type} | ({"ids": ",".join(wanted)} if wanted else {})
    found = yield from _read(list[Asset], Ask("GET", "/assets", params=params))
    return [asset for asset in found if asset.id in wanted] if wanted else found


def create_asset(
    name: str, asset_type: str, *, reserved_asset_id: str | None = None, workspace_id: str | None = None
) -> Call[CreatedAsset]:
    """
    Announce a file to upload.

    :param reserved_asset_id: A UUID of our own that the asset shall have.
    """
    body = {
        "name": name,
        "type": asset_type,
        "reserved_asset_id": reserved_asset_id,
        "workspace_id": workspace_id,
    }
    sent = {key: value for key, value in body.items() if value is not None}
    return (yield from _read(CreatedAsset, Ask("POST", "/assets", json=sent)))


def upload_file(asset_id: str, file: SizedFile) -> Call[Asset]:
    """
    Send the bytes of an announced image or audio. Repeating it costs nothing.

    Runs on the sync client only: a worker moves the bytes, an event loop must not.
    """
    path = f"/assets/{_segment(asset_id)}/upload"
    ask = Ask("POST", path, file=file, multipart=True, timeout=UPLOAD_TIMEOUT_SECONDS)
    return (yield from _read(Asset, ask))


def put_file(upload_url: str, file: SizedFile) -> Call[None]:
    """
    Send the bytes of an announced video to its signed URL, by HTTP PUT and without the API key.

    Runs on the sync client only.
    """
    if not is_http(upload_url):
        raise HedraProtocolError("Hedra gave an upload_url that is not http(s); nothing was sent to it.")
    yield from _checked(Ask("PUT", upload_url, file=file, timeout=UPLOAD_TIMEOUT_SECONDS))


def submit(body: Mapping[str, Any]) -> Call[Generation]:
    """
    Submit a generation, once and without looking: this is the call that costs.

    Use :func:`hedra_provider.submission.submit.submit_once`, which knows what a lost answer means.

    :param body: The body of ``POST /generations``.
    """
    return (yield from _read(Generation, Ask("POST", "/generations", json=dict(body), repeatable=False)))


def get_status(generation_id: str) -> Call[Generation | None]:
    """Return the status of a generation, None where Hedra does not know it (yet)."""
    path = f"/generations/{_segment(generation_id)}/status"
    try:
        found = yield from _read(Generation, Ask("GET", path), generation_id)
    except HedraNotFoundError:
        return None
    if found.id.lower() != generation_id.lower():
        raise HedraProtocolError(
            f"Asked for generation {generation_id}, Hedra answered with {clean(found.id)}."
        )
    return found


def list_generations(ids: Iterable[str] = (), **filters: str | int) -> Call[list[Generation]]:
    """
    Return generations with what status lacks: ``input``, ``credit_cost``, ``asset``.

    :param ids: Generations to keep. That several may be asked for, comma-separated, is an assumption:
        answers that were not asked for are dropped here.
    :param filters: ``type``, ``created_after``, ``created_before``, ``limit`` (100), ``offset`` (0).
    """
    wanted = list(ids)
    rows = yield from list_as_answered(wanted, **filters)
    return [row for row in rows if row.id in wanted] if wanted else rows


def list_as_answered(ids: Iterable[str] = (), **filters: str | int) -> Call[list[Generation]]:
    """Return what Hedra answers to a list of ids, asked for or not: this tells whether it honours them."""
    params = {name: str(value) for name, value in filters.items()}
    wanted = ",".join(ids)
    if wanted:
        params["ids"] = wanted
    return (yield from _read(Page, Ask("GET", "/generations", params=params))).data


def _segment(foreign_id: str) -> str:
    """Return an id as one segment of a path: whatever it holds, it asks for nothing else."""
    # "." and ".." are segments that mean another path.
    return quote(foreign_id, safe="", errors="replace").replace(".", "%2E")


def is_http(url: str) -> bool:
    """Tell whether a URL that an answer gave is one, and of a kind that this package opens."""
    try:
        return httpx.URL(url).scheme in ("http", "https")
    except httpx.InvalidURL:
        return False


def _checked(ask: Ask, generation_id: str | None = None) -> Call[httpx.Response]:
    """Send, and return the answer if it says yes."""
    try:
        response: httpx.Response = yield ask
    except httpx.DecodingError as error:
        raise HedraProtocolError(
            f"The answer to {ask.name} can't be read: {clean(str(error))}.", generation_id=generation_id
        ) from error
    except NO_ANSWER as error:
        not_sent = isinstance(
            error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, *UNSENDABLE)
        )
        raise HedraTransportError(
            f"No answer to {ask.name}: {clean(str(error)) or type(error).__name__}.",
            request_sent=not not_sent,
            generation_id=generation_id,
            remedy=certificate_remedy(error),
        ) from fit_cause(error)
    if response.is_success:
        return response
    if response.has_redirect_location:
        raise HedraProtocolError(
            f"{ask.name} was redirected ({response.status_code}); the key goes to the API's host alone.",
            status_code=response.status_code,
            generation_id=generation_id,
            retryable=False,
            remedy="Correct the base URL (the connection's host).",
        )
    raise error_from_response(response, generation_id=generation_id)


def _read(kind: type[T], ask: Ask, generation_id: str | None = None) -> Call[T]:
    """Send, and read the answer as a model."""
    response = yield from _checked(ask, generation_id)
    # Whoever echoes the key: it gets into no model, and so into no event, XCom or log.
    key = response.request.headers.get("X-API-Key", "")
    try:
        answer: T = _adapter(kind).validate_json(hide_key_in_bytes(response.content, key))
    except (ValidationError, ValueError, RecursionError) as error:
        # Neither the body nor pydantic's words of it: they may hold signed URLs.
        raise HedraProtocolError(
            f"Hedra's answer to {ask.name} is not what the API documents: {_what_is_wrong(error)}.",
            status_code=response.status_code,
            generation_id=generation_id,
        ) from None
    return answer


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Building one takes longer than reading with it: each is built once."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _what_is_wrong(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return type(error).__name__
    problems = error.errors(include_input=False, include_url=False, include_context=False)[:5]
    return "; ".join(clean(f"{'.'.join(map(str, item['loc']))} {item['msg']}".strip()) for item in problems)
