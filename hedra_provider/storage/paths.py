"""Check paths and URIs: is it a file of this worker, or one on another storage?

A path can name something else than a file. Reading ``/dev/zero`` never ends. A file that is renamed over
``/dev/null`` replaces it for the whole machine. So everything but regular files and folders is rejected,
after links are resolved.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

_AMAZON = "apache-airflow-providers-amazon[s3fs]"
_AZURE = "apache-airflow-providers-microsoft-azure"
_SFTP = "apache-airflow-providers-sftp[sshfs]"
PACKAGE_OF_SCHEME: Mapping[str, str] = {
    "s3": _AMAZON,
    "s3a": _AMAZON,
    "s3n": _AMAZON,
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": _AZURE,
    "abfss": _AZURE,
    "adl": _AZURE,
    "msgraph": _AZURE,
    "sharepoint": _AZURE,
    "onedrive": _AZURE,
    "msgd": _AZURE,
    "sftp": _SFTP,
    "ssh": _SFTP,
}
"""The package that gives Airflow the file system of a scheme, with the extra that installs the driver. The
schemes are those in the ``filesystems`` modules of Airflow's own providers."""

_INSTEAD = {"az": "abfs", "wasb": "abfs", "wasbs": "abfss"}
"""Schemes of other tools, and Airflow's scheme for the same storage."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KERNEL_FOLDERS = (Path("/proc"), Path("/sys"))

_KINDS = (
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class NotAFileError(OSError):
    """A path names something that is neither a regular file nor a folder."""


def local_path(uri: str) -> Path | None:
    """
    Return the local path of a path or URI.

    :param uri: A local path, or a URI that ObjectStoragePath opens.
    :return: An absolute path; None for a URI of another storage.
    :raises ValueError: If it is a ``file:`` URI without an absolute path, or the home folder of its ``~`` is
        not known.
    """
    scheme, _, rest = uri.partition(":")
    # "local" is Airflow's alias of "file". Schemes are case-insensitive.
    if scheme.lower() == "file" or (scheme.lower() == "local" and rest.startswith("//")):
        path = rest.removeprefix("//").removeprefix("localhost")
        if not path.startswith("/"):
            raise ValueError("a file: URI needs an absolute path, e.g. file:///tmp/a.mp4")
        return Path(path)
    # Not by ObjectStoragePath: its versions differ in how they read "a:b", "~" and relative paths.
    return None if _SCHEME.match(uri) else _with_home(uri).absolute()


def is_relative(uri: str) -> bool:
    """Return whether a path depends on the working directory of the process that reads it."""
    is_uri = _SCHEME.match(uri) or uri.lower().startswith("file:")
    return not is_uri and not _with_home(uri).is_absolute()


def _with_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"the home folder of its ~ is not known on {this_worker()}") from error


def this_worker() -> str:
    """Return "this worker" with its host name, for messages: another worker may have other files."""
    return f"this worker ({worker_name()})"


def worker_name() -> str:
    """Return the host name of this worker as Airflow shows it (``[core] hostname_callable``)."""
    from airflow.utils.net import get_hostname

    return str(get_hostname())


def worker_of(uri: str | None) -> str | None:
    """
    Return the name of this worker if a file is on its own disk, where other workers may not have it.

    :param uri: The URI of a stored file; None if no file was stored.
    :return: As :func:`worker_name`; None for object storage.
    """
    return None if uri is None or local_path(uri) is None else worker_name()


def depends_on_worker(error: Exception, *, is_local: bool) -> bool:
    """
    Return whether the task may succeed on another worker, which may have the file, folder or package.

    :param error: The error of reading or writing a path.
    :param is_local: Whether the path is on this machine.
    """
    is_wrong_everywhere = isinstance(error, (NotAFileError, IsADirectoryError))
    return isinstance(error, ImportError) or (
        is_local and isinstance(error, OSError) and not is_wrong_everywhere
    )


def require_file_or_folder(path: Path) -> None:
    """
    Reject a path whose target exists and is neither a regular file nor a folder. Links are followed.

    :param path: The path.
    :raises NotAFileError: If it is something else; the error names it.
    :raises OSError: If the path can't be checked.
    """
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    else:
        if not stat.S_ISDIR(facts.st_mode):
            _require_regular(facts.st_mode)
    _require_outside_kernel(path)


def require_replaceable(path: Path) -> None:
    """
    Reject a path that exists and is not a regular file: a result must not replace anything else.

    :param path: The path, after its links were resolved. A link at this path was made since then.
    :raises NotAFileError: If it is something else; the error names it.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise NotAFileError("it became a link to another place")
    _require_regular(mode)


def open_regular(path: Path) -> BinaryIO:
    """
    Open a regular file to read. Links are followed. Opening never blocks.

    :param path: The path.
    :return: The file, in binary mode.
    :raises IsADirectoryError: If it is a folder.
    :raises NotAFileError: If it is a device, a pipe, a socket or a file of the kernel.
    :raises OSError: If it can't be opened.
    """
    # Checked before opening, because opening a device may trigger an action.
    _require_regular(path.stat().st_mode)
    _require_outside_kernel(path)
    # A pipe may have replaced it since: O_NONBLOCK opens one without waiting for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_regular(os.fstat(descriptor).st_mode)
        return cast("BinaryIO", os.fdopen(descriptor, "rb"))
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("it is a directory")
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "neither a file nor a folder")
        raise NotAFileError(f"it is {kind}; only regular files and folders are used")


def _require_outside_kernel(path: Path) -> None:
    # Files of the kernel have the mode of regular files; reading some of them never ends.
    resolved = path.resolve()
    if any(resolved.is_relative_to(folder) for folder in _KERNEL_FOLDERS):
        raise NotAFileError("it is a file of the kernel; only regular files and folders are used")


def package_of(uri: str) -> str | None:
    """
    Return the package that Airflow needs to open a URI.

    :param uri: The URI.
    :return: None if no package is known for its scheme.
    """
    return PACKAGE_OF_SCHEME.get(uri.partition("://")[0].lower())


def about_scheme(uri: str) -> str:
    """
    Return what to do if this worker's Airflow does not know a scheme, in one line without a full stop.

    :param uri: A URI of the scheme.
    """
    scheme, package = uri.partition("://")[0].lower(), package_of(uri)
    if package:
        return f"Install {package} where the tasks run"
    if scheme in _INSTEAD:
        scheme_of_airflow = _INSTEAD[scheme]
        return f"Write {scheme_of_airflow}:// and install {PACKAGE_OF_SCHEME[scheme_of_airflow]}"
    if scheme in ("http", "https"):
        return "Airflow opens no web addresses: copy the file to a disk or an object storage first"
    return (
        "No provider of Airflow's opens that scheme; known are "
        f"{', '.join(PACKAGE_OF_SCHEME)}, and file systems registered with airflow.sdk.io.attach()"
    )
