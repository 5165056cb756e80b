"""The operators mapped: over one argument, and in a task group, with foreign text among the rows."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, task, task_group

from hedra_provider.operators import HedraAvatarVideoOperator, HedraDownloadOperator
from hedra_provider.sensors import HedraGenerationSensor

PORTRAIT = str(Path(__file__).parent / "include" / "portrait.jpg")
TEXTS = ["Good morning", "{{ conn.hedra_default.password }}", "Grüße 🚀"]

with DAG(dag_id="mapped_operator", schedule=None) as mapped_operator:

    @task
    def texts() -> list[str]:
        return TEXTS

    @task
    def voice() -> str:
        from hedra_provider.api import calls
        from hedra_provider.hooks import HedraHook

        with HedraHook().get_conn() as client:
            return client.run(calls.list_voices())[0].id

    HedraAvatarVideoOperator.partial(
        task_id="clip", image=PORTRAIT, voice_id=voice(), resolution="540p", deferrable=True, poll_interval=2
    ).expand(text=texts())

with DAG(dag_id="mapped_group", schedule=None, params={"folder": "/tmp"}) as mapped_group:

    @task
    def rows() -> list[str]:
        return TEXTS

    @task
    def a_voice() -> str:
        from hedra_provider.api import calls
        from hedra_provider.hooks import HedraHook

        with HedraHook().get_conn() as client:
            return client.run(calls.list_voices())[0].id

    @task_group
    def clip(text: str, voice_id: str) -> None:
        submit = HedraAvatarVideoOperator(
            task_id="submit",
            image=PORTRAIT,
            text=text,
            voice_id=voice_id,
            resolution="540p",
            wait_for_completion=False,
        )
        wait = HedraGenerationSensor(
            task_id="wait", generation_id=submit.output["generation_id"], deferrable=True, poke_interval=2
        )
        fetch = HedraDownloadOperator(
            task_id="fetch",
            generation_id=submit.output["generation_id"],
            destination="{{ params.folder }}/",
        )
        wait >> fetch

    clip.partial(voice_id=a_voice()).expand(text=rows())
