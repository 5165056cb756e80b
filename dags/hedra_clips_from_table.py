"""# Clips from a table

One video for each row of a content table: hundreds of clips wait side by side without holding a worker, each
is paid for once, and one manifest says what became of every row.

| column | what |
|---|---|
| `name` | the clip's file name without `.mp4`, and what it is known by: the same name is not paid for twice |
| `text`, `voice` | what is said, and who says it: the name or the id of one of Hedra's voices. Or: |
| `audio` | a recording: a file below the folder of inputs, or the id of an asset at Hedra |
| `language` | of the text, e.g. `German`; left empty, Hedra recognises it |
| `portrait` | who is seen: a file below the folder of inputs, or the id of an asset at Hedra |

The table is CSV, or JSON (an array, or an object on each line). Other columns are ignored.

**Run it:** connection `hedra_default` (password = a Hedra v2 API key), then trigger this DAG; the form asks
for the table. The one that comes with it names voices of the sandbox: with a real key, put in your account's.

**If rows fail**, the others are made all the same; then the run fails; `manifest.json` says which and why.
**Trigger it again**, edited or not: what is missing or was edited is paid for, the rest is not.

Before hundreds of rows, read `docs/many-videos.md` of the provider: pools, rate limits, longer tables.
"""

from __future__ import annotations

import csv
import io
import json
import mimetypes
import os
import re
import tempfile
import unicodedata
import uuid
from datetime import timedelta
from functools import cache, partial
from itertools import product
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, task, task_group

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraCreditsCheckOperator,
    HedraUploadAssetOperator,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import Context, ObjectStoragePath

Row = dict[str, Any]
INPUTS = Path(__file__).parent / "include"
COLUMNS = ("name", "text", "voice", "audio", "language", "portrait")

# How many clips are in the making at once: the slots of a pool that counts deferred tasks, which you make by
#   airflow pools set hedra 10 "Generations at once" --include-deferred
# It must exist: Airflow leaves tasks of an unknown pool waiting.
POOL = os.environ.get("HEDRA_CLIPS_POOL", "default_pool")

RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(minutes=1)}


# Before anything is spent


@task
def read_table(table: str, inputs: str) -> list[Row]:
    """Return the rows, their voices and files found; or say of all rows at once what is wrong."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    try:
        given = list(rows_of(location(table).read_bytes().decode("utf-8-sig")))
    except (OSError, ValueError, csv.Error) as error:
        raise AirflowFailException(f"{table} can't be read: {error}") from error
    with HedraHook().get_conn() as client:
        voices = [(voice.id, voice.name or "") for voice in client.run(calls.list_voices())]
    folder = (inputs or table.rpartition("/")[0] or ".").rstrip("/")
    find_file = partial(file_or_asset, folder=folder, exists=cache(lambda uri: location(uri).is_file()))
    checks: dict[str, Callable[[Row], str | None]] = {
        "name": partial(clip_name, taken={}),
        "text": spoken_text,
        "voice_id": partial(voice_id, voices=voices),
        "language": lambda row: (row.get("language") or "").strip() or "auto",
        "audio": partial(find_file, column="audio", kind="audio"),
        "image": partial(find_file, column="portrait", kind="image"),
    }
    wrong = [f"{where}: {row}" for where, row in given if isinstance(row, str)]
    rows: list[Row] = [{"where": where} | row for where, row in given if isinstance(row, dict)]
    for row, (field, check) in product(rows, checks.items()):
        try:
            row[field] = check(row)
        except ValueError as error:
            wrong.append(f"{row['where']}: {error}")
    if wrong or not rows:
        said = "\n".join(wrong) or "It has no rows."
        raise AirflowFailException(f"{table}: nothing was uploaded or spent.\n{said}")
    return [{field: row[field] for field in ("where", *checks)} for row in rows]


@task
def files_of(rows: list[Row]) -> list[str]:
    """Return each portrait and recording once; they are uploaded once."""
    return sorted({row[kind] for row in rows for kind in ("image", "audio") if "/" in (row[kind] or "")})


@task(trigger_rule="none_failed")  # Where there is no file, the upload is skipped.
def requests_of(
    rows: list[Row], files: list[str], uploads: list[Row] | None, look: dict[str, str]
) -> list[Row]:
    """Return what is asked for: for each row the arguments of the operator."""
    ids = dict(zip(files, (upload["asset_id"] for upload in uploads or ()), strict=True))
    requests = []
    for row in rows:
        said = {field: row[field] for field in ("name", "text", "voice_id", "language")}
        assets = {kind: ids.get(row[kind], row[kind]) for kind in ("audio", "image")}
        requests.append(said | assets | look)
    return requests


@task
def not_yet_done(requests: list[Row], folder: str) -> list[Row]:
    """Return what the last manifest does not know as done: a budget is for what will be paid."""
    try:
        last = json.loads(location(f"{folder}/manifest.json").read_text("utf-8"))["clips"]
        done = [clip["request"] for clip in last if clip["status"] == "done"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"There is no manifest of an earlier run to go by: {error!r}")
        return requests
    return [request for request in requests if request not in done]


# One clip for each row


def keep_reason(context: Context) -> None:
    """Leave the reason of a failure to the manifest; `dag.test()` of Airflow 3.0 does not tell it."""
    context["ti"].xcom_push(key="failure", value=str(context.get("exception") or "")[:2000])


@task_group
def clip(
    name: str, text: str | None, voice_id: str | None, language: str, audio: str | None, image: str,
    text_prompt: str, aspect_ratio: str, resolution: str,
) -> None:  # fmt: skip
    """Make one clip. What comes from the row stays as it is: a text `{{ ... }}` is spoken, not rendered."""
    HedraAvatarVideoOperator(
        task_id="video",
        name=name,
        text=text,
        voice_id=voice_id,
        language=language,
        audio=audio,
        image=image,
        text_prompt=text_prompt,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        # What is paid once for one name, in whatever run.
        idempotency_key="clips/{{ task.name }}",
        destination="{{ params.destination.rstrip('/') }}/{{ task.name }}.mp4",
        map_index_template="{{ task.name }}",
        deferrable=True,
        pool=POOL,
        on_failure_callback=keep_reason,
        **RETRIES,
    )


@task(trigger_rule="all_done")
def write_manifest(
    rows: list[Row], requests: list[Row], budget: Row | None, table: str, folder: str, ti: Any = None
) -> Row:
    """Write what became of every row; return where that is, and how many are done."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    if budget is None:
        raise AirflowFailException("No clip was begun: see the tasks before. An earlier manifest stays.")
    # By index: the output of a mapped task leaves out those that failed.
    found = ti.xcom_pull(task_ids="clip.video", key="generation", map_indexes=range(len(rows)))
    clips = []
    for index, (row, request, generation) in enumerate(zip(rows, requests, found, strict=True)):
        entry = {"row": row["where"], "name": row["name"], "status": "done", "error": None}
        if not (generation and generation["uri"]):
            reason = ti.xcom_pull(task_ids="clip.video", key="failure", map_indexes=index)
            if not reason and generation and generation["status"] == "error":
                reason = "{error_code}: {error_message}".format_map(generation)
            entry |= {"status": "failed", "error": reason or "It left no reason: see its log."}
        clips.append({**entry, "request": request, "generation": generation})
    counts = {status: sum(clip["status"] == status for clip in clips) for status in ("done", "failed")}
    manifest = {"table": table, "run_id": ti.run_id, **counts, "budget": budget, "clips": clips}
    uri = f"{folder}/manifest.json"
    location(uri).write_text(json.dumps(manifest, indent=2, ensure_ascii=False), "utf-8")
    return {"uri": uri, **counts}


