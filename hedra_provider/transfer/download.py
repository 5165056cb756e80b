"""
A file on its way from Hedra, streamed in constant memory.

A download reads a body while it comes and is therefore a function over the sync client. Signed URLs last
about an hour (observed), so a download takes a function that gives a fresh one, and calls it again when the
storage rejects the old one. No request here carries the API key.
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

_REFUSED_URL = frozenset({400, 401, 403, 404, 410})
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


def _require_http(url: str) -> None:
    if not calls.is_http(url):
        raise HedraTransferError(
            "Hedra gave a URL that is not http(s); only those are fetched.", retryable=False
        )
