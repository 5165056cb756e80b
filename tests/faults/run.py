"""Run one cell of the matrix as Airflow would: a try, and the retry or the clear that follows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedra_provider.sandbox.catalogue import VOICES
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.faults.matrix import TIMEOUT_SECONDS, Outcome
from tests.tasks import TaskInstance, context_of, fire

if TYPE_CHECKING:
    import pytest

    from hedra_provider.testing import Sandbox

SECONDS = 10.0
"""How long a generation takes, on the clock that is moved."""

TIMEOUT_OF_THE_WAIT_SECONDS = 900.0
MAX_DEFERRALS = 200

FIRST = {"try_number": 1, "max_tries": 2}
AFTER_IT: dict[Outcome, dict[str, int]] = {
    # An automatic retry counts on; a clear raises max_tries too.
    Outcome.RETRIED: {"try_number": 2, "max_tries": 2},
    Outcome.FAILS: {"try_number": 2, "max_tries": 3},
}


@dataclass(frozen=True)
class Try:
    """How a try ended."""

    outcome: Outcome
    error: AirflowException | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class Pipeline:
    """
    The avatar pipeline: a portrait and a recording, or a text, become a stored video.

    :param voice: Path of the recording; None: a text is spoken, which is an upload less.
    :param chooses: Whether the voice of a text is searched in Hedra's list.
    :param api: The version of the connection's key.
    """

    portrait: str
    voice: str | None
    destination: Path
    mode: str
    chooses: bool = False
    api: int = 2

    def attempt(self, numbers: dict[str, int]) -> Try:
        """Run a try to its end."""
        try:
            return Try(Outcome.PASSES, result=self._run(TaskInstance(**numbers)))
        except AirflowFailException as error:
            return Try(Outcome.FAILS, error)
        except AirflowException as error:
            return Try(Outcome.RETRIED, error)

    def _run(self, ti: TaskInstance) -> dict[str, Any]:
        from hedra_provider.operators import HedraAvatarVideoOperator

        sound: dict[str, Any] = {"audio": self.voice}
        if self.voice is None:
            voice_id = choose_voice() if self.chooses else VOICES[0]["id"]
            sound = {"text": "Good morning", "voice_id": voice_id}

        def operator() -> HedraAvatarVideoOperator:
            return HedraAvatarVideoOperator(
                task_id="avatar",
                image=self.portrait,
                **sound,
                resolution="540p",
                destination=str(self.destination),
                **({} if self.api == 3 else {"max_credits": 1000}),
                timeout=TIMEOUT_OF_THE_WAIT_SECONDS,
                deferrable=self.mode == "deferred",
            )

        method, event = "execute", {}
        for _ in range(MAX_DEFERRALS):
            try:
                # As on a worker: whatever resumes is another object.
                result: dict[str, Any] = getattr(operator(), method)(context_of(ti), **event)
                return result
            except TaskDeferred as deferred:
                method, event = deferred.method_name, {"event": fire(deferred.trigger)}
        raise AssertionError("deferred for ever")


def choose_voice() -> str:
    """Pick a voice as a task before the operator does, by the hook."""
    from hedra_provider.api import calls
    from hedra_provider.exceptions import as_airflow_errors
    from hedra_provider.hooks import HedraHook

    with as_airflow_errors(), HedraHook().get_conn() as client:
        return client.run(calls.list_voices())[0].id


def connect(sandbox: Sandbox, patch: pytest.MonkeyPatch, *, tiny_timeout: bool) -> None:
    """Make the sandbox ``hedra_default``."""
    from hedra_provider.api import calls
    from hedra_provider.api.v3 import calls as calls_v3

    connection = json.loads(sandbox.connection)
    if tiny_timeout:
        connection["extra"] = {**connection.get("extra", {}), "timeout": TIMEOUT_SECONDS}
        for module in (calls, calls_v3):
            patch.setattr(module, "UPLOAD_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    patch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))


def paid(ledger: dict[str, Any]) -> list[dict[str, Any]]:
    """The submissions that were charged, refunded ones too."""
    rows = [row for row in ledger["submissions"] if row["credits"]]
    of_v3 = [row for row in ledger["submissions_v3"] if row["usd"]]
    return rows + [{**row, "generation_id": row["job_id"], "credits": row["usd"]} for row in of_v3]


def used(ledger: dict[str, Any]) -> float:
    """What was charged and not refunded: credits, or US dollars."""
    return float(ledger["credits"]["used"] + ledger["usd"]["spent"])
