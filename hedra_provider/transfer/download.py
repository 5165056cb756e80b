"""
Download a file from Hedra, streamed in constant memory.

A download reads the body while it arrives, so it is a function over the sync client, not a call. A signed URL
lasts about an hour (observed). So a download takes a function that returns a fresh URL, and calls it again
when the storage rejects the old one. No request here carries the API key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hedra_provider.api import calls
from hedra_provider.api.error_bodies import generation_error
from hedra_provider.api.errors import HedraNotFoundError, HedraTransferError
from hedra_provider.api.lookups import get_known_status
from hedra_provider.api.redaction import clean, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from hedra_provider.api.calls import Call
    from hedra_provider.api.client import HedraClient

MAX_STALLS = 5
"""Attempts in a row that brought no new byte before a download is given up."""

_REJECTED_URL = frozenset({400, 401, 403, 404, 410})
_NO_MEDIA = frozenset({"text/html", "application/json", "application/xml", "text/xml"})
"""The types of error pages, which proxies, portals and storages may send with status 200."""

# No file is longer, and int() rejects texts of thousands of digits.
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class WritableFile(Protocol):
    """The methods that a download needs of its destination."""

    def write(self, data: bytes, /) -> int:
        """Write bytes at the position."""

    def seek(self, offset: int, /) -> int:
        """Go to a position."""

    def truncate(self, size: int, /) -> int:
        """Cut the file to a size in bytes."""


@dataclass(frozen=True)
class RemoteFile:
    """
    A file at Hedra that can be downloaded now.

    :param url: Its signed URL, which lasts about an hour (observed).
    :param asset_id: The asset of the file; None if Hedra does not name it.
    :param type: ``video``, ``audio`` or ``image``; None if Hedra does not name it.
    """

    url: str = field(repr=False)
    asset_id: str | None
    type: str | None


def generation_file(generation_id: str) -> Call[RemoteFile]:
    """
    Return the file of a complete generation, with a fresh URL.

    The status ``complete`` may come without a URL (observed). Then the list of assets has it.

    :param generation_id: The generation.
    :return: The file.
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

    :param asset_id: The asset.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :return: The file.
    :raises HedraNotFoundError: If the asset does not exist, or its upload is not complete.
    """
    for asset in (yield from calls.list_assets(asset_type, [asset_id])):
        if asset.file_url:
            return RemoteFile(asset.file_url, asset.id, asset_type)
    raise HedraNotFoundError(
        f"Hedra has no file for the {asset_type} asset {asset_id}.",
        remedy="Check the id, its type, and that the connection's key and workspace own it.",
    )


def download(client: HedraClient, fresh_url: Callable[[], str], file: WritableFile) -> int:
    """
    Download a whole file. Resume after a cut; get a fresh URL when the storage rejects the old one.

    :param client: The client whose connections are used; its key is not sent.
    :param fresh_url: Returns a new URL at each call.
    :param file: The destination, written from its start. It is whole only after this returns.
    :return: The length of the file in bytes.
    :raises HedraTransferError: If five attempts in a row brought no new byte.
    """
    fetch = _Fetch(file)
    url, stalls, furthest = fresh_url(), 0, 0
    while True:
        try:
            why = fetch.attempt(client, url)
            if why is None:
                return fetch.received
        except _UrlRejectedError as rejected:
            why = str(rejected)
            url = fresh_url()
        except calls.NO_ANSWER as error:
            why = words_of(error)
        # Progress is a byte that no attempt had reached: a storage may restart the file at each attempt.
        stalls = 0 if fetch.received > furthest else stalls + 1
        furthest = max(furthest, fetch.received)
        if stalls >= MAX_STALLS:
            raise HedraTransferError(
                f"The download stopped at byte {fetch.received}: {MAX_STALLS} attempts in a row brought no "
                f"new byte. The last: {why}.",
                remedy="The result stays at Hedra: a retry downloads it without paying again.",
            )
        if stalls:
            client.pause(min(2.0**stalls, 20.0))


class _UrlRejectedError(Exception):
    """The storage does not serve this URL (any more)."""


class _Fetch:
    """The state of one download over several attempts."""

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._version: str | None = None
        self.received = 0
        self.total: int | None = None

    def attempt(self, client: HedraClient, url: str) -> str | None:
        """Download from the position on; return None if the file is whole, else why it is not."""
        _require_http(url)
        # In a compressed body, lengths and ranges would count compressed bytes.
        headers = {"Accept-Encoding": "identity"}
        if self.received:
            headers["Range"] = f"bytes={self.received}-"
            if self._version:
                headers["If-Range"] = self._version
        with client.http.stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code in _REJECTED_URL:
                raise _UrlRejectedError(f"the storage answered {response.status_code}")
            if response.status_code == 416:
                # The range begins behind the end of the file. The file is whole if it ends at the position.
                if response.headers.get("Content-Range", "") == f"bytes */{self.received}" != "bytes */0":
                    return None
                self._restart()
            if response.status_code not in (200, 206):
                return f"the storage answered {response.status_code}"
            if response.headers.get("Content-Encoding", "identity") != "identity":
                return "the storage sent the file compressed, against Accept-Encoding"
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind in _NO_MEDIA:
                return f"the storage answered with {kind}, which is not a media type"
            if not self._place(response):
                self._restart()
                return "the file changed during the download"
            # Without a chunk size: after a cut, httpx would drop the bytes of an incomplete chunk.
            for chunk in response.iter_raw():
                self._file.write(chunk)
                self.received += len(chunk)
        if not self.received:
            return "the storage answered with an empty file"
        if self.total is None:
            # A chunked body marks its end. A body that ends with the connection may have been cut.
            chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
            return None if chunked else "the storage does not state the length of the file"
        if self.received == self.total:
            return None
        return f"{self.received} of {self.total} bytes arrived"

    def _place(self, response: httpx.Response) -> bool:
        """
        Go to the position of this answer's body, and note the length of the file.

        :return: False if the body belongs to another file than the bytes received so far.
        """
        version = _strong_tag(response)
        if response.status_code == 200:
            self._restart()
            length = response.headers.get("Content-Length", "")
            self._version, self.total = version, int(length) if _LENGTH.fullmatch(length) else None
            return True
        where = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not where or int(where[1]) != self.received:
            raise _UrlRejectedError("the storage answered with another range than requested")
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
    """Return the strong ETag. A weak one names similar content: parts of two files could be joined."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else None


def _require_http(url: str) -> None:
    if not calls.is_http(url):
        raise HedraTransferError(
            "Hedra sent a URL that is not http(s); only http(s) URLs are downloaded.", retryable=False
        )
