"""Part files: files while they are written. A killed process leaves none behind for long.

Each writer has its own part file and locks it. The lock ends with the process, however the process ends. The
next writer to the same destination removes the part files without a lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def part_file(folder: Path, stem: str, suffix: str, *, mode: int = 0o666) -> Iterator[tuple[Path, BinaryIO]]:
    """
    Make a part file. The caller moves or copies it when it is whole; otherwise it is removed.

    :param folder: The folder of the file.
    :param stem: The start of its name, the same for all writers to one destination.
    :param suffix: The end of its name; eight random hex digits stand between the two.
    :param mode: Its permissions before the umask; read and write for all by default.
    :return: Its path, and the file, open for reading and writing.
    """
    remove_abandoned(folder, stem, suffix)
    path, descriptor = _create(folder, stem, suffix, mode)
    with os.fdopen(descriptor, "w+b") as file:
        try:
            yield path, cast("BinaryIO", file)
        finally:
            path.unlink(missing_ok=True)


def remove_abandoned(folder: Path, stem: str, suffix: str) -> None:
    """
    Remove the part files whose writers have ended. Without support for locks, none is removed.

    :param folder: The folder of the files.
    :param stem: The start of their names.
    :param suffix: The end of their names.
    """
    name = re.compile(rf"{re.escape(stem)}\.[0-9a-f]{{8}}{re.escape(suffix)}")
    with os.scandir(folder) as entries:
        matching = [entry for entry in entries if name.fullmatch(entry.name)]
        # Regular files only: opening a device may trigger an action, and opening a pipe may block for ever.
        found = [Path(entry.path) for entry in matching if entry.is_file(follow_symlinks=False)]
    for path in found:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _create(folder: Path, stem: str, suffix: str, mode: int) -> tuple[Path, int]:
    while True:
        path = folder / f"{stem}.{secrets.token_hex(4)}{suffix}"
        # Not mkstemp: it ignores the umask, and the result gets the permissions of this file.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        if _hold(descriptor, path):
            return path, descriptor
        os.close(descriptor)


def _hold(descriptor: int, path: Path) -> bool:
    """Lock a new file; return False if another writer removed it before it was locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # This file system has no locks, so no writer removes files on it.
        return True
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
