"""Open the user's files, on a local disk or an object storage."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from hedra_provider.storage.object_storage import (
    StorageError,
    driver_errors,
    open_remote,
    require_remote_file,
)
from hedra_provider.storage.paths import (
    depends_on_worker,
    is_relative,
    local_path,
    open_regular,
    this_worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_A_FILE = "Give an asset id, a path that the worker can read, or a URI such as s3://conn_id@bucket/key."


@contextmanager
def open_source(source: str, param: str) -> Iterator[tuple[BinaryIO, str]]:
    """
    Open a file to upload.

    :param source: A local path, or a URI that ObjectStoragePath opens.
    :param param: The operator's parameter for this file, for messages.
    :return: The file, readable and seekable, and its name.
    :raises HedraValueError: If it can't be opened.
    :raises HedraTransferError: If the storage did not answer. This is retryable.
    """
    from hedra_provider.api.errors import HedraTransferError, HedraValueError
    from hedra_provider.api.redaction import clean, fit_cause, shown

    what = f"{param}: {shown(source)} can't be opened"
    local: Path | None = None
    try:
        local = local_path(source)
        if local is None:
            remote = open_remote(source)
            with driver_errors():
                require_remote_file(remote)
                # Not ObjectStoragePath.open(): it reports each read to lineage, and fails if that fails.
                name, opened = remote.name, remote.fs.open(remote.path, "rb")
        else:
            name, opened = local.name, open_regular(local)
    except StorageError as error:
        message = f"{what}: {clean(str(error))}."
        raise HedraTransferError(message, remedy="Nothing was sent.") from fit_cause(error)
    except (OSError, ValueError, ImportError) as error:
        reason = clean(str(error))
        if isinstance(error, FileNotFoundError):
            reason = "there is no such file"
        here = depends_on_worker(error, is_local=local is not None)
        if here and is_relative(source):
            # The path is relative to the working directory of the worker.
            reason += f"; its path there is {clean(str(local))}"
        problem = HedraValueError(
            f"{what}{f' on {this_worker()}' if here else ''}: {reason}.", param=param, remedy=_A_FILE
        )
        problem.depends_on_worker = here
        raise problem from fit_cause(error)
    with opened as file:
        if file.seekable():
            yield cast("BinaryIO", file), name
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            yield cast("BinaryIO", copy), name


@contextmanager
def errors_of_reading(what: str) -> Iterator[None]:
    """
    Convert every error of reading an open file into a retryable one.

    :param what: The file, for messages.
    :raises HedraTransferError: In place of the driver's error.
    """
    from hedra_provider.api.errors import HedraTransferError
    from hedra_provider.api.redaction import fit_cause, words_of

    try:
        yield
    except Exception as error:  # noqa: BLE001  each driver has its own tree of errors
        raise HedraTransferError(
            f"{what} could not be read: {words_of(error)}.", remedy="Nothing was sent."
        ) from fit_cause(error)
