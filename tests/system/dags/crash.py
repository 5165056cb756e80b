"""One task, under all the settings that decide what a retry, a clear or another run means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from hedra_provider.operators import HedraAvatarVideoOperator

INPUTS = Path(__file__).parent / "include"

DEFERRED: dict[str, Any] = {"deferrable": True}
ON_THE_WORKER: dict[str, Any] = {"deferrable": False}
LATER: dict[str, Any] = {"deferrable": True, "retries": 1, "retry_delay": timedelta(hours=1)}
SOON: dict[str, Any] = {"deferrable": True, "retry_delay": timedelta(seconds=1)}
# With a v3 key, two steps that cost: the speech, and the video.
SPOKEN: dict[str, Any] = {"audio": None, "text": "Good morning", "voice_id": "{{ params.voice }}"}

KINDS: dict[str, dict[str, Any]] = {
    "crashed": SOON | {"retries": 2},
    "crashed_on_the_worker": SOON | ON_THE_WORKER | {"retries": 2},
    "crashed_spoken": SOON | SPOKEN | {"retries": 2},
    "cut_off": SOON | {"retries": 3},
    "deferred": DEFERRED,
    "deferred_new": DEFERRED | {"on_clear": "new"},
    "on_the_worker": ON_THE_WORKER,
    "on_the_worker_new": ON_THE_WORKER | {"on_clear": "new"},
    "retried_later": LATER,
    "retried_later_new": LATER | {"on_clear": "new"},
    # Long enough for a busy machine to let the next try's wait go well.
    "impatient": DEFERRED | {"timeout": 20},
    "shared": DEFERRED | {"idempotency_key": "{{ params.key }}"},
    "spoken": DEFERRED | SPOKEN,
    "daily": DEFERRED,
}

# A backfill needs a schedule; one that is over starts nothing by itself.
SCHEDULES: dict[str, dict[str, Any]] = {
    "daily": {
        "schedule": "@daily",
        "start_date": datetime(2024, 1, 1, tzinfo=UTC),
        "end_date": datetime(2024, 1, 2, tzinfo=UTC),
        "catchup": False,
    }
}

for dag_id, settings in KINDS.items():
    # From a run's configuration; `airflow tasks test`, which has none, takes them from its -t.
    params = {"destination": "", "connection": "", "key": "", "voice": ""}
    with DAG(dag_id=dag_id, params=params, **SCHEDULES.get(dag_id, {"schedule": None})) as dag:
        HedraAvatarVideoOperator(
            task_id="avatar",
            image=str(INPUTS / "portrait.jpg"),
            resolution="540p",
            # A Variable, so that a test can edit the request of one run.
            text_prompt="{{ var.value.get('prompt_' ~ run_id, 'A person speaking to the camera') }}",
            destination="{{ params.destination }}",
            hedra_conn_id="{{ params.connection }}",
            poll_interval=1,
            **{"audio": str(INPUTS / "speech.wav")} | settings,
        )
    # The DAG processor finds DAGs by the names of a module.
    globals()[dag_id] = dag
