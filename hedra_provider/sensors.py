"""The sensor that waits for a generation."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from hedra_provider.hooks import HedraHook
from hedra_provider.results import MULTIPLE_OUTPUTS, XCOM_RESULT, generation_result, outputs, read_row
from hedra_provider.triggers import deferral, patience_seconds, read_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.answers import Generation
    from hedra_provider.api.errors import HedraError
    from hedra_provider.api.waiting import ProgressLog


class HedraGenerationSensor(BaseSensorOperator):
    """
    Wait until a generation is complete.

    A generation that failed fails the sensor at once: its own retries can't help, the task that submitted it
    must be cleared. For production prefer an operator that waits itself, whose retry submits anew.

    Returns, and pushes as XCom ``generation``, the dict of :func:`hedra_provider.results.generation_result`.

    :param generation_id: The generation.
    :param hedra_conn_id: The Airflow connection.
    :param deferrable: Whether to wait in the triggerer, without a worker. Else ``mode`` says how to wait.
    :param poke_interval: Seconds between two looks; at the most, where the sensor is deferred.
    :param timeout: Seconds to wait.
    """

    template_fields: Sequence[str] = ("generation_id", "hedra_conn_id")
    ui_color = "#efe9ff"

    def __init__(
        self,
        *,
        generation_id: str,
        hedra_conn_id: str = HedraHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = 15.0,
        timeout: timedelta | float = 21_600.0,
        **kwargs: Any,
    ) -> None:
        # Whatever is passed: a decorator passes an explicit False, partial() an explicit None.
        kwargs["multiple_outputs"] = MULTIPLE_OUTPUTS
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.generation_id = generation_id
        self.hedra_conn_id = hedra_conn_id
        self.deferrable = deferrable

    @property
    def poll_interval(self) -> float:
        """Seconds between two looks at the most, as the trigger calls it."""
        return float(self.poke_interval)

    @cached_property
    def hook(self) -> HedraHook:
        """The hook of this sensor's connection."""
        return HedraHook(self.hedra_conn_id)

    @cached_property
    def _progress(self) -> ProgressLog:
        from hedra_provider.api.waiting import ProgressLog

        return ProgressLog(self.log.info)

    @cached_property
    def _began(self) -> float:
        return time.monotonic()

    def execute(self, context: Context) -> Any:
        """Look once; if it is not finished, wait as the mode says."""
        with self.hook:
            if not self.deferrable:
                return super().execute(context)
            found = self._poke_in_soft_fail(context)
        if found:
            return found.xcom_value
        self.defer(**deferral(self, self.generation_id, time.time() + patience_seconds(self)))
        raise AssertionError("defer() raises")

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look once.

        A look that failed for a moment counts as "still running": the next one comes after the interval.

        :raises AirflowFailException: If the generation failed, is unknown, or Hedra refuses the key.
        """
        from hedra_provider.api import calls
        from hedra_provider.api.errors import HedraError
        from hedra_provider.api.waiting import UNKNOWN_GRACE_SECONDS, unknown_generation

        elapsed = self._elapsed_seconds(context)
        try:
            generation = self.hook.get_conn().run(calls.get_status(self.generation_id))
        except HedraError as error:
            if not error.retryable:
                self._fail(error)
            self.log.warning("A look at generation %s failed: %s", self.generation_id, error)
            return PokeReturnValue(is_done=False)
        if generation is None:
            if elapsed > UNKNOWN_GRACE_SECONDS:
                self._fail(unknown_generation(self.generation_id))
            self.log.info("Hedra does not know generation %s yet.", self.generation_id)
            return PokeReturnValue(is_done=False)
        self._progress.saw(generation, elapsed)
        if not generation.is_finished:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._result(context, generation))

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the trigger fired."""
        from hedra_provider.api.errors import HedraError, HedraWaitTimeoutError

        with self.hook:
            try:
                return self._result(context, read_event(event))
            except HedraWaitTimeoutError as error:
                raise AirflowSensorTimeout(str(error)) from error
            except HedraError as error:
                self._fail(error)

    def _poke_in_soft_fail(self, context: Context) -> PokeReturnValue:
        """Poke as BaseSensorOperator does in its own loop: what may be soft is skipped."""
        try:
            return self.poke(context)
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping: {error}") from error
            raise

    def _result(self, context: Context, generation: Generation) -> dict[str, Any]:
        """Leave the facts in XCom, and fail with a generation that failed."""
        from hedra_provider.api.error_answers import generation_error

        result = generation_result(
            generation,
            row=read_row(self.hook.get_conn(), generation.id, self.log),
            hedra_conn_id=self.hedra_conn_id,
            workspace_id=self.hook.settings.workspace_id,
        )
        context["ti"].xcom_push(key=XCOM_RESULT, value=result)
        if generation.is_failed:
            self._fail(generation_error(generation.id, generation.error, generation.error_message))
        return outputs(context, result)

    def _fail(self, error: HedraError) -> NoReturn:
        """Fail for good: waiting again can't mend what a sensor finds."""
        from hedra_provider.api.errors import HedraGenerationError

        message = f"{type(error).__name__}: {error}"
        if isinstance(error, HedraGenerationError):
            message += " Clear the task that submitted it; a retry of this sensor can't help."
        raise AirflowFailException(message) from error

    def _elapsed_seconds(self, context: Context) -> float:
        """Seconds since the wait began; over all reschedules, which run in processes of their own."""
        if self.reschedule:
            first = context["ti"].get_first_reschedule_date(context)
            return (datetime.now(UTC) - first).total_seconds() if first else 0.0
        return time.monotonic() - self._began
