"""A file on its way to Hedra: once per content, resumed with the same asset whatever was cut."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from hedra_provider.api import calls
from hedra_provider.api.errors import (
    TRY_AGAIN,
    HedraConflictError,
    HedraError,
    HedraNotFoundError,
    HedraTransferError,
)
from hedra_provider.api.sized_file import CHUNK_BYTES, SizedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.api.calls import Call
    from hedra_provider.api.responses import Asset

MAX_ASSETS_PER_FILE = 5
"""How many ids are tried for a file whose ids are all taken by assets that take no upload."""

_EXPIRED_URL = frozenset({401, 403, 404, 410})
_NOT_BY_FORM = frozenset({400, 403, 404, 405, 410, 415, 422})


@dataclass(frozen=True)
class StoredAsset:
    """
    An asset whose bytes are at Hedra.

    :param asset_id: Its id.
    :param reused: Whether it was there already, so that nothing was sent.
    :param duration_ms: What Hedra says of its length, None where it does not.
    """

    asset_id: str
    reused: bool
    duration_ms: int | None = None


def digest(file: BinaryIO) -> tuple[str, int]:
    """
    Read a file once.

    :return: The SHA-256 of its content in hex, and its length in bytes.
    """
    file.seek(0)
    seen, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK_BYTES):
        seen.update(chunk)
        size += len(chunk)
    file.seek(0)
    return seen.hexdigest(), size


def store_asset(
    file: SizedFile, asset_type: str, *, reserved_asset_id: str | None = None, workspace_id: str | None = None
) -> Call[StoredAsset]:
    """
    Bring a file to Hedra, unless the asset that it would become is there already.

    Whatever is cut, and whenever, the next try under the same reserved id goes on with the same asset. Only
    where that takes no upload any more (it was deleted, or it is a video whose ``upload_url`` is lost and
    that Hedra takes in no other way), the file becomes the asset of the next id, made from the first.

    :param file: What to send.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param reserved_asset_id: The id that the asset shall have; an asset of this id whose file is there is
        reused. Without one a new asset is made.
    :param workspace_id: The workspace that shall own it.
    """
    for asset_id in _ids_for(reserved_asset_id):
        if asset_id is not None:
            for asset in (yield from calls.list_assets(asset_type, [asset_id])):
                if asset.file_url:
                    return StoredAsset(asset.id, reused=True, duration_ms=_duration_ms(asset))
        try:
            created = yield from calls.create_asset(
                file.name, asset_type, reserved_asset_id=asset_id, workspace_id=workspace_id
            )
        except HedraError as error:
            if asset_id is None or not _is_taken(error):
                raise
            # Announced by a try that was cut before it knew, or before it had sent its file.
            sent = yield from _upload_to_announced(asset_id, file, asset_type)
            if sent is not None:
                return sent
            continue
        if not created.upload_url:
            stored = yield from calls.upload_file(created.id, file)
            return StoredAsset(created.id, reused=False, duration_ms=_duration_ms(stored))
        try:
            yield from calls.put_file(created.upload_url, file)
        except HedraError as error:
            if error.status_code not in _EXPIRED_URL:
                raise
            # It expired while earlier attempts were cut.
            sent = yield from _upload_to_announced(created.id, file, asset_type)
            if sent is not None:
                return sent
            raise HedraTransferError(
                f"The storage refused the file of asset {created.id} ({error.status_code}).",
                status_code=error.status_code,
                remedy=f"{TRY_AGAIN} The next try asks for another URL.",
            ) from error
        return StoredAsset(created.id, reused=False)
    raise HedraConflictError(
        f"{MAX_ASSETS_PER_FILE} ids for {file.name} are all taken by assets that take no upload.",
        retryable=False,
        remedy="Upload it with reuse=False, or from another id_namespace.",
    )


def _ids_for(reserved_asset_id: str | None) -> Iterator[str | None]:
    """Yield the ids that a file may have as an asset: the reserved one, and those made from it."""
    yield reserved_asset_id
    if reserved_asset_id is not None:
        for n in range(1, MAX_ASSETS_PER_FILE):
            yield str(uuid.uuid5(uuid.UUID(reserved_asset_id), f"again\0{n}"))


def _is_taken(error: HedraError) -> bool:
    return isinstance(error, HedraConflictError) or (error.code or "").startswith("ALREADY_")


def _upload_to_announced(asset_id: str, file: SizedFile, asset_type: str) -> Call[StoredAsset | None]:
    """
    Send a file to an asset that is there without one.

    :return: None where that asset takes no file: it is gone, or a video that is taken by PUT only.
    """
    try:
        sent = yield from calls.upload_file(asset_id, file)
    except HedraError as error:
        by_put_only = asset_type == "video" and error.status_code in _NOT_BY_FORM
        if by_put_only or isinstance(error, HedraNotFoundError):
            return None
        raise
    return StoredAsset(asset_id, reused=False, duration_ms=_duration_ms(sent))


def _duration_ms(asset: Asset) -> int | None:
    return asset.asset.duration_ms if asset.asset else None
