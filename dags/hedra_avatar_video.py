"""# A talking avatar, step by step

The flow of Hedra's guide with one Airflow task for each step: the portrait and the speech are uploaded side
by side, the generation is submitted, a deferrable sensor waits for it without holding a worker, and the video
is copied to your own storage.

**Run it:** connection `hedra_default` (password = a Hedra v2 API key), then trigger this DAG; the form asks
for the inputs. `make demo` runs it without a key, against the sandbox.

**If a step fails**, clear that step: a finished upload is found again by its content, a submitted generation
by its id, and neither is made twice. When Hedra itself reports an error, clear `submit`.

Steps are worth their while where other tasks need what lies between them. If you only want the video, one
operator does it all: see `hedra_avatar_from_text`.
"""

from __future__ import annotations

import tempfile
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
    # What passes by itself is tried again; no retry pays twice.
    default_args={"retries": 2},
    tags=["hedra", "example"],
    doc_md=__doc__,
    params={
        "image": Param(
            str(INPUTS / "portrait.jpg"),
            type="string",
            title="Portrait",
            description="Who speaks: a path that the worker can read, or a URI such as s3://bucket/face.png.",
        ),
        "audio": Param(
            str(INPUTS / "speech.wav"),
            type="string",
            title="Speech",
            description="What is said, as WAV or MP3: a path or a URI. The video gets as long as this is.",
        ),
        "prompt": Param(
            "An astronaut speaking to the camera, friendly and calm",
            type="string",
            title="Prompt",
            description="How it is said: expression, mood, setting.",
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
        "destination": Param(
            f"{tempfile.gettempdir()}/hedra/avatar.mp4",
            type="string",
            title="Destination",
            description="Where the video goes: a path on the worker, or a URI such as s3://bucket/avatar.mp4.",
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
        image=portrait.output["asset_id"],
        audio=speech.output["asset_id"],
        text_prompt="{{ params.prompt }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        resolution="{{ params.resolution }}",
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
