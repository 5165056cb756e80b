"""The operator that adds up what a whole table will cost before its first row is paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hedra_provider.failures import as_airflow_errors
from hedra_provider.operators.base import HedraOperator, given
from hedra_provider.operators.submitting import whole_credits
from hedra_provider.results import outputs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.answers import Model
    from hedra_provider.api.pricing import Estimate

_VIDEO_INPUTS = ("resolution", "aspect_ratio", "duration_ms")


class HedraCreditsCheckOperator(HedraOperator):
    """
    Estimate what requests will cost together; fail if that is more than may be spent or than is there.

    Put it before a mapped task: credits that run out in the middle of a batch leave half of it made.
    Returns ``{"requests", "low", "high", "available", "workspace_id"}``; all but the first are credits.

    :param requests: What will be asked for: bodies of ``POST /generations`` (with ``type``), or arguments of
        ``HedraAvatarVideoOperator``. Of these ``model``, ``resolution``, ``duration_ms``, ``text`` and
        ``speed`` make the price, and ``audio`` where it is an asset's id.
    :param max_credits: The most that all of them may cost. None: what is there.
    """

    template_fields: Sequence[str] = ("requests", "max_credits", *HedraOperator.template_fields)

    def __init__(
        self, *, requests: Sequence[Mapping[str, Any]], max_credits: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.requests = requests
        self.max_credits = max_credits

    def execute(self, context: Context) -> dict[str, Any]:
        """Add up, and compare."""
        from hedra_provider.api import calls
        from hedra_provider.api.budget import estimate_requests, require_available, require_within
        from hedra_provider.api.pricing import total

        with as_airflow_errors(), self.hook.get_conn() as client:
            models = client.run(calls.list_models())
            rows = list(self.requests)
            bodies = [_body(index, row, models) for index, row in enumerate(rows)]
            estimates = client.run(estimate_requests(bodies, catalogue=models))
            found = total([_told(index, one) for index, one in enumerate(estimates)])
            workspace_id = self.paying_workspace
            available = client.run(calls.get_credits()).available(workspace_id)
            self.log.info("%d requests: %s; %s are there.", len(rows), found, available)
            limit = whole_credits(self.max_credits)
            if limit is not None:
                require_within(found, limit, f"{len(rows)} requests together")
            require_available(found, available, workspace_id)
        result = {"requests": len(rows), "low": found.low, "high": found.high, "available": available}
        return outputs(context, result | {"workspace_id": workspace_id})


def _body(index: int, row: Any, models: Sequence[Model]) -> Mapping[str, Any]:
    from hedra_provider.api.errors import HedraValueError

    if not isinstance(row, Mapping):
        raise HedraValueError(f"requests[{index}] is {type(row).__name__}, not a dict.", param="requests")
    return row if "type" in row else _avatar_body(row, models, f"requests[{index}]")


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


def _avatar_body(row: Mapping[str, Any], models: Sequence[Model], where: str) -> dict[str, Any]:
    """Return what makes the price of the avatar video that these arguments ask for."""
    from hedra_provider.api.cleaning import shown
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.requests import is_uuid, model_fields

    audio, text = given(row.get("audio")), given(row.get("text"))
    inputs = {"resolution": "720p"} | {name: row[name] for name in _VIDEO_INPUTS if given(row.get(name))}
    body: dict[str, Any] = {
        "type": "video",
        **model_fields(str(given(row.get("model")) or "avatar"), models),
        "generated_video_inputs": inputs,
    }
    if audio and not is_uuid(str(audio)) and "duration_ms" not in inputs:
        raise HedraValueError(
            f"{where}: how long {shown(audio)} is can't be told from here.",
            param="requests",
            remedy="Give duration_ms, or upload it first and give its asset id.",
        )
    if not audio and not text and "duration_ms" not in inputs:
        raise HedraValueError(f"{where} has neither audio, text nor duration_ms.", param="requests")
    if audio and is_uuid(str(audio)):
        body["audio_id"] = str(audio)
    elif text:
        body["audio_generation"] = {"text": text, "speed": given(row.get("speed")) or 1.0}
    return body
