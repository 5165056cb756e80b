"""# From a text to a talking avatar

Hedra speaks the text itself. One operator does the whole work: it uploads the portrait, submits the text
with a voice, waits without holding a worker, and stores the video. A first task picks the voice from
Hedra's list by its language and gender. With a v3 key, the speech is a job of its own: two are paid.

**Run it:** set up the connection `hedra_default` (password: your Hedra API key, of v2 or v3), then trigger
this DAG.

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


@task
def choose_voice(language: str, gender: str) -> str:
    """Return the id of the first voice with this language and gender."""
    with as_airflow_errors():
        voices = HedraHook().list_voices()
    wanted = {"language": language, "gender": gender}
    for voice in voices:
        if all(voice.labels.get(name, "").lower() == value.lower() for name, value in wanted.items()):
            print(f"Chose {voice.name} ({voice.id}) of {len(voices)} voices.")
            return voice.id
    offered = sorted({f"{v.labels.get('language')}/{v.labels.get('gender')}" for v in voices})
    raise not_retryable(
        f"No voice has the language {language} and the gender {gender}. Choose one of: {', '.join(offered)}."
    )


with DAG(
    dag_id="hedra_avatar_from_text",
    schedule=None,
    # A temporary failure is retried; a retry never pays twice.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["hedra", "example"],
    doc_md=__doc__,
    params={
        "text": Param(
            "Good morning. Every pipeline of last night has finished, and none of them was paid for twice.",
            type="string",
            format="multiline",
            minLength=1,
            title="Text",
            description="What the avatar says. The video is as long as the speech.",
        ),
        "language": Param(
            "English",
            type="string",
            minLength=1,
            title="Language of the voice",
            description="As Hedra labels its voices, e.g. English, German or Spanish.",
            section="Voice",
        ),
        "gender": Param(
            "female",
            type="string",
            enum=["female", "male", "neutral"],
            title="Gender of the voice",
            description="As Hedra labels its voices.",
            section="Voice",
        ),
        "image": Param(
            str(INPUTS / "portrait.jpg"),
            type="string",
            minLength=1,
            title="Portrait",
            description="Who speaks: a path that the worker can read, or a URI such as s3://bucket/face.png.",
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
    HedraAvatarVideoOperator(
        task_id="avatar",
        image="{{ params.image }}",
        text="{{ params.text }}",
        voice=choose_voice("{{ params.language }}", "{{ params.gender }}"),
        destination="{{ params.destination }}",
        max_credits="{{ params.max_credits or '' }}",
        max_cost="{{ params.max_cost or '' }}",
        deferrable=True,
    )
