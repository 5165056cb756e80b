"""One video. Its files and its connection come from the run's configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from hedra_provider.operators import HedraAvatarVideoOperator

INPUTS = Path(__file__).parent / "include"

PARAMS = {
    "image": Param(str(INPUTS / "portrait.jpg"), type="string"),
    "destination": Param(None, type=["null", "string"]),
    "connection": Param("hedra_default", type="string"),
}

# `deferrable` is given here: `elsewhere` waits in the triggerer, `elsewhere_on_the_worker` does not.
for dag_id, deferrable in {"elsewhere": True, "elsewhere_on_the_worker": False}.items():
    with DAG(dag_id=dag_id, schedule=None, params=PARAMS) as dag:
        HedraAvatarVideoOperator(
            task_id="avatar",
            image="{{ params.image }}",
            audio=str(INPUTS / "speech.wav"),
            resolution="540p",
            destination="{{ params.destination or '' }}",
            hedra_conn_id="{{ params.connection }}",
            poll_interval=1,
            deferrable=deferrable,
            retries=3,
            # Long enough to bring up the worker of the next try.
            retry_delay=timedelta(seconds=20),
        )
    globals()[dag_id] = dag
