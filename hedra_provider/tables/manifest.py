"""The manifest: the outcome of every row, its cost, and the place of its file."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from hedra_provider.exceptions import not_retryable
from hedra_provider.storage import local_path, write_whole
from hedra_provider.tables.requests import manifest_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.tables.columns import TableRow

log = logging.getLogger(__name__)

XCOM_FAILURE = "failure"
"""The XCom key of the reason that :func:`keep_failure` pushes."""

_MAX_REASON_CHARACTERS = 1000


def keep_failure(context: Context) -> None:
    """
    Push the reason of a failure as XCom, for the manifest. Use it as ``on_failure_callback``.

    ``dag.test()`` of Airflow 3.0 passes no exception to callbacks; workers do.

    :param context: The task's context.
    """
    from hedra_provider.api.redaction import clean

    reason = clean(str(context.get("exception") or ""), max_length=_MAX_REASON_CHARACTERS)
    context["ti"].xcom_push(key=XCOM_FAILURE, value=reason)


def write_manifest(
    rows: Sequence[TableRow] | None,
    requests: Sequence[dict[str, Any]] | None,
    budget: dict[str, Any] | None,
    *,
    table: str,
    folder: str,
    clip_task_id: str,
    ti: Any = None,
) -> dict[str, Any]:
    """
    Write ``manifest.json`` into a folder, with the status, the error and the cost of each row's clip.

    Call it in a task with the trigger rule ``all_done``, so that failed rows are in it too.

    :param rows: As :func:`hedra_provider.tables.read_table` returns them.
    :param requests: As :func:`hedra_provider.tables.avatar_requests` returns them.
    :param budget: What ``HedraCreditsCheckOperator`` returned. None means that it failed or did not run, so
        that no clip was begun.
    :param table: The table's path or URI.
    :param folder: The destination: a path or a URI that ObjectStoragePath opens.
    :param clip_task_id: The task that is mapped over the requests, with :func:`keep_failure`.
    :param ti: The task instance; Airflow passes it.
    :return: ``uri`` of the manifest, its numbers, and ``failures``: row, name and error of each failed row.
    :raises AirflowSkipException: If no clip was begun. The manifest of an earlier run stays as it is.
    """
    if budget is None or rows is None or requests is None:
        raise AirflowSkipException(
            "No clip was begun: see the failed task before. An earlier manifest stays."
        )
    # By index: the output of a mapped task leaves out those that failed.
    generations = ti.xcom_pull(task_ids=clip_task_id, key="generation", map_indexes=range(len(rows)))
    reasons = [
        None
        if is_stored(generation)
        else ti.xcom_pull(task_ids=clip_task_id, key=XCOM_FAILURE, map_indexes=index)
        for index, generation in enumerate(generations)
    ]
    clips = clip_entries(rows, requests, generations, reasons)
    totals = totals_of(clips)
    manifest = {"table": table, "run_id": ti.run_id, **totals, "budget": budget, "clips": clips}
    content = json.dumps(manifest, indent=2, ensure_ascii=False).encode()
    uri, _ = write_whole(manifest_uri(folder), lambda file: file.write(content))
    log.info(
        "%d of %d clips are done. This run paid %s%s. Manifest: %s",
        totals["done"],
        len(clips),
        totals["cost_paid"],
        f" {totals['currency']}" if totals["currency"] else "",
        uri,
    )
    warn_of_scattered_files(clips)
    failures = [
        {"row": clip["row"], "name": clip["name"], "error": clip["error"]}
        for clip in clips
        if clip["status"] == "failed"
    ]
    return {"uri": uri, **totals, "failures": failures}


def fail_if_rows_failed(manifest: dict[str, Any]) -> None:
    """
    Fail the run if clips are missing.

    :param manifest: What :func:`write_manifest` returned. No file is read: it may be on another worker.
    :raises AirflowFailException: If rows failed; the message names each of them and its reason.
    """
    failures = manifest["failures"]
    if failures:
        clips = manifest["done"] + manifest["failed"]
        head = f"{len(failures)} of {clips} clips failed. Trigger the DAG again: it pays only for these."
        rows = [f"{one['row']}, {one['name']}: {one['error']}" for one in failures]
        raise not_retryable("\n".join([head, *rows]))


def clip_entries(
    rows: Sequence[TableRow],
    requests: Sequence[dict[str, Any]],
    generations: Sequence[Mapping[str, Any] | None],
    reasons: Sequence[str | None],
) -> list[dict[str, Any]]:
    """
    Return the manifest's entry for each row.

    :param rows: As :func:`hedra_provider.tables.read_table` returns them.
    :param requests: As :func:`hedra_provider.tables.avatar_requests` returns them.
    :param generations: The XCom ``generation`` of each clip's task; None if the task pushed none.
    :param reasons: The reason of each failure; None if it is not known.
    """
    entries = []
    for index, (row, request, generation, reason) in enumerate(
        zip(rows, requests, generations, reasons, strict=True)
    ):
        found = generation or {}
        error = None if is_stored(generation) else reason or reason_of(generation, index)
        entries.append(
            {
                "row": row["place"],
                "name": row["name"],
                "status": "failed" if error else "done",
                "error": error,
                "adopted": found.get("adopted"),
                "credits_paid": found.get("credits_paid"),
                "cost_paid": paid_for(found),
                "currency": found.get("currency"),
                "uri": found.get("uri"),
                "worker": found.get("worker"),
                "request": request,
                "generation": generation,
            }
        )
    return entries


def paid_for(generation: Mapping[str, Any]) -> float | None:
    """Return what this run paid for a clip, the speech of its text included; None if it is not known."""
    paid: float | None = generation.get("cost_paid")
    speech = generation.get("speech") or {}
    return round(paid + (speech.get("cost") or 0), 6) if paid else paid


def is_stored(generation: Mapping[str, Any] | None) -> bool:
    """Return whether the clip's file was stored."""
    return bool(generation and generation["uri"])


