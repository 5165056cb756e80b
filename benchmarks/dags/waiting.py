"""The DAGs of `benchmarks.bench_airflow`: many videos in the making, by us and by the HTTP provider."""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, Param, task, task_group

from hedra_provider.operators import HedraAvatarVideoOperator

PARAMS = {
    "videos": Param(10, type="integer"),
    "image": Param("", type="string"),
    "audio": Param("", type="string"),
    "folder": Param("", type="string"),
}
SUBMITTED = "{{ ti.xcom_pull(task_ids='video.submit', map_indexes=ti.map_index) }}"
HTTP: dict[str, Any] = {"http_conn_id": "hedra_http"}


@task
def names(videos: str) -> list[str]:
    """Return a name for each video."""
    return [f"video {number}" for number in range(int(videos))]


with DAG("ours", schedule=None, params=PARAMS, max_active_tasks=10_000) as ours:
    HedraAvatarVideoOperator.partial(
        task_id="video",
        image="{{ params.image }}",
        audio="{{ params.audio }}",
        resolution="540p",
        destination="{{ params.folder }}/",
        deferrable=True,
        poll_interval=15,
    ).expand(name=names("{{ params.videos }}"))

with DAG("by_http", schedule=None, params=PARAMS, max_active_tasks=10_000) as by_http:

    @task_group
    def video(name: str) -> None:
        """Submit, and wait on a worker."""
        body = {
            "type": "video",
            "model_slug": "together/hedra-avatar",
            "start_keyframe_id": "{{ params.image }}",
            "audio_id": "{{ params.audio }}",
            "generated_video_inputs": {
                "text_prompt": "A person speaking to the camera",
                "aspect_ratio": "9:16",
                "resolution": "540p",
            },
        }
        submit = HttpOperator(
            task_id="submit",
            endpoint="generations",
            method="POST",
            data=json.dumps(body),
            headers={"Content-Type": "application/json"},
            response_filter=lambda response: response.json()["id"],
            **HTTP,
        )
        wait = HttpSensor(
            task_id="wait",
            # Its own row's id: the string of an XComArg would pull those of all rows.
            endpoint=f"generations/{SUBMITTED}/status",
            response_check=lambda response: response.json()["status"] == "complete",
            poke_interval=15,
            timeout=21_600,
            **HTTP,
        )
        submit >> wait

    video.expand(name=names("{{ params.videos }}"))
