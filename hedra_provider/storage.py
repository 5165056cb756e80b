"""Files of the user's: read from, and written whole to, local disk or object storage."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import ObjectStoragePath

_EXTENSIONS = {"video": ".mp4", "audio": ".mp3", "image": ".png"}


@contextmanager
def open_source(source: str, param: str) -> Iterator[tuple[BinaryIO, str]]:
    """
    Open a file to upload.

    :param source: A local path, or a URI that ObjectStoragePath opens.
    :param param: The operator's parameter that named it, for messages.
    :return: The file, readable and seekable, and its name.
    :raises HedraValueError: If it can't be opened.
    """
    from hedra_provider.api.errors import HedraValueError

    try:
        path = _local(source) or _remote(source)
        if path.is_dir():
            raise IsADirectoryError("it is a directory")
        opened = path.open("rb")
    except (OSError, ValueError, ImportError) as error:
        raise HedraValueError(
            f"{param}: {source!r} can't be opened: {error}.",
            param=param,
            remedy="Give an asset id, a path that the worker can read, or a URI such as s3://conn_id@bucket/key.",
        ) from error
    with opened as file:
        if file.seekable():
            yield cast("BinaryIO", file), path.name
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            yield cast("BinaryIO", copy), path.name


def check_destination(destination: str) -> None:
    """
    Find what can't be a destination before anything is spent.

    :param destination: A local path or a URI that ObjectStoragePath opens; ending in ``/`` it is a folder.
    :raises HedraValueError: If it can't be written to.
    """
    from hedra_provider.api.errors import HedraValueError

    try:
        target = _local(destination)
        if target is None:
            if not destination.endswith("/") and not _remote(destination).name:
                raise ValueError("it names no file; end it with / to name the file after its id")
            _remote(destination)
            return
        folder = target if destination.endswith("/") else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not destination.endswith("/"):
            raise IsADirectoryError("it is a directory; end it with / to name the file after its id")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is not writable")
    except (OSError, ValueError, ImportError) as error:
        raise HedraValueError(
            f"destination: {destination!r} can't be written to: {error}.",
            param="destination",
            remedy="Give a path that the worker can write, or a URI such as s3://conn_id@bucket/key.",
        ) from error


def write_whole(destination: str, fill: Callable[[BinaryIO], int]) -> tuple[str, int]:
    """
    Write a file that appears at its destination only when it is whole.

    :param destination: A local path, or a URI that ObjectStoragePath opens. Folders are made.
    :param fill: Writes the content, returns its length in bytes.
    :return: The URI of the file and its length in bytes.
    """
    target = _local(destination)
    if target is None:
        path = _remote(destination)
        with tempfile.NamedTemporaryFile(prefix="hedra-") as copy:
            size = fill(cast("BinaryIO", copy))
            copy.flush()
            path.fs.put_file(copy.name, path.path)
        return destination, size
    # A link stays a link: what it points to is replaced.
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        # Opened by name, not by mkstemp: the result shall have the permissions that the umask gives.
        with part.open("xb") as file:
            size = fill(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return f"file://{target}", size


def named_destination(destination: str, file_id: str, asset_type: str | None) -> str:
    """
    Return where a result goes: into a destination that ends in a slash it goes under its id.

    :param file_id: A UUID; nothing else of what an API says becomes part of a path.
    """
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.requests import is_uuid

    if not destination.endswith("/"):
        return destination
    if not is_uuid(file_id):
        raise HedraValueError(
            f"destination: {file_id!r} is no UUID and can't name a file below {destination}."
        )
    return f"{destination}{file_id}{_EXTENSIONS.get(asset_type or 'video', '')}"


def _local(uri: str) -> Path | None:
    """Return a path of this machine, None for a URI of another storage."""
    if uri.startswith("file:"):
        path = uri.removeprefix("file:").removeprefix("//").removeprefix("localhost")
        if not path.startswith("/"):
            raise ValueError("a file: URI needs an absolute path, e.g. file:///tmp/a.mp4")
        return Path(path)
    # Never by ObjectStoragePath: its versions take "a:b", "~" and relative paths for different things.
    return None if "://" in uri else Path(uri).expanduser().absolute()


def _remote(uri: str) -> ObjectStoragePath:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(uri)
    # Opened now, so that an unknown scheme or a missing driver is found where it is named.
    _ = path.fs
    return path
