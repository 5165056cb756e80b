"""Files of the user's: read from, and written whole to, local disk or object storage."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from hedra_provider.parts import part_file
from hedra_provider.paths import (
    NotAFileError,
    about_scheme,
    is_relative,
    local_path,
    open_regular,
    require_file_or_folder,
    require_replaceable,
    this_worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import ObjectStoragePath

_EXTENSIONS = {"video": ".mp4", "audio": ".mp3", "image": ".png"}

__all__ = [
    "PART_SUFFIX",
    "check_destination",
    "errors_of_reading",
    "local_path",
    "named_destination",
    "open_source",
    "write_whole",
]

PART_SUFFIX = ".hedra.part"
"""How the name of a file ends that is still arriving."""

_A_FILE = "Give an asset id, a path that the worker can read, or a URI such as s3://conn_id@bucket/key."


@contextmanager
def open_source(source: str, param: str) -> Iterator[tuple[BinaryIO, str]]:
    """
    Open a file to upload.

    :param source: A local path, or a URI that ObjectStoragePath opens.
    :param param: The operator's parameter that named it, for messages.
    :return: The file, readable and seekable, and its name.
    :raises HedraValueError: If it can't be opened.
    :raises HedraTransferError: If the storage did not answer, which may pass.
    """
    from hedra_provider.api.cleaning import clean, fit_cause, shown
    from hedra_provider.api.errors import HedraTransferError, HedraValueError

    what = f"{param}: {shown(source)} can't be opened"
    local: Path | None = None
    try:
        local = local_path(source)
        if local is None:
            remote = _remote(source)
            with _errors_of_drivers():
                _require_file(remote)
                # Past ObjectStoragePath.open(), which tells lineage of every read and fails where that fails.
                name, opened = remote.name, remote.fs.open(remote.path, "rb")
        else:
            name, opened = local.name, open_regular(local)
    except _StorageError as error:
        said = f"{what}: {clean(str(error))}."
        raise HedraTransferError(said, remedy="Nothing was sent.") from fit_cause(error)
    except (OSError, ValueError, ImportError) as error:
        reason = clean(str(error))
        if isinstance(error, FileNotFoundError):
            reason = "there is no such file"
        problem = HedraValueError(f"{what}: {reason}.", param=param, remedy=_A_FILE)
        if local is not None and _depends_on_worker(error):
            # A relative path is shown as what it is here: the working directory is the worker's.
            looked_at = clean(str(local)) if is_relative(source) else "it"
            problem.message = f"{what}: {reason}; {this_worker()} looked for {looked_at}."
            problem.depends_on_worker = True
        raise problem from fit_cause(error)
    with opened as file:
        if file.seekable():
            yield cast("BinaryIO", file), name
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            yield cast("BinaryIO", copy), name


def _require_file(path: ObjectStoragePath) -> None:
    # Storages that are file systems (SFTP) have pipes and devices too.
    kind = path.fs.info(path.path).get("type")
    if kind == "directory":
        raise IsADirectoryError("it is a directory")
    if kind == "other":
        raise NotAFileError("it is neither a regular file nor a folder")


def _depends_on_worker(error: Exception) -> bool:
    """Return whether a path that failed here may be good on another worker."""
    return isinstance(error, OSError) and not isinstance(error, (NotAFileError, IsADirectoryError))


@contextmanager
def errors_of_reading(what: str) -> Iterator[None]:
    """
    Read what goes wrong in the middle of a file as what it is: something that may pass.

    :raises HedraTransferError: In place of whatever the file's driver raises.
    """
    from hedra_provider.api.cleaning import fit_cause
    from hedra_provider.api.errors import HedraTransferError

    try:
        yield
    except Exception as error:  # noqa: BLE001  each driver has its own tree of errors
        raise HedraTransferError(
            f"{what} could not be read: {_words_of(error)}.", remedy="Nothing was sent."
        ) from fit_cause(error)


def check_destination(destination: str) -> None:
    """
    Find what can't be a destination before anything is spent.

    :param destination: A local path or a URI that ObjectStoragePath opens; ending in ``/`` it is a folder.
    :raises HedraValueError: If it can't be written to.
    :raises HedraTransferError: If the storage did not answer, which may pass.
    """
    from hedra_provider.api.cleaning import clean, fit_cause, shown
    from hedra_provider.api.errors import HedraTransferError, HedraValueError

    target: Path | None = None
    try:
        if ".." in destination.split("/"):
            raise ValueError("it has a '..', by which a name from a table could leave its folder")
        target = local_path(destination)
        if target is None:
            path = _remote(destination)
            if not destination.endswith("/") and not path.name:
                raise ValueError("it names no file; end it with / to name the file after its id")
            _require_bucket(path)
        else:
            _check_local_destination(destination, target)
    except _StorageError as error:
        raise HedraTransferError(
            f"destination: {shown(destination)} can't be written to: {clean(str(error))}.",
            remedy="Nothing was submitted.",
        ) from fit_cause(error)
    except (OSError, ValueError, ImportError) as error:
        here = target is not None and _depends_on_worker(error)
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
    Find what can't be written on this machine; make the folders.

    :param target: The destination as an absolute path.
    """
    if is_relative(destination):
        raise ValueError(
            f"it is relative to the worker's working directory, where it would be {target} on "
            f"{this_worker()}; give an absolute path, which may begin with ~"
        )
    # Too long, a NUL, characters that no file system takes: found now, not when it is paid for.
    require_file_or_folder(target)
    names_folder = destination.endswith("/")
    # A link stays a link: what it points to is written.
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
    :param fill: Writes the content, returns its length in bytes.
    :return: The URI of the file and its length in bytes.
    :raises OSError: If it can't be written, or what is there is no regular file: that stays as it is.
    """
    target = local_path(destination)
    if target is None:
        return destination, _write_remote(destination, fill)
    require_file_or_folder(target)
    # A link stays a link: what it points to is replaced.
    target = target.resolve()
    require_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Names are limited in bytes, and a sign may take four.
    stem = "." + os.fsdecode(os.fsencode(target.name)[:100])
    with part_file(target.parent, stem, PART_SUFFIX) as (part, file):
        size = fill(file)
        file.flush()
        os.fsync(file.fileno())
        # Again: the file took its time, and a rename replaces whatever is there by now.
        require_replaceable(target)
        part.replace(target)
    return f"file://{target}", size


def _write_remote(destination: str, fill: Callable[[BinaryIO], int]) -> int:
    """Gather a file on the worker's disk, and put it to object storage in one piece when it is whole."""
    path = _remote(destination)
    stem = ".hedra-" + hashlib.sha256(destination.encode()).hexdigest()[:16]
    # Storages tell browsers the type that the name of the file says.
    suffix = PurePosixPath(path.name).suffix
    suffix = suffix if re.fullmatch(r"\.\w{1,10}", suffix, re.ASCII) else ""
    with part_file(Path(tempfile.gettempdir()), stem, suffix, mode=0o600) as (part, file):
        size = fill(file)
        file.flush()
        with _errors_of_drivers():
            path.fs.put_file(str(part), path.path)
    return size


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


