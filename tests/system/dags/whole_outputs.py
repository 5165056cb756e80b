"""Tasks that hand over whole outputs and fields of a form that were left empty, as a first DAG does."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, Param

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraDownloadOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.sensors import HedraGenerationSensor

INPUTS = Path(__file__).parent / "include"
EMPTY = {
    name: Param(None, type=["null", "string"]) for name in ("key", "seed", "credits", "start", "workspace")
}

with DAG(dag_id="whole_outputs", schedule=None, params=EMPTY):
    face = HedraUploadAssetOperator(
        task_id="face", source=str(INPUTS / "portrait.jpg"), name="{{ params.key }}"
    )
    voice = HedraUploadAssetOperator(task_id="voice", source=str(INPUTS / "speech.wav"), reuse="false")
    submit = HedraAvatarVideoOperator(
        task_id="submit",
        image=face.output,
        audio="{{ ti.xcom_pull(task_ids='voice')['asset_id'] }}",
        resolution="540p ",
        idempotency_key="{{ params.key }}",
        seed="{{ params.seed }}",
        max_credits="{{ params.credits }}",
        audio_start_ms="{{ params.start }}",
        workspace_id="{{ params.workspace }}",
        extra_request="{{ {'generated_video_inputs': {'seed': 7}} | tojson }}",
        wait_for_completion="False",
    )
    voice >> submit
    made = HedraGenerationSensor(
        task_id="wait", generation_id=submit.output, poke_interval="1", deferrable="True"
    )
    HedraDownloadOperator(
        task_id="fetch", generation_id=made.output, destination="{{ dag_run.conf['folder'] }}/\n"
    )
    HedraAvatarVideoOperator(
        task_id="forgot_the_key",
        image="{{ ti.xcom_pull(task_ids='face') }}",
        audio=face.output["asset_id"],
    )
