"""The sensors: wait for a generation, or for credits."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from hedra_provider.api.errors import (
    TRY_AGAIN,
    HedraError,
    HedraGenerationError,
    HedraValueError,
    HedraWaitTimeoutError,
    join_sentences,
)
from hedra_provider.arguments import (
    Argument,
    flag,
    generation_id,
    number,
    read_argument,
    read_arguments,
    us_dollars,
    whole_credits,
    word,
)
from hedra_provider.deferral import defer_until, time_limit, wait_seconds
from hedra_provider.events import generation_ids_of, outcome_of, read_credits_event, read_event
from hedra_provider.exceptions import airflow_error, report
from hedra_provider.hooks import HedraHook
from hedra_provider.records import CREDITS, balance_words, json_amount
from hedra_provider.triggers import HedraCreditsTrigger, HedraGenerationTrigger
from hedra_provider.xcom import MULTIPLE_OUTPUTS, XCOM_RESULT, generation_result, outputs, read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.polling.wait import GenerationWait
    from hedra_provider.records import Generation
    from hedra_provider.service.protocol import Call


DEFAULT_DEFERRABLE = conf.getboolean("operators", "default_deferrable", fallback=False)


class HedraSensor(BaseSensorOperator):
    """
    The base of the sensors.

    :param hedra_conn_id: The Airflow connection; ``hedra_default`` by default.
    :param deferrable: Whether to wait in the triggerer, without a worker. If not, ``mode`` says how to wait.
        By default what ``[operators] default_deferrable`` says.
    """

    template_fields: Sequence[str] = ("hedra_conn_id",)
    arguments: ClassVar[Mapping[str, Argument]] = {
        "hedra_conn_id": Argument(word, default=HedraHook.default_conn_name)
    }
    """How each template field is read, see :mod:`hedra_provider.arguments`."""

    poll_seconds: ClassVar[float]
    """The default of ``poke_interval``, in seconds."""

    timeout_seconds: ClassVar[float]
    """The default of ``timeout``, in seconds."""

    ui_color = "#efe9ff"

    def __init__(
        self,
        *,
        hedra_conn_id: str = HedraHook.default_conn_name,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        # Overrides what is passed: a decorator passes an explicit False, partial() an explicit None.
        kwargs["multiple_outputs"] = MULTIPLE_OUTPUTS
        for name, default in (("poke_interval", self.poll_seconds), ("timeout", self.timeout_seconds)):
            # Airflow's base class takes numbers and timedeltas, but neither None nor text.
            if not isinstance(kwargs.get(name), timedelta):
                kwargs[name] = read_argument(Argument(number, default), kwargs.get(name), name)
        super().__init__(**kwargs)
        self.hedra_conn_id = hedra_conn_id
        self.deferrable = read_argument(Argument(flag, DEFAULT_DEFERRABLE), deferrable, "deferrable")

    def read_arguments(self) -> None:
        """
        Validate the template fields, and replace each by the value it means. Entry methods call this first.

        :raises AirflowFailException: If a value is invalid; the message names its argument.
        """
        try:
            read = read_arguments(self.arguments, vars(self))
        except HedraError as error:
            self._fail(error)
        # Bypasses Airflow's __setattr__, which searches every value for XComs: none are left by now.
        vars(self).update(read)

    @cached_property
    def hook(self) -> HedraHook:
        """The hook of this sensor's connection."""
        return HedraHook(self.hedra_conn_id)

    def make_trigger(self, end_time: float) -> HedraGenerationTrigger | HedraCreditsTrigger:
        """
        Return the trigger that waits for this sensor.

        :param end_time: The trigger's deadline, in epoch seconds.
        """
        raise NotImplementedError

    @property
    def _poll_interval(self) -> float:
        """``poke_interval`` in seconds; 1 for 0, which Airflow allows and which would poll in a busy loop."""
        return float(self.poke_interval) or 1.0

    @property
    def _next(self) -> str:
        """Time until the next poll, for messages."""
        return f"{float(self.poke_interval):.0f} s"

    def execute(self, context: Context) -> Any:
        """Poll once. Then wait in the triggerer, or as ``mode`` says."""
        self.read_arguments()
        with self.hook:
            if not self.deferrable:
                return super().execute(context)
            try:
                found = self.poke(context)
            except AirflowException as error:
                # As BaseSensorOperator does in its own loop.
                if self.soft_fail or self.never_fail:
                    raise AirflowSkipException(f"Skipping: {error}") from error
                raise
        if isinstance(found, PokeReturnValue) and found.is_done:
            return found.xcom_value
        return self._defer()

    def _defer(self, end_time: float | None = None) -> NoReturn:
        """Wait in the triggerer until a deadline that was set before, else for the sensor's timeout."""
        end_time = end_time or time.time() + wait_seconds(self)
        defer_until(self, self.make_trigger(end_time), end_time=end_time)

    def _fail(self, error: HedraError) -> NoReturn:
        """Fail the task. An error that is not retryable leaves Airflow no retry."""
        if isinstance(error, HedraWaitTimeoutError):
            raise AirflowSensorTimeout(str(error)) from None
        if isinstance(error, HedraGenerationError):
            # Another generation may succeed, but this sensor's retry would read the same failed one.
            error.retryable = False
            error.remedy = join_sentences(
                (error.remedy or "").replace(TRY_AGAIN, ""),
                "Clear the task that submitted it; a retry of this sensor can't help.",
            )
        # A sensor that is skipped has not failed: no error line goes to its log.
        skips = self.soft_fail or self.never_fail
        raise (airflow_error(error) if skips else report(error)) from None


