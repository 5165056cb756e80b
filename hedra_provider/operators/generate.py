"""The operator for any request body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.arguments import Argument, is_given, request_body
from hedra_provider.hooks import HedraHook
from hedra_provider.operators.generation import (
    DEFAULT_DEFERRABLE,
    POLL_INTERVAL_SECONDS,
    TIMEOUT_SECONDS,
    GeneratingOperator,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from datetime import timedelta
    from decimal import Decimal
    from typing import Literal

    from hedra_provider.api.client import HedraClient
    from hedra_provider.operators.task_run import TaskRun
    from hedra_provider.service.protocol import Draft


class HedraGenerateOperator(GeneratingOperator):
    """
    Generate with any request body of ``POST /generations``, wait for it, and store the result.

    What a retry does and what is returned:
    :class:`hedra_provider.operators.generation.GeneratingOperator`.

    :param request: The body, with ``type`` and without ids: a dict, or its JSON text. Fields that take an
        asset's id take a dict with ``asset_id`` too, and numbers may be texts. With a ``batch_size`` above 1
        its variations are paid for, adopted and replaced one by one. Required.
    :param destination: The place to store the result: a local path or a URI that ObjectStoragePath opens. A
        path that ends in ``/`` is a folder, as a batch needs. None: the file stays at Hedra, whose URLs
        expire. Default: ``None``.
    :param generation_id: A generation to adopt in place of a submit: its id, or any dict with
        ``generation_id``. For mapped tasks a dict of these by map index, e.g. ``{3: "..."}``; a task whose
        index is not in it submits. Nothing is submitted and no source is read for a generation that is
        adopted. Default: ``None``.
    :param idempotency_key: The purpose of the generation, e.g. ``"shop/{{ task.name }}"``. Runs and tasks
        with the same key share one generation and pay once, unless their requests differ. White space around
        it does not count. None, or a template that renders nothing: each task run has its own key.
        Default: ``None``.
    :param on_clear: The effect of a clear of the task. ``adopt`` reuses the paid generation unless the
        request changed; ``new`` pays for another one, and can't go with an ``idempotency_key``.
        Default: ``'adopt'``.
    :param max_credits: Limit of one submit, in credits. An estimate from Hedra's published prices is compared
        by its upper bound, so a request close to the limit may be rejected. None: no limit.
        Default: ``None``.
    :param max_cost: The same limit for a v3 key, in US dollars. A DAG for both kinds of key gives both: the
        one that fits the key counts. Only the other one is an error. None: no limit. Default: ``None``.
    :param wait_for_completion: Whether to wait for the generation. False: the task ends after the submit, and
        a later task must wait for the file and fetch it. Default: ``True``.
    :param deferrable: Whether to wait in the triggerer, which frees the worker slot and needs a running
        triggerer. Default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: Longest pause between two polls, in seconds, or a timedelta. A short one notices the
        end sooner and sends more requests. Default: ``15.0``.
    :param timeout: Timeout of the wait for the generation, and before it of the wait for a retry slot after
        a 429; in seconds, or a timedelta. An earlier ``execution_timeout`` counts instead.
        Default: ``21600.0``.
    :param validate: Whether to check a video whose body names its model against the account's models and
        their limits before the submit; it costs one request. Default: ``True``.
    :param workspace_id: The workspace that owns and pays. None: the connection's. Default: ``None``.
    :param hedra_conn_id: The Airflow connection. Default: ``'hedra_default'``.
    """

    template_fields: Sequence[str] = ("request", *GeneratingOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}
    arguments: ClassVar[Mapping[str, Argument]] = {
        "request": Argument(
            request_body, required=True, remedy="Give the body of POST /generations as a dict."
        ),
        **GeneratingOperator.arguments,
    }

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str,
        destination: str | None = None,
        generation_id: str | Mapping[Any, Any] | None = None,
        idempotency_key: str | None = None,
        on_clear: Literal["adopt", "new"] | None = "adopt",
        max_credits: int | None = None,
        max_cost: Decimal | float | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = DEFAULT_DEFERRABLE,
        poll_interval: timedelta | float = POLL_INTERVAL_SECONDS,
        timeout: timedelta | float = TIMEOUT_SECONDS,
        validate: bool = True,
        workspace_id: str | None = None,
        hedra_conn_id: str = HedraHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            destination=destination,
            generation_id=generation_id,
            idempotency_key=idempotency_key,
            on_clear=on_clear,
            max_credits=max_credits,
            max_cost=max_cost,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            validate=validate,
            workspace_id=workspace_id,
            hedra_conn_id=hedra_conn_id,
            **kwargs,
        )
        # Any, until read_arguments() makes it what it means.
        self.request: Any = request

    def draft_request(self, client: HedraClient, run: TaskRun, files: ExitStack) -> Draft:
        """
        Check the body; where it is a video that names its model, against that model's limits too.

        :raises HedraValueError: If the request is wrong.
        """
        own = self.request.get("workspace_id")
        draft = self.hook.service.draft_body(
            self.request,
            workspace_id=self.workspace_id
            or (own if is_given(own) else None)
            or self.hook.settings.workspace_id,
            validate=self.validate,
        )
        return client.run(draft)

    def variations(self) -> int | None:
        """Return the ``batch_size`` of the request."""
        return self.hook.service.variations(self.request) if isinstance(self.request, Mapping) else None

    def _name(self) -> str | None:
        name: str | None = self.request.get("name")
        return name
