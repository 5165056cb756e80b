"""One function per endpoint of Hedra's v2 API, without I/O.

A call is a generator. It yields an HTTP request to send (:class:`Ask`) or a pause (:class:`Pause`), receives
the answer, and returns its meaning. A flow is a call made of calls (``yield from``). ``HedraClient.run`` and
``AsyncHedraClient.run`` drive both. Every call raises the errors of :mod:`hedra_provider.api.errors`.
Endpoints and fields are those of Hedra's published v2 schema.

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
from hedra_provider.api.redaction import clean, fit_cause, hide_key_in_bytes, words_of
from hedra_provider.api.responses import Asset, CreatedAsset, Credits, Model, Page, Voice
from hedra_provider.api.responses import Generation as GenerationAnswer

if TYPE_CHECKING:
    from hedra_provider import records
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
    Create an asset, to which a file is uploaded then.

    :param name: The file name.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param reserved_asset_id: A UUID to use as the id of the asset; by default Hedra chooses one.
    :param workspace_id: The workspace that owns the asset; by default the key's own.
    :return: The id of the asset; for a video also the URL to upload it to.
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
    Upload an image or audio to its asset. Repeating it costs nothing.

    Only ``HedraClient`` sends files: reading one would block an event loop.

    :param asset_id: The asset, from :func:`create_asset`.
    :param file: The file.
    :return: The asset.
    """
    path = f"/assets/{_segment(asset_id)}/upload"
    ask = Ask("POST", path, file=file, multipart=True, timeout=UPLOAD_TIMEOUT_SECONDS)
    return (yield from _read(Asset, ask))


def put_file(upload_url: str, file: SizedFile) -> Call[None]:
    """
    Upload a video to its signed URL, by HTTP PUT and without the API key.

    Only ``HedraClient`` sends files: reading one would block an event loop.

    :param upload_url: The URL, from :func:`create_asset`.
    :param file: The file.
    """
    if not is_http(upload_url):
        raise HedraProtocolError("Hedra sent an upload_url that is not http(s); nothing was sent to it.")
    yield from _send(Ask("PUT", upload_url, file=file, timeout=UPLOAD_TIMEOUT_SECONDS))


def submit(body: Mapping[str, Any]) -> Call[GenerationAnswer]:
    """
    Submit a generation: the one call that costs. It does not check whether the generation exists.

    Use :func:`hedra_provider.submission.submit.submit_once`, which pays once even if an answer is lost.

    :param body: The body of ``POST /generations``.
    :return: The answer, which has the variations of a batch; its ``record()`` is the generation.
    """
    return (
        yield from _read(GenerationAnswer, Ask("POST", "/generations", json=dict(body), repeatable=False))
    )


def get_status(generation_id: str) -> Call[records.Generation | None]:
    """
    Return the status of a generation.

    :param generation_id: The generation.
    :return: The generation; None if Hedra does not know it (yet: seen for a moment after a submit).
    """
    path = f"/generations/{_segment(generation_id)}/status"
    try:
        found = yield from _read(GenerationAnswer, Ask("GET", path), generation_id)
    except HedraNotFoundError:
        return None
    if found.id.lower() != generation_id.lower():
        raise HedraProtocolError(
            f"Hedra answered a status request for generation {generation_id} with {clean(found.id)}."
        )
    return found.record()


def list_generations(ids: Iterable[str] = (), **filters: str | int) -> Call[list[records.Generation]]:
    """
    Return generations with fields that their status lacks: ``request``, ``cost``, ``width``, ``height``,
    ``duration_ms``.

    :param ids: Generations to keep; all by default. Hedra documents one id. That it takes several, separated
        by commas, is an assumption, so rows of other generations are dropped here.
    :param filters: ``type``, ``created_after``, ``created_before``, ``limit`` (100), ``offset`` (0).
    """
    wanted = list(ids)
    rows = yield from list_as_answered(wanted, **filters)
    return [row for row in rows if row.id in wanted] if wanted else rows


def list_as_answered(ids: Iterable[str] = (), **filters: str | int) -> Call[list[records.Generation]]:
    """
    Return all rows that Hedra answers, requested or not. They show whether the API honours ``ids``.

    :param ids: As for :func:`list_generations`.
    :param filters: As for :func:`list_generations`.
    """
    params = {name: str(value) for name, value in filters.items()}
    wanted = ",".join(ids)
    if wanted:
        params["ids"] = wanted
    page = yield from _read(Page, Ask("GET", "/generations", params=params))
    return [row.record() for row in page.data]


def _segment(foreign_id: str) -> str:
    """Return an id as one segment of a path: no id can lead to another endpoint."""
    # "." and ".." as segments mean another path.
    return quote(foreign_id, safe="", errors="replace").replace(".", "%2E")


def is_http(url: str) -> bool:
    """Return whether a URL from an answer is valid and http(s)."""
    try:
        return httpx.URL(url).scheme in ("http", "https")
    except httpx.InvalidURL:
        return False


def _send(ask: Ask, generation_id: str | None = None) -> Call[httpx.Response]:
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


def _read(kind: type[T], ask: Ask, generation_id: str | None = None) -> Call[T]:
    """Send a request; return its answer as a model."""
    response = yield from _send(ask, generation_id)
    # An answer may echo the key. Removed here, it gets into no model, event, XCom or log.
    key = response.request.headers.get("X-API-Key", "")
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
