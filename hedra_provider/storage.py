"""Files of the user's: read from, and written whole to, local disk or object storage."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from hedra_provider.parts import part_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import ObjectStoragePath

_EXTENSIONS = {"video": ".mp4", "audio": ".mp3", "image": ".png"}

_ABOUT_THE_PATH = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

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
    try:
        local = local_path(source)
        if local is None:
            remote = _remote(source)
            with _errors_of_drivers():
                _refuse_folder(remote)
                # Past ObjectStoragePath.open(), which tells lineage of every read and fails where that fails.
                name, opened = remote.name, remote.fs.open(remote.path, "rb")
        else:
            _refuse_folder(local)
            name, opened = local.name, local.open("rb")
    except _StorageError as error:
        said = f"{what}: {clean(str(error))}."
        raise HedraTransferError(said, remedy="Nothing was sent.") from fit_cause(error)
    except FileNotFoundError as error:
        said = f"{what}: there is no such file."
        raise HedraValueError(said, param=param, remedy=_A_FILE) from fit_cause(error)
    except (OSError, ValueError, ImportError) as error:
        said = f"{what}: {clean(str(error))}."
        raise HedraValueError(said, param=param, remedy=_A_FILE) from fit_cause(error)
    with opened as file:
        if file.seekable():
            yield cast("BinaryIO", file), name
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            yield cast("BinaryIO", copy), name


def _refuse_folder(path: Path | ObjectStoragePath) -> None:
    if path.is_dir():
        raise IsADirectoryError("it is a directory")


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

    try:
        if ".." in destination.split("/"):
            raise ValueError("it has a '..', by which a name from a table could leave its folder")
        target = local_path(destination)
        if target is not None:
            # Too long, a NUL, characters that no file system takes: found now, not when it is paid for.
            with suppress(FileNotFoundError, NotADirectoryError):
                os.lstat(target)
        if target is None:
            path = _remote(destination)
            if not destination.endswith("/") and not path.name:
                raise ValueError("it names no file; end it with / to name the file after its id")
            _require_bucket(path)
            return
        folder = target if destination.endswith("/") else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not destination.endswith("/"):
            raise IsADirectoryError("it is a directory; end it with / to name the file after its id")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is not writable")
    except _StorageError as error:
        raise HedraTransferError(
            f"destination: {shown(destination)} can't be written to: {clean(str(error))}.",
            remedy="Nothing was submitted.",
        ) from fit_cause(error)
    except (OSError, ValueError, ImportError) as error:
        raise HedraValueError(
            f"destination: {shown(destination)} can't be written to: {clean(str(error))}.",
            param="destination",
            remedy="Give a path that the worker can write, or a URI such as s3://conn_id@bucket/key.",
        ) from fit_cause(error)


def write_whole(destination: str, fill: Callable[[BinaryIO], int]) -> tuple[str, int]:
    """
    Write a file that appears at its destination only when it is whole.

    :param destination: A local path, or a URI that ObjectStoragePath opens. Folders are made.
    :param fill: Writes the content, returns its length in bytes.
    :return: The URI of the file and its length in bytes.
    """
    target = local_path(destination)
    if target is None:
        return destination, _write_remote(destination, fill)
    # A link stays a link: what it points to is replaced.
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Names are limited in bytes, and a sign may take four.
    stem = "." + os.fsdecode(os.fsencode(target.name)[:100])
    with part_file(target.parent, stem, PART_SUFFIX) as (part, file):
        size = fill(file)
        file.flush()
        os.fsync(file.fileno())
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


def worker_of(uri: str | None) -> str | None:
    """
    Return the name of this worker if a file lies on its own disk: another worker need not have that file.

    :param uri: Where this worker stored a file; None if nothing was stored.
    :return: The host name as Airflow shows it (``[core] hostname_callable``); None for object storage.
    """
    if uri is None or local_path(uri) is None:
        return None
    from airflow.utils.net import get_hostname

    return str(get_hostname())


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


def local_path(uri: str) -> Path | None:
    """
    Return a path of this machine, None for a URI of another storage.

    :raises ValueError: If it is a ``file:`` URI without an absolute path.
    """
    if uri.startswith("file:"):
        path = uri.removeprefix("file:").removeprefix("//").removeprefix("localhost")
        if not path.startswith("/"):
            raise ValueError("a file: URI needs an absolute path, e.g. file:///tmp/a.mp4")
        return Path(path)
    # Never by ObjectStoragePath: its versions take "a:b", "~" and relative paths for different things.
    return None if "://" in uri else Path(uri).expanduser().absolute()


def _remote(uri: str) -> ObjectStoragePath:
    from airflow.sdk import ObjectStoragePath

    from hedra_provider.api.cleaning import fit_cause

    try:
        path = ObjectStoragePath(uri)
        # Opened now, so that an unknown scheme or a missing driver or connection is found where it is named.
        _ = path.fs
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001  e.g. AirflowNotFoundException for the connection
        raise ValueError(_words_of(error)) from fit_cause(error)
    return path


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
        ValueError,
        ImportError,
    ):
        raise
    except Exception as error:  # noqa: BLE001  each driver has its own tree of errors
        raise _StorageError(_words_of(error)) from fit_cause(error)


def _words_of(error: Exception) -> str:
    from hedra_provider.api.cleaning import clean

    return clean(str(error)).rstrip(".") or type(error).__name__
