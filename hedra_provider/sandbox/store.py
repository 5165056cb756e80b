"""Stores bytes: files named by their contents, within a limit, and the state file."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hedra_provider.sandbox import rejections

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_BLOCK_BYTES = 1024 * 1024
_PREFIX = "hedra-sandbox-"
_STARTING = "hedra-starting-"


class TemporaryFolder:
    """A folder that is deleted by :meth:`delete`, at the end of the interpreter, or, after a ``kill -9``, by
    the next sandbox of this user.

    A running sandbox holds a lock on its folder. The system releases the lock with the process, however the
    process ends.
    """

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        delete_abandoned(base)
        # Locked before it gets the name by which another sandbox could find it and delete it.
        made = Path(tempfile.mkdtemp(prefix=_STARTING))
        self._lock = os.open(made, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = made.rename(base / made.name.replace(_STARTING, _PREFIX))
        self.delete = weakref.finalize(self, _delete, self.path, self._lock)
        """Delete the folder; further calls do nothing."""


def delete_abandoned(base: Path) -> None:
    """Delete the folders of this user's sandboxes that were killed.

    :param base: the folder for temporary files.
    """
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            # /tmp is shared: only this user's folders, and no links.
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if os.fstat(lock).st_uid != os.getuid():
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _delete(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


class StoreFull(Exception):
    """The files take as much space as they may."""


class FileStore:
    """Files by the hash of their contents, so that equal uploads take space once.

    :param keep: folder that outlives the sandbox; None takes a temporary one.
    :param max_bytes: limit for all files together, in bytes.
    """

    def __init__(self, keep: Path | None, max_bytes: int) -> None:
        self._temporary = TemporaryFolder() if keep is None else None
        self.folder: Path = self._temporary.path if self._temporary else Path(keep or "")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._max_bytes = max_bytes
        for leftover in self.folder.glob("part-*"):
            leftover.unlink()
        self._used = sum(file.stat().st_size for file in self.folder.iterdir())

    def path(self, name: str) -> Path:
        """Return the path of a file.

        :param name: its name in the store.
        """
        return self.folder / name

    def take(self, size: int) -> None:
        """Count bytes that are about to be stored.

        :param size: how many.
        :raises Rejection: 413 beyond the limit.
        """
        if self._used + size > self._max_bytes:
            raise rejections.too_large(
                f"The sandbox keeps at most {self._max_bytes} bytes of files; it is full."
            )
        self._used += size

    def require_room(self) -> None:
        """Check that another file may be made.

        :raises StoreFull: when the limit is reached.
        """
        if self._used >= self._max_bytes:
            raise StoreFull(f"its store for files is full ({self._max_bytes} bytes).")

    @property
    def used(self) -> int:
        """Space that all files take together, in bytes."""
        return self._used

    def count(self, size: int) -> None:
        """Count bytes that are stored already, also beyond the limit.

        :param size: how many.
        """
        self._used += size

    def give_back(self, size: int) -> None:
        """Count bytes that were deleted.

        :param size: how many.
        """
        self._used -= size

    def adopt(self, path: Path) -> tuple[str, int]:
        """Move a finished file into the store.

        :param path: a file on the same volume.
        :return: its name in the store and its size in bytes.
        """
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        size = path.stat().st_size
        return self.place(path, digest.hexdigest()), size

    def place(self, path: Path, name: str) -> str:
        """Move a file into the store under a name.

        :param path: a file on the same volume.
        :param name: the hash of its contents.
        """
        # The contents are equal: a reader of the old file sees no change.
        path.replace(self.path(name))
        return name

    def clear(self) -> None:
        """Delete all files."""
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)
        self._used = 0

    def close(self) -> None:
        """Delete the folder, if it is a temporary one."""
        if self._temporary:
            self._temporary.delete()


class Incoming:
    """A file that is being received: a context manager that deletes the file unless :meth:`keep` was called.

    A thread writes the bytes to disk in blocks: memory stays constant, and the event loop is free.

    :param store: takes the file.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self.path = store.path(f"part-{uuid4().hex}")
        self._file = self.path.open("wb")
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self.size = 0
        self._kept = False

    def add(self, data: bytes | memoryview) -> None:
        """Buffer some bytes.

        :param data: the bytes.
        :raises Rejection: 413 beyond the limit of the store.
        """
        self._store.take(len(data))
        self.size += len(data)
        self._buffer += data

    async def flush(self, *, whole: bool = False) -> None:
        """Write the buffer to disk when it has the length of a block.

        :param whole: write it in any case; default False.
        :raises Rejection: 413 when the disk is full.
        """
        if len(self._buffer) >= _BLOCK_BYTES or (whole and self._buffer):
            block, self._buffer = self._buffer, bytearray()
            try:
                await asyncio.to_thread(self._write, block)
            except OSError as error:
                raise rejections.too_large(f"The sandbox cannot store the file: {error.strerror}.") from None

    def _write(self, block: bytearray) -> None:
        self._file.write(block)
        self._digest.update(block)

    async def complete(self) -> None:
        """Write everything to disk, so that :attr:`path` can be read."""
        await self.flush(whole=True)
        self._file.close()

    def keep(self) -> str:
        """Move the completed file into the store and return its name there."""
        name = self._digest.hexdigest()
        if self._store.path(name).exists():
            self._store.give_back(self.size)
        self._kept = True
        return self._store.place(self.path, name)

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._kept:
            self.path.unlink(missing_ok=True)
            self._store.give_back(self.size)


class StateFile:
    """Saves the state: after each change while that is fast, else for at most a tenth of the time.

    :param path: the file; None saves nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._last_took = 0.0
        self._last_end = 0.0
        self._pending: asyncio.TimerHandle | None = None

    def read(self) -> dict[str, Any] | None:
        """Return what was saved, or None."""
        if self._path is None or not self._path.exists():
            return None
        saved: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
        return saved

    def save(self, dump: Callable[[], Any], *, at_once: bool = False) -> None:
        """Save now or soon.

        :param dump: returns the state as JSON.
        :param at_once: save now; default False.
        """
        if self._path is None:
            return
        wait = self._last_end + 9 * self._last_took - time.monotonic()
        if at_once or self._last_took < 0.02 or wait <= 0:
            self._write(self._path, dump())
        elif self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(wait, self._later, dump)

    def _later(self, dump: Callable[[], Any]) -> None:
        if self._path is not None:
            self._write(self._path, dump())

    def _write(self, path: Path, saved: Any) -> None:
        if self._pending:
            self._pending.cancel()
            self._pending = None
        began = time.monotonic()
        partial = path.with_name(path.name + ".partial")
        # The state has the API key: only the owner may read the file, from the first byte on.
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(saved), "utf-8")
        partial.replace(path)
        self._last_end = time.monotonic()
        self._last_took = self._last_end - began