def reason_of(generation: Mapping[str, Any] | None, index: int) -> str:
    """Return why a clip is missing, where its task left no reason."""
    if generation and generation["status"] == "error":
        return f"{generation['error_code']}: {generation['error_message']}"
    return f"The task left no reason: see its log, map index {index}."


def totals_of(clips: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Return ``done``, ``failed``, ``cost_paid``, ``currency``, ``credits_paid`` and ``workers`` of a manifest.

    ``credits_paid`` is that of v2 keys; ``cost_paid`` is in ``currency``, which is None without any clip.
    ``workers`` says how many files lie on the disk of which worker; it is empty for object storage.
    """
    workers = [clip["worker"] for clip in clips if clip["worker"]]
    return {
        "done": sum(clip["status"] == "done" for clip in clips),
        "failed": sum(clip["status"] == "failed" for clip in clips),
        "cost_paid": round(sum(clip["cost_paid"] or 0 for clip in clips), 6),
        "currency": next((clip["currency"] for clip in clips if clip["currency"]), None),
        "credits_paid": sum(clip["credits_paid"] or 0 for clip in clips),
        "workers": {worker: workers.count(worker) for worker in sorted(set(workers))},
    }


def warn_of_scattered_files(clips: Sequence[Mapping[str, Any]]) -> None:
    """Log a warning about clips whose local file does not exist on this worker."""
    missing: dict[str, int] = {}
    for clip in clips:
        path = local_path(clip["uri"]) if clip["uri"] else None
        if path is not None and not path.is_file():
            worker = clip["worker"] or "an unknown worker"
            missing[worker] = missing.get(worker, 0) + 1
    if missing:
        where = ", ".join(f"{count} on {worker}" for worker, count in sorted(missing.items()))
        log.warning(
            "%d clips are not on this worker: %s. The destination is a folder on each worker's own disk. "
            "Choose a folder that all workers share, or object storage such as s3://conn_id@bucket/clips.",
            sum(missing.values()),
            where,
        )
