"""A file to send, with a fixed length."""

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
    An open binary file with its name and the number of bytes to send.

    httpx takes the length of a body from the file's descriptor. That is wrong for a file that is decompressed
    while it is read. This object has no descriptor: httpx uses ``size``.

    :param file: Readable and seekable, opened in binary mode.
    :param size: Bytes from the start of the file to its end.
    :param name: The file name to send.
    :param content_type: The MIME type to send; ``application/octet-stream`` by default.
    :param unchanged: Returns whether the file is unchanged, called when its last bytes are read; by default
        that is not checked.
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
        Read the next bytes, never beyond the file's ``size``: bytes that were appended since are ignored.

        :param size: Bytes to read at most; all that are left by default.
        :return: The bytes; none at the end.
        :raises HedraTransferError: If the file changed or can't be read.
        """
        left = self.size - self._file.tell()
        wanted = left if size < 0 else min(size, left)
        try:
            chunk = self._file.read(wanted)
        except Exception as error:
            # Each driver of an object storage has its own classes of errors.
            raise HedraTransferError(
                f"{self.name} could not be read to its end: {clean(str(error))}."
            ) from error
        cut_short = wanted > 0 and not chunk
        at_the_end = 0 < left == len(chunk)
        if cut_short or (at_the_end and self._unchanged and not self._unchanged()):
            raise HedraTransferError(
                f"{self.name} changed while it was sent, so sending stopped.",
                remedy=f"{TRY_AGAIN} Write the file before the task starts.",
            )
        return chunk

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """
        Go to a position, and return it. ``SEEK_END`` only returns it: httpx asks so for the length.

        :param offset: Bytes from the start, or from the end.
        :param whence: As for ``io.IOBase.seek``; ``SEEK_SET`` by default.
        """
        if whence == os.SEEK_END:
            return self.size + offset
        return self._file.seek(offset, whence)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes that are left: httpx streams a body only if it can be iterated over."""
        while chunk := self.read(CHUNK_BYTES):
            yield chunk
