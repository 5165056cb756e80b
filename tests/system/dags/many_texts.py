"""Many texts, each of them spoken by one portrait: a speech and a video for each."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, task

from hedra_provider.operators import HedraAvatarVideoOperator

PORTRAIT = str(Path(__file__).parent / "include" / "portrait.jpg")

with DAG(
    dag_id="many_texts",
    schedule=None,
    max_active_tasks=200,
    params={"texts": 3, "destination": "", "connection": "", "voice": ""},
):

    @task
    def texts(**context: object) -> list[str]:
        return [f"This is text number {number}." for number in range(int(context["params"]["texts"]))]  # type: ignore[index]

    HedraAvatarVideoOperator.partial(
        task_id="clip",
        image=PORTRAIT,
        voice_id="{{ params.voice }}",
        resolution="540p",
        destination="{{ params.destination }}",
        hedra_conn_id="{{ params.connection }}",
        deferrable=True,
        poll_interval=2,
        retries=2,
    ).expand(text=texts())
