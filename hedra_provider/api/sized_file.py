"""A file to send whose length is known."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from hedra_provider.api.errors import TRY_AGAIN, HedraTransferError
from hedra_provider.api.redaction import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES = 1024 * 1024


class SizedFile:
    """
    An open binary file, its name, and the number of bytes that will be sent of it.

    httpx takes the length of a body from the file's descriptor where it has one, which is wrong for a file
    that is decompressed while it is read. This object has none: it tells the length it was given.

    :param file: Readable and seekable, opened in binary mode.
    :param size: Bytes from the start of the file to its end.
    :param name: File name to send along.
    :param content_type: MIME type to send along.
    :param unchanged: Whether the file is still what it was; asked before its last bytes are read.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        name: str,
        content_type: str | None = None,
        *,
        unchanged: Callable[[], bool] | None = None,
    ) -> None:
        self._file = file
        self.size = size
        self.name = name
        self.content_type = content_type or "application/octet-stream"
        self._unchanged = unchanged

    def read(self, size: int = -1, /) -> bytes:
        """
        Read on, to ``size`` at the most: bytes that were appended meanwhile are not part of it.

        :raises HedraTransferError: If the file changed.
        """
        left = self.size - self._file.tell()
        wanted = left if size < 0 else min(size, left)
        try:
            chunk = self._file.read(wanted)
        except Exception as error:
            # Of a file on object storage, a driver's error of whatever kind.
            raise HedraTransferError(f"{self.name} could not be read on: {clean(str(error))}.") from error
        cut_short = wanted > 0 and not chunk
        at_the_end = 0 < left == len(chunk)
        if cut_short or (at_the_end and self._unchanged and not self._unchanged()):
            raise HedraTransferError(
                f"{self.name} changed while it was sent; it was not sent to its end.",
                remedy=f"{TRY_AGAIN} Write the file before the task starts.",
            )
        return chunk

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to an absolute position, or (``SEEK_END``, 0) only tell the length."""
        if whence == os.SEEK_END:
            return self.size + offset
        return self._file.seek(offset, whence)

    def __iter__(self) -> Iterator[bytes]:
        """Yield what is left; httpx takes a body for a stream only if it can be iterated over."""
        while chunk := self.read(CHUNK_BYTES):
            yield chunk
