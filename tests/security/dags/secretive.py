"""Tasks that fail in the ways in which a secret might get out."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraCreditsCheckOperator,
    HedraDownloadOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.sensors import HedraCreditsSensor, HedraGenerationSensor

FOLDER = "{{ dag_run.conf['folder'] }}"
AVATAR = {
    "image": f"{FOLDER}/portrait.png",
    "audio": f"{FOLDER}/voice.wav",
    "resolution": "540p",
    "poll_interval": 0.01,
}

with DAG(dag_id="secretive_avatar", schedule=None):
    HedraAvatarVideoOperator(task_id="avatar", destination=f"{FOLDER}/a.mp4", **AVATAR)

with DAG(dag_id="secretive_deferred", schedule=None):
    HedraAvatarVideoOperator(task_id="avatar", destination=f"{FOLDER}/a.mp4", deferrable=True, **AVATAR)

with DAG(dag_id="secretive_upload", schedule=None):
    HedraUploadAssetOperator(task_id="upload", source=f"{FOLDER}/portrait.png", asset_type="video", name="n")

with DAG(dag_id="secretive_steps", schedule=None):
    submit = HedraAvatarVideoOperator(task_id="submit", wait_for_completion=False, **AVATAR)
    generation_id = submit.output["generation_id"]
    wait = HedraGenerationSensor(
        task_id="wait", generation_id=generation_id, deferrable=True, poke_interval=0.01
    )
    fetch = HedraDownloadOperator(task_id="fetch", generation_id=generation_id, destination=f"{FOLDER}/")
    wait >> fetch

with DAG(dag_id="secretive_credits", schedule=None):
    HedraCreditsCheckOperator(
        task_id="check", requests=[{"audio": f"{FOLDER}/voice.wav", "duration_ms": 1000}], max_credits=100
    )
    HedraCreditsSensor(task_id="credits", minimum=1, deferrable=True, poke_interval=0.01, timeout=1)

with DAG(dag_id="secretive_crash", schedule=None):

    @task
    def crash() -> None:
        from hedra_provider.api import calls
        from hedra_provider.hooks import HedraHook

        with HedraHook().get_conn() as client:
            voices = client.run(calls.list_voices())
            raise RuntimeError(f"crashed with {client!r}, {HedraHook()!r}, {voices[0]!r}")

    crash()

with DAG(dag_id="leaky", schedule=None):

    @task
    def leak() -> str:
        """What a careless DAG author may do, so that the search is seen to find it."""
        import base64

        from hedra_provider.hooks import HedraHook

        return base64.b64encode(f"key: {HedraHook().settings.api_key}".encode()).decode()

    leak()

# With a v3 key.

with DAG(dag_id="secretive_retried", schedule=None):
    HedraAvatarVideoOperator(
        task_id="avatar",
        destination=f"{FOLDER}/a.mp4",
        deferrable=True,
        retries=1,
        retry_delay=timedelta(0),
        **AVATAR,
    )

with DAG(dag_id="secretive_spoken", schedule=None):
    HedraAvatarVideoOperator(
        task_id="avatar",
        image=AVATAR["image"],
        text="Good morning",
        voice_id="{{ dag_run.conf['voice_id'] }}",
        resolution="540p",
        destination=f"{FOLDER}/a.mp4",
        poll_interval=0.01,
    )
