"""The operator that adds up what a whole table will cost before its first row is paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.arguments import (
    Argument,
    read_argument,
    read_arguments,
    request_body,
    rows,
    whole_credits,
)
from hedra_provider.exceptions import as_airflow_errors
from hedra_provider.operators.avatar import (
    FILE_ARGUMENTS,
    REQUEST_ARGUMENTS,
    TO_BE_UPLOADED,
    avatar_request,
    default_arguments,
)
from hedra_provider.operators.base import HedraOperator
from hedra_provider.xcom import outputs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.responses import Model
    from hedra_provider.submission.pricing import Estimate

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
    Estimate what requests will cost together; fail if that is more than may be spent or than is there.

    Put it before a mapped task: credits that run out in the middle of a batch leave half of it made.
    Returns ``{"requests", "low", "high", "available", "workspace_id"}``: how many requests there are, the
    credits that they will cost at the least and at the most, the credits that are there, and the workspace
    that pays.

    :param requests: What will be asked for: bodies of ``POST /generations`` (with ``type``), or arguments of
        ``HedraAvatarVideoOperator``, which are estimated as that operator estimates them. Of these ``model``,
        ``aspect_ratio``, ``resolution``, ``duration_ms``, ``audio_start_ms``, ``text``, ``speed`` and
        ``extra_request`` make the price, and ``audio`` where it is an asset's id.
    :param max_credits: The most that all of them may cost. None: what is there.
    """

    template_fields: Sequence[str] = ("requests", "max_credits", *HedraOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"requests": "json"}
    arguments: ClassVar[Mapping[str, Argument]] = {
        "requests": Argument(rows, required=True, remedy="Give a list of requests; it may be empty."),
        "max_credits": Argument(whole_credits),
        **HedraOperator.arguments,
    }

    def __init__(
        self, *, requests: Sequence[Mapping[str, Any]], max_credits: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.requests = requests
        self.max_credits = max_credits

    def execute(self, context: Context) -> dict[str, Any]:
        """Add up, and compare."""
        from hedra_provider.api import calls
        from hedra_provider.submission.budget import estimate_requests, require_available, require_within
        from hedra_provider.submission.pricing import total

        with as_airflow_errors(context):
            self.read_arguments()
            with self.hook.get_conn() as client:
                models = client.run(calls.list_models())
                bodies = [_body(index, row, models) for index, row in enumerate(self.requests)]
                estimates = client.run(estimate_requests(bodies, catalogue=models))
                found = total([_told(index, one) for index, one in enumerate(estimates)])
                workspace_id = self.paying_workspace
                available = client.run(calls.get_credits()).available(workspace_id)
                many = f"{len(bodies)} request{'' if len(bodies) == 1 else 's'}"
                self.log.info("%s: %s. The balance is %s credits.", many, found, available)
                if self.max_credits is not None:
                    together = f"{many} together" if len(bodies) != 1 else many
                    require_within(found, self.max_credits, together)
                require_available(found, available, workspace_id)
        result = {"requests": len(bodies), "low": found.low, "high": found.high, "available": available}
        return outputs(context, result | {"workspace_id": workspace_id})


def _body(index: int, row: Any, models: Sequence[Model]) -> Mapping[str, Any]:
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.requests import batch_size

    where = f"requests[{index}]"
    if not isinstance(row, Mapping):
        raise HedraValueError(f"{where} is {type(row).__name__}, not a dict.", param="requests")
    try:
        body = request_body(row, "request") if "type" in row else _avatar_body(row, models)
        # A template may have made it a text.
        return {**body, "batch_size": batch_size(body)}
    except HedraValueError as error:
        error.message = f"{where}: {error.message}"
        raise


def _told(index: int, found: Estimate | None) -> Estimate:
    from hedra_provider.api.errors import HedraValueError

    if found is None:
        raise HedraValueError(
            f"requests[{index}]: what it will cost can't be told; its model is not in the catalogue, "
            "publishes no price, or no length is known.",
            param="requests",
            remedy="Give a text, an audio's asset id, or duration_ms. Nothing was submitted.",
        )
    return found


def _avatar_body(row: Mapping[str, Any], models: Sequence[Model]) -> dict[str, Any]:
    """Return the body of the avatar video that these arguments ask for, as far as it makes the price."""
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.redaction import shown
    from hedra_provider.api.requests import is_uuid

    asked = default_arguments() | read_arguments({name: REQUEST_ARGUMENTS[name] for name in _PRICED}, row)
    audio, audio_id = read_argument(FILE_ARGUMENTS["audio"], row.get("audio"), "audio"), None
    if audio or not asked["text"]:
        audio_id = audio if audio and is_uuid(audio) else TO_BE_UPLOADED
    if asked["text"]:
        # Who speaks makes no price, and need not be known yet.
        asked["voice_id"] = TO_BE_UPLOADED
    body = avatar_request(asked, image_id=TO_BE_UPLOADED, audio_id=audio_id, catalogue=models)
    if body.get("audio_id") != TO_BE_UPLOADED:
        return body
    # An audio that is not there yet, or not named: what was asked for says how long the video gets.
    del body["audio_id"]
    if "duration_ms" not in body["generated_video_inputs"]:
        raise HedraValueError(
            f"how long {shown(audio)} is can't be told from here."
            if audio
            else "it has neither audio, text nor duration_ms.",
            param="requests",
            remedy="Give duration_ms, or upload it first and give its asset id." if audio else None,
        )
    return body
