"""Store a result of Hedra at the user's destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hedra_provider.storage import named_destination, worker_of, write_whole
from hedra_provider.storage.paths import this_worker

if TYPE_CHECKING:
    from hedra_provider.api.client import HedraClient
    from hedra_provider.records import Generation
    from hedra_provider.service.protocol import Hedra


@dataclass(frozen=True)
class StoredResult:
    """
    A stored result.

    :param uri: The URI of the file.
    :param size: Its length in bytes.
    :param asset_id: The asset of the file; None if Hedra does not name it.
    """

    uri: str
    size: int
    asset_id: str | None


def store_result(
    client: HedraClient,
    hedra: Hedra,
    destination: str,
    *,
    generation_id: str | None = None,
    asset_id: str | None = None,
    asset_type: str | None = None,
    known: Generation | None = None,
    seen_complete: bool = False,
) -> StoredResult:
    """
    Download the file of a generation or an asset, and store it whole.

    :param client: The client to download with.
    :param hedra: The service of its connection.
    :param destination: A local path, or a URI that ObjectStoragePath opens. If it ends with ``/``, it is a
        folder, and the file is named after its id.
    :param generation_id: The generation. Either this or ``asset_id``.
    :param asset_id: The asset.
    :param asset_type: The type of the asset; needed with ``asset_id``.
    :param known: The latest answer about the generation. If it has a URL, no status request is sent. None by
        default.
    :param seen_complete: Whether Hedra has answered ``complete`` before. Then a 404 is retryable, even after
        12 seconds. False by default.
    :return: The stored file.
    :raises HedraError: If it could not be downloaded or stored.
    """
    from hedra_provider.api.errors import HedraError, HedraNotFoundError, HedraTransferError
    from hedra_provider.api.redaction import clean, fit_cause, words_of
    from hedra_provider.transfer.download import RemoteFile, download

    def request_file() -> RemoteFile:
        if not generation_id:
            return client.run(hedra.file_of_asset(str(asset_id), str(asset_type)))
        try:
            return client.run(hedra.file_of(generation_id))
        except HedraNotFoundError as error:
            error.retryable = error.retryable or seen_complete
            raise

    if known is not None and known.is_complete and known.file_url:
        found = RemoteFile(known.file_url, known.asset_id, known.type)
    else:
        found = request_file()
    target = named_destination(destination, str(generation_id or asset_id), found.type)
    urls = [found.url]

    def fresh_url() -> str:
        return urls.pop() if urls else request_file().url

    try:
        uri, size = write_whole(target, lambda file: download(client, fresh_url, file))
    except HedraError:
        # Some are also ValueErrors.
        raise
    except (OSError, ValueError, ImportError) as error:
        # A resumed task may be on a worker that lacks the package or the connection of the storage.
        is_about_this_worker = not isinstance(error, OSError) or worker_of(target)
        where = f" on {this_worker()}" if is_about_this_worker else ""
        raise HedraTransferError(
            f"{clean(target)} can't be written{where}: {words_of(error)}.",
            generation_id=generation_id,
            remedy="The file stays at Hedra: a retry stores it without paying again.",
        ) from fit_cause(error)
    return StoredResult(uri, size, found.asset_id)
