"""Write files, whole or not at all, to a local disk or an object storage."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from hedra_provider.storage.object_storage import StorageError, driver_errors, open_remote, require_bucket
from hedra_provider.storage.part_file import part_file
from hedra_provider.storage.paths import (
    depends_on_worker,
    is_relative,
    local_path,
    require_file_or_folder,
    require_replaceable,
    this_worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_EXTENSIONS = {"video": ".mp4", "audio": ".mp3", "image": ".png"}

PART_SUFFIX = ".hedra.part"
"""The end of the name of a part file."""


def check_destination(destination: str) -> None:
    """
    Check a destination before anything is spent. Local folders are made.

    :param destination: A local path, or a URI that ObjectStoragePath opens. If it ends with ``/``, it is a
        folder.
    :raises HedraValueError: If it can't be written to.
    :raises HedraTransferError: If the storage did not answer. This is retryable.
    """
    from hedra_provider.api.errors import HedraTransferError, HedraValueError
    from hedra_provider.api.redaction import clean, fit_cause, shown

    target: Path | None = None
    try:
        if ".." in destination.split("/"):
            raise ValueError("it has a '..', by which a name from a table could leave its folder")
        target = local_path(destination)
        if target is None:
            path = open_remote(destination)
            if not destination.endswith("/") and not path.name:
                raise ValueError("it names no file; end it with / to name the file after its id")
            require_bucket(path)
        else:
            _check_local_destination(destination, target)
    except StorageError as error:
        raise HedraTransferError(
            f"destination: {shown(destination)} can't be written to: {clean(str(error))}.",
            remedy="Check the storage, and the Airflow connection that its URI names.",
        ) from fit_cause(error)
    except (OSError, ValueError, ImportError) as error:
        here = depends_on_worker(error, is_local=target is not None)
        problem = HedraValueError(
            f"destination: {shown(destination)} can't be written to{f' on {this_worker()}' if here else ''}: "
            f"{clean(str(error))}.",
            param="destination",
            remedy="Give a path that the worker can write, or a URI such as s3://conn_id@bucket/key.",
        )
        problem.depends_on_worker = here
        raise problem from fit_cause(error)


def _check_local_destination(destination: str, target: Path) -> None:
    """
    Check a destination on this machine; make its folders.

    :param destination: The destination as the user gave it.
    :param target: The destination as an absolute path.
    """
    if is_relative(destination):
        raise ValueError(
            f"it is relative to the worker's working directory, where it would be {target} on "
            f"{this_worker()}; give an absolute path, which may begin with ~"
        )
    # Also finds a name that is too long or has a NUL, before anything is spent.
    require_file_or_folder(target)
    names_folder = destination.endswith("/")
    # A link stays a link: its target is written.
    place = target.resolve()
    if names_folder and place.exists() and not place.is_dir():
        raise NotADirectoryError("it ends with / but is a file, not a folder")
    folder = place if names_folder else place.parent
    folder.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not names_folder:
        raise IsADirectoryError("it is a directory; end it with / to name the file after its id")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not writable")


def write_whole(destination: str, fill: Callable[[BinaryIO], int]) -> tuple[str, int]:
    """
    Write a file that appears at its destination only when it is whole.

    :param destination: A local path, or a URI that ObjectStoragePath opens. Folders are made.
    :param fill: Writes the content; returns its length in bytes.
    :return: The URI of the file, and its length in bytes.
    :raises OSError: If it can't be written, or the destination exists and is not a regular file.
    """
    target = local_path(destination)
    if target is None:
        return destination, _write_remote(destination, fill)
    require_file_or_folder(target)
    # A link stays a link: its target is replaced.
    target = target.resolve()
    require_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # File systems limit names in bytes, and a character may have four.
    stem = "." + os.fsdecode(os.fsencode(target.name)[:100])
    with part_file(target.parent, stem, PART_SUFFIX) as (part, file):
        size = fill(file)
        file.flush()
        os.fsync(file.fileno())
        # Checked again, because the destination may have changed while the file was written.
        require_replaceable(target)
        part.replace(target)
    return f"file://{target}", size


def _write_remote(destination: str, fill: Callable[[BinaryIO], int]) -> int:
    """Write a file to the worker's disk; when it is whole, upload it to object storage in one piece."""
    path = open_remote(destination)
    stem = ".hedra-" + hashlib.sha256(destination.encode()).hexdigest()[:16]
    # Drivers derive the Content-Type from the suffix of the uploaded file.
    suffix = PurePosixPath(path.name).suffix
    suffix = suffix if re.fullmatch(r"\.\w{1,10}", suffix, re.ASCII) else ""
    with part_file(Path(tempfile.gettempdir()), stem, suffix, mode=0o600) as (part, file):
        size = fill(file)
        file.flush()
        with driver_errors():
            path.fs.put_file(str(part), path.path)
    return size


def named_destination(destination: str, file_id: str, asset_type: str | None) -> str:
    """
    Return the destination of a file; for a folder, the file is named after its id.

    :param destination: A path or URI. If it ends with ``/``, it is a folder.
    :param file_id: A UUID (v2) or ``job_...`` (v3); anything else could lead out of the folder.
    :param asset_type: ``video``, ``audio`` or ``image``, for the suffix; None means ``video``.
    :return: The path or URI of the file.
    :raises HedraValueError: If ``file_id`` is no such id.
    """
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.records import version_of_id

    if not destination.endswith("/"):
        return destination
    if version_of_id(file_id) is None:
        raise HedraValueError(
            f"destination: {file_id!r} is not a UUID, nor job_..., so it can't name a file in {destination}."
        )
    return f"{destination}{file_id}{_EXTENSIONS.get(asset_type or 'video', '')}"
