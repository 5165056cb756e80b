"""Rows of foreign text, mapped in the ways that Airflow has."""

from __future__ import annotations

from airflow.sdk import DAG, task, task_group

from hedra_provider.operators import HedraGenerateOperator

ROWS = [
    "{{ conn.hedra_default.password }}",
    "{% for x in range(9) %}x{% endfor %}",
    "../../etc/x",
    "👩‍👩‍👧 🚀",
    "שלום \u202eevil",
    "a\0b",
    "a\r\nb",
    "{# gone #}",
]


@task
def rows() -> list[dict[str, str]]:
    return [{"type": "text_to_speech", "text": row} for row in ROWS]


@task
def voiced(requests: list[dict[str, str]]) -> list[dict[str, str]]:
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice_id = client.run(calls.list_voices())[0].id
    return [{**request, "voice_id": voice_id} for request in requests]


with DAG(dag_id="foreign_expand", schedule=None):
    HedraGenerateOperator.partial(task_id="say").expand(request=voiced(rows()))

with DAG(dag_id="foreign_group", schedule=None):

    @task_group
    def clip(request: dict[str, str]) -> None:
        HedraGenerateOperator(task_id="say", request=request)

    clip.expand(request=voiced(rows()))

with DAG(dag_id="foreign_expand_kwargs", schedule=None):

    @task
    def as_arguments(requests: list[dict[str, str]]) -> list[dict[str, dict[str, str]]]:
        return [{"request": request} for request in requests[:1]]

    HedraGenerateOperator.partial(task_id="say").expand_kwargs(as_arguments(voiced(rows())))
