"""# From a text to a talking avatar

Hedra can speak the text itself. One operator does it all: it uploads the portrait, submits the text with a
voice, gives its worker back while Hedra works, and stores the video. The voice is picked from Hedra's list by
what it sounds like, so that no voice id is written down anywhere.

**Run it:** connection `hedra_default` (password = a Hedra v2 API key), then trigger this DAG; the form asks
for the text.

**If it fails**, clear it: what was already paid for is adopted, not bought again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from airflow.sdk import DAG, Param, task

from hedra_provider.operators import HedraAvatarVideoOperator

INPUTS = Path(__file__).parent / "include"


@task
def choose_voice(language: str, gender: str) -> str:
    """Return the id of the first voice that speaks this language and sounds like this."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voices = client.run(calls.list_voices())
    wanted = {"language": language, "gender": gender}
    for voice in voices:
        if all(voice.labels.get(name, "").lower() == value.lower() for name, value in wanted.items()):
            print(f"{voice.name} ({voice.id}) out of {len(voices)} voices: {voice.labels}")
            return voice.id
    offered = sorted({f"{v.labels.get('language')}/{v.labels.get('gender')}" for v in voices})
    raise AirflowFailException(
        f"No voice is labelled {language}/{gender}. Hedra offers: {', '.join(offered)}."
    )


with DAG(
    dag_id="hedra_avatar_from_text",
    schedule=None,
    # What passes by itself is tried again; no retry pays twice.
    default_args={"retries": 2},
    tags=["hedra", "example"],
    doc_md=__doc__,
    params={
        "text": Param(
            "Good morning. Every pipeline of last night has finished, and none of them was paid for twice.",
            type="string",
            format="multiline",
            minLength=1,
            title="Text",
            description="What the avatar says. The video gets as long as it takes to say it.",
        ),
        "language": Param(
            "English",
            type="string",
            title="Language of the voice",
            description="The label `language` of Hedra's voices.",
        ),
        "gender": Param(
            "female",
            type="string",
            enum=["female", "male", "neutral"],
            title="Gender of the voice",
            description="The label `gender` of Hedra's voices.",
        ),
        "image": Param(
            str(INPUTS / "portrait.jpg"),
            type="string",
            title="Portrait",
            description="Who speaks: a path that the worker can read, or a URI such as s3://bucket/face.png.",
        ),
        "destination": Param(
            f"{tempfile.gettempdir()}/hedra/avatar_from_text.mp4",
            type="string",
            title="Destination",
            description="Where the video goes: a path on the worker, or a URI such as s3://bucket/avatar.mp4.",
        ),
    },
) as dag:
    HedraAvatarVideoOperator(
        task_id="avatar",
        image="{{ params.image }}",
        text="{{ params.text }}",
        voice_id=choose_voice("{{ params.language }}", "{{ params.gender }}"),
        destination="{{ params.destination }}",
        deferrable=True,
    )
