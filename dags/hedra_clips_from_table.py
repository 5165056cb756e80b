"""# Clips from a table

One talking-avatar video for each row of a table. The clips are made side by side; waiting holds no worker.
Each clip is paid for once.

| column | what it holds |
|---|---|
| `name` | the clip's file name without `.mp4`. It identifies the clip: a name is not paid for twice |
| `portrait` | who is seen: a file below the folder of inputs, or the id of an asset at Hedra |
| `text`, `voice` | what is said, and the name or the id of one of your account's voices |
| `audio` | instead of `text` and `voice`, a recording: a file or an asset, as above |
| `language` | the language of the text, e.g. `German`. Empty: Hedra detects it |

The table is CSV, a JSON array, or one JSON object on each line. Other columns are ignored.

**Run it:** set up the connection `hedra_default` (password: a Hedra API key, v2 or v3; a v3 connection needs
a `state_path`), then trigger this DAG. The table it comes with names voices of the sandbox: with a real key,
name voices of your account.

**Result:** `<destination>/<name>.mp4` for each row, and `manifest.json`. Several workers need a destination
that they share: object storage or a shared disk.

**If rows fail**, the other clips are still made; then the run fails and names each failed row. Trigger the
DAG again: it pays for clips that are missing or edited, and for no other. Before hundreds of rows, read
`docs/how-to/many-videos.md` of the provider.
"""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, task, task_group

from hedra_provider import tables
from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraCreditsCheckOperator,
    HedraUploadAssetOperator,
)

INPUTS = Path(__file__).parent / "include"
TEXT = {"type": "string", "minLength": 1}
RATIOS, RESOLUTIONS = ["9:16", "16:9", "1:1"], ["540p", "720p", "1080p"]

# The pool limits how many clips are made at once. It must exist, and count deferred tasks:
#   airflow pools set hedra 10 "Generations at once" --include-deferred
POOL = os.environ.get("HEDRA_CLIPS_POOL", "default_pool")

params = {
    "table": Param(
        str(INPUTS / "clips.csv"),
        **TEXT,
        title="Table",
        description="CSV or JSON: a path that the workers can read, or a URI such as s3://bucket/clips.csv.",
    ),
    "inputs": Param(
        None,
        type=["null", "string"],
        title="Folder of inputs",
        description="The folder of portraits and recordings. Empty: the folder of the table.",
    ),
    "prompt": Param(
        "A person speaking to the camera",
        **TEXT,
        title="Prompt",
        description="Expression, mood and setting. The same for all clips.",
        section="Picture",
    ),
    "aspect_ratio": Param("9:16", type="string", enum=RATIOS, title="Aspect ratio", section="Picture"),
    "resolution": Param("720p", type="string", enum=RESOLUTIONS, title="Resolution", section="Picture"),
    "destination": Param(
        f"{tempfile.gettempdir()}/hedra/clips",
        **TEXT,
        title="Destination",
        description="Folder of clips and manifest: a URI such as s3://bucket/clips, or a path on the worker.",
    ),
    "max_credits": Param(
        500,
        type=["null", "integer"],
        minimum=1,
        title="Budget in credits (v2)",
        description="The most that this run may cost, by estimate. Both empty: what the account has.",
    ),
    "max_cost": Param(
        10, type=["null", "number"], minimum=0, title="Budget in US dollars (v3)", description="As above."
    ),
}


@task_group
def clip(name, text, voice_id, language, audio, image, text_prompt, aspect_ratio, resolution):
    """Make one clip. Airflow does not render what comes from a row: a text `{{ ... }}` is spoken as it is."""
    speech = {"text": text, "voice_id": voice_id, "language": language, "audio": audio}
    picture = {"text_prompt": text_prompt, "aspect_ratio": aspect_ratio, "resolution": resolution}
    HedraAvatarVideoOperator(
        task_id="video",
        name=name,
        image=image,
        **speech,
        **picture,
        # One payment for each name, whatever the run.
        idempotency_key="clips/{{ task.name }}",
        destination="{{ params.destination.rstrip('/') }}/{{ task.name }}.mp4",
        map_index_template="{{ task.name }}",
        deferrable=True,
        pool=POOL,
        on_failure_callback=tables.keep_failure,
    )


with DAG(
    dag_id="hedra_clips_from_table",
    schedule=None,
    max_active_runs=1,
    # A temporary failure is retried; a retry never pays twice. The rows of the table stay out of the logs.
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30), "show_return_value_in_logs": False},
    tags=["hedra", "example"],
    doc_md=__doc__,
    params=params,
) as dag:
    table, folder = "{{ params.table }}", "{{ params.destination.rstrip('/') }}"
    picture = {
        "text_prompt": "{{ params.prompt }}",
        "aspect_ratio": "{{ params.aspect_ratio }}",
        "resolution": "{{ params.resolution }}",
    }

    rows = task(tables.read_table)(table, "{{ params.inputs or '' }}")
    files = task(tables.media_files)(rows)
    upload = HedraUploadAssetOperator.partial(
        task_id="upload", map_index_template="{{ task.source }}"
    ).expand(source=files)
    # "none_failed": a table without files skips the upload.
    requests = task(tables.avatar_requests, trigger_rule="none_failed")(rows, files, upload.output, picture)
    budget = HedraCreditsCheckOperator(
        task_id="check_budget",
        requests=task(tables.pending_requests)(requests, folder),
        max_credits="{{ params.max_credits or '' }}",
        max_cost="{{ params.max_cost or '' }}",
    )
    manifest = task(tables.write_manifest, trigger_rule="all_done")(
        rows, requests, budget.output, table=table, folder=folder, clip_task_id="clip.video"
    )
    budget >> clip.expand_kwargs(requests) >> manifest
    # Also after the budget: without clips the manifest is skipped, and the run fails all the same.
    budget >> task(tables.fail_if_rows_failed)(manifest)