@task
def fail_if_rows_failed(manifest: Row) -> None:
    """Fail the run where clips are missing; the manifest is written by then."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    if manifest["failed"]:
        clips = json.loads(location(manifest["uri"]).read_text("utf-8"))["clips"]
        said = "\n".join(f"{c['row']}, {c['name']}: {c['error']}" for c in clips if c["status"] == "failed")
        raise AirflowFailException(f"{manifest['failed']} of {len(clips)} clips failed.\n{said}")


with DAG(
    dag_id="hedra_clips_from_table",
    schedule=None,
    max_active_runs=1,
    tags=["hedra", "example"],
    doc_md=__doc__,
    params={
        "table": Param(
            str(INPUTS / "clips.csv"),
            type="string",
            title="Table",
            description="CSV or JSON: a path that the worker can read, or a URI such as s3://bucket/clips.csv.",
        ),
        "inputs": Param(
            "",
            type="string",
            title="Folder of inputs",
            description="Where the table's portraits and recordings are. Empty: beside the table.",
        ),
        "destination": Param(
            f"{tempfile.gettempdir()}/hedra/clips",
            type="string",
            minLength=1,
            title="Destination",
            description="The folder of clips and manifest: a path on the worker, or a URI such as s3://bucket/clips.",
        ),
        "max_credits": Param(
            500,
            type=["null", "integer"],
            minimum=1,
            title="Budget in credits",
            description="The most that what is still to be made may cost. Empty: what the account has.",
        ),
        "prompt": Param(
            "A person speaking to the camera",
            type="string",
            title="Prompt",
            description="How it is said: expression, mood, setting. The same for all clips.",
        ),
        "aspect_ratio": Param(
            "9:16",
            type="string",
            enum=["9:16", "16:9", "1:1"],
            title="Aspect ratio",
            description="9:16 for phones, 16:9 for screens.",
        ),
        "resolution": Param(
            "720p",
            type="string",
            enum=["540p", "720p", "1080p"],
            title="Resolution",
            description="More pixels cost more credits.",
        ),
    },
) as dag:
    destination = "{{ params.destination.rstrip('/') }}"
    look = {
        "text_prompt": "{{ params.prompt }}",
        "aspect_ratio": "{{ params.aspect_ratio }}",
        "resolution": "{{ params.resolution }}",
    }
    rows = read_table("{{ params.table }}", "{{ params.inputs }}")
    files = files_of(rows)
    upload = HedraUploadAssetOperator.partial(
        task_id="upload", map_index_template="{{ task.source }}", **RETRIES
    ).expand(source=files)
    requests = requests_of(rows, files, upload.output, look)
    budget = HedraCreditsCheckOperator(
        task_id="check_budget",
        requests=not_yet_done(requests, destination),
        max_credits="{{ params.max_credits or '' }}",
        **RETRIES,
    )
    clips = clip.expand_kwargs(requests)
    manifest = write_manifest(rows, requests, budget.output, "{{ params.table }}", destination)
    budget >> clips >> manifest
    fail_if_rows_failed(manifest)


# Reading a table


def location(uri: str) -> ObjectStoragePath:
    """Return a path of the worker, or a URI, as something to open."""
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri if "://" in uri else f"file://{Path(uri).expanduser().absolute()}")


def rows_of(content: str) -> Iterator[tuple[str, Row | str]]:
    """
    Yield where each row stands, and the row: a dict, or what is wrong with it.

    :raises ValueError: If it is no table at all.
    """
    if content.lstrip().startswith("["):
        for number, row in enumerate(json.loads(content), 1):
            yield f"row {number}", strings(row)
    elif content.lstrip().startswith("{"):
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                try:
                    yield f"line {number}", strings(json.loads(line))
                except ValueError as error:
                    yield f"line {number}", f"is not JSON: {error}"
    else:
        head_line = content.partition("\n")[0]
        delimiter = max(",;\t", key=head_line.count)
        reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
        head = [name.strip().lower() for name in next(reader, [])]
        if not {"name", "portrait"} <= set(head) or len(set(head)) < len(head):
            raise ValueError(f"its first line is {head_line[:200]!r}; it must name the columns, each once.")
        last_line = reader.line_num
        for cells in reader:
            # A quoted cell may go over several lines: a row is named by its first.
            where, last_line = f"line {last_line + 1}", reader.line_num
            if len(cells) > len(head):
                yield where, f"has {len(cells)} cells, the first line {len(head)}: is a cell without quotes?"
            elif any(cells):
                yield where, dict(zip(head, cells, strict=False))


def strings(row: Any) -> Row | str:
    """Return a row of JSON, or what is wrong with it."""
    if not isinstance(row, dict):
        return "is not an object"
    odd = [name for name in COLUMNS if not isinstance(row.get(name), str | None)]
    return f"{', '.join(odd)} must be strings" if odd else row


def clip_name(row: Row, taken: dict[str, str]) -> str:
    """Return the clip's name, which becomes a file's."""
    name = row.get("name") or ""
    if not re.fullmatch(r"\w[\w.-]{0,49}", name):
        raise ValueError(f"name {name!r} must be 1 to 50 letters, digits and _ - . and not begin with - .")
    first = taken.setdefault(alike(name), row["where"])
    if first != row["where"]:
        raise ValueError(f"name {name!r} is that of {first}")
    return name


def spoken_text(row: Row) -> str | None:
    """Return the text as it is; None where there is a recording."""
    text, audio = ((row.get(column) or "").strip() for column in ("text", "audio"))
    if bool(text) == bool(audio):
        raise ValueError("text and audio are both given" if text else "text is missing, and so is audio")
    return row["text"] if text else None


def voice_id(row: Row, voices: list[tuple[str, str]]) -> str | None:
    """Return the id of the voice that speaks the text."""
    wanted = row.get("voice") or ""
    if not (row.get("text") or "").strip():
        return None
    ids = [voice for voice, name in voices if alike(wanted) in (alike(voice), alike(name))]
    if not ids:
        raise ValueError(f"voice {wanted!r} is none of {', '.join(sorted(name for _, name in voices))[:500]}")
    if len(ids) > 1:
        raise ValueError(f"voice {wanted!r} is the name of several: give one of the ids {', '.join(ids)}")
    return ids[0]


def file_or_asset(
    row: Row, *, column: str, kind: str, folder: str, exists: Callable[[str], bool]
) -> str | None:
    """Return where a file is, or the id of an asset. Nothing outside the folder: a table is foreign data."""
    given = (row.get(column) or "").strip()
    if not given:
        if column == "portrait":
            raise ValueError("portrait is missing")
        return None
    try:
        return str(uuid.UUID(given))
    except ValueError:
        path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:~]", given):
        raise ValueError(f"{column} {given!r} is no path below {folder}")
    if not (mimetypes.guess_type(given)[0] or "").startswith(f"{kind}/"):
        raise ValueError(f"{column} {given!r} is no {kind}, by its name")
    if not exists(f"{folder}/{path}"):
        raise ValueError(f"{column} {given!r} is not there: {folder}/{path}")
    return f"{folder}/{path}"


def alike(name: str) -> str:
    """Return what names have in common that look alike."""
    return unicodedata.normalize("NFC", name).strip().casefold()