class HedraGenerationSensor(HedraSensor):
    """
    Wait until a generation is complete.

    A failed generation fails the sensor at once. A retry of the sensor can't help: clear the task that
    submitted the generation. In production prefer an operator that waits itself, as its retry submits another
    generation.

    Returns, and pushes as XCom ``generation``, the dict of :func:`hedra_provider.xcom.generation_result`.

    :param generation_id: The generation: its id, or any dict with ``generation_id``, as the operators return.
        Required.
    :param poke_interval: Pause between two polls, in seconds, or a timedelta; the longest pause, where the
        sensor is deferred. A short one notices the end sooner and sends more requests. Default: ``15.0``.
    :param timeout: Timeout of the wait, in seconds, or a timedelta. An earlier ``execution_timeout`` counts
        instead. Default: ``21600.0``.
    :param hedra_conn_id: The Airflow connection. Default: ``'hedra_default'``.
    :param deferrable: Whether to wait in the triggerer, which frees the worker slot and needs a running
        triggerer. False: ``mode`` decides. Default: Airflow's ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("generation_id", *HedraSensor.template_fields)
    arguments: ClassVar[Mapping[str, Argument]] = {
        "generation_id": Argument(
            generation_id, required=True, remedy='Give the id of an earlier task: output["generation_id"].'
        ),
        **HedraSensor.arguments,
    }
    poll_seconds = 15.0
    timeout_seconds = 21_600.0

    def __init__(
        self,
        *,
        generation_id: str | Mapping[str, Any],
        poke_interval: timedelta | float = 15.0,
        timeout: timedelta | float = 21_600.0,
        hedra_conn_id: str = HedraHook.default_conn_name,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            poke_interval=poke_interval,
            timeout=timeout,
            hedra_conn_id=hedra_conn_id,
            deferrable=deferrable,
            **kwargs,
        )
        # Any: read_arguments() replaces what was passed by the id.
        self.generation_id: Any = generation_id

    @cached_property
    def _wait(self) -> GenerationWait:
        """Decides what goes to the log. Airflow's loop decides when to poll again and when to end."""
        from hedra_provider.polling.wait import GenerationWait

        return GenerationWait(
            self.generation_id,
            began=0.0,
            deadline=float("inf"),
            poll_interval=self._poll_interval,
            time_limit=time_limit(self),
        )

    @cached_property
    def _began(self) -> float:
        return time.monotonic()

    def make_trigger(self, end_time: float) -> HedraGenerationTrigger:
        """Return the trigger that waits for this sensor."""
        return HedraGenerationTrigger(
            generation_ids=[self.generation_id],
            end_time=end_time,
            hedra_conn_id=self.hedra_conn_id,
            poll_interval=self._poll_interval,
            time_limit=time_limit(self),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Poll once.

        A temporary error counts as "still running": the sensor polls again after the interval.

        :return: Whether the generation is complete, and then its result.
        :raises AirflowFailException: If the generation failed, is unknown, or Hedra rejects the key.
        """
        from hedra_provider.polling.progress import progress_line
        from hedra_provider.polling.wait import UNKNOWN_GRACE_SECONDS, PollAgain

        elapsed = self._elapsed_seconds(context)
        try:
            # A rescheduled sensor has no memory of earlier polls: only the elapsed time excuses a 404.
            is_new = elapsed <= UNKNOWN_GRACE_SECONDS
            hedra = self.hook.service
            hedra.require_own(self.generation_id)
            poll: Call[Generation | None] = (
                hedra.poll(self.generation_id) if is_new else hedra.known(self.generation_id, repeat=True)
            )
            generation = self.hook.get_conn().run(poll)
        except HedraError as error:
            if not error.retryable:
                self._fail(error)
            self.log.warning(
                "Poll of generation %s failed, next poll in %s: %s", self.generation_id, self._next, error
            )
            return PokeReturnValue(is_done=False)
        if generation is None:
            self.log.warning(
                "Hedra answers 404 for generation %s, as it may for a moment after a submit. Next poll in "
                "%s; the sensor fails if Hedra does not know the generation %.0f s after the sensor began.",
                self.generation_id,
                self._next,
                UNKNOWN_GRACE_SECONDS,
            )
            return PokeReturnValue(is_done=False)
        decision = self._wait.on_status(generation, polled_at=elapsed, now=elapsed, jitter=0.0)
        if isinstance(decision, PollAgain):
            if decision.is_update:
                self.log.info(progress_line(generation, elapsed))
            if decision.warning:
                self.log.warning(decision.warning)
            return PokeReturnValue(is_done=False)
        self.log.info(progress_line(generation, elapsed))
        return PokeReturnValue(is_done=True, xcom_value=self._result(context, generation))

    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None = None, end_time: float | None = None
    ) -> dict[str, Any]:
        """
        Finish after the trigger fired, or wait on until the same deadline if the event is about another wait.

        :param event: What the trigger fired.
        :param end_time: The deadline of the wait, in epoch seconds.
        """
        self.read_arguments()
        if outcome_of(event) and generation_ids_of(event) != [self.generation_id.lower()]:
            # SQLite reuses the id of a deleted trigger, so the event of another wait can arrive (seen on
            # 3.3.2).
            self.log.warning(
                "Ignored an event about another wait (%s); still waiting for generation %s.",
                ", ".join(generation_ids_of(event)) or "no generation",
                self.generation_id,
            )
            self._defer(end_time)
        with self.hook:
            try:
                (generation,) = read_event(event)
                return self._result(context, generation)
            except HedraError as error:
                self._fail(error)

    def _result(self, context: Context, generation: Generation) -> dict[str, Any]:
        """Push the result as XCom, then return it, or fail if the generation failed."""
        from hedra_provider.api.error_bodies import generation_error
        from hedra_provider.service.expiry import short_time_sentence

        rows = read_rows(self.hook.get_conn(), self.hook.service, [generation.id], self.log)
        result = generation_result(
            generation,
            row=rows.get(generation.id),
            hedra_conn_id=self.hedra_conn_id,
            workspace_id=self.hook.settings.workspace_id,
        )
        context["ti"].xcom_push(key=XCOM_RESULT, value=result)
        if generation.is_failed:
            self._fail(generation_error(generation.id, generation.error, generation.error_message))
        if warning := short_time_sentence(result["expires_at"], time.time()):
            self.log.warning("Generation %s: %s", generation.id, warning)
        cost = balance_words(result["cost"], result["currency"])
        self.log.info("Generation %s is complete; it cost %s.", generation.id, cost)
        return outputs(context, result)

    def _elapsed_seconds(self, context: Context) -> float:
        """Seconds since the wait began, over all reschedules, each of which runs in another process."""
        if self.reschedule:
            first = context["ti"].get_first_reschedule_date(context)
            return (datetime.now(UTC) - first).total_seconds() if first else 0.0
        return time.monotonic() - self._began


class HedraCreditsSensor(HedraSensor):
    """
    Wait until there is enough to spend, e.g. before a batch, while somebody tops the account up.

    Returns, and pushes key by key, ``{"available", "minimum", "currency", "workspace_id"}``. ``currency`` is
    ``credits`` with a v2 key and ``USD`` with a v3 key.

    :param minimum: The balance to wait for with a v2 key, in credits. Give it, or ``minimum_usd``, or both:
        the one that fits the key counts. Default: ``None``.
    :param minimum_usd: The balance to wait for with a v3 key, in US dollars. Default: ``None``.
    :param workspace_id: The workspace whose balance counts. None: the connection's. Default: ``None``.
    :param poke_interval: Pause between two polls, in seconds, or a timedelta. A short one notices a top-up
        sooner and sends more requests. Default: ``300.0``.
    :param timeout: Timeout of the wait, in seconds, or a timedelta. An earlier ``execution_timeout`` counts
        instead. Default: ``86400.0``.
    :param hedra_conn_id: The Airflow connection. Default: ``'hedra_default'``.
    :param deferrable: Whether to wait in the triggerer, which frees the worker slot and needs a running
        triggerer. False: ``mode`` decides. Default: Airflow's ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("minimum", "minimum_usd", "workspace_id", *HedraSensor.template_fields)
    arguments: ClassVar[Mapping[str, Argument]] = {
        "minimum": Argument(whole_credits),
        "minimum_usd": Argument(us_dollars),
        "workspace_id": Argument(word),
        **HedraSensor.arguments,
    }
    poll_seconds = 300.0
    timeout_seconds = 86_400.0

    def __init__(
        self,
        *,
        minimum: int | None = None,
        minimum_usd: Decimal | float | str | None = None,
        workspace_id: str | None = None,
        poke_interval: timedelta | float = 300.0,
        timeout: timedelta | float = 86_400.0,
        hedra_conn_id: str = HedraHook.default_conn_name,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            poke_interval=poke_interval,
            timeout=timeout,
            hedra_conn_id=hedra_conn_id,
            deferrable=deferrable,
            **kwargs,
        )
        self.minimum = minimum
        # Any: read_arguments() replaces what was passed by the amount.
        self.minimum_usd: Any = minimum_usd
        self.workspace_id = workspace_id

    @property
    def _workspace(self) -> str | None:
        return self.workspace_id or self.hook.settings.workspace_id

    @property
    def _currency(self) -> str:
        return self.hook.service.currency

    @property
    def _wanted(self) -> Decimal | int:
        """
        The balance to wait for, in the currency of the key.

        :raises HedraValueError: If only the one in the other currency is given, or none.
        """
        names = ("minimum", "minimum_usd") if self._currency == CREDITS else ("minimum_usd", "minimum")
        found, other = (getattr(self, name) for name in names)
        if found is None:
            what = f"{names[1]} is given, but" if other is not None else f"{names[0]} is not given:"
            self._fail(
                HedraValueError(
                    f"{what} the connection's key pays with {self._currency}.",
                    param=names[0],
                    remedy=f"Give {names[0]}, in {self._currency}.",
                )
            )
        wanted: Decimal | int = found
        return wanted

    def make_trigger(self, end_time: float) -> HedraCreditsTrigger:
        """Return the trigger that waits for this sensor."""
        return HedraCreditsTrigger(
            minimum=json_amount(self._wanted) or 0,
            currency=self._currency,
            end_time=end_time,
            workspace_id=self._workspace,
            hedra_conn_id=self.hedra_conn_id,
            poll_interval=self._poll_interval,
            time_limit=time_limit(self),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Poll once.

        A temporary error counts as "not yet": the sensor polls again after the interval.

        :return: Whether there are enough credits, and then the result.
        :raises AirflowFailException: If Hedra rejects the key, or the key has no such workspace.
        """
        minimum, currency = self._wanted, self._currency
        try:
            read = self.hook.service.balance(self._workspace, must_exist=True)
            available = self.hook.get_conn().run(read).available
        except HedraError as error:
            if not error.retryable:
                self._fail(error)
            self.log.warning("Poll of the balance failed, next poll in %s: %s", self._next, error)
            return PokeReturnValue(is_done=False)
        wanted, found = balance_words(minimum, currency), balance_words(available, currency)
        self.log.info("Waiting for %s; available: %s.", wanted, found)
        if available is None or available < minimum:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._result(context, available))

    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None = None, end_time: float | None = None
    ) -> dict[str, Any]:
        """
        Finish after the trigger fired, or wait on until the same deadline if the event is about another wait.

        :param event: What the trigger fired.
        :param end_time: The deadline of the wait, in epoch seconds.
        """
        self.read_arguments()
        # SQLite reuses the id of a deleted trigger, so the event of another wait can arrive (seen on 3.3.2).
        if outcome_of(event) == "turn" or (outcome_of(event) and generation_ids_of(event)):
            self.log.warning(
                "Ignored an event about another wait (%s); still waiting for %s.",
                ", ".join(generation_ids_of(event)) or "no generation",
                balance_words(self._wanted, self._currency),
            )
            self._defer(end_time)
        try:
            available = read_credits_event(event)
        except HedraError as error:
            self._fail(error)
        if Decimal(str(available)) < self._wanted:
            self.log.warning(
                "Ignored an event about %s; still waiting for %s.",
                balance_words(available, self._currency),
                balance_words(self._wanted, self._currency),
            )
            self._defer(end_time)
        return self._result(context, available)

    def _result(self, context: Context, available: Decimal | float | int) -> dict[str, Any]:
        amount = json_amount(available) if isinstance(available, (Decimal, int)) else available
        result = {"available": amount, "minimum": json_amount(self._wanted), "currency": self._currency}
        return outputs(context, result | {"workspace_id": self._workspace})
