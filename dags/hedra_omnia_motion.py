"""# Eight seconds with the whole body

Hedra's Omnia model moves the whole body and the camera, not only the face. It takes a portrait and up to
eight seconds of audio; the prompt directs the scene. Not every account has this model. So a first task
reads the account's catalogue, and fails if Omnia is missing, before anything is uploaded or spent. API v3 has
no Omnia: this DAG needs a v2 key. The other examples run with both kinds of key.

**Run it:** set up the connection `hedra_default` (password: a v2 API key), then trigger this DAG.

**Result:** one new file in the destination for each run, named after the generation.

**If it fails**, clear the failed task: it adopts a generation that is already paid for.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, task

from hedra_provider.exceptions import as_airflow_errors, not_retryable
from hedra_provider.hooks import HedraHook
from hedra_provider.operators import HedraAvatarVideoOperator

INPUTS = Path(__file__).parent / "include"
OMNIA_ID = "ab372b84-432f-44f5-bacc-c2542465f712"


@task
def find_omnia() -> str:
    """Return the slug of Omnia, or its id where the catalogue gives no slug."""
    with as_airflow_errors():
        hook = HedraHook()
        if hook.settings.api_version == 3:
            raise not_retryable(
                "API v3, which the connection's key is for, has no Omnia. Use a connection with a v2 key, or "
                "run the DAG hedra_avatar_video: it makes a talking head from the same inputs."
            )
        models = hook.list_models(types=["video"])
    for model in models:
        if model.id == OMNIA_ID or "omnia" in f"{model.slug} {model.name}".lower():
            print(f"Found {model.name}: up to {(model.max_duration_ms or 0) / 1000:g} s of video.")
            return model.slug or OMNIA_ID
    names = ", ".join(sorted(model.name or model.slug or str(model.id) for model in models))
    raise not_retryable(
        "Hedra's catalogue does not list Omnia for this API key. Run the DAG hedra_avatar_video: it makes a "
        f"talking head from the same inputs. The catalogue lists: {names}."
    )


with DAG(
    dag_id="hedra_omnia_motion",
    schedule=None,
    # A temporary failure is retried; a retry never pays twice.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["hedra", "example"],
    doc_md=__doc__,
    params={
        "prompt": Param(
            "An astronaut greets the camera with a wide wave, turns to the rocket behind her and points "
            "at it; slow push-in, warm studio light",
            type="string",
            format="multiline",
            minLength=1,
            title="Scene",
            description="What the body does, and what the camera does.",
        ),
        "image": Param(
            str(INPUTS / "portrait.jpg"),
            type="string",
            minLength=1,
            title="Portrait",
            description="Who moves, best seen from the hips up: a path that the worker can read, or a URI.",
        ),
        "audio": Param(
            str(INPUTS / "speech.wav"),
            type="string",
            minLength=1,
            title="Speech",
            description="A recording of at most eight seconds, e.g. WAV or MP3: a path or a URI.",
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
            title="Budget in credits",
            description="A video that may cost more, by estimate, is not submitted. Empty: no limit.",
        ),
    },
) as dag:
    HedraAvatarVideoOperator(
        task_id="motion",
        model=find_omnia(),
        image="{{ params.image }}",
        audio="{{ params.audio }}",
        text_prompt="{{ params.prompt }}",
        aspect_ratio="16:9",
        resolution="720p",
        destination="{{ params.destination }}",
        max_credits="{{ params.max_credits or '' }}",
        deferrable=True,
    )
