"""An answer while it is read: its encoding, its size and its duration are limited."""

from __future__ import annotations

import time

import httpx

MAX_ANSWER_BYTES = 32 * 1024**2
MAX_ANSWER_SECONDS = 120.0
"""From the first byte of an answer to its last. A read timeout does not limit this: each byte restarts it."""

ENCODINGS = ("gzip", "deflate")


class PartialAnswer:
    """An answer while it is read. Its size and its duration are limited."""

    def __init__(self, response: httpx.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", *ENCODINGS):
            # httpx would decode others, or several, and could make a gigabyte of the first chunk.
            raise httpx.DecodingError("its encoding was not asked for", request=response.request)
        self._response = response
        self._content = bytearray()
        self._began = time.monotonic()

    def add(self, part: bytes) -> None:
        """
        Add a chunk.

        :raises httpx.DecodingError: If the answer is too large.
        :raises httpx.ReadTimeout: If it takes too long.
        """
        self._content += part
        if len(self._content) > MAX_ANSWER_BYTES:
            message = f"it is larger than {MAX_ANSWER_BYTES} bytes"
            raise httpx.DecodingError(message, request=self._response.request)
        if time.monotonic() - self._began > MAX_ANSWER_SECONDS:
            message = f"the answer was not whole after {MAX_ANSWER_SECONDS:.0f} s"
            raise httpx.ReadTimeout(message, request=self._response.request)

    def whole(self) -> httpx.Response:
        """Return the answer with its decoded content."""
        wire_headers = (b"content-encoding", b"content-length", b"transfer-encoding")
        headers = [(k, v) for k, v in self._response.headers.raw if k.lower() not in wire_headers]
        return httpx.Response(
            self._response.status_code,
            headers=headers,
            content=bytes(self._content),
            request=self._response.request,
        )
