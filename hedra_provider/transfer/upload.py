"""Upload a file to Hedra: the same content once, and a retry continues with the same asset."""

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
"""How many ids are tried for a file, if assets that accept no upload have the first ones."""

_EXPIRED_URL = frozenset({401, 403, 404, 410})
_NOT_BY_FORM = frozenset({400, 403, 404, 405, 410, 415, 422})


@dataclass(frozen=True)
class StoredAsset:
    """
    An asset whose file is at Hedra.

    :param asset_id: Its id.
    :param reused: Whether it existed already, so that nothing was sent.
    :param duration_ms: Its length as Hedra states it; None by default: Hedra states none.
    """

    asset_id: str
    reused: bool
    duration_ms: int | None = None


def digest(file: BinaryIO) -> tuple[str, int]:
    """
    Hash a file.

    :param file: Readable and seekable; left at its start.
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
    Upload a file, unless its asset exists already.

    After an attempt that was cut anywhere, the next attempt with the same reserved id continues with the same
    asset. If that asset accepts no upload any more, the next id is used, computed from the first. That
    happens if the asset was deleted, or if it is a video whose ``upload_url`` is lost and Hedra accepts no
    other way.

    :param file: The file.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param reserved_asset_id: The id of the asset; an asset of this id that has its file is reused. By default
        a new asset is made.
    :param workspace_id: The workspace that owns the asset; by default the key's own.
    :return: The asset.
    :raises HedraConflictError: If five ids are taken by assets that accept no upload.
    :raises HedraError: If the upload failed.
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
            # An earlier attempt created the asset, but was cut before it had sent the file.
            sent = yield from _upload_to_created(asset_id, file, asset_type)
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
            # The URL has expired.
            sent = yield from _upload_to_created(created.id, file, asset_type)
            if sent is not None:
                return sent
            raise HedraTransferError(
                f"The storage rejected the file of asset {created.id} ({error.status_code}).",
                status_code=error.status_code,
                remedy=f"{TRY_AGAIN} The next attempt gets another URL.",
            ) from error
        return StoredAsset(created.id, reused=False)
    raise HedraConflictError(
        f"All {MAX_ASSETS_PER_FILE} ids for {file.name} belong to assets that accept no upload.",
        retryable=False,
        remedy="Upload it with reuse=False, or with another id_namespace.",
    )


def _ids_for(reserved_asset_id: str | None) -> Iterator[str | None]:
    """Yield the ids to try for an asset: the reserved one, then those computed from it."""
    yield reserved_asset_id
    if reserved_asset_id is not None:
        for n in range(1, MAX_ASSETS_PER_FILE):
            yield str(uuid.uuid5(uuid.UUID(reserved_asset_id), f"again\0{n}"))


def _is_taken(error: HedraError) -> bool:
    return isinstance(error, HedraConflictError) or (error.code or "").startswith("ALREADY_")


def _upload_to_created(asset_id: str, file: SizedFile, asset_type: str) -> Call[StoredAsset | None]:
    """
    Upload a file to an existing asset that has none.

    :return: None if the asset accepts no upload: it was deleted, or is a video, which may need a PUT.
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
