"""The records of v3 submits in ``state_path``: a folder that all workers share, or an object storage.

::

    <state_path>/<SHA-256 of the key>/<attempt>.json      one record for each attempt
    <state_path>/jobs/<job_id>                            which key's record names a job

An attempt writes its own files only, each whole: to a folder by a part file and a rename, to an object
storage by one put. Nothing here expires or is removed.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hedra_provider.records import version_of_id
from hedra_provider.storage.object_storage import driver_errors, open_remote
from hedra_provider.storage.paths import is_relative, local_path, this_worker
from hedra_provider.storage.write import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.submission.v3.record import TryRecord

_SAFE_NAME = re.compile(r"[\w-]{1,80}", re.ASCII)
_SUFFIX = ".json"


class StatePathStore:
    """
    A :class:`hedra_provider.submission.v3.store.RecordStore` in a folder or an object storage.

    :param state_path: An absolute path that all workers share, or a URI that ObjectStoragePath opens.
    :param key: The key whose records it reads and writes.
    :raises HedraConfigurationError: If the path depends on the working directory.
    """

    def __init__(self, state_path: str, key: str) -> None:
        from hedra_provider.api.errors import HedraConfigurationError
        from hedra_provider.api.redaction import shown

        self.where = f"state_path {shown(state_path)}"
        if is_relative(state_path):
            raise HedraConfigurationError(
                f"{self.where} is relative to the working directory of each worker.",
                param="state_path",
                remedy="Give an absolute path that all workers share, or a URI such as "
                "s3://conn_id@bucket/hedra.",
            )
        self._root = state_path.rstrip("/")
        self._digest = hashlib.sha256(key.encode()).hexdigest()
        self._folder = f"{self._root}/{self._digest}"

    def read(self) -> list[TryRecord]:
        """
        Return the records of all attempts of the key.

        :raises HedraStateError: If one can't be read.
        """
        from hedra_provider.submission.v3.record import TryRecord

        with self._errors("read"):
            return [TryRecord.from_json(content) for content in self._contents()]

    def write(self, record: TryRecord) -> None:
        """
        Write the record of this attempt.

        :raises HedraStateError: If it can't be written.
        """
        with self._errors("written"):
            self._put(f"{self._folder}/{_name(record.try_id)}{_SUFFIX}", record.to_json().encode())

    def is_named_elsewhere(self, job_id: str) -> bool:
        """
        Return whether a record of another key names a job.

        :raises HedraStateError: If that can't be read.
        """
        with self._errors("read"):
            found = self._get(self._of_job(job_id))
        return found is not None and found.decode(errors="replace").strip() != self._digest

    def name_job(self, job_id: str) -> None:
        """
        Remember that a record of this key names a job.

        :raises HedraStateError: If that can't be written.
        """
        with self._errors("written"):
            self._put(self._of_job(job_id), self._digest.encode())

    def _of_job(self, job_id: str) -> str:
        return f"{self._root}/jobs/{_name(job_id) if version_of_id(job_id) == 3 else _hash(job_id)}"

    def _contents(self) -> list[bytes]:
        folder = local_path(self._folder)
        if folder is not None:
            # A part file has another suffix.
            found = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
            return [one.read_bytes() for one in found]
        remote = open_remote(self._folder)
        with driver_errors():
            # Drivers keep what a folder had before: another attempt may have written since.
            remote.fs.invalidate_cache(remote.path)
            try:
                names = remote.fs.ls(remote.path, detail=False)
            except FileNotFoundError:
                return []
            return [remote.fs.cat_file(name) for name in sorted(names) if str(name).endswith(_SUFFIX)]

    def _get(self, uri: str) -> bytes | None:
        file = local_path(uri)
        try:
            if file is not None:
                return file.read_bytes()
            remote = open_remote(uri)
            with driver_errors():
                content: bytes = remote.fs.cat_file(remote.path)
                return content
        except FileNotFoundError:
            return None

    def _put(self, uri: str, content: bytes) -> None:
        def fill(file: BinaryIO) -> int:
            return file.write(content)

        write_whole(uri, fill)
        file = local_path(uri)
        if file is not None:
            _sync_folder(file.parent)

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        """
        Convert the errors of files and drivers.

        :raises HedraStateError: In their place. It is retryable where another attempt or worker may succeed.
        """
        from hedra_provider.api.errors import HedraStateError
        from hedra_provider.api.redaction import clean, fit_cause

        try:
            yield
        except (OSError, ValueError, ImportError) as error:
            raise HedraStateError(
                f"A record of this task's submits can't be {done} on {this_worker()} in {self.where}: "
                f"{clean(str(error))}.",
                retryable=not isinstance(error, ValueError),
                remedy="Nothing is submitted without it. Check the path and its permissions on every worker.",
            ) from fit_cause(error)


def require_state_path(state_path: str | None, key: str, why: str) -> StatePathStore:
    """
    Return the store in ``state_path``, where no other place is durable. It is called before anything is
    uploaded.

    :param state_path: Of the connection.
    :param key: The key whose records are read.
    :param why: Why no other place will do, for the message, without a full stop.
    :raises HedraConfigurationError: If it is not set. Nothing was uploaded or submitted.
    """
    from hedra_provider.api.errors import HedraConfigurationError

    if state_path:
        return StatePathStore(state_path, key)
    raise HedraConfigurationError(
        f"A submit with a v3 key needs a durable place for the record of what is paid for. {why}.",
        param="state_path",
        remedy="Set state_path in the connection's extra to a folder that all workers share, or to an object "
        "storage, e.g. s3://conn_id@bucket/hedra. Nothing was uploaded or submitted.",
    )


def _name(text: str) -> str:
    """Return the file name of an id: no id leads out of the folder."""
    return text if _SAFE_NAME.fullmatch(text) else _hash(text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable: a machine that loses power may forget it otherwise."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
