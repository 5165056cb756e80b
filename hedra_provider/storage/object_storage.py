"""Storages that Airflow opens by URI. The errors of all their drivers are read as one kind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hedra_provider.storage.paths import NotAFileError, about_scheme, package_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import ObjectStoragePath


def open_remote(uri: str) -> ObjectStoragePath:
    """
    Return the path of a URI, with its file system and connection looked up.

    :raises ImportError: If the package that opens it is not installed here, with its name.
    :raises ValueError: If Airflow does not know its scheme or its connection.
    :raises OSError: If the storage can't be reached.
    """
    from airflow.sdk import ObjectStoragePath

    from hedra_provider.api.redaction import fit_cause, words_of

    try:
        path = ObjectStoragePath(uri)
        # Opened now, so that an unknown scheme or a missing driver or connection is found where it is named.
        _ = path.fs
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  e.g. AirflowNotFoundException for the connection
        reason = words_of(error)
        if not isinstance(error, ImportError) and _is_known_scheme(uri):
            raise ValueError(reason) from fit_cause(error)
        # Another worker may have the package.
        kind = ImportError if package_of(uri) else ValueError
        raise kind(f"{reason}. {about_scheme(uri)}") from fit_cause(error)
    return path


def _is_known_scheme(uri: str) -> bool:
    """Return whether Airflow, or a provider that is installed, has a file system for the scheme of a URI."""
    try:
        from airflow.sdk.io.fs import has_fs
    except ImportError:
        # Airflow 3.0 has it elsewhere.
        from airflow.io import has_fs  # type: ignore[attr-defined,no-redef]
    return bool(has_fs(uri.partition("://")[0].lower()))


def require_bucket(path: ObjectStoragePath) -> None:
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
        with driver_errors():
            ask("head_bucket", Bucket=bucket)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no bucket {bucket!r}") from None
    except PermissionError:
        # Who may write need not be allowed to ask; the write will tell.
        return


class StorageError(OSError):
    """A driver's own error, which is none of the kinds that tell what is wrong with a path."""


@contextmanager
def driver_errors() -> Iterator[None]:
    """Read what drivers raise (botocore's and aiohttp's own trees of errors) as an OSError."""
    from hedra_provider.api.redaction import fit_cause, words_of

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
        raise StorageError(words_of(error)) from fit_cause(error)


def require_remote_file(path: ObjectStoragePath) -> None:
    """
    Reject a folder and what is no regular file.

    :raises IsADirectoryError: If it is a folder.
    :raises NotAFileError: If it is neither.
    :raises FileNotFoundError: If nothing is there.
    """
    # Storages that are file systems (SFTP) have pipes and devices too.
    kind = path.fs.info(path.path).get("type")
    if kind == "directory":
        raise IsADirectoryError("it is a directory")
    if kind == "other":
        raise NotAFileError("it is neither a regular file nor a folder")
