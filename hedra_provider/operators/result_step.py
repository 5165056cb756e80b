"""The last step of a task that generates: read the cost, store the file, leave the facts in XCom.

This module is loaded when a task works, not when a DAG file is parsed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hedra_provider.api.error_bodies import failures_error
from hedra_provider.api.errors import HedraError
from hedra_provider.operators.payment import log_drift, log_result
from hedra_provider.records import COMPLETE
from hedra_provider.service.expiry import short_time_sentence
from hedra_provider.storage import worker_of
from hedra_provider.storage.lineage import report_output
from hedra_provider.storage.result import store_result
from hedra_provider.xcom import (
    XCOM_ESTIMATE,
    XCOM_RESULT,
    XCOM_RESULTS,
    generation_result,
    outputs,
    read_rows,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.client import HedraClient
    from hedra_provider.hooks import HedraHook
    from hedra_provider.records import Generation
    from hedra_provider.service.protocol import PaidOnce


@dataclass(frozen=True)
class ResultStep:
    """
    One try of the step.

    :param client: Of the operator's connection.
    :param hook: The operator's hook.
    :param context: The task's context.
    :param log: The task's log.
    :param destination: The operator's destination; None: files stay at Hedra.
    :param name: The name that the request gives the result.
    :param workspace_id: The workspace that pays.
    :param adopted: The generations that were adopted, and whether this task run paid for them.
    :param paid_once: What paid for them.
    """

    client: HedraClient
    hook: HedraHook
    context: Context
    log: Any
    destination: str | None
    name: str | None
    workspace_id: str | None
    adopted: Mapping[str, bool]
    paid_once: PaidOnce

    def finish(self, generations: Sequence[Generation]) -> dict[str, Any]:
        """
        Read what finished generations cost, store those that are complete, and leave the facts in XCom.

        The facts reach XCom even if storing fails.

        :return: The facts about the first generation that is complete.
        :raises HedraError: If a generation failed, or a file could not be fetched or stored.
        """
        rows = read_rows(
            self.client, self.hook.service, [generation.id for generation in generations], self.log
        )
        results = self._facts(generations, rows)
        for result in results:
            if warning := short_time_sentence(result["expires_at"], time.time()):
                self.log.warning("Generation %s: %s", result["generation_id"], warning)
        try:
            for generation, result in zip(generations, results, strict=True):
                if self.destination and generation.is_complete:
                    stored = store_result(
                        self.client,
                        self.hook.service,
                        self.destination,
                        generation_id=generation.id,
                        known=rows.get(generation.id),
                        seen_complete=True,
                    )
                    result |= {"uri": stored.uri, "bytes": stored.size, "worker": worker_of(stored.uri)}
                    report_output(self.hook, stored.uri)
        finally:
            returned = self._push(results)
        if any(generation.is_failed for generation in generations):
            # The end of a v3 job may be known without its error, which only its result has.
            raise failures_error([rows.get(one.id, one) if one.is_failed else one for one in generations])
        for result in results:
            log_result(result, waited=True, log=self.log)
        log_drift(results, self._estimate(), self.log)
        return returned

    def end_without_waiting(self, generations: Sequence[Generation]) -> dict[str, Any]:
        """Leave the facts in XCom right after the submit; what it costs is known by then."""
        rows = read_rows(
            self.client, self.hook.service, [generation.id for generation in generations], self.log
        )
        results = self._facts(generations, rows)
        for result in results:
            log_result(result, waited=False, log=self.log)
        return self._push(results)

    def _estimate(self) -> Any:
        """Return what this try estimated before its submit, from its own XCom; None without one."""
        ti = self.context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key=XCOM_ESTIMATE, map_indexes=ti.map_index)

    def _facts(
        self, generations: Sequence[Generation], rows: Mapping[str, Generation]
    ) -> list[dict[str, Any]]:
        """
        Return the facts about generations.

        :param rows: Their rows of the list, by id, as far as they could be read.
        """
        speech = self._speech()
        return [
            generation_result(
                generation,
                row=rows.get(generation.id),
                hedra_conn_id=self.hook.hedra_conn_id,
                name=self.name,
                workspace_id=self.workspace_id,
                adopted=generation.id in self.adopted,
                paid_here=self.adopted.get(generation.id, True),
                speech=speech,
            )
            for generation in generations
        ]

    def _speech(self) -> Generation | None:
        """Return the speech of an avatar; None if there is none, or it can't be read: nothing fails then."""
        try:
            return self.client.run(self.paid_once.earlier_step())
        except HedraError as error:
            self.log.warning("What the speech cost could not be read: %s", error)
            return None

    def _push(self, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Leave the facts in XCom; return those of the first generation that is complete."""
        result = next((one for one in results if one["status"] == COMPLETE), results[0])
        self.context["ti"].xcom_push(key=XCOM_RESULT, value=result)
        if len(results) > 1:
            self.context["ti"].xcom_push(key=XCOM_RESULTS, value=list(results))
        return outputs(self.context, result)
