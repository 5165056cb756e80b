"""A task that is retried, quickly."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from hedra_provider.operators import HedraAvatarVideoOperator

INPUTS = Path(__file__).parent / "include"

with DAG(dag_id="retried", schedule=None):
    HedraAvatarVideoOperator(
        task_id="avatar",
        image=str(INPUTS / "portrait.jpg"),
        audio=str(INPUTS / "speech.wav"),
        resolution="540p",
        # Each try renders it to another text. A retry must recognise the paid generation all the same.
        text_prompt="Try {{ ti.try_number }}",
        destination="{{ dag_run.conf['destination'] }}",
        deferrable=True,
        poll_interval=1,
        retries=2,
        retry_delay=timedelta(seconds=0),
    )