def _remote(uri: str) -> ObjectStoragePath:
    from airflow.sdk import ObjectStoragePath

    from hedra_provider.api.cleaning import fit_cause

    try:
        path = ObjectStoragePath(uri)
        # Opened now, so that an unknown scheme or a missing driver or connection is found where it is named.
        _ = path.fs
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  e.g. AirflowNotFoundException for the connection
        reason = _words_of(error)
        if isinstance(error, ImportError) or not _is_known_scheme(uri):
            reason = f"{reason}. {about_scheme(uri)}"
        raise ValueError(reason) from fit_cause(error)
    return path


def _is_known_scheme(uri: str) -> bool:
    """Return whether Airflow, or a provider that is installed, has a file system for the scheme of a URI."""
    try:
        from airflow.sdk.io.fs import has_fs
    except ImportError:
        # Airflow 3.0 has it elsewhere.
        from airflow.io import has_fs  # type: ignore[attr-defined,no-redef]
    return bool(has_fs(uri.partition("://")[0].lower()))


def _require_bucket(path: ObjectStoragePath) -> None:
    """
    Find a bucket that is not there, or a storage that can't be reached, before anything is spent.

    :raises OSError: If it surely can't be written to now.
    """
    bucket = path.path.strip("/").partition("/")[0]
    # s3fs' own way to ask S3: its exists() says no to whoever may not ask, and its ls() reads all there is.
    ask = getattr(path.fs, "call_s3", None)
    if ask is None or not bucket:
        return
    try:
        with _errors_of_drivers():
            ask("head_bucket", Bucket=bucket)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no bucket {bucket!r}") from None
    except PermissionError:
        # Who may write need not be allowed to ask; the write will tell.
        return


class _StorageError(OSError):
    """A driver's own error, which is none of the kinds that tell what is wrong with a path."""


@contextmanager
def _errors_of_drivers() -> Iterator[None]:
    """Read what drivers raise (botocore's and aiohttp's own trees of errors) as an OSError."""
    from hedra_provider.api.cleaning import fit_cause

    try:
        yield
    except (
        FileNotFoundError,
        PermissionError,
        IsADirectoryError,
        NotADirectoryError,
        NotAFileError,
        ValueError,
        ImportError,
    ):
        raise
    except Exception as error:  # noqa: BLE001  each driver has its own tree of errors
        raise _StorageError(_words_of(error)) from fit_cause(error)


def _words_of(error: Exception) -> str:
    from hedra_provider.api.cleaning import clean

    return clean(str(error)).rstrip(".") or type(error).__name__
