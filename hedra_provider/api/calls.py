"""One function per endpoint of Hedra's v2 API, without I/O.

:mod:`hedra_provider.api.v3.calls` has those of v3.
Every call (see :mod:`hedra_provider.api.exchange`) raises the errors of :mod:`hedra_provider.api.errors`.
Endpoints and fields are those of Hedra's published v2 schema.

::

    with HedraClient(api_key=...) as client:
        credits = client.run(calls.get_credits())
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraNotFoundError, HedraProtocolError
from hedra_provider.api.exchange import (
    NO_ANSWER,
    UNSENDABLE,
    UPLOAD_TIMEOUT_SECONDS,
    Ask,
    Call,
    Pause,
    Step,
    is_http,
    read,
    segment,
    send,
)
from hedra_provider.api.redaction import clean
from hedra_provider.api.responses import Asset, CreatedAsset, Credits, Model, Page, Voice
from hedra_provider.api.responses import Generation as GenerationAnswer

if TYPE_CHECKING:
    from hedra_provider import records
    from hedra_provider.api.sized_file import SizedFile

__all__ = [
    "NO_ANSWER",
    "UNSENDABLE",
    "UPLOAD_TIMEOUT_SECONDS",
    "Ask",
    "Call",
    "Pause",
    "Step",
    "create_asset",
    "get_credits",
    "get_status",
    "is_http",
    "list_as_answered",
    "list_assets",
    "list_generations",
    "list_models",
    "list_voices",
    "put_file",
    "submit",
    "upload_file",
]


def get_credits() -> Call[Credits]:
    """Return the credits of the account and of its workspaces."""
    return (yield from read(Credits, Ask("GET", "/billing/credits")))


def list_models(types: Iterable[str] = ()) -> Call[list[Model]]:
    """
    Return the catalogue of models with their limits and prices.

    :param types: Generation types to keep, e.g. ``["video"]``; all by default.
    """
    return (yield from read(list[Model], Ask("GET", "/models", params={"types": list(types)})))


def list_voices() -> Call[list[Voice]]:
    """Return the voices for inline speech."""
    return (yield from read(list[Voice], Ask("GET", "/voices")))


def list_assets(asset_type: str, ids: Iterable[str] = ()) -> Call[list[Asset]]:
    """
    Return the assets of one type.

    :param asset_type: ``image``, ``audio``, ``video`` or another of Hedra's asset types; required by the API.
    :param ids: Assets to keep; all by default.
    """
    wanted = list(ids)
    params = {"type": asset_type} | ({"ids": ",".join(wanted)} if wanted else {})
    found = yield from read(list[Asset], Ask("GET", "/assets", params=params))
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
    return (yield from read(CreatedAsset, Ask("POST", "/assets", json=sent)))


def upload_file(asset_id: str, file: SizedFile) -> Call[Asset]:
    """
    Upload an image or audio to its asset. Repeating it costs nothing.

    Only ``HedraClient`` sends files: reading one would block an event loop.

    :param asset_id: The asset, from :func:`create_asset`.
    :param file: The file.
    :return: The asset.
    """
    path = f"/assets/{segment(asset_id)}/upload"
    ask = Ask("POST", path, file=file, multipart=True, timeout=UPLOAD_TIMEOUT_SECONDS)
    return (yield from read(Asset, ask))


def put_file(upload_url: str, file: SizedFile) -> Call[None]:
    """
    Upload a video to its signed URL, by HTTP PUT and without the API key.

    Only ``HedraClient`` sends files: reading one would block an event loop.

    :param upload_url: The URL, from :func:`create_asset`.
    :param file: The file.
    """
    if not is_http(upload_url):
        raise HedraProtocolError("Hedra sent an upload_url that is not http(s); nothing was sent to it.")
    yield from send(Ask("PUT", upload_url, file=file, timeout=UPLOAD_TIMEOUT_SECONDS))


def submit(body: Mapping[str, Any]) -> Call[GenerationAnswer]:
    """
    Submit a generation: the one call that costs. It does not check whether the generation exists.

    Use :func:`hedra_provider.submission.submit.submit_once`, which pays once even if an answer is lost.

    :param body: The body of ``POST /generations``.
    :return: The answer, which has the variations of a batch; its ``record()`` is the generation.
    """
    return (yield from read(GenerationAnswer, Ask("POST", "/generations", json=dict(body), repeatable=False)))


def get_status(generation_id: str) -> Call[records.Generation | None]:
    """
    Return the status of a generation.

    :param generation_id: The generation.
    :return: The generation; None if Hedra does not know it (yet: seen for a moment after a submit).
    """
    path = f"/generations/{segment(generation_id)}/status"
    try:
        found = yield from read(GenerationAnswer, Ask("GET", path), generation_id)
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
    page = yield from read(Page, Ask("GET", "/generations", params=params))
    return [row.record() for row in page.data]
