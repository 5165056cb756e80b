"""Bytes in and out, streamed in constant memory between file objects and HTTP.

Uploads are calls (:func:`store_asset`); a download reads a body while it comes and is therefore a function
over the sync client. Signed URLs last about an hour (observed), so a download takes a function that gives a
fresh one, and asks it again when the old one is refused. No request here carries the API key.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol

from hedra_provider.api import calls
from hedra_provider.api.cleaning import clean, words_of
from hedra_provider.api.error_answers import generation_error
from hedra_provider.api.errors import (
    TRY_AGAIN,
    HedraConflictError,
    HedraError,
    HedraNotFoundError,
    HedraTransferError,
)
from hedra_provider.api.files import CHUNK_BYTES, SizedFile
from hedra_provider.api.lookups import get_known_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from hedra_provider.api.answers import Asset
    from hedra_provider.api.calls import Call
    from hedra_provider.api.client import HedraClient

MAX_STALLS = 5
"""Attempts in a row that brought no new byte before a download is given up."""

MAX_ASSETS_PER_FILE = 5
"""How many ids are tried for a file whose ids are all taken by assets that take no upload."""

_REFUSED_URL = frozenset({400, 401, 403, 404, 410})
_EXPIRED_URL = frozenset({401, 403, 404, 410})
_NOT_BY_FORM = frozenset({400, 403, 404, 405, 410, 415, 422})
_NO_MEDIA = frozenset({"text/html", "application/json", "application/xml", "text/xml"})
"""What a proxy, a portal or a storage says in place of a file, be it with 200."""

# No file is longer: and more digits than that are more than int() reads.
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class WritableFile(Protocol):
    """What a download needs of its destination."""

    def write(self, data: bytes, /) -> int:
        """Append bytes at the position."""

    def seek(self, offset: int, /) -> int:
        """Go to a position."""

    def truncate(self, size: int, /) -> int:
        """Drop what lies behind."""


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


@dataclass(frozen=True)
class RemoteFile:
    """
    A file at Hedra that can be fetched now.

    :param url: Where from; signed, good for about an hour (observed).
    :param asset_id: The asset that it is.
    :param type: ``video``, ``audio`` or ``image``.
    """

    url: str = field(repr=False)
    asset_id: str | None
    type: str | None


def generation_file(generation_id: str) -> Call[RemoteFile]:
    """
    Return the file of a finished generation, with a fresh URL.

    ``complete`` sometimes comes without any URL (observed): the asset is then looked up by its id.

    :raises HedraGenerationError: If the generation failed.
    :raises HedraTransferError: If it is not complete yet, or has no file.
    """
    generation = yield from get_known_status(generation_id)
    if generation.is_failed:
        raise generation_error(generation_id, generation.error, generation.error_message)
    if not generation.is_complete:
        raise HedraTransferError(
            f"Generation {generation_id} is {clean(str(generation.status))}, not complete.",
            generation_id=generation_id,
            remedy="Wait for it with HedraGenerationSensor first.",
        )
    if generation.file_url:
        return RemoteFile(generation.file_url, generation.asset_id, generation.type)
    if generation.asset_id:
        return (yield from asset_file(generation.asset_id, generation.type or "video"))
    raise HedraTransferError(f"Generation {generation_id} is complete but names neither a file nor an asset.")


def asset_file(asset_id: str, asset_type: str) -> Call[RemoteFile]:
    """
    Return the file of an asset, with a fresh URL.

    :raises HedraNotFoundError: If there is no such asset, or its file never arrived.
    """
    for asset in (yield from calls.list_assets(asset_type, [asset_id])):
        if asset.file_url:
            return RemoteFile(asset.file_url, asset.id, asset_type)
    raise HedraNotFoundError(
        f"Hedra has no file for the {asset_type} asset {asset_id}.",
        remedy="Check the id, its type, and that the connection's key and workspace are those that own it.",
    )


def download(client: HedraClient, fresh_url: Callable[[], str], file: WritableFile) -> int:
    """
    Fetch a file whole: resume where it was cut, ask for a fresh URL when the old one is refused.

    :param client: Whose connections to use; its key is not sent.
    :param fresh_url: Gives a URL to fetch from, each time a new one.
    :param file: Where to write, from its start. Only whole when this returns.
    :return: Its length in bytes.
    :raises HedraTransferError: If five attempts in a row brought nothing new.
    """
    fetch = _Fetch(file)
    url, stalls, furthest = fresh_url(), 0, 0
    while True:
        try:
            why = fetch.attempt(client, url)
            if why is None:
                return fetch.received
        except _UrlRefusedError as refused:
            why = str(refused)
            url = fresh_url()
        except calls.NO_ANSWER as error:
            why = words_of(error)
        # Further than ever, not than before: a storage that starts anew each time gets nowhere.
        stalls = 0 if fetch.received > furthest else stalls + 1
        furthest = max(furthest, fetch.received)
        if stalls >= MAX_STALLS:
            raise HedraTransferError(
                f"The download stopped at byte {fetch.received}; {MAX_STALLS} tries brought nothing: {why}.",
                remedy="The result stays at Hedra: a retry fetches it without paying again.",
            )
        if stalls:
            client.pause(min(2.0**stalls, 20.0))


class _UrlRefusedError(Exception):
    """The storage does not serve this URL (any more)."""


class _Fetch:
    """The state of one download over several attempts."""

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._version: str | None = None
        self.received = 0
        self.total: int | None = None

    def attempt(self, client: HedraClient, url: str) -> str | None:
        """Fetch from where we are; return None if the file is whole, else what is missing."""
        _require_http(url)
        # Compressed on the way, neither the length nor a range would speak of the file's own bytes.
        headers = {"Accept-Encoding": "identity"}
        if self.received:
            headers["Range"] = f"bytes={self.received}-"
            if self._version:
                headers["If-Range"] = self._version
        with client.http.stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code in _REFUSED_URL:
                raise _UrlRefusedError(f"the storage answered {response.status_code}")
            if response.status_code == 416:
                # Nothing lies behind what is there: it is whole, if that is as long as the file.
                if response.headers.get("Content-Range", "") == f"bytes */{self.received}" != "bytes */0":
                    return None
                self._restart()
            if response.status_code not in (200, 206):
                return f"the storage answered {response.status_code}"
            if response.headers.get("Content-Encoding", "identity") != "identity":
                return "the storage sent the file compressed although it was asked not to"
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind in _NO_MEDIA:
                return f"the storage answered with {kind}, which is no media"
            if not self._place(response):
                self._restart()
                return "the file changed meanwhile"
            # In the pieces that come: httpx would lose what it had gathered of a larger one when it is cut.
            for chunk in response.iter_raw():
                self._file.write(chunk)
                self.received += len(chunk)
        if not self.received:
            return "the storage answered with an empty file"
        if self.total is None:
            # Chunks say when they end; what ends with the connection may have been cut.
            chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
            return None if chunked else "the storage does not say how long the file is"
        if self.received == self.total:
            return None
        return f"{self.received} of {self.total} bytes came"

    def _place(self, response: httpx.Response) -> bool:
        """
        Go to where this answer's body belongs, and note how long the file is.

        :return: False if the body is of another file than what is there.
        """
        version = _strong_tag(response)
        if response.status_code == 200:
            self._restart()
            length = response.headers.get("Content-Length", "")
            self._version, self.total = version, int(length) if _LENGTH.fullmatch(length) else None
            return True
        where = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not where or int(where[1]) != self.received:
            raise _UrlRefusedError("the storage answered with another range than asked for")
        total = None if where[3] == "*" else int(where[3])
        same = version is None or self._version is None or version == self._version
        if not same or (total is not None and self.total is not None and total != self.total):
            return False
        self._version, self.total = version or self._version, total or self.total
        return True

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate(0)
        self.received = 0
        self._version = self.total = None


def _strong_tag(response: httpx.Response) -> str | None:
    """Return what names this very file; a weak tag says "much the same", not enough to join two halves."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else None


def _duration_ms(asset: Asset) -> int | None:
    return asset.asset.duration_ms if asset.asset else None


def _require_http(url: str) -> None:
    if not calls.is_http(url):
        raise HedraTransferError(
            "Hedra gave a URL that is not http(s); only those are fetched.", retryable=False
        )
