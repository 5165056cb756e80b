"""Read a media file in blocks, within limits that hold for hostile files too."""

from __future__ import annotations

from typing import BinaryIO

BLOCK_BYTES = 256 * 1024
"""Bytes of one read. Object storage answers a few large reads faster than thousands of small ones."""

MAX_PEEK_BYTES = 4 * 1024 * 1024
"""The most bytes that one structure of a file may have to be read as a whole."""

MAX_STEPS = 2_000_000
"""The most reads of a frame, page or box in one file: enough for 14 hours of MP3, and seconds of work."""

MAX_JUNK_BYTES = 64 * 1024 * 1024
"""The most bytes that are searched for the next frame or page of a stream."""


class NotMeasurableError(Exception):
    """The length of a file can't be found out, or not within the limits."""


class FileEndsEarlyError(NotMeasurableError):
    """The file ends before what it holds does: it is cut."""


class Reader:
    """
    A position in a file.

    :param file: Readable and seekable.
    :param size: Its length in bytes.
    :param start: Where the part to read begins, in bytes.
    :param end: Where it ends; by default the end of the file.
    """

    def __init__(self, file: BinaryIO, size: int, *, start: int = 0, end: int | None = None) -> None:
        self._file = file
        self._block = b""
        self._block_at = 0
        self._steps = 0
        self.end = size if end is None else min(end, size)
        self.at = start

    def part(self, start: int, end: int) -> Reader:
        """Return a reader of a part of the file."""
        return Reader(self._file, self.end, start=start, end=end)

    @property
    def left(self) -> int:
        """Bytes from the position to the end; 0 behind it."""
        return max(0, self.end - self.at)

    def peek(self, count: int) -> bytes:
        """
        Return the next bytes, fewer at the end, and stay where the position is.

        :raises NotMeasurableError: If that is too much, or too many reads were made.
        """
        self._steps += 1
        if count > MAX_PEEK_BYTES or self._steps > MAX_STEPS:
            raise NotMeasurableError("too much to read")
        start = self.at - self._block_at
        if start < 0 or start + count > len(self._block):
            self._fill(count)
            start = self.at - self._block_at
        return self._block[start : start + count]

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end, and go behind them."""
        found = self.peek(count)
        self.at += len(found)
        return found

    def exactly(self, count: int) -> bytes:
        """
        Return so many bytes, and go behind them.

        :raises FileEndsEarlyError: If the file ends before.
        """
        found = self.read(count)
        if len(found) < count:
            raise FileEndsEarlyError("the file ends early")
        return found

    def skip(self, count: int) -> None:
        """
        Go over so many bytes.

        :raises FileEndsEarlyError: If the file ends before.
        """
        self.at += count
        if self.at > self.end:
            raise FileEndsEarlyError("the file ends early")

    def find(self, pattern: bytes) -> bool:
        """
        Go to the next place with these bytes.

        :return: False, at the end, where there is none.
        :raises NotMeasurableError: If it does not come within :data:`MAX_JUNK_BYTES`.
        """
        limit = self.at + MAX_JUNK_BYTES
        while True:
            block = self.peek(BLOCK_BYTES)
            found = block.find(pattern)
            if found >= 0:
                self.at += found
                return True
            if len(block) < BLOCK_BYTES:
                self.at = self.end
                return False
            self.at += len(block) - len(pattern) + 1
            if self.at > limit:
                raise NotMeasurableError("too much between two frames")

    def _fill(self, count: int) -> None:
        """Let the block begin at the position, and have so many bytes if the file has them."""
        block_end = self._block_at + len(self._block)
        if self._block_at <= self.at and block_end >= self.end:
            return
        wanted = min(max(count, BLOCK_BYTES), self.left)
        self._file.seek(self.at)
        pieces, missing = [], wanted
        while missing > 0 and (piece := self._file.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        if missing:
            # The file is shorter than its stated size.
            self.end = self.at + wanted - missing
        self._block, self._block_at = b"".join(pieces), self.at
