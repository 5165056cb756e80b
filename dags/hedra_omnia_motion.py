"""# Eight seconds with the whole body

Hedra's Omnia model moves more than a face: gestures, posture, the camera. It takes a portrait and up to eight
seconds of audio, and the prompt directs the scene. Not every account has it, so a first task looks it up in
the catalogue: a model that is missing is found before anything is uploaded or spent.

**Run it:** connection `hedra_default` (password = a Hedra v2 API key), then trigger this DAG; the form asks
for the scene.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from airflow.sdk import DAG, Param, task

from hedra_provider.operators import HedraAvatarVideoOperator

INPUTS = Path(__file__).parent / "include"
OMNIA_ID = "ab372b84-432f-44f5-bacc-c2542465f712"


@task
def find_omnia() -> str:
    """Return the slug of Omnia, or its id where the catalogue gives no slug."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        models = client.run(calls.list_models(types=["video"]))
    for model in models:
        if model.id == OMNIA_ID or "omnia" in f"{model.slug} {model.name}".lower():
            print(f"{model.name}: up to {(model.max_duration_ms or 0) / 1000:g} s")
            return model.slug or OMNIA_ID
    names = ", ".join(sorted(model.name or model.slug or str(model.id) for model in models))
    raise AirflowFailException(
        f"Hedra's catalogue does not list Omnia for this key. It lists: {names}. "
        "The DAG hedra_avatar_video makes a talking head from the same inputs."
    )


with DAG(
    dag_id="hedra_omnia_motion",
    schedule=None,
    # What passes by itself is tried again; no retry pays twice.
    default_args={"retries": 2},
    tags=["hedra", "example"],
    doc_md=__doc__,
    params={
        "prompt": Param(
            "An astronaut greets the camera with a wide wave, turns to the rocket behind her and points "
            "at it; slow push-in, warm studio light",
            type="string",
            format="multiline",
            title="Scene",
            description="What the whole body does, and what the camera does.",
        ),
        "image": Param(
            str(INPUTS / "portrait.jpg"),
            type="string",
            title="Portrait",
            description="Best from the hips up: a path that the worker can read, or a URI.",
        ),
        "audio": Param(
            str(INPUTS / "speech.wav"),
            type="string",
            title="Speech",
            description="At most eight seconds of WAV or MP3: a path or a URI.",
        ),
        "destination": Param(
            f"{tempfile.gettempdir()}/hedra/omnia.mp4",
            type="string",
            title="Destination",
            description="Where the video goes: a path on the worker, or a URI such as s3://bucket/omnia.mp4.",
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
        deferrable=True,
    )
