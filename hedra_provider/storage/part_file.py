"""Files in the making: nobody else writes them, and none stays behind, not even of a process that was killed.

Each writer has a file of its own and holds a lock on it, which ends with the process however that ends. Who
comes next to the same destination removes the files that nobody holds.
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
    Make a file that is to be moved, or copied from, when it is whole; what is left of it then is removed.

    :param folder: Where.
    :param stem: The start of its name, the same for all who write to the same destination.
    :param suffix: The end of its name; between them are eight random hex digits.
    :param mode: Its permissions, before the umask.
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
    """Remove the parts of writers that are no more; where locks are not supported, none is removed."""
    name = re.compile(rf"{re.escape(stem)}\.[0-9a-f]{{8}}{re.escape(suffix)}")
    with os.scandir(folder) as entries:
        matching = [entry for entry in entries if name.fullmatch(entry.name)]
        # Nobody here makes a device or a pipe of that name; to open one may act, or wait for ever.
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
        # Opened by name, not by mkstemp: the result shall have the permissions that the umask gives.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        if _hold(descriptor, path):
            return path, descriptor
        os.close(descriptor)


def _hold(descriptor: int, path: Path) -> bool:
    """Lock a new file; False if another writer took it for abandoned before it was locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # No locks on this file system: nobody removes anything there.
        return True
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
