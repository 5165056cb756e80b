"""Every shape of work that the provider knows, in one DAG: what `make soak` runs, many at a time.

Each request is named after its task run, so that the sandbox's ledger shows who paid for what.
"""

# Outputs of operators take a key, whatever their type says.
# mypy: disable-error-code="index"

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task_group

from hedra_provider.operators import HedraAvatarVideoOperator, HedraDownloadOperator, HedraUploadAssetOperator
from hedra_provider.sensors import HedraGenerationSensor

INPUTS = Path(__file__).parent / "include"
PORTRAIT, VOICE = str(INPUTS / "portrait.jpg"), str(INPUTS / "speech.wav")
OWNER = "{{ run_id }}/{{ ti.task_id }}/{{ ti.map_index }}"
FOLDER = "{{ dag_run.conf['folder'] }}"

# The text is the request's name: no two generations have the same file.
SPEAKING: dict[str, Any] = {
    "image": PORTRAIT,
    "text": OWNER,
    "voice_id": "{{ dag_run.conf['voice_id'] }}",
    "deferrable": True,
}
SMALL: dict[str, Any] = {"name": OWNER, "resolution": "540p", "poll_interval": 2, "timeout": 600}

with DAG(
    dag_id="soak",
    schedule=None,
    max_active_runs=32,
    max_active_tasks=64,
    default_args={"retries": 10, "retry_delay": timedelta(seconds=1)},
):
    HedraAvatarVideoOperator(task_id="avatar", destination=f"{FOLDER}/avatar.mp4", **SPEAKING, **SMALL)
    HedraAvatarVideoOperator(
        task_id="batch", destination=f"{FOLDER}/batch/", extra_request={"batch_size": 2}, **SPEAKING, **SMALL
    )

    @task_group
    def clip(text_prompt: str) -> None:
        """Make one of several clips."""
        HedraAvatarVideoOperator(
            task_id="video",
            text_prompt=text_prompt,
            destination=f"{FOLDER}/clips/",
            **SPEAKING,
            **SMALL,
        )

    clip.expand(text_prompt=["A person who laughs", "A person who sings"])

    portrait = HedraUploadAssetOperator(task_id="portrait", source=PORTRAIT)
    voice = HedraUploadAssetOperator(task_id="voice", source=VOICE)
    submit = HedraAvatarVideoOperator(
        task_id="submit",
        image=portrait.output["asset_id"],
        audio=voice.output["asset_id"],
        wait_for_completion=False,
        **SMALL,
    )
    wait = HedraGenerationSensor(
        task_id="wait",
        generation_id=submit.output["generation_id"],
        deferrable=True,
        poke_interval=2,
        timeout=600,
    )
    fetch = HedraDownloadOperator(
        task_id="fetch",
        generation_id=submit.output["generation_id"],
        destination=f"{FOLDER}/fetched.mp4",
    )
    wait >> fetch

# With a v3 key: an upload is no asset, a request has no name, and there are no batches. A text becomes a
# speech and then a video; the text of the speech and the prompt of the video name the task run.
ON_V3: dict[str, Any] = {
    "image": PORTRAIT,
    "text_prompt": OWNER,
    "resolution": "540p",
    "poll_interval": 2,
    "timeout": 600,
    "hedra_conn_id": "{{ dag_run.conf['connection'] }}",
}
SPOKEN: dict[str, Any] = {
    "text": OWNER,
    "voice_id": "{{ dag_run.conf['voice_id'] }}",
    "deferrable": True,
}

with DAG(
    dag_id="soak_v3",
    schedule=None,
    max_active_runs=32,
    max_active_tasks=64,
    default_args={"retries": 10, "retry_delay": timedelta(seconds=1)},
):
    HedraAvatarVideoOperator(task_id="avatar", destination=f"{FOLDER}/avatar.mp4", **SPOKEN, **ON_V3)

    @task_group(group_id="clip")
    def clip_v3(aspect_ratio: str) -> None:
        """Make one of several clips."""
        HedraAvatarVideoOperator(
            task_id="video", aspect_ratio=aspect_ratio, destination=f"{FOLDER}/clips/", **SPOKEN, **ON_V3
        )

    clip_v3.expand(aspect_ratio=["9:16", "16:9"])

    submit = HedraAvatarVideoOperator(task_id="submit", audio=VOICE, wait_for_completion=False, **ON_V3)
    wait = HedraGenerationSensor(
        task_id="wait",
        generation_id=submit.output["generation_id"],
        hedra_conn_id=ON_V3["hedra_conn_id"],
        deferrable=True,
        poke_interval=2,
        timeout=600,
    )
    fetch = HedraDownloadOperator(
        task_id="fetch",
        generation_id=submit.output["generation_id"],
        hedra_conn_id=ON_V3["hedra_conn_id"],
        destination=f"{FOLDER}/fetched.mp4",
    )
    wait >> fetch
