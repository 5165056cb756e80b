"""# A talking avatar, step by step

The flow of Hedra's guide, one Airflow task for each step. Two tasks upload the portrait and the speech side
by side, one submits the generation, a deferrable sensor waits for it without holding a worker, and the last
task stores the video.

**Run it:** set up the connection `hedra_default` (password: your Hedra API key, of v2 or v3), then trigger
this DAG. `make demo` runs it without a key, against the sandbox.

**Result:** one new file in the destination for each run, named after the generation.

**With a v3 key** an upload lives for one hour only. So the upload tasks check and measure the files, and
`submit` uploads them: it must be able to read them. The same outputs work with both kinds of key.

**If a step fails**, clear that step: nothing is uploaded or paid for twice. If the generation itself ended in
an error, clear `submit`.

Use separate steps where other tasks need what lies between them. If you only want the video, use one
operator: see `hedra_avatar_from_text`.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraDownloadOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.sensors import HedraGenerationSensor

INPUTS = Path(__file__).parent / "include"

with DAG(
    dag_id="hedra_avatar_video",
    schedule=None,
    # A temporary failure is retried; a retry never pays twice.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["hedra", "example"],
    doc_md=__doc__,
    params={
        "image": Param(
            str(INPUTS / "portrait.jpg"),
            type="string",
            minLength=1,
            title="Portrait",
            description="Who speaks: a path that the worker can read, or a URI such as s3://bucket/face.png.",
        ),
        "audio": Param(
            str(INPUTS / "speech.wav"),
            type="string",
            minLength=1,
            title="Speech",
            description="A recording, e.g. WAV or MP3: a path or a URI. The video is as long as the speech.",
        ),
        "prompt": Param(
            "An astronaut speaking to the camera, friendly and calm",
            type="string",
            minLength=1,
            title="Prompt",
            description="Expression, mood and setting.",
        ),
        "aspect_ratio": Param(
            "9:16",
            type="string",
            enum=["9:16", "16:9", "1:1"],
            title="Aspect ratio",
            description="9:16 for phones, 16:9 for screens.",
            section="Picture",
        ),
        "resolution": Param(
            "720p",
            type="string",
            enum=["540p", "720p", "1080p"],
            title="Resolution",
            description="A higher resolution costs more.",
            section="Picture",
        ),
        "destination": Param(
            f"{tempfile.gettempdir()}/hedra/",
            type="string",
            minLength=1,
            title="Destination",
            description="A folder that ends in /: each run adds a file. Or a file: each run replaces it.",
        ),
        "max_credits": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Budget in credits (v2)",
            description="A video that may cost more, by estimate, is not submitted. Empty: no limit.",
        ),
        "max_cost": Param(
            None,
            type=["null", "number"],
            minimum=0,
            title="Budget in US dollars (v3)",
            description="The same with a v3 key. Both may be given: the key decides which one counts.",
        ),
    },
) as dag:
    portrait = HedraUploadAssetOperator(
        task_id="upload_portrait", source="{{ params.image }}", asset_type="image"
    )
    speech = HedraUploadAssetOperator(
        task_id="upload_speech", source="{{ params.audio }}", asset_type="audio"
    )
    submit = HedraAvatarVideoOperator(
        task_id="submit",
        image=portrait.output,
        audio=speech.output,
        text_prompt="{{ params.prompt }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        resolution="{{ params.resolution }}",
        max_credits="{{ params.max_credits or '' }}",
        max_cost="{{ params.max_cost or '' }}",
        wait_for_completion=False,
    )
    wait = HedraGenerationSensor(
        task_id="wait", generation_id=submit.output["generation_id"], deferrable=True
    )
    download = HedraDownloadOperator(
        task_id="download",
        generation_id=submit.output["generation_id"],
        destination="{{ params.destination }}",
    )
    wait >> download
