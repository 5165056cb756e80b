"""The operator that adds up what a whole table will cost before its first row is paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.api.errors import HedraValueError
from hedra_provider.arguments import (
    Argument,
    is_given,
    read_argument,
    read_arguments,
    request_body,
    rows,
    us_dollars,
    whole_credits,
)
from hedra_provider.exceptions import as_airflow_errors
from hedra_provider.hooks import HedraHook
from hedra_provider.operators.avatar_request import FILE_ARGUMENTS, REQUEST_ARGUMENTS
from hedra_provider.operators.base import HedraOperator
from hedra_provider.records import json_amount
from hedra_provider.service.avatar import AvatarRequest, PricedRequest
from hedra_provider.xcom import outputs

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.service.protocol import Estimate

_PRICED = (
    "text",
    "speed",
    "model",
    "aspect_ratio",
    "resolution",
    "duration_ms",
    "audio_start_ms",
    "extra_request",
)
"""Arguments of ``HedraAvatarVideoOperator`` that make the price, besides ``audio``."""


class HedraCreditsCheckOperator(HedraOperator):
    """
    Estimate what requests will cost together; fail if that is more than the limit or than the balance.

    Put it before a mapped task: credits that run out in the middle of a batch leave half of it made.
    So its limit is the ceiling of a whole DAG run: nothing is counted while mapped tasks submit side by side,
    and a retry or a clear pays nothing again for what is made.

    Returns ``{"requests", "low", "high", "available", "currency", "workspace_id"}``: the number of requests,
    the lower and the upper bound of their cost, the balance, the currency of these three (``credits`` or
    ``USD``), and the workspace that pays.

    :param requests: The requests to estimate: bodies of ``POST /generations`` (with ``type``), or arguments
        of ``HedraAvatarVideoOperator``, which are estimated as that operator estimates them. Of these
        ``model``, ``aspect_ratio``, ``resolution``, ``duration_ms``, ``audio_start_ms``, ``text``, ``speed``
        and ``extra_request`` decide the price, and ``audio`` where it is an asset's id. Required.
    :param max_credits: Limit of all requests together, in credits; it is compared with the upper bound of the
        estimate. None: the balance is the limit. Default: ``None``.
    :param max_cost: The same limit for a v3 key, in US dollars. A DAG for both kinds of key gives both: the
        one that fits the key counts. Only the other one is an error. None: the balance is the limit.
        Default: ``None``.
    :param workspace_id: The workspace that owns and pays. None: the connection's. Default: ``None``.
    :param hedra_conn_id: The Airflow connection. Default: ``'hedra_default'``.
    """

    template_fields: Sequence[str] = ("requests", "max_credits", "max_cost", *HedraOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"requests": "json"}
    arguments: ClassVar[Mapping[str, Argument]] = {
        "requests": Argument(rows, required=True, remedy="Give a list of requests; it may be empty."),
        "max_credits": Argument(whole_credits),
        "max_cost": Argument(us_dollars),
        **HedraOperator.arguments,
    }

    def __init__(
        self,
        *,
        requests: Sequence[Mapping[str, Any]],
        max_credits: int | None = None,
        max_cost: Decimal | float | str | None = None,
        workspace_id: str | None = None,
        hedra_conn_id: str = HedraHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(workspace_id=workspace_id, hedra_conn_id=hedra_conn_id, **kwargs)
        self.requests = requests
        self.max_credits = max_credits
        # Any, until read_arguments() makes it an amount.
        self.max_cost: Any = max_cost

    def execute(self, context: Context) -> dict[str, Any]:
        """Add up, and compare."""
        from hedra_provider.service.protocol import Limits

        with as_airflow_errors(context):
            self.read_arguments()
            requests = [_priced(index, row) for index, row in enumerate(self.requests)]
            hedra = self.hook.service
            limits = Limits(max_credits=self.max_credits, max_cost=self.max_cost)
            # A limit in the other currency limits nothing: an error, before Hedra is asked.
            limits.of(hedra.currency)
            with self.hook.get_conn() as client:
                estimates = client.run(hedra.estimate_all(requests, param="requests"))
                found = hedra.total([_known(index, one) for index, one in enumerate(estimates)])
                workspace_id = self.paying_workspace
                balance = client.run(hedra.balance(workspace_id))
                many = f"{len(requests)} request{'' if len(requests) == 1 else 's'}"
                self.log.info(
                    "%s: %s. The balance is %s %s.", many, found, balance.available, balance.currency
                )
                together = f"{many} together" if len(requests) != 1 else many
                hedra.require_within(found, limits, together)
                hedra.require_available(found, balance)
        amounts = {"low": found.low, "high": found.high, "available": balance.available}
        facts = {name: json_amount(amount) for name, amount in amounts.items()}
        whose = {"currency": found.currency, "workspace_id": workspace_id}
        return outputs(context, {"requests": len(requests), **facts, **whose})


def _priced(index: int, row: Any) -> PricedRequest:
    where = f"requests[{index}]"
    if not isinstance(row, Mapping):
        raise HedraValueError(f"{where} is {type(row).__name__}, not a dict.", param="requests")
    try:
        return PricedRequest(body=request_body(row, "request")) if "type" in row else _avatar(row)
    except HedraValueError as error:
        error.message = f"{where}: {error.message}"
        raise


def _known(index: int, found: Estimate | None) -> Estimate:
    if found is None:
        raise HedraValueError(
            f"requests[{index}]: its cost is unknown; its model is not in the catalogue, "
            "publishes no price, or no length is known.",
            param="requests",
            remedy="Give a text, an audio's asset id, or duration_ms. Nothing was submitted.",
        )
    return found


def _avatar(row: Mapping[str, Any]) -> PricedRequest:
    """Return the avatar video that these arguments ask for, as far as it makes the price."""
    given = row.get("audio")
    if isinstance(given, Mapping) and given.get("duration_ms") and not is_given(given.get("asset_id")):
        # An upload that passed its file on has measured it (v3).
        row = {"duration_ms": given["duration_ms"], **{k: v for k, v in row.items() if is_given(v)}}
    request = AvatarRequest(**read_arguments({name: REQUEST_ARGUMENTS[name] for name in _PRICED}, row))
    audio = read_argument(FILE_ARGUMENTS["audio"], given, "audio")
    # The portrait and the voice's id have no price: they need not be known yet.
    return PricedRequest(avatar=request, audio=audio)
