"""Converts checked rows to arguments of the operators, and finds those that no earlier run paid for."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from hedra_provider.exceptions import as_airflow_errors
from hedra_provider.storage import check_destination, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hedra_provider.tables.columns import TableRow

log = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.json"
"""The manifest's file in the destination."""


def media_files(rows: Sequence[TableRow]) -> list[str]:
    """Return the files to upload, sorted: the path or URI of each portrait and recording, once."""
    named = {value for row in rows for value in (row["image"], row["audio"]) if value}
    # An asset id has no slash, a file below a folder has one.
    return sorted(value for value in named if "/" in value)


def avatar_requests(
    rows: Sequence[TableRow],
    files: Sequence[str],
    uploads: Iterable[Mapping[str, Any]] | None,
    shared: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """
    Return the arguments of ``HedraAvatarVideoOperator`` for each row, in the order of the rows.

    :param rows: As :func:`hedra_provider.tables.read_table` returns them.
    :param files: As :func:`media_files` returns them.
    :param uploads: What ``HedraUploadAssetOperator`` returned for each of the files, in their order: each has
        an asset id, or with a v3 key names the file itself. None if there were no files.
    :param shared: Arguments that all clips share, e.g. ``{"aspect_ratio": "9:16"}``.
    """
    # An upload without an asset id (v3) is passed on whole: its length is needed for the price.
    media = dict(zip(files, (upload["asset_id"] or dict(upload) for upload in uploads or ()), strict=True))
    return [
        {
            "name": row["name"],
            "text": row["text"],
            "voice_id": row["voice_id"],
            "language": row["language"],
            "audio": media.get(row["audio"] or "", row["audio"]),
            "image": media.get(row["image"], row["image"]),
            **shared,
        }
        for row in rows
    ]


def pending_requests(requests: Sequence[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """
    Return the requests that are still to be paid: those that no earlier run's manifest lists as done.

    :param requests: As :func:`avatar_requests` returns them.
    :param folder: The destination, with the manifest of an earlier run. It must be writable.
    :return: The requests; all of them if no manifest can be read.
    :raises AirflowFailException: If the destination can't be written to; nothing was spent.
    :raises AirflowException: If the storage did not answer; a retry may help.
    """
    uri = manifest_uri(folder)
    with as_airflow_errors():
        check_destination(uri)
        done = finished_requests(uri)
    pending = [request for request in requests if request not in done]
    log.info("%d of %d clips are still to be made.", len(pending), len(requests))
    return pending


def finished_requests(uri: str) -> list[dict[str, Any]]:
    """
    Return the requests that a manifest lists as done; none if there is no manifest, or it can't be read.

    :param uri: The manifest's path or URI.
    :raises HedraTransferError: If the storage did not answer; a retry may help.
    """
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.redaction import clean

    try:
        with open_source(uri, "manifest") as (file, _):
            content = file.read()
    except HedraValueError:
        log.info("There is no manifest of an earlier run at %s; the budget counts all rows.", clean(uri))
        return []
    try:
        clips = json.loads(content)["clips"]
        return [clip["request"] for clip in clips if clip["status"] == "done"]
    except (ValueError, KeyError, TypeError):
        log.warning("%s is not a manifest of this DAG; the budget counts all rows.", clean(uri))
        return []


def manifest_uri(folder: str) -> str:
    """Return where the manifest of a destination is."""
    return f"{folder.rstrip('/')}/{MANIFEST_NAME}"
