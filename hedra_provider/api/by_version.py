"""The calls behind the clients' methods, for the version of Hedra's API that a client speaks.

A method that a version does not have raises an error that names the one to use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hedra_provider.api import calls as v2
from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.lookups import get_known_status, unknown_generation
from hedra_provider.api.v3 import calls as v3

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hedra_provider.api.calls import Call
    from hedra_provider.api.v3 import responses
    from hedra_provider.records import ApiVersion, Voice

SPEECH_MODEL = "elevenlabs-v3"
"""The model of v3 whose voices are listed where none is named."""

INSTEAD: dict[str, tuple[ApiVersion, str]] = {
    "get_credits": (2, "Use get_balance: v3 has US dollars."),
    "list_generations": (2, "Use list_jobs and get_job."),
    "get_balance": (3, "Use get_credits: v2 has credits."),
    "get_usage": (3, "v2 has no usage: use get_credits, or a v3 key."),
    "list_jobs": (3, "Use list_generations."),
    "get_job": (3, "Use get_generation."),
    "estimate": (3, "Use hedra_provider.submission.budget.estimate_request, or a v3 key."),
    "list_deliveries": (3, "v2 has no webhooks: use a v3 key."),
}
"""Each method of one version: the version, and what to use with a key of the other."""


def require_version(version: ApiVersion, method: str) -> None:
    """
    Require that a version of Hedra's API has a method.

    :param version: The client's version.
    :param method: The method's name.
    :raises HedraValueError: If it has not; the error names the method to use.
    """
    needed, instead = INSTEAD[method]
    if version != needed:
        raise HedraValueError(
            f"{method} is a method of v{needed} of Hedra's API, and this client uses v{version}.",
            param=method,
            remedy=instead,
        )


def voices(version: ApiVersion, model: str | None) -> Call[list[Any]]:
    """Return the voices: of one model on v3, of the account on v2."""
    if version == 3:
        return _voices_of(model or SPEECH_MODEL)
    if model is not None:
        raise HedraValueError(
            "list_voices: v2 has one list of voices for all models.", param="model", remedy="Remove model."
        )
    return v2.list_voices()


def models(version: ApiVersion, types: Iterable[str]) -> Call[list[Any]]:
    """Return the catalogue of models, of some types only where they are given."""
    return _models_of(list(types)) if version == 3 else v2.list_models(types)


def generation(version: ApiVersion, generation_id: str) -> Call[Any]:
    """Return a generation that exists."""
    return _known_record(generation_id) if version == 3 else get_known_status(generation_id)


def job(version: ApiVersion, job_id: str) -> Call[responses.Job]:
    """Return a job that exists."""
    require_version(version, "get_job")
    return _known_job(job_id)


def balance(version: ApiVersion) -> Call[responses.BalanceAnswer]:
    """Return what the key's account can spend."""
    require_version(version, "get_balance")
    return v3.get_balance()


def usage(
    version: ApiVersion, start: str | None, end: str | None, group_by: str | None
) -> Call[responses.UsageAnswer]:
    """Return what the account has spent."""
    require_version(version, "get_usage")
    return v3.get_usage(start, end, group_by)


def jobs(version: ApiVersion, model: str | None, cursor: str | None, limit: int) -> Call[responses.JobPage]:
    """Return a page of the jobs."""
    require_version(version, "list_jobs")
    return v3.list_jobs(model=model, cursor=cursor, limit=limit)


def price(version: ApiVersion, model: str, model_input: Mapping[str, Any]) -> Call[responses.EstimateAnswer]:
    """Return the price of a job."""
    require_version(version, "estimate")
    return v3.estimate(model, model_input)


def deliveries(version: ApiVersion, cursor: str | None, limit: int) -> Call[responses.DeliveryPage]:
    """Return a page of the webhook deliveries."""
    require_version(version, "list_deliveries")
    return v3.list_deliveries(cursor, limit)


def _voices_of(model: str) -> Call[list[Voice]]:
    return [voice.record() for voice in (yield from v3.list_voices(model))]


def _models_of(types: list[str]) -> Call[list[responses.ModelSummary]]:
    # The API takes one modality; more are chosen here.
    found = yield from v3.list_models(types[0] if len(types) == 1 else None)
    return [model for model in found if not types or model.modality in types]


def _known_job(job_id: str) -> Call[responses.Job]:
    found = yield from v3.get_job(job_id)
    if found is None:
        raise unknown_generation(job_id)
    return found


def _known_record(job_id: str) -> Call[Any]:
    return (yield from _known_job(job_id)).record()
